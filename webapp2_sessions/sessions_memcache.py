"""Sessions in memcached: fast, shared by all processes, gone when memcached restarts."""

from __future__ import annotations

from typing import Any

from webapp2_sessions.app_config import backend_config
from webapp2_sessions.memcached import SessionMemcached, expiry, session_memcached
from webapp2_sessions.merging import NEW, Version
from webapp2_sessions.stored_sessions import StoredSessionFactory

__all__ = ["MemcacheSessionFactory"]


class MemcacheSessionFactory(StoredSessionFactory):
    """Keeps sessions in memcached, configured by ``config["memcache"]``.

    Use it as ``store.get_session(backend="memcache")``. memcached evicts what was not used for
    long when its memory is full: the visitor then has a new session.
    """

    #: The servers, once they are needed.
    _found: SessionMemcached | None = None

    def _read(self, sid: str) -> dict[Any, Any] | None:
        data: dict[Any, Any] | None = self._memcached().read(sid)
        return data

    def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> bool:
        memcached = self._memcached()
        key = memcached.key(sid)
        encoded = memcached.encode_checked(key, data)
        if self._is_stored:
            return memcached.replace(key, encoded, expiry(lifetime))
        memcached.set(key, encoded, expiry(lifetime))
        return True

    def _delete(self, sid: str) -> bool:
        memcached = self._memcached()
        return memcached.end(memcached.key(sid))

    def _touch(self, sid: str, lifetime: float | None) -> bool:
        memcached = self._memcached()
        key = memcached.key(sid)
        if not memcached.call("touch", key, expiry(lifetime)):
            return False
        # A session that is only read would be lost when the older key is taken out.
        memcached.sign_anew(key, expiry(lifetime))
        return True

    def _read_version(self, sid: str) -> Version | None:
        memcached = self._memcached()
        key = memcached.key(sid)
        stored, token = memcached.gets(key)
        if stored is None:
            is_gone = self._is_stored and memcached.is_ended(key)
            return None if is_gone else Version(NEW, dict)
        return Version(token, lambda: memcached.decode(key, stored))

    def _write_version(
        self, sid: str, data: dict[Any, Any], lifetime: float | None, token: Any
    ) -> Version | None:
        memcached = self._memcached()
        key = memcached.key(sid)
        encoded = memcached.encode_checked(key, data)
        if token is NEW:
            written = memcached.call("add", key, encoded, expiry(lifetime))
        else:
            written = memcached.cas(key, encoded, token, expiry(lifetime))
        # memcached does not tell the new token.
        return Version(None, lambda: memcached.decode(key, encoded)) if written else None

    def _place(self) -> tuple[str, str]:
        memcached = self._memcached()
        return "memcache", memcached.address(memcached.key(str(self.sid)))

    def _memcached(self) -> SessionMemcached:
        found = self._found
        if found is None:
            config = backend_config(self.session_store)
            found = self._found = session_memcached(config, "memcache")
        return found
