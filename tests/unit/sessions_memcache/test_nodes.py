"""Which key goes to which server, and that it stays there."""

from __future__ import annotations

import hashlib
import ssl
from collections import Counter
from typing import Any

import pytest
from pymemcache.client.base import PooledClient

from webapp2_sessions.config import memcache_settings
from webapp2_sessions.sessions_memcache.nodes import Nodes, nodes_of
from webapp2_sessions.sessions_memcache.servers import Server

KEYS = [b"session:%022d" % number for number in range(3000)]


def servers(*addresses: str) -> Nodes:
    """The nodes of some servers."""
    return Nodes([Server(address, 1.0) for address in addresses])


def places(nodes: Nodes) -> dict[bytes, str]:
    """Where each key goes."""
    return {key: nodes.node_of(key).address for key in KEYS}


def settings(**memcache: Any) -> dict[str, Any]:
    """The settings of a configuration."""
    return memcache_settings({"memcache": memcache})


def test_one_server_has_all_keys() -> None:
    """There is nothing to choose."""
    assert set(places(servers("a:1")).values()) == {"a:1"}


def test_keys_are_spread_evenly() -> None:
    """Each server has its share, give or take five standard deviations."""
    counts = Counter(places(servers("a:1", "b:1", "c:1")).values())
    assert len(counts) == 3
    assert all(1000 - 130 < count < 1000 + 130 for count in counts.values())


def test_order_of_the_servers_does_not_matter() -> None:
    """Two applications that list them differently agree."""
    assert places(servers("a:1", "b:1", "c:1")) == places(servers("c:1", "a:1", "b:1"))


def test_added_server_takes_its_share_only() -> None:
    """No key moves between the servers that were there before."""
    before, after = places(servers("a:1", "b:1")), places(servers("a:1", "b:1", "c:1"))
    assert {after[key] for key in KEYS if after[key] != before[key]} == {"c:1"}


def test_place_of_a_key_is_fixed() -> None:
    """Another version of this package finds the sessions of this one."""
    nodes = servers("10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211")
    assert [nodes.node_of(key).address[7] for key in KEYS[:12]] == list(PLACES)


#: Which of the three servers has each of the first keys.
PLACES = "132131222223"


# Pythons that are restricted to FIPS 140


def refuse(*_: Any, **__: Any) -> Any:
    """What hash functions do that are switched off."""
    raise ValueError("disabled for FIPS")


def unknown(data: bytes = b"", *, usedforsecurity: bool = True) -> Any:
    """OpenSSL's BLAKE2b, which has no length of its own."""


FIPS = pytest.mark.parametrize("blake2b", [None, refuse, unknown], ids=["missing", "off", "other"])


def restrict(monkeypatch: pytest.MonkeyPatch, blake2b: Any) -> None:
    """Take BLAKE2b away."""
    if blake2b is None:
        monkeypatch.delattr(hashlib, "blake2b")
    else:
        monkeypatch.setattr(hashlib, "blake2b", blake2b)


@FIPS
def test_one_server_without_blake2b(monkeypatch: pytest.MonkeyPatch, blake2b: Any) -> None:
    """It has all keys, and no hash is asked for."""
    restrict(monkeypatch, blake2b)
    monkeypatch.setattr(hashlib, "sha256", refuse)
    assert set(places(servers("a:1")).values()) == {"a:1"}


@FIPS
def test_several_servers_without_blake2b(monkeypatch: pytest.MonkeyPatch, blake2b: Any) -> None:
    """SHA-256 spreads the keys as well, to fixed places."""
    restrict(monkeypatch, blake2b)
    nodes = servers("10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211")
    assert [nodes.node_of(key).address[7] for key in KEYS[:12]] == list(PLACES_BY_SHA256)
    counts = Counter(places(nodes).values())
    assert all(1000 - 130 < count < 1000 + 130 for count in counts.values())


#: As PLACES, where BLAKE2b is not to be had.
PLACES_BY_SHA256 = "232111321223"


# Settings


def test_same_settings_give_the_same_servers() -> None:
    """Sessions and the cache of Datastore share what is known of a silent server."""
    some = {"servers": ["a:1", "b:1"], "timeout": 0.5}
    assert nodes_of(settings(**some)) is nodes_of(settings(**some, key_prefix="other:"))


@pytest.mark.parametrize(
    "other",
    [
        {"servers": ["a:1"]},
        {"timeout": 2.0},
        {"tls_context": ssl.create_default_context()},
        {"client": object.__new__(PooledClient)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_settings_give_other_servers(other: dict[str, Any]) -> None:
    """Each of the settings is taken into account."""
    assert nodes_of(settings(**other)) is not nodes_of(settings())
