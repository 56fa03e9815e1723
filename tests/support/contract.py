"""The backends that keep one contract, each as an application is configured for it."""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Callable
from typing import Any

import pytest
import webapp2

from support.implementations import OURS, records_factory
from support.servers import PROJECT
from support.visits import Visitor, make_app
from webapp2_sessions.testing import MemorySessionFactory

__all__ = ["BACKENDS", "KINDS", "MANAGED", "PATIENCE", "RECORDS", "SIGNED", "STORED", "Backend"]

#: Seconds after which a thread that hangs is a failure.
PATIENCE = 60.0

#: Numbers that keep the prefixes of parallel runs on one memcached apart.
_numbers = itertools.count()


class Backend:
    """A backend under test: how an application is configured for it, and how it is opened.

    :param keyword: the ``backend=`` of ``get_session``.
    :param keeps_types: whether Python types come back as they were.
    """

    def __init__(self, keyword: str, keeps_types: bool, **config: Any) -> None:
        self.keyword = keyword
        self.keeps_types = keeps_types
        self._config = config

    @property
    def is_stored(self) -> bool:
        """Whether the data is on a server, where it can be deleted."""
        return not self.is_cookie or "on_oversize" in self._config

    @property
    def detects_content(self) -> bool:
        """Whether it compares with what was loaded."""
        return self._config.get("change_detection") == "content"

    @property
    def configured_keys(self) -> list[str]:
        """The keys of the configuration that it needs."""
        return list(self._config)

    @property
    def is_ours(self) -> bool:
        """Whether it can destroy and renew; a backend of upstream's kind knows nothing of it."""
        return self.keyword != "custom"

    @property
    def is_cookie(self) -> bool:
        """Whether the cookie holds the data itself, and no id."""
        return self.keyword in ("securecookie", "encryptedcookie")

    @property
    def pickles(self) -> bool:
        """Whether it is one of the package's that writes pickles."""
        is_stored = self.is_ours and not self.is_cookie and self.keyword != "own"
        return is_stored and self._config.get("serializer") != "json"

    @property
    def merges(self) -> bool:
        """Whether changes of requests at once are merged."""
        return self._config.get("on_conflict") == "merge"

    def configured(self, **config: Any) -> Backend:
        """Return this backend with more configuration."""
        return Backend(self.keyword, self.keeps_types, **{**self._config, **config})

    def app(self, **config: Any) -> webapp2.WSGIApplication:
        """Return an application with this backend."""
        return make_app(**{**self._config, **config})

    def visitor(self, app: webapp2.WSGIApplication | None = None) -> Visitor:
        """Return a visitor without cookies."""
        return Visitor(app or self.app(), backend=self.keyword)


def _securecookie(request: pytest.FixtureRequest) -> Backend:
    return Backend("securecookie", False)


def _encryptedcookie(request: pytest.FixtureRequest) -> Backend:
    return Backend("encryptedcookie", False)


def _custom(request: pytest.FixtureRequest) -> Backend:
    return Backend("custom", True, backends={"custom": records_factory(OURS, {})})


def _memory(request: pytest.FixtureRequest) -> Backend:
    return Backend("memory", True, backends={"memory": MemorySessionFactory})


def _memcache(request: pytest.FixtureRequest) -> Backend:
    server = request.getfixturevalue("memcached")
    settings = {"servers": [server.address], "key_prefix": f"contract{next(_numbers)}:"}
    return Backend("memcache", True, memcache=settings)


def _redis(request: pytest.FixtureRequest) -> Backend:
    server = request.getfixturevalue("redis_server")
    return Backend("redis", True, redis={"url": server.url, "key_prefix": _prefix()})


def _prefix() -> str:
    """Return a prefix that no other test has."""
    return f"contract{os.getpid()}x{next(_numbers)}:"


def _datastore(request: pytest.FixtureRequest) -> Backend:
    request.getfixturevalue("datastore")
    return Backend("datastore", True, datastore={"project": PROJECT, "timeout": PATIENCE})


def _firestore(request: pytest.FixtureRequest) -> Backend:
    request.getfixturevalue("firestore")
    return Backend("datastore", True, datastore={"project": PROJECT, "timeout": PATIENCE})


def _cached_datastore(request: pytest.FixtureRequest) -> Backend:
    request.getfixturevalue("datastore")
    server = request.getfixturevalue("memcached")
    settings = {"servers": [server.address], "key_prefix": f"contract{next(_numbers)}:"}
    datastore = {"project": PROJECT, "cache": "memcache", "timeout": PATIENCE}
    return Backend("datastore", True, datastore=datastore, memcache=settings)


def _redis_cached_datastore(request: pytest.FixtureRequest) -> Backend:
    request.getfixturevalue("datastore")
    settings = {"url": request.getfixturevalue("redis_server").url, "key_prefix": _prefix()}
    datastore = {"project": PROJECT, "cache": "redis", "timeout": PATIENCE}
    return Backend("datastore", True, datastore=datastore, redis=settings)


