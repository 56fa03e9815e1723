"""Sessions in memcached: fast, shared by all processes, gone when memcached restarts."""

from __future__ import annotations

from typing import Any

from webapp2_sessions.app_config import backend_config
from webapp2_sessions.factories import StoredSessionFactory
from webapp2_sessions.memcached import SessionMemcached, session_memcached

__all__ = ["MemcacheSessionFactory"]


class MemcacheSessionFactory(StoredSessionFactory):
    """Keeps sessions in memcached, configured by ``config["memcache"]``.

    Use it as ``store.get_session(backend="memcache")``. memcached evicts what was not used for
    long when its memory is full: the visitor then has a new session.
    """

    def _read(self, sid: str) -> dict[Any, Any] | None:
        data: dict[Any, Any] | None = self._memcached().get(sid)
        return data

    def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> None:
        self._memcached().set(sid, data, lifetime)

    def _memcached(self) -> SessionMemcached:
        return session_memcached(backend_config(self.session_store), "memcache")
