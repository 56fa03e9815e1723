"""Whether the servers of a configuration answer, and take what a session may be."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from webapp2_sessions.config import datastore_settings, memcache_settings
from webapp2_sessions.errors import BackendError, ConfigError, MissingDependency

__all__ = ["unreachable"]

#: A key, or its beginning, and the name of an entity that nobody has.
_NOBODYS = "webapp2-sessions-check"

#: Bytes of the largest value that is written, however large a server's items may be.
_LARGEST_CHECKED = 16 * 1024 * 1024

#: Seconds after which memcached drops that value, should it not be deleted.
_SECONDS = 60


def unreachable(config: Mapping[str, Any], backend: str) -> list[str]:
    """Ask each server of a backend for something that is not there.

    A memcached is also given a value as large as a session may be, for a moment.

    :param config: a checked configuration.
    :param backend: ``"memcache"`` or ``"datastore"``.
    :returns: what is wrong, in one line for each server that did not answer.
    """
    look = {"memcache": _memcache, "datastore": _datastore}[backend]
    return list(look(config))


def _memcache(config: Mapping[str, Any]) -> Iterator[str]:
    settings = memcache_settings(config)
    alone = [{**settings, "servers": (server,)} for server in settings["servers"]]
    for each in alone if settings["client"] is None else [settings]:
        try:
            from webapp2_sessions.sessions_memcache.servers import nodes_of  # loads pymemcache

            # Nobody else checks under this key at the same time.
            name = f"{settings['key_prefix']}{_NOBODYS}:{os.urandom(8).hex()}"
            key = name.encode("ascii")
            node = nodes_of(each).node_of(key)
            node.call("get", key)
            size = min(node.largest_value(), _LARGEST_CHECKED)
            if not _keeps(node, key, os.urandom(size)):
                yield str(node.unavailable(f"a value of {size} bytes did not come back"))
        except (BackendError, ConfigError, MissingDependency) as error:
            yield str(error)


def _keeps(node: Any, key: bytes, value: bytes) -> bool:
    """Whether a server, and a proxy before it, keeps a value as large as a session may be."""
    try:
        return bool(node.call("set", key, value, _SECONDS)) and node.call("get", key) == value
    finally:
        with contextlib.suppress(BackendError):
            node.call("delete", key)


def _datastore(config: Mapping[str, Any]) -> Iterator[str]:
    try:
        from webapp2_sessions.sessions_ndb.client import Datastore, ndb  # loads google-cloud-ndb

        store = Datastore(datastore_settings(config))
        # A model that has the kind "Session" might not be ours.
        store.run(lambda: ndb.Key("SessionEnded", _NOBODYS).get(**store.options))
    except (BackendError, ConfigError, MissingDependency) as error:
        yield str(error)
