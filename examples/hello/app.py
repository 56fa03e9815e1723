"""The base handler that gives every request a session, and a counter of your visits.

Run it and reload the page a few times::

    python examples/hello/app.py

then open http://127.0.0.1:8080
"""

from __future__ import annotations

import logging
import os
import secrets
from functools import cached_property
from typing import Any

import waitress
import webapp2

from webapp2_sessions import sessions


class BaseHandler(webapp2.RequestHandler):  # type: ignore[misc]  # webapp2 has no types
    """What all handlers of an application derive from to have ``self.session``."""

    def dispatch(self) -> Any:
        """Run the handler method, then save the sessions that it used."""
        self.session_store: sessions.SessionStore = sessions.get_store(request=self.request)
        try:
            # A method may return a response of its own, and webapp2 sends it instead of
            # self.response. Without "return" here webapp2 would not get it, and send an empty page.
            return super().dispatch()
        finally:
            # Stores the sessions that were modified and sets their cookies on self.response.
            self.session_store.save_sessions(self.response)

    @cached_property
    def session(self) -> sessions.SessionDict:
        """The visitor's session: a dictionary, empty for somebody new."""
        return self.session_store.get_session()


class HomeHandler(BaseHandler):
    def get(self) -> None:
        visits = self.session.get("visits", 0) + 1
        self.session["visits"] = visits
        self.response.content_type = "text/plain"
        self.response.write(f"Hello! This is your visit number {visits}.\n")


def make_app(secret_key: str) -> webapp2.WSGIApplication:
    """The WSGI application, whose sessions are signed with `secret_key`."""
    config = {"webapp2_extras.sessions": {"secret_key": secret_key}}
    return webapp2.WSGIApplication([("/", HomeHandler)], config=config)


if __name__ == "__main__":
    # A key made at start is good for a demonstration only: with the next start, or in a second
    # process, there is another one, and all sessions signed with the first are void.
    app = make_app(os.environ.get("SECRET_KEY") or secrets.token_hex(32))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    waitress.serve(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
