"""Random programs give the same values, exceptions and Set-Cookie bytes on both sides."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from google.cloud import ndb
from hypothesis import HealthCheck, assume, given, settings
from support import appengine
from support.implementations import OURS, UPSTREAM, Clock, Side, stopped_clock
from support.programs import Program, Run, configs, programs
from support.servers import PROJECT, DatastoreEmulator, Memcached

import webapp2_sessions.sessions_ndb

#: How many programs are run on cookie sessions; the stores get their share of it.
PROGRAMS = int(os.environ.get("PROGRAMS", "10000"))


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    """Keep thousands of warnings of refused cookies from being formatted."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def check(count: int, traces_of: Callable[[dict[str, Any], Program], list[Any]]) -> None:
    """Run so many programs on both sides and compare their traces."""

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(config=configs, program=programs)
    def alike(config: dict[str, Any], program: Program) -> None:
        upstream, ours = traces_of(config, program)
        assert upstream == ours
        ran.append(len(upstream))

    ran: list[int] = []
    alike()
    assert len(ran) >= count


def test_programs_are_alike_on_cookie_sessions() -> None:
    """A program of requests shows the same on upstream's cookie sessions and on ours."""

    def traces_of(config: dict[str, Any], program: Program) -> list[Any]:
        traces = []
        for side in (UPSTREAM, OURS):
            with stopped_clock(Clock()) as clock:
                traces.append(Run(side, config, clock).run(program))
        return traces

    check(PROGRAMS, traces_of)


class StoredPrograms:
    """Runs programs on a stored backend of either side, with the same session ids.

    :param backend: the backend's keyword.
    :param config: what each program's configuration is completed with.
    """

    def __init__(self, backend: str, config: dict[str, Any]) -> None:
        self._backend = backend
        self._config = config
        self._programs = itertools.count()

    def traces_of(self, config: dict[str, Any], program: Program) -> list[Any]:
        """Return what the program shows on upstream and on ours."""
        if self._config.get("serializer") == "json":
            assume("<class 'object'>" not in repr(program))  # can be pickled, and is no JSON
        number = next(self._programs)
        # memcached expires by the real time, from which the stopped clock must not be far.
        start = float(int(time.time()))
        run = {**config, **self._config}
        return [self._trace(side, number, start, run, program) for side in (UPSTREAM, OURS)]

    def _trace(
        self, side: Side, number: int, start: float, config: dict[str, Any], program: Program
    ) -> list[Any]:
        sids = itertools.count()
        factory = side.sessions.CustomBackendSessionFactory

        def new_sid(self: Any) -> str:
            return f"p{number:010d}s{next(sids):010d}"

        with (
            mock.patch.object(factory, "_get_new_sid", new_sid),
            stopped_clock(Clock(start)) as clock,
        ):
            return Run(side, config, clock, self._backend).run(program)


#: Configurations with which nothing looks different to requests that come one by one.
ALIKE = pytest.mark.parametrize(
    "more",
    [{}, {"on_conflict": "merge"}, {"serializer": "json"}, {"on_backend_error": "degrade"}],
    ids=lambda more: "-".join(more.values()) or "default",
)


@ALIKE
def test_programs_are_alike_on_memcache(
    more: dict[str, Any], memcached: Memcached, second_memcached: Memcached
) -> None:
    """Upstream on App Engine's memcache and ours on memcached show the same."""
    appengine.upstream_backend("sessions_memcache")
    servers = [memcached.address, second_memcached.address]
    # The numbered session ids come again in each test.
    prefix = "-".join(["programs", *more.values()])
    config = {
        "memcache": {"servers": servers if more else servers[:1], "key_prefix": prefix},
        **more,
    }
    check(PROGRAMS // (20 if more else 5), StoredPrograms("memcache", config).traces_of)


@ALIKE
@pytest.mark.parametrize("cache", [None, "memcache"])
def test_programs_are_alike_on_datastore(
    more: dict[str, Any], cache: str | None, memcached: Memcached, datastore: DatastoreEmulator
) -> None:
    """Upstream on ndb with App Engine's memcache and ours on Datastore show the same."""
    upstream = appengine.upstream_backend("sessions_ndb").Session
    models = {UPSTREAM: upstream, OURS: webapp2_sessions.sessions_ndb.Session}
    config = {
        "memcache": {"servers": [memcached.address]},
        "datastore": {"project": PROJECT, "cache": cache},
        **more,
    }

    class InContext(StoredPrograms):
        def _trace(self, side: Side, *args: Any) -> list[Any]:
            # Both models have the kind "Session", of which a process knows one.
            kind = mock.patch.dict(ndb.Model._kind_map, {"Session": models[side]})
            with kind, appengine.context(namespace=f"{side}-{cache}-{'-'.join(more)}".lower()):
                return super()._trace(side, *args)

    check(PROGRAMS // (200 if more else 50), InContext("datastore", config).traces_of)
