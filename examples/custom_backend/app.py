"""A session backend of your own: sessions as JSON in a SQLite file.

A backend is a class with two methods, one that loads a session by its id and one that saves
it. The browser gets a signed cookie with nothing but the id::

    python examples/custom_backend/app.py

then open http://127.0.0.1:8080. The sessions outlive a restart if SECRET_KEY is set, in
``sessions.sqlite`` or the file that SESSIONS_FILE names.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import waitress
import webapp2

from webapp2_sessions import sessions

SCHEMA = """
CREATE TABLE IF NOT EXISTS session (
    sid TEXT PRIMARY KEY,
    data TEXT NOT NULL,
    updated INTEGER NOT NULL  -- unix seconds, for a job that deletes old sessions
)
"""


@contextmanager
def connect(path: str) -> Iterator[sqlite3.Connection]:
    """Open the database for one transaction.

    A connection belongs to the thread that opened it, and a WSGI server has many threads. A
    connection per operation costs little with SQLite and is right in every thread and process.
    """
    # Seconds to wait for another writer before giving up.
    connection = sqlite3.connect(path, timeout=5.0)
    try:
        with connection:  # commits, or rolls back after an exception
            yield connection
    finally:
        connection.close()


class SQLiteSessionFactory(sessions.CustomBackendSessionFactory):
    """Keeps sessions in the SQLite file that the configuration key ``sqlite_file`` names."""

    @property
    def path(self) -> str:
        # The configuration keeps keys that it does not know, for backends like this one.
        return str(self.session_store.config["sqlite_file"])

    def _get_by_sid(self, sid: str | None) -> sessions.SessionDict:
        """The stored session, or a new one under a new id.

        An id that is not found is never used for the new session: otherwise somebody could
        make up an id, and wait for another visitor to sign in under it.
        """
        # None without a cookie. The cookie is signed, but the key may have leaked: look twice.
        if self._is_valid_sid(sid):
            with connect(self.path) as connection:
                query = "SELECT data FROM session WHERE sid = ?"
                row = connection.execute(query, (sid,)).fetchone()
            if row is not None:
                self.sid = sid
                return sessions.SessionDict(self, data=json.loads(row[0]))

        self.sid = self._get_new_sid()
        return sessions.SessionDict(self, new=True)

    def save_session(self, response: Any) -> None:
        """Store the session if it was modified, and send its id."""
        if self.session is None or not self.session.modified:
            return

        with connect(self.path) as connection:
            connection.execute(
                "REPLACE INTO session (sid, data, updated) VALUES (?, ?, ?)",
                (self.sid, json.dumps(self.session), int(time.time())),
            )
        self.session_store.save_secure_cookie(
            response, self.name, {"_sid": self.sid}, **self.session_args
        )


class BaseHandler(webapp2.RequestHandler):  # type: ignore[misc]  # webapp2 has no types
    def dispatch(self) -> Any:
        self.session_store: sessions.SessionStore = sessions.get_store(request=self.request)
        try:
            return super().dispatch()
        finally:
            self.session_store.save_sessions(self.response)

    @property
    def session(self) -> sessions.SessionDict:
        return self.session_store.get_session(backend="sqlite")


class HomeHandler(BaseHandler):
    def get(self) -> None:
        visits = self.session.get("visits", 0) + 1
        self.session["visits"] = visits
        self.response.content_type = "text/plain"
        self.response.write(f"Visit number {visits}, kept by SQLite.\n")


def make_app(secret_key: str, sqlite_file: str) -> webapp2.WSGIApplication:
    """The WSGI application; `sqlite_file` is made where it does not exist."""
    with connect(sqlite_file) as connection:
        # Readers and a writer do not wait for each other in this mode; the file remembers it.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(SCHEMA)
    config = {
        "webapp2_extras.sessions": {
            "secret_key": secret_key,
            "cookie_args": {"httponly": True, "samesite": "Lax"},
            # A class, or its dotted name: "myapp.backends.SQLiteSessionFactory".
            "backends": {"sqlite": SQLiteSessionFactory},
            "sqlite_file": sqlite_file,
        }
    }
    return webapp2.WSGIApplication([("/", HomeHandler)], config=config)


if __name__ == "__main__":
    app = make_app(
        # A key made at start is good for a demonstration only: with the next start, or in a
        # second process, there is another one, and all sessions signed with the first are void.
        os.environ.get("SECRET_KEY") or secrets.token_hex(32),
        os.environ.get("SESSIONS_FILE", "sessions.sqlite"),
    )
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    waitress.serve(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
