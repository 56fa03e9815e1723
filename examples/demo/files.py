"""The style sheet and the icon. No session is opened, so they can be cached for all."""

from __future__ import annotations

from pathlib import Path

import webapp2

#: The router lets these names pass, and no others.
TYPES = {"style.css": "text/css", "icon.svg": "image/svg+xml"}


class FileHandler(webapp2.RequestHandler):  # type: ignore[misc]  # webapp2 has no types
    def get(self, name: str) -> None:
        self.response.content_type = TYPES[name]
        self.response.body = (Path(__file__).parent / "static" / name).read_bytes()
        self.response.cache_control = "public, max-age=60"
        self.response.headers["X-Content-Type-Options"] = "nosniff"
        self.response.md5_etag()
        self.response.conditional_response = True
