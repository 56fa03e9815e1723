"""A key of Datastore: ``self.session["user"] = user.key``.

It needs a backend that keeps pickles, and a context of ndb wherever a session is opened: one around
the whole application, as Google's documentation has it. Nothing here asks Datastore for users.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import webapp2
from google.auth.credentials import AnonymousCredentials
from google.cloud import ndb  # type: ignore[attr-defined]  # it has no types
from shared import SESSIONS, BaseHandler, member_with, serve

# Keys are made and read without an account at Google.
client = ndb.Client(project="members", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]  # nor they


class HomeHandler(BaseHandler):
    def get(self) -> None:
        key = self.session.get("user")
        member = member_with(number=key.id()) if key else None  # elsewhere key.get()
        self.greet(member.name if member else None)


class LoginHandler(BaseHandler):
    def post(self) -> None:
        if member := self.checked_member():
            self.session["user"] = ndb.Key("Member", member.number)
        self.redirect("/")


class LogoutHandler(BaseHandler):
    def post(self) -> None:
        if "user" in self.session:
            del self.session["user"]
        self.redirect("/")


application = webapp2.WSGIApplication(
    [("/", HomeHandler), ("/login", LoginHandler), ("/logout", LogoutHandler)],
    config={
        "webapp2_extras.sessions": {
            **SESSIONS,
            "user_key": "user",  # the only new line
        }
    },
)


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    with client.context():
        answer: Iterable[bytes] = application(environ, start_response)
        return answer


if __name__ == "__main__":
    serve(app)
