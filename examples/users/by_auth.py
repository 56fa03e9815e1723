"""webapp2_extras.auth, which keeps a list under "_user" in a session of its own."""

from __future__ import annotations

import secrets
import time
from functools import cached_property
from typing import Any

import webapp2_sessions

webapp2_sessions.install_as_webapp2_extras()  # before the application's own imports

import webapp2
from shared import BACKEND, SESSIONS, BaseHandler, Member, hash_of, member_with, serve
from webapp2_extras import auth

#: When each token was made, by number and token. An application has them in its database.
TOKENS: dict[tuple[int, str], int] = {}


class User:
    """What auth asks of a model."""

    def __init__(self, member: Member) -> None:
        self.name = member.name
        self.number = member.number

    def get_id(self) -> int:
        return self.number

    @classmethod
    def get_by_auth_password(cls, name: str, password: str) -> User:
        member = member_with(name=name)
        if member is None:
            raise auth.InvalidAuthIdError
        if not secrets.compare_digest(hash_of(password), member.password):
            raise auth.InvalidPasswordError
        return cls(member)

    @classmethod
    def get_by_auth_token(cls, number: int, token: str) -> tuple[User | None, int | None]:
        member = member_with(number=number)
        made = TOKENS.get((number, token))
        return (None, None) if member is None or made is None else (cls(member), made)

    @classmethod
    def create_auth_token(cls, number: int) -> str:
        token = secrets.token_urlsafe()
        TOKENS[number, token] = int(time.time())
        return token

    @classmethod
    def delete_auth_token(cls, number: int, token: str) -> None:
        TOKENS.pop((number, token), None)


class AuthHandler(BaseHandler):
    @cached_property
    def auth(self) -> Any:
        return auth.get_auth(request=self.request)


class HomeHandler(AuthHandler):
    def get(self) -> None:
        user = self.auth.get_user_by_session()
        self.greet(user and user["name"])


class LoginHandler(AuthHandler):
    def post(self) -> None:
        form = self.request.POST
        self.auth.get_user_by_password(form["name"], form["password"], silent=True)
        self.redirect("/")


class LogoutHandler(AuthHandler):
    def post(self) -> None:
        self.auth.unset_session()
        self.redirect("/")


app = webapp2.WSGIApplication(
    [("/", HomeHandler), ("/login", LoginHandler), ("/logout", LogoutHandler)],
    config={
        "webapp2_extras.sessions": {
            **SESSIONS,
            "user_key": "_user",  # the only new line
        },
        "webapp2_extras.auth": {
            "user_model": User,
            "user_attributes": ["name"],
            "session_backend": BACKEND,
        },
    },
)

if __name__ == "__main__":
    serve(app)
