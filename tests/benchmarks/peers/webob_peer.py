"""WebOb's SignedCookieProfile, in a webapp2 handler."""

from __future__ import annotations

import webapp2
from webob.cookies import SignedCookieProfile, SignedSerializer

from benchmarks.data import NAME, SECRET
from benchmarks.peers import Codec
from benchmarks.peers.webapp2_peer import bare_app
from benchmarks.sites import PATHS, Site, act

__all__ = ["codecs", "cookie_sites"]

_SALT = "benchmarks"

_PROFILE = SignedCookieProfile(SECRET, _SALT, NAME)


class Handler(webapp2.RequestHandler):
    """Reads the profile's value, and sets it when it was modified."""

    def get(self) -> None:
        """Do what the path stands for."""
        path = self.request.environ["PATH_INFO"]
        profile = _PROFILE.bind(self.request)
        session = profile.get_value() or {}
        keys = int(self.request.get("keys")) if path == "/fill" else 0
        self.response.write(act(session, path, keys))
        if path in ("/fill", "/modify"):
            profile.set_cookies(self.response, session)


def cookie_sites() -> list[Site]:
    """JSON, signed with SHA-512."""
    app = webapp2.WSGIApplication([(path, Handler) for path in PATHS])
    return [Site("WebOb SignedCookieProfile", app, bare_app())]


def codecs() -> list[Codec]:
    """The profile's serializer."""
    serializer = SignedSerializer(SECRET, _SALT)
    return [Codec("WebOb SignedSerializer", serializer.dumps, serializer.loads)]
