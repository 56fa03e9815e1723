"""Flash messages: left by one request, shown once by the next.

Press a button: the form is handled, a message with a level is left in the session, and the
page that you are sent to shows it. Reload, and it is gone::

    python examples/flashes/app.py

then open http://127.0.0.1:8080
"""

from __future__ import annotations

import logging
import os
import secrets
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import waitress
import webapp2

from webapp2_sessions import sessions

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True
)

#: What can happen to the parcel: the message's level and its text.
NEWS = {
    "sent": ("success", "Your parcel is on its way."),
    "delayed": ("warning", "Your parcel is late."),
    "lost": ("error", "Your parcel is lost."),
}


class BaseHandler(webapp2.RequestHandler):  # type: ignore[misc]  # webapp2 has no types
    def dispatch(self) -> Any:
        self.session_store: sessions.SessionStore = sessions.get_store(request=self.request)
        try:
            return super().dispatch()
        finally:
            self.session_store.save_sessions(self.response)

    @cached_property
    def session(self) -> sessions.SessionDict:
        return self.session_store.get_session()


class HomeHandler(BaseHandler):
    def get(self) -> None:
        # Reading the messages takes them out of the session. Each is a pair of value and level:
        # a list when it comes from a cookie, a tuple from a server-side backend.
        flashes = self.session.get_flashes()
        page = TEMPLATES.get_template("home.html")
        self.response.write(page.render(flashes=flashes, choices=NEWS))

    def post(self) -> Any:
        for choice in self.request.POST.getall("news"):
            if choice in NEWS:
                level, text = NEWS[choice]
                self.session.add_flash(text, level=level)
        return self.redirect("/", code=303)


def make_app(secret_key: str) -> webapp2.WSGIApplication:
    """The WSGI application, whose sessions are signed with `secret_key`."""
    config = {
        "webapp2_extras.sessions": {
            "secret_key": secret_key,
            "cookie_args": {"httponly": True, "samesite": "Lax"},
        }
    }
    return webapp2.WSGIApplication([("/", HomeHandler)], config=config)


if __name__ == "__main__":
    # A key made at start is good for a demonstration only: with the next start, or in a second
    # process, there is another one, and all sessions signed with the first are void.
    app = make_app(os.environ.get("SECRET_KEY") or secrets.token_hex(32))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    waitress.serve(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
