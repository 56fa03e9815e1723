"""An e-mail address: ``self.session["email"] = "ada@example.com"``."""

from __future__ import annotations

import webapp2
from shared import SESSIONS, BaseHandler, member_with, serve


class HomeHandler(BaseHandler):
    def get(self) -> None:
        member = member_with(address=self.session.get("email"))
        self.greet(member.name if member else None)


class LoginHandler(BaseHandler):
    def post(self) -> None:
        if member := self.checked_member():
            self.session["email"] = member.address
        self.redirect("/")


class LogoutHandler(BaseHandler):
    def post(self) -> None:
        self.session.clear()
        self.redirect("/")


app = webapp2.WSGIApplication(
    [("/", HomeHandler), ("/login", LoginHandler), ("/logout", LogoutHandler)],
    config={
        "webapp2_extras.sessions": {
            **SESSIONS,
            "user_key": "email",  # the only new line
        }
    },
)

if __name__ == "__main__":
    serve(app)
