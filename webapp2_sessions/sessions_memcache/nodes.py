"""The memcached servers of a configuration, and which key goes to which."""

from __future__ import annotations

import functools
import hashlib
import ssl
from collections.abc import Mapping
from typing import Any

from webapp2_sessions.sessions_memcache.servers import Node, OwnClient, Server

__all__ = ["Nodes", "nodes_of"]


class Nodes:
    """The servers, each of them responsible for its share of the keys.

    The share does not change when a server fails: another one would begin with empty sessions,
    and the first would come back with old ones. It is found by rendezvous hashing (Thaler and
    Ravishankar 1998), so that a server which is added or removed for good moves no other keys
    than its own.

    :param nodes: one at least.
    """

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes
        #: The server that is responsible for every key, if it is a single one.
        self.only: Node | None = nodes[0] if len(nodes) == 1 else None
        # A single server needs no hash, of which some systems allow only a few.
        several = nodes if len(nodes) > 1 else ()
        self._hashes = [(_hash(node.address.encode("utf-8")), node) for node in several]

    def node_of(self, key: bytes) -> Node:
        """Return the server that is responsible for a key."""
        if len(self._nodes) == 1:
            return self._nodes[0]
        return max(self._hashes, key=lambda pair: _weight(pair[0], key))[1]


def _hash(data: bytes) -> Any:
    """BLAKE2b, which fixes the place of each key; SHA-256 where Python has no such hash.

    Pythons that are restricted to FIPS 140 lack it, refuse it, or do not know its arguments.
    """
    try:
        return hashlib.blake2b(data, digest_size=8)
    except (AttributeError, TypeError, ValueError):
        return hashlib.sha256(data)


def _weight(address: Any, key: bytes) -> bytes:
    weight = address.copy()
    weight.update(key)
    digest: bytes = weight.digest()
    return digest


def nodes_of(settings: Mapping[str, Any]) -> Nodes:
    """Return the servers of ``config["memcache"]``; the same for the same settings.

    :param settings: with ``servers``, ``timeout``, ``tls_context`` and ``client``.
    """
    if settings["client"] is not None:
        return _own_client(settings["client"])
    return _servers(tuple(settings["servers"]), settings["timeout"], settings["tls_context"])


@functools.lru_cache(maxsize=64)
def _own_client(client: Any) -> Nodes:
    return Nodes([OwnClient(client)])


@functools.lru_cache(maxsize=64)
def _servers(servers: tuple[str, ...], timeout: float, tls_context: ssl.SSLContext | None) -> Nodes:
    return Nodes([Server(address, timeout, tls_context) for address in servers])
