"""Whether the servers of a configuration answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from webapp2_sessions.config import datastore_settings, memcache_settings
from webapp2_sessions.errors import BackendError, ConfigError, MissingDependency

__all__ = ["unreachable"]

#: A key and the name of an entity that nobody has.
_NOBODYS = "webapp2-sessions-check"


def unreachable(config: Mapping[str, Any], backend: str) -> list[str]:
    """Ask each server of a backend for something that is not there.

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
            from webapp2_sessions.memcached_nodes import nodes_of  # loads pymemcache

            key = (settings["key_prefix"] + _NOBODYS).encode("ascii")
            nodes_of(each).node_of(key).call("get", key)
        except (BackendError, MissingDependency) as error:
            yield str(error)


def _datastore(config: Mapping[str, Any]) -> Iterator[str]:
    try:
        from webapp2_sessions.datastore import Datastore, ndb  # loads google-cloud-ndb

        store = Datastore(datastore_settings(config))
        # A model that has the kind "Session" might not be ours.
        store.run(lambda: ndb.Key("SessionEnded", _NOBODYS).get(**store.options))
    except (BackendError, ConfigError, MissingDependency) as error:
        yield str(error)
