"""A stand-in for the parts of the App Engine SDK that webapp2_extras' backends import.

`install()` makes `google.appengine.api.memcache`, `google.appengine.ext.ndb` and
`google.appengine.ext.testbed` importable on Python 3: memcache lives in this process, ndb is
google.cloud.ndb and needs DATASTORE_EMULATOR_HOST. It serves to run upstream's own backends
and upstream's own tests; nothing else should depend on it.
"""

from __future__ import annotations

import functools
import importlib
import pickle
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

from google.cloud import ndb
from google.cloud.ndb import context as ndb_context
from google.cloud.ndb import key as ndb_key
from google.cloud.ndb import model as ndb_model
from google.cloud.ndb import tasklets as ndb_tasklets

__all__ = [
    "DELETE_ITEM_MISSING",
    "DELETE_SUCCESSFUL",
    "Memcache",
    "Testbed",
    "context",
    "install",
    "upstream_backend",
]

#: What `Memcache.delete` gives, as numbered by the SDK.
DELETE_ITEM_MISSING = 1
DELETE_SUCCESSFUL = 2

#: Longer times are absolute, as in memcached.
THIRTY_DAYS = 30 * 24 * 3600

PROJECT = "test"


class Memcache:
    """App Engine's memcache API, kept in a dict.

    Values are pickled when they are set and unpickled by every get, so nobody shares an
    object with the cache.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, str], tuple[bytes, float]] = {}

    def get(self, key: str, namespace: str | None = None, for_cas: bool = False) -> Any:
        """Return the value, or None when there is none."""
        with self._lock:
            pickled = self._living((namespace or "", key))
        return None if pickled is None else pickle.loads(pickled)

    def set(
        self,
        key: str,
        value: object,
        time: float = 0,
        min_compress_len: int = 0,
        namespace: str | None = None,
    ) -> bool:
        """Store a value, for `time` seconds or until that Unix time; 0 means for good."""
        entry = (pickle.dumps(value, 2), _expiry(time))
        with self._lock:
            self._entries[namespace or "", key] = entry
        return True

    def add(
        self,
        key: str,
        value: object,
        time: float = 0,
        min_compress_len: int = 0,
        namespace: str | None = None,
    ) -> bool:
        """Store a value unless there is one; tells whether it was stored."""
        entry = (pickle.dumps(value, 2), _expiry(time))
        with self._lock:
            if self._living((namespace or "", key)) is not None:
                return False
            self._entries[namespace or "", key] = entry
        return True

    def delete(self, key: str, seconds: float = 0, namespace: str | None = None) -> int:
        """Drop a value; tells by number whether there was one."""
        with self._lock:
            found = self._living((namespace or "", key)) is not None
            self._entries.pop((namespace or "", key), None)
        return DELETE_SUCCESSFUL if found else DELETE_ITEM_MISSING

    def flush_all(self) -> bool:
        """Drop everything."""
        with self._lock:
            self._entries.clear()
        return True

    def _living(self, place: tuple[str, str]) -> bytes | None:
        """Return the pickled value when it is there and has not expired."""
        pickled, expiry = self._entries.get(place, (None, 0.0))
        return pickled if time.time() < expiry else None


def _expiry(seconds: float) -> float:
    """Return the Unix time until which an entry lives."""
    if not seconds:
        return float("inf")
    return seconds if seconds > THIRTY_DAYS else time.time() + seconds


#: One cache for the process, as the SDK's module is.
MEMCACHE = Memcache()


@functools.cache
def _client() -> ndb.Client:
    """Return the process's client; the emulator's address is read when it is made."""
    return ndb.Client(project=PROJECT)


@contextmanager
def context(namespace: str = "") -> Iterator[None]:
    """Enter an ndb context, as every App Engine request has one.

    Code inside may call `Key.get()`, `put()` and queries as it would on App Engine.
    """
    with _client().context(namespace=namespace):
        yield


class Testbed:
    """Provides an empty Datastore (in a new namespace) and memcache for each activation."""

    __test__ = False  # the name is the SDK's; pytest need not look for tests in it

    def __init__(self) -> None:
        self._active = ExitStack()

    def activate(self) -> None:
        """Enter an ndb context."""
        self._active.enter_context(context(namespace=uuid.uuid4().hex))

    def deactivate(self) -> None:
        """Leave the ndb context."""
        self._active.close()

    def init_memcache_stub(self) -> None:
        """Start with an empty memcache."""
        MEMCACHE.flush_all()

    def init_datastore_v3_stub(self) -> None:
        """Nothing to do: the emulator is real."""

    def init_user_stub(self) -> None:
        """Nothing to do: no user service is offered."""


def install() -> None:
    """Make the stand-in importable as `google.appengine`; a second call changes nothing."""
    if "google.appengine" in sys.modules:
        return
    ndb_model.Model._reset_kind_map = classmethod(_reset_kind_map)
    legacy: dict[str, object] = {"transaction": ndb.transaction, "StringProperty": string_property}
    model = _module("ext.ndb.model", vars(ndb_model), **legacy)
    tasklets = _module("ext.ndb.tasklets", vars(ndb_tasklets), get_context=ndb_context.get_context)
    key = _module("ext.ndb.key", vars(ndb_key))
    legacy_ndb = _module("ext.ndb", vars(ndb), model=model, tasklets=tasklets, key=key)
    testbed = _module("ext.testbed", Testbed=Testbed)
    memcache = _module("api.memcache", _api_of(MEMCACHE))
    ext = _module("ext", ndb=legacy_ndb, testbed=testbed)
    api = _module("api", memcache=memcache)
    # "google" is a namespace package that other distributions share: add to it, replace nothing.
    sys.modules["google"].appengine = _module("", ext=ext, api=api)


def upstream_backend(name: str) -> ModuleType:
    """Import one of upstream's backend modules, ``sessions_memcache`` or ``sessions_ndb``.

    Upstream's model has the kind of ours, "Session", of which a process knows one: the
    import leaves things as they were.
    """
    install()
    importlib.import_module("webapp2_sessions.sessions_ndb")
    with mock.patch.dict(ndb_model.Model._kind_map):
        return importlib.import_module(f"webapp2_extras.appengine.{name}")


def string_property(*args: Any, indexed: bool = True, **options: Any) -> ndb.Property:
    """Return a StringProperty, or the TextProperty that replaces an unindexed one."""
    kind = ndb.StringProperty if indexed else ndb.TextProperty
    return kind(*args, indexed=indexed, **options)


def _reset_kind_map(cls: Any) -> None:
    """Forget all models but the built-in ones; google.cloud.ndb dropped this method."""
    builtin = {kind: model for kind, model in cls._kind_map.items() if kind.startswith("__")}
    cls._kind_map.clear()
    cls._kind_map.update(builtin)


def _api_of(memcache: Memcache) -> dict[str, object]:
    """Return the names of the SDK's memcache module."""
    functions = {
        name: getattr(memcache, name) for name in ("get", "set", "add", "delete", "flush_all")
    }
    return {
        **functions,
        "DELETE_ITEM_MISSING": DELETE_ITEM_MISSING,
        "DELETE_SUCCESSFUL": DELETE_SUCCESSFUL,
    }


def _module(path: str, names: dict[str, Any] | None = None, **more: object) -> ModuleType:
    """Return a module below google.appengine with the public names given, put into sys.modules."""
    name = f"google.appengine.{path}".rstrip(".")
    module = ModuleType(name, "A stand-in for the App Engine SDK's module of this name.")
    public = {key: value for key, value in (names or {}).items() if not key.startswith("_")}
    vars(module).update(public, **more)
    module.__path__ = []  # a package, so that submodules may be imported
    sys.modules[name] = module
    return module
