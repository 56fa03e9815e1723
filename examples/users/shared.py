"""What the five applications have in common: members, a base handler, and where sessions are.

BACKEND names the backend: ``memcache``, ``redis`` or ``datastore``, and without it the memory of
the process. MEMCACHED, REDIS_URL and GOOGLE_CLOUD_PROJECT tell where their servers are.
"""

from __future__ import annotations

import hashlib
import html
import logging
import os
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import waitress
import webapp2

from webapp2_sessions import sessions

BACKEND = os.environ.get("BACKEND", "memory")

#: The configuration as it was before there was a `user_key`.
SESSIONS: dict[str, Any] = {
    "secret_key": os.environ.get("SECRET_KEY") or secrets.token_hex(32),
    "cookie_args": {"path": "/", "httponly": True, "samesite": "Lax"},
    "default_backend": BACKEND,
    "backends": {"memory": "webapp2_sessions.testing.MemorySessionFactory"},
    "memcache": {"servers": [os.environ.get("MEMCACHED", "127.0.0.1:11211")]},
    "redis": {"url": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")},
    "datastore": {"project": os.environ.get("GOOGLE_CLOUD_PROJECT")},
}

_SALT = secrets.token_bytes(16)


def hash_of(password: str) -> bytes:
    """What is kept of a password: slow to compute, so that guessing is slow as well."""
    return hashlib.scrypt(password.encode(), salt=_SALT, n=2**14, r=8, p=1)


@dataclass(frozen=True)
class Member:
    """What an application has in its database of somebody."""

    number: int
    name: str
    address: str
    password: bytes = field(repr=False)


MEMBERS = [
    Member(7, "Ada", "ada@example.com", hash_of("engine")),
    Member(8, "Mallory", "mallory@example.com", hash_of("loom")),
]


def member_with(**values: object) -> Member | None:
    """The member with that number, name or address."""
    for member in MEMBERS:
        if all(getattr(member, name) == value for name, value in values.items()):
            return member
    return None


class BaseHandler(webapp2.RequestHandler):  # type: ignore[misc]  # webapp2 has no types
    """The one of webapp2's documentation, and what pages here have in common."""

    def dispatch(self) -> Any:
        self.session_store: sessions.SessionStore = sessions.get_store(request=self.request)
        try:
            return super().dispatch()
        finally:
            self.session_store.save_sessions(self.response)

    @cached_property
    def session(self) -> sessions.SessionDict:
        return self.session_store.get_session()

    def greet(self, name: str | None) -> None:
        """Show who is signed in, and the form for the other thing."""
        self.response.write(f"<p>Hello, {html.escape(name or 'stranger')}!</p>")
        if name:
            self.response.write('<form method="post" action="/logout"><button>Out</button></form>')
        else:
            self.response.write(
                '<form method="post" action="/login">'
                '<input name="name"> <input name="password" type="password"> <button>In</button>'
                "</form>"
            )

    def checked_member(self) -> Member | None:
        """The member whose name and password the form has."""
        form = self.request.POST
        member = member_with(name=form.get("name"))
        hashed = hash_of(form.get("password", ""))
        return member if member and secrets.compare_digest(hashed, member.password) else None


def serve(app: webapp2.WSGIApplication) -> None:
    """Serve an application on this machine."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    waitress.serve(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
