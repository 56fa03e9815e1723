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
from webapp2_sessions.stored.keyed import KeyedSessionFactory

__all__ = ["MemcacheSessionFactory"]


class MemcacheSessionFactory(KeyedSessionFactory):
    """Keeps sessions in memcached, configured by ``config["memcache"]``.

    Use it as ``store.get_session(backend="memcache")``. memcached evicts what was not used for
    long when its memory is full: the visitor then has a new session.
    """

    def _configured_records(self) -> SessionMemcached:
        return session_memcached(backend_config(self.session_store), "memcache")

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
