"""Signing in with SessionHandler: pages for members, from which strangers are sent away.

Ask for your letters: you are sent to sign in, with a message, and afterwards to the letters::

    python examples/sign_in/app.py

then open http://127.0.0.1:8080 and sign in as "ada" with the password "engine"
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from pathlib import Path

import jinja2
import waitress
import webapp2

from webapp2_sessions import SessionHandler

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True
)


def hash_of(password: str, salt: bytes) -> bytes:
    """What is kept of a password: slow to compute, so that guessing is slow as well."""
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


SALT = secrets.token_bytes(16)
#: Members and their passwords' hashes. An application has them in a database.
MEMBERS = {"ada": hash_of("engine", SALT)}
LETTERS = {"ada": ["Charles: the wheels are here.", "Mary: come to tea."]}


class PageHandler(SessionHandler):
    """What all pages have in common, besides ``self.session``."""

    def render(self, template: str, **values: object) -> None:
        page = TEMPLATES.get_template(template)
        flashes = self.session.get_flashes()
        member = self.session.get("member")
        self.response.write(page.render(flashes=flashes, member=member, **values))

    def leave(self, path: str, message: str, level: str) -> None:
        """Go elsewhere with a message, from wherever this is called: nothing after it runs.

        The redirect is raised as an exception, and SessionHandler sends the session with it.
        """
        self.session.add_flash(message, level=level)
        self.redirect(path, code=303, abort=True)

    def require_member(self) -> str:
        """The member's name; a stranger is asked for it, and comes back afterwards."""
        if "member" not in self.session:
            self.session["wanted"] = self.request.path
            self.leave("/sign-in", "Sign in first, please.", "warning")
        return str(self.session["member"])


class HomeHandler(PageHandler):
    def get(self) -> None:
        self.render("home.html")


class LettersHandler(PageHandler):
    def get(self) -> None:
        self.render("letters.html", letters=LETTERS[self.require_member()])


class SignInHandler(PageHandler):
    def get(self) -> None:
        self.render("sign_in.html")

    def post(self) -> None:
        name = self.request.POST.get("name", "")
        hashed = hash_of(self.request.POST.get("password", ""), SALT)
        if not secrets.compare_digest(hashed, MEMBERS.get(name, b"")):
            self.leave("/sign-in", "That is not the password.", "error")
        # With a server-side backend the session gets another id: whoever knew the old one, because
        # it was planted in this browser, does not become a member with it.
        self.session.regenerate_id()
        self.session["member"] = name
        wanted = self.session.pop("wanted", "/")
        self.leave(wanted, f"Welcome, {name}!", "success")


class SignOutHandler(PageHandler):
    # POST, because a link may be followed by anybody: a crawler, a preview, a prefetch.
    def post(self) -> None:
        self.session.destroy()
        self.leave("/", "Good-bye.", "success")


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
    routes = [
        ("/", HomeHandler),
        ("/letters", LettersHandler),
        ("/sign-in", SignInHandler),
        ("/sign-out", SignOutHandler),
    ]
    return webapp2.WSGIApplication(routes, config=config)


if __name__ == "__main__":
    # A key made at start is good for a demonstration only: with the next start, or in a second
    # process, there is another one, and all sessions signed with the first are void.
    app = make_app(os.environ.get("SECRET_KEY") or secrets.token_hex(32))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    waitress.serve(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
