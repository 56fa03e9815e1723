"""Request handlers that applications copy from webapp2's documentation."""

from __future__ import annotations

from typing import Any

import webapp2

from webapp2_sessions import get_store

__all__ = ["DocumentedHandler"]


class DocumentedHandler(webapp2.RequestHandler):
    """The base handler of webapp2's documentation; also returns what the method returns."""

    def dispatch(self) -> Any:
        self.session_store = get_store(request=self.request)
        try:
            return super().dispatch()
        finally:
            self.session_store.save_sessions(self.response)

    @property
    def session(self) -> Any:
        return self.session_store.get_session()
