"""Sessions in memcached, and the name of ``webapp2_extras.appengine.sessions_memcache``."""

from __future__ import annotations

from webapp2_sessions.sessions_memcache.factory import MemcacheSessionFactory

__all__ = ["MemcacheSessionFactory"]