def _nodes(request: pytest.FixtureRequest) -> Backend:
    servers = [request.getfixturevalue("memcached"), request.getfixturevalue("second_memcached")]
    settings = {
        "servers": [server.address for server in servers],
        "key_prefix": f"contract{next(_numbers)}:",
    }
    return Backend("memcache", True, memcache=settings)


def _spill(request: pytest.FixtureRequest, keyword: str = "securecookie") -> Backend:
    """Sessions in cookies that are all too large."""
    server = request.getfixturevalue("memcached")
    settings = {"servers": [server.address], "key_prefix": f"contract{next(_numbers)}:"}
    spill = {"on_oversize": "memcache", "max_cookie_size": 1}
    return Backend(keyword, False, memcache=settings, **spill)


def _redis_spill(request: pytest.FixtureRequest) -> Backend:
    """Return the same, in Redis."""
    spill = {"on_oversize": "redis", "max_cookie_size": 1}
    return Backend("securecookie", False, **_redis(request)._config, **spill)


def _encrypted_spill(request: pytest.FixtureRequest) -> Backend:
    """Return the same, with an encrypted cookie."""
    return _spill(request, "encryptedcookie")


Maker = Callable[[pytest.FixtureRequest], Backend]


def _with(make: Maker, **config: Any) -> Maker:
    """Return the backend with more configuration."""

    def made(request: pytest.FixtureRequest) -> Backend:
        return make(request).configured(**config)

    return made


_LIFETIMES = {"refresh_after": 3600, "absolute_max_age": 30 * 24 * 3600}

#: One of each kind, which `--quick` tries.
KINDS: dict[str, Maker] = {
    "memory": _memory,
    "securecookie": _securecookie,
    "encryptedcookie": _encryptedcookie,
    "custom": _custom,
    "spill": _spill,
    "memcache": _memcache,
    "redis": _redis,
    "datastore": _datastore,
    "cached-datastore": _cached_datastore,
}

#: All, with their variants.
BACKENDS: dict[str, Maker] = {
    **KINDS,
    "memory-content": _with(_memory, change_detection="content"),
    "memory-all": _with(
        _memory, on_conflict="merge", serializer="json", on_backend_error="degrade", **_LIFETIMES
    ),
    "securecookie-lifetimes": _with(_securecookie, **_LIFETIMES),
    "encryptedcookie-lifetimes": _with(_encryptedcookie, **_LIFETIMES),
    "securecookie-content": _with(_securecookie, change_detection="content"),
    "encrypted-spill": _encrypted_spill,
    "memcache-content": _with(_memcache, change_detection="content"),
    "memcache-nodes": _nodes,
    "memcache-merge": _with(_memcache, on_conflict="merge"),
    "memcache-json": _with(_memcache, serializer="json"),
    "memcache-all": _with(
        _nodes, on_conflict="merge", serializer="json", on_backend_error="degrade", **_LIFETIMES
    ),
    "redis-content": _with(_redis, change_detection="content"),
    "redis-merge": _with(_redis, on_conflict="merge"),
    "redis-all": _with(
        _redis, on_conflict="merge", serializer="json", on_backend_error="degrade", **_LIFETIMES
    ),
    "redis-spill": _redis_spill,
    "firestore": _firestore,
    "datastore-merge": _with(_datastore, on_conflict="merge"),
    "firestore-merge": _with(_firestore, on_conflict="merge"),
    "datastore-json": _with(_datastore, serializer="json"),
    "cached-datastore-merge": _with(_cached_datastore, on_conflict="merge"),
    "redis-cached-datastore": _redis_cached_datastore,
    "redis-cached-datastore-merge": _with(_redis_cached_datastore, on_conflict="merge"),
    "cached-datastore-json": _with(_cached_datastore, serializer="json"),
    "cached-datastore-all": _with(
        _cached_datastore,
        on_conflict="merge",
        serializer="json",
        on_backend_error="degrade",
        **_LIFETIMES,
    ),
}


def _own(request: pytest.FixtureRequest) -> Backend:
    """Return the custom backend that the function named by CONTRACT configures."""
    module, _, name = os.environ["CONTRACT"].partition(":")
    return Backend("own", True, **getattr(importlib.import_module(module), name)())


if "CONTRACT" in os.environ:  # docs/custom-backend.md tells of it
    KINDS = {"own": _own}
    BACKENDS = {
        **KINDS,
        "own-lifetimes": _with(_own, **_LIFETIMES),
        "own-content": _with(_own, change_detection="content"),
        "own-merge": _with(_own, on_conflict="merge"),
    }

#: Those that can end a session and give it a new id; upstream has no such thing.
MANAGED = [name for name in BACKENDS if name != "custom"]
#: Those that keep sessions on a server, also only those that are too large for a cookie.
STORED = [name for name in MANAGED if not name.startswith(("securecookie", "encryptedcookie"))]
#: Those of which each cookie holds an id.
RECORDS = [name for name in STORED if not name.endswith("spill")]
#: Those whose cookies upstream can write.
SIGNED = [name for name in BACKENDS if name.startswith("securecookie")]
