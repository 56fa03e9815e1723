"""Sessions in memcached: fast, shared by all processes, gone when memcached restarts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from webapp2_sessions.config import memcache_settings
from webapp2_sessions.config.loading import backend_config
from webapp2_sessions.errors import BackendError, ConfigError
from webapp2_sessions.sessions_memcache.records import SessionMemcached, session_memcached
from webapp2_sessions.sessions_memcache.servers import Node, nodes_of
from webapp2_sessions.stored.factory import StoredSessionFactory
from webapp2_sessions.stored.merging import NEW, Version
from webapp2_sessions.stored.namespaces import current_namespace
from webapp2_sessions.stored.serializers import format_of

__all__ = ["MemcacheSessionFactory"]


class MemcacheSessionFactory(StoredSessionFactory):
    """Keeps sessions in memcached, configured by ``config["memcache"]``.

    Use it as ``store.get_session(backend="memcache")``. memcached evicts what was not used for
    long when its memory is full: the visitor then has a new session.
    """

    #: Where the session is kept, and the namespace in which it was opened: all of this request
    #: happens there.
    _opened: tuple[SessionMemcached, str] | None = None

    def _pin_place(self) -> tuple[SessionMemcached, str]:
        memcached = session_memcached(backend_config(self.session_store), "memcache")
        namespace = memcached.namespace
        self._opened = memcached, current_namespace() if namespace is None else namespace
        return self._opened

    def _record(self, sid: str) -> tuple[SessionMemcached, bytes]:
        """Return where a session is, and its key there."""
        memcached, namespace = self._opened or self._pin_place()
        return memcached, memcached.key(f"{namespace}/{sid}" if namespace else sid)

    def _read(self, sid: str) -> dict[Any, Any] | None:
        memcached, key = self._record(sid)
        data, max_age = memcached.decode_session(key, self.name, memcached.get(key))
        self._note_max_age(max_age)
        return data  # type: ignore[no-any-return]

    def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> bool:
        memcached, key = self._record(sid)
        encoded = memcached.encode_session(key, self.name, data, self.own_max_age)
        if self._is_stored:
            return memcached.replace(key, encoded, lifetime)
        memcached.set(key, encoded, lifetime)
        return True

    def _delete(self, sid: str) -> bool:
        memcached, key = self._record(sid)
        return memcached.revoke(key)

    def _supersede(self, sid: str) -> bool:
        memcached, key = self._record(sid)
        return memcached.revoke(key, self._now())

    def _touch(self, sid: str, lifetime: float | None) -> bool:
        memcached, key = self._record(sid)
        if not memcached.touch(key, lifetime):
            return False
        # A session that is only read would be lost when the older key is taken out.
        memcached.sign_again(key, self.name, lifetime)
        return True

    def _superseded_at(self, sid: str) -> float | None:
        memcached, key = self._record(sid)
        return memcached.superseded_at(key)

    def _read_version(self, sid: str) -> Version | None:
        memcached, key = self._record(sid)
        stored, token = memcached.gets(key)
        if stored is None:
            is_gone = self._is_stored and memcached.is_revoked(key)
            return None if is_gone else Version(NEW, dict)
        is_first = True

        def data() -> Any:
            nonlocal is_first
            found, max_age = memcached.decode_session(key, self.name, stored)
            if is_first:  # later calls ask for the state before the request
                self._note_max_age(max_age)
                is_first = False
            return found

        return Version(token, data)

    def _write_version(
        self, sid: str, data: dict[Any, Any], lifetime: float | None, token: Any
    ) -> Version | None:
        (memcached, key), owner = self._record(sid), self.name
        encoded = memcached.encode_session(key, owner, data, self.own_max_age)
        known = memcached.absent(key) if token is NEW else token
        is_written = memcached.fill(key, encoded, known, lifetime)
        if token is NEW and is_written and self._is_stored and memcached.discard_if_revoked(key):
            return None  # reading it again tells why
        if not is_written:
            return None
        # memcached does not tell the new token.
        return Version(None, lambda: memcached.decode_session(key, owner, encoded)[0])

    def _place(self) -> tuple[str, str]:
        memcached, key = self._record(str(self.sid))
        return "memcache", memcached.address(key)

    # For the command line

    def _describe(self, sid: str) -> dict[str, Any]:
        memcached, key = self._record(sid)
        times = memcached.times(key)  # first, because get resets the idle time
        stored = memcached.get(key)
        data = None if stored is None else memcached.opened(key, self.name, stored)
        if stored is None or data is None:
            return {}
        return {"size": len(stored), "format": format_of(data), **times}

    def _is_revoked(self, sid: str) -> bool:
        memcached, key = self._record(sid)
        return memcached.is_revoked(key)

    @classmethod
    def _ping(cls, config: Mapping[str, Any]) -> Iterator[str]:
        settings = memcache_settings(config)
        each_alone = [{**settings, "servers": (server,)} for server in settings["servers"]]
        for each in each_alone if settings["client"] is None else [settings]:
            try:
                # A key of this check alone, because several may run at once.
                name = f"{settings['key_prefix']}{_PROBE}:{os.urandom(8).hex()}"
                key = name.encode("ascii")
                node = nodes_of(each).node_of(key)
                node.call("get", key)
                size = min(node.largest_value(), _MAX_PROBE)
                if not _keeps(node, key, os.urandom(size)):
                    yield str(node.unavailable(f"a value of {size} bytes did not come back"))
            except (BackendError, ConfigError) as error:
                yield str(error)


#: How the key begins under which a check writes.
_PROBE = "webapp2-sessions-check"
#: Size of the largest value that is written, however large a server's items may be.
_MAX_PROBE = 16 * 1024 * 1024
#: Seconds after which memcached drops that value, should it not be deleted.
_PROBE_SECONDS = 60


def _keeps(node: Node, key: bytes, value: bytes) -> bool:
    """Return whether a server, and a proxy in front of it, keeps a value of that size."""
    try:
        return bool(node.call("set", key, value, _PROBE_SECONDS)) and node.call("get", key) == value
    finally:
        with contextlib.suppress(BackendError):
            node.call("delete", key)
