"""The user's number: ``self.session["user_id"] = 7``."""

from __future__ import annotations

import webapp2
from shared import SESSIONS, BaseHandler, member_with, serve


class HomeHandler(BaseHandler):
    def get(self) -> None:
        member = member_with(number=self.session.get("user_id"))
        self.greet(member.name if member else None)


class LoginHandler(BaseHandler):
    def post(self) -> None:
        if member := self.checked_member():
            self.session["user_id"] = member.number
        self.redirect("/")


class LogoutHandler(BaseHandler):
    def post(self) -> None:
        self.session.pop("user_id", None)
        self.redirect("/")


app = webapp2.WSGIApplication(
    [("/", HomeHandler), ("/login", LoginHandler), ("/logout", LogoutHandler)],
    config={
        "webapp2_extras.sessions": {
            **SESSIONS,
            "user_key": "user_id",  # the only new line
        }
    },
)

if __name__ == "__main__":
    serve(app)
