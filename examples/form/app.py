"""A form whose value is remembered in the session, with pages made by Jinja2.

One page asks for your name, another one greets you by it, and a button starts over::

    python examples/form/app.py

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

# Autoescape: the name is a stranger's text, and must not become HTML in the page.
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True
)


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

    def render(self, template: str) -> None:
        """Answer with a page; templates see the session itself."""
        self.response.write(TEMPLATES.get_template(template).render(session=self.session))


class FormHandler(BaseHandler):
    def get(self) -> None:
        self.render("form.html")

    def post(self) -> Any:
        # A form's value is whatever was sent, so it is cut to a size that a cookie can hold.
        name = self.request.POST.get("name", "").strip()[:100]
        if not name:
            return self.redirect("/", code=303)
        self.session["name"] = name
        # 303 makes the browser ask for the next page with GET: reloading it sends no form.
        return self.redirect("/greeting", code=303)


class GreetingHandler(BaseHandler):
    def get(self) -> None:
        self.render("greeting.html")


class StartOverHandler(BaseHandler):
    # POST, because a link may be followed by anybody: a crawler, a preview, a prefetch.
    def post(self) -> Any:
        self.session.clear()
        return self.redirect("/", code=303)


def make_app(secret_key: str) -> webapp2.WSGIApplication:
    """The WSGI application, whose sessions are signed with `secret_key`."""
    config = {
        "webapp2_extras.sessions": {
            "secret_key": secret_key,
            # Scripts cannot read the cookie, and forms on other sites are sent without it.
            # With HTTPS add "secure": True.
            "cookie_args": {"httponly": True, "samesite": "Lax"},
        }
    }
    return webapp2.WSGIApplication(
        [("/", FormHandler), ("/greeting", GreetingHandler), ("/start-over", StartOverHandler)],
        config=config,
    )


if __name__ == "__main__":
    # A key made at start is good for a demonstration only: with the next start, or in a second
    # process, there is another one, and all sessions signed with the first are void.
    app = make_app(os.environ.get("SECRET_KEY") or secrets.token_hex(32))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    waitress.serve(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
