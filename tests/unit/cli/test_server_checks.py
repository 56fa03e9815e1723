"""What is told of servers that do not do what sessions need."""

from __future__ import annotations

from typing import Any

from pymemcache.client.base import PooledClient
from pymemcache.serde import pickle_serde
from support.visits import SECRET

from webapp2_sessions.cli.server_checks import unreachable
from webapp2_sessions.config import SessionConfig


class Forgetful:
    """A memcached that keeps nothing larger than a kilobyte, without a word."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.deleted: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        return self.kept.get(key)

    def set(self, key: bytes, value: bytes, expire: int, noreply: bool) -> bool:
        if len(value) <= 1024:
            self.kept[key] = value
        return True

    def delete(self, key: bytes, noreply: bool) -> bool:
        self.deleted.append(key)
        return True


def told(client: Any) -> list[str]:
    """What is told of an application's own client."""
    config = SessionConfig({"secret_key": SECRET, "memcache": {"client": client}})
    return unreachable(config, "memcache")


def test_value_that_does_not_come_back() -> None:
    """The size is told; and the value is deleted, should it be there."""
    client = Forgetful()
    [problem] = told(client)
    assert problem.endswith("a value of 1048064 bytes did not come back")
    [key] = client.deleted
    assert key.startswith(b"session:webapp2-sessions-check:")


def test_client_that_decodes() -> None:
    """It is told, and not asked anything."""
    [problem] = told(PooledClient("127.0.0.1:1", serde=pickle_serde))
    assert "must be a client without serde" in problem


def test_keys_of_two_checks_differ() -> None:
    """They may run at once."""
    client = Forgetful()
    told(client)
    told(client)
    assert len(set(client.deleted)) == 2
