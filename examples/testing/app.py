"""A guest book for members, and its tests: `test_app.py` beside it.

The application keeps its sessions on memcached. Its tests need none, nor a browser, nor time::

    pip install ".[examples,memcache]" pytest WebTest
    pytest examples/testing

To see it yourself, with a memcached at 127.0.0.1:11211::

    python examples/testing/app.py

then open http://127.0.0.1:8080
"""

from __future__ import annotations

import html
import logging
import os
import secrets

import waitress
import webapp2

from webapp2_sessions import BackendUnavailable, SessionHandler

#: Seconds after which a member who does nothing is signed out.
IDLE = 15 * 60

FORM = """<!doctype html><title>Guest book</title>
<p>{greeting}</p>
<ul>{entries}</ul>
<form action="/" method="post"><input name="{field}"><button>{button}</button></form>
"""


class GuestBook(SessionHandler):
    session_backend = "memcache"

    @property
    def entries(self) -> list[str]:
        """What members wrote; an application has that in a database."""
        found: list[str] = self.app.registry.setdefault("entries", [])
        return found

    def get(self) -> None:
        name = self.session.get("name")
        page = FORM.format(
            greeting=html.escape(f"Hello, {name}!" if name else "Who are you?"),
            entries="".join(f"<li>{html.escape(entry)}</li>" for entry in self.entries),
            field="entry" if name else "name",
            button="Write" if name else "Sign in",
        )
        self.response.write(page)

    def post(self) -> None:
        name, entry = self.request.POST.get("name"), self.request.POST.get("entry")
        if name and "name" not in self.session:
            # Whoever knew the visitor's former id is not signed in with her.
            self.session.regenerate_id()
            self.session["name"] = name
        elif entry:
            if "name" not in self.session:
                self.abort(403)
            self.entries.append(f"{self.session['name']}: {entry}")
        self.redirect("/", code=303)


def on_error(request: webapp2.Request, response: webapp2.Response, error: Exception) -> None:
    """Tell the visitor when memcached does not answer; she has lost nothing.

    Here and not in the handler's `handle_exception`, which is done when the session is saved.
    """
    if not isinstance(error, BackendUnavailable):
        raise error
    logging.getLogger(__name__).error("%s", error)
    response.set_status(503)
    response.write("The guest book is closed for a moment. Please come back.")


def make_app(secret_key: str) -> webapp2.WSGIApplication:
    """The WSGI application, whose sessions are signed with `secret_key`."""
    config = {
        "webapp2_extras.sessions": {
            "secret_key": secret_key,
            "cookie_args": {"httponly": True, "samesite": "Lax"},
            "session_max_age": IDLE,
            "refresh_after": 60,
        }
    }
    app = webapp2.WSGIApplication([("/", GuestBook)], config=config)
    app.error_handlers[500] = on_error
    return app


if __name__ == "__main__":
    app = make_app(os.environ.get("SECRET_KEY") or secrets.token_hex(32))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    waitress.serve(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
