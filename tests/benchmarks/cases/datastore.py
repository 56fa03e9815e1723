"""Sessions in Datastore, beside what plain clients need for the same entity."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import webapp2
from google.cloud import ndb
from support.servers import PROJECT
from support.steps import Steps

from benchmarks.bench import KEYS, Bench
from benchmarks.data import SECRET, session_data
from benchmarks.measure import Contender
from benchmarks.peers import OURS
from benchmarks.peers.clients import client
from benchmarks.peers.webapp2_peer import our_site
from benchmarks.results import Table, table_of
from benchmarks.sites import Site
from webapp2_sessions import SessionStore
from webapp2_sessions.sessions_ndb import DatastoreSessionFactory

__all__ = ["run"]

PLAIN = "plain client"
CONTROL = "plain client again"
ALONE = f"{OURS}, backend alone"
REQUEST = f"{OURS}, whole request"

#: A just started emulator is slow until it has done some thousand operations.
_WARM_UP = 1500

_OPTIONS = {"timeout": 5, "retries": 0, "use_cache": False, "use_global_cache": False}


class Plain(ndb.Model):  # type: ignore[misc] # ndb has no types
    """What the entity of a session would be without this package."""

    updated = ndb.DateTimeProperty(auto_now=True)
    data = ndb.PickleProperty()


def run(bench: Bench) -> Table:
    """Reading from the cache, reading from Datastore, and writing with and without the cache."""
    address, _ = bench.memcached.address, bench.emulator
    plain = _Plain(address)
    plain.warm_up()
    config = {"memcache": {"servers": [address]}}
    cached = our_site("datastore", datastore={"cache": "memcache"}, **config)
    uncached = our_site("datastore", **config)
    with_cache = {"datastore": {"cache": "memcache"}, **config}
    trials = {
        "read, in the cache": (plain.get_cached, _reader(with_cache), cached, "/read"),
        "read, not cached": (plain.get, _reader(config), uncached, "/read"),
        "write": (plain.put, _writer(with_cache), cached, "/modify"),
        "write, not cached": (plain.put, _writer(config), uncached, "/modify"),
    }
    contenders = {column: _contenders(*trial) for column, trial in trials.items()}
    return table_of(
        "datastore",
        f"A session of {KEYS} keys in Datastore, with memcached in front",
        {column: bench.measure(own, PLAIN) for column, own in contenders.items()},
        _operations(contenders),
        notes=[
            "The plain client: a get of pymemcache and an unpickling, a get of ndb, a put of ndb.",
            "The note has what is asked of memcached and of Datastore for each column.",
        ],
    )


class _Plain:
    """An entity and a cache entry that hold a session's data."""

    def __init__(self, address: str) -> None:
        self._memcached = client(address)
        self._ndb = ndb.Client(project=PROJECT)
        self._data = session_data(KEYS)
        self._memcached.set("plain", pickle.dumps(self._data, pickle.HIGHEST_PROTOCOL))

    def get_cached(self) -> Any:
        return pickle.loads(self._memcached.get("plain"))

    def get(self) -> Any:
        with self._ndb.context():
            return ndb.Key(Plain, "plain").get(**_OPTIONS).data

    def put(self) -> None:
        with self._ndb.context():
            Plain(id="plain", data=self._data).put(**_OPTIONS)

    def warm_up(self) -> None:
        for _ in range(_WARM_UP):
            self.put()
            self.get()


def _contenders(
    plain: Callable[[], object], alone: Callable[[], object], site: Site, path: str
) -> list[Contender]:
    request = site.contender(path, site.checked(KEYS))
    return [
        Contender(PLAIN, plain),
        Contender(CONTROL, plain),
        Contender(ALONE, alone),
        Contender(REQUEST, request.run, request.bare),
    ]


def _factory(config: dict[str, Any]) -> DatastoreSessionFactory:
    """What a request would make, for a session that is stored."""
    request = webapp2.Request.blank("/")
    request.app = webapp2.WSGIApplication(
        config={"webapp2_extras.sessions": {"secret_key": SECRET, **config}}
    )
    return DatastoreSessionFactory("alone", SessionStore(request))


def _reader(config: dict[str, Any]) -> Callable[[], object]:
    factory = _factory(config)
    sid = factory._get_new_sid()
    factory._write(sid, session_data(KEYS), None)
    return lambda: factory._read(sid)


def _writer(config: dict[str, Any]) -> Callable[[], object]:
    factory, data = _factory(config), session_data(KEYS)
    sid = factory._get_new_sid()
    factory._write(sid, data, None)
    factory._is_stored = True
    return lambda: factory._write(sid, data, None)


def _operations(contenders: dict[str, list[Contender]]) -> dict[str, str]:
    """What each contender asks its servers, in the order of the columns."""
    asked: dict[str, list[str]] = {}
    with pytest.MonkeyPatch.context() as patch:
        steps = Steps(patch)
        for own in contenders.values():
            for contender in own:
                contender.run()  # the first one may fill the cache
                with steps.counted(lambda _: None):
                    contender.run()
                asked.setdefault(contender.name, []).append(" + ".join(steps.operations))
    return {name: " / ".join(each) for name, each in asked.items()}
