"""One application, four places for its sessions: the cookie itself, memcached, Redis, Datastore.

Only the name of the backend differs; what handlers do with the session stays the same::

    python examples/backends/app.py securecookie
    python examples/backends/app.py memcache
    python examples/backends/app.py redis
    python examples/backends/app.py datastore

then open http://127.0.0.1:8080

Without an argument the variable BACKEND chooses. The servers come from the environment, too:

* MEMCACHED, e.g. ``127.0.0.1:11211``, which is also what is used without it;
* REDIS_URL, e.g. ``redis://127.0.0.1:6379/0``, which also is the default one;
* GOOGLE_CLOUD_PROJECT, and for the emulator DATASTORE_EMULATOR_HOST, which Google's client
  library reads by itself.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
from typing import Any

import waitress
import webapp2

from webapp2_sessions import sessions

BACKENDS = ("securecookie", "memcache", "redis", "datastore")


class BaseHandler(webapp2.RequestHandler):  # type: ignore[misc]  # webapp2 has no types
    def dispatch(self) -> Any:
        self.session_store: sessions.SessionStore = sessions.get_store(request=self.request)
        try:
            return super().dispatch()
        finally:
            self.session_store.save_sessions(self.response)

    @property
    def session(self) -> sessions.SessionDict:
        # The store keeps the session, so asking again costs nothing. A cached_property would
        # hold a lock for all threads (before Python 3.12) while a server is being asked.
        return self.session_store.get_session(backend=self.app.config["backend"])


class HomeHandler(BaseHandler):
    def get(self) -> None:
        visits = self.session.get("visits", 0) + 1
        self.session["visits"] = visits
        self.response.content_type = "text/plain"
        self.response.write(f"Visit number {visits}, kept by {self.app.config['backend']}.\n")


def make_app(
    secret_key: str,
    backend: str = "securecookie",
    memcached: str = "127.0.0.1:11211",
    project: str | None = None,
    redis_url: str = "redis://127.0.0.1:6379/0",
) -> webapp2.WSGIApplication:
    """The WSGI application.

    Args:
        secret_key: signs the cookies; server-side sessions have one as well, with their id.
        backend: one of `BACKENDS`.
        memcached: the memcached server, as ``host:port``.
        project: the Google Cloud project; None leaves the choice to Google's library.
        redis_url: the Redis or Valkey server.
    """
    config = {
        "webapp2_extras.sessions": {
            "secret_key": secret_key,
            "cookie_args": {"httponly": True, "samesite": "Lax"},
            # A backend is imported when a session of it is opened for the first time, so these
            # three cost nothing where they are not used.
            "memcache": {"servers": [memcached]},
            "redis": {"url": redis_url},
            "datastore": {"project": project},
        },
        "backend": backend,
    }
    return webapp2.WSGIApplication([("/", HomeHandler)], config=config)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A visit counter.")
    parser.add_argument(
        "backend",
        nargs="?",
        choices=BACKENDS,
        default=os.environ.get("BACKEND", "securecookie"),
        help="where sessions are kept",
    )
    app = make_app(
        # A key made at start is good for a demonstration only: with the next start, or in a
        # second process, there is another one, and all sessions signed with the first are void.
        os.environ.get("SECRET_KEY") or secrets.token_hex(32),
        backend=parser.parse_args().backend,
        memcached=os.environ.get("MEMCACHED", "127.0.0.1:11211"),
        project=os.environ.get("GOOGLE_CLOUD_PROJECT"),
        redis_url=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
    )
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    waitress.serve(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
