"""A dictionary: ``self.session["user"] = {"id": 7, "name": "Ada"}``.

Its number is who is signed in. A change of the name does not count as another user.
"""

from __future__ import annotations

import webapp2
from shared import SESSIONS, BaseHandler, serve


class HomeHandler(BaseHandler):
    def get(self) -> None:
        user = self.session.get("user")
        self.greet(user and user["name"])


class LoginHandler(BaseHandler):
    def post(self) -> None:
        if member := self.checked_member():
            self.session["user"] = {"id": member.number, "name": member.name}
        self.redirect("/")


class LogoutHandler(BaseHandler):
    def post(self) -> None:
        self.session["user"] = None
        self.redirect("/")


app = webapp2.WSGIApplication(
    [("/", HomeHandler), ("/login", LoginHandler), ("/logout", LogoutHandler)],
    config={
        "webapp2_extras.sessions": {
            **SESSIONS,
            "user_key": lambda session: (session.get("user") or {}).get("id"),  # the only new line
        }
    },
)

if __name__ == "__main__":
    serve(app)
