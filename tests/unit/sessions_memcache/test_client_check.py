"""Clients of an application's own: which would decode what anybody has stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pymemcache import serde
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient
from pymemcache.client.retrying import RetryingClient
from pymemcache.fallback import FallbackClient

from webapp2_sessions.errors import ConfigError
from webapp2_sessions.sessions_memcache.client_check import check_client

SERVER = "127.0.0.1:11211"


class Wrapped:
    """A client of the application's own around another."""

    def __init__(self, client: Any) -> None:
        self._kept = client

    def get(self, key: bytes) -> Any:
        return self._kept.get(key)

    def set(self, key: bytes, value: bytes, *args: Any) -> Any:
        return self._kept.set(key, value, *args)


class Slotted:
    """The same, without a dictionary."""

    __slots__ = ("_kept",)

    def __init__(self, client: Any) -> None:
        self._kept = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kept, name)


class Many:
    """The same, of several."""

    def __init__(self, *clients: Any) -> None:
        self.by_name = dict(enumerate(clients))


MAKERS: dict[str, Callable[..., Any]] = {
    "Client": lambda **options: Client(SERVER, **options),
    "PooledClient": lambda **options: PooledClient(SERVER, **options),
    "HashClient": lambda **options: HashClient([SERVER], **options),
    "pooled HashClient": lambda **options: HashClient([SERVER], use_pooling=True, **options),
    "HashClient without a server": lambda **options: HashClient([], **options),
    "RetryingClient": lambda **options: RetryingClient(Client(SERVER, **options), attempts=2),
    "FallbackClient": lambda **options: FallbackClient(
        (Client(SERVER), PooledClient(SERVER, **options))
    ),
    "wrapped": lambda **options: Wrapped(RetryingClient(HashClient([SERVER], **options))),
    "twice wrapped": lambda **options: Wrapped(Wrapped(PooledClient(SERVER, **options))),
    "slotted": lambda **options: Slotted(PooledClient(SERVER, **options)),
    "many": lambda **options: Many(Client(SERVER), Client(SERVER, **options)),
}

SERDES = {
    "pickle_serde": {"serde": serde.pickle_serde},
    "compressed_serde": {"serde": serde.compressed_serde},
    "serializer": {"serializer": lambda key, value: (json.dumps(value), 0)},
    "deserializer": {"deserializer": lambda key, value, flags: json.loads(value)},
    "both wrapped": {"serde": serde.LegacyWrappingSerde(None, serde.python_memcache_deserializer)},
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("options", SERDES.values(), ids=SERDES)
def test_client_that_decodes_is_refused_wherever_its_serializer_is(
    make: Callable[..., Any], options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"^memcache\['client'\]: must be a client without serde"):
        check_client(make(**options))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_client_without_serde_is_right(
    make: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    check_client(make())
    check_client(make(key_prefix=b"mine:", timeout=1.0))
    check_client(make(serde=serde.LegacyWrappingSerde(None, None)))
    assert caplog.records == []


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_hidden_failures_are_warned_of(
    make: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    # In front of Datastore it does no harm.
    check_client(make(ignore_exc=True))
    [message] = caplog.messages
    assert "ignore_exc=True" in message


def test_attributes_of_a_mock_are_passed_over() -> None:
    class Mock:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: None

    check_client(Mock())


def test_clients_that_have_each_other_are_no_trap() -> None:
    first, second = Wrapped(None), Wrapped(None)
    first._kept, second._kept = second, first
    check_client(first)
