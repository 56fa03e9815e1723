"""Sessions in Datastore, and the names of ``webapp2_extras.appengine.sessions_ndb``."""

from __future__ import annotations

from webapp2_sessions.sessions_ndb.factory import DatastoreSessionFactory, Session

__all__ = ["DatastoreSessionFactory", "Session"]
