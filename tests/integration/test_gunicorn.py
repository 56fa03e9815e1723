"""Sessions under gunicorn: several workers and threads, loaded in the master or not, and killed.

A preloaded application has used its clients in the master before the workers are forked: it has
read a session while it was imported, or its threads wait for answers at the moment of the fork.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from load.checker import Findings, Outage, check
from load.visitors import Visit, Visitor, visit_all
from support.gunicorn import Gunicorn
from support.servers import PROJECT, DatastoreEmulator, Memcached, Server, wait_until

import webapp2_sessions

#: Seconds after which gunicorn or visitors that make no progress are a failure.
PATIENCE = 60.0

#: Seconds after which the library gives a silent server up; no test is silent for so long.
TIMEOUT = 10.0

#: What a client sees when the worker that serves it is killed.
CUT_OFF = {
    "BrokenPipeError",
    "ConnectionResetError",
    "IncompleteRead",
    "RemoteDisconnected",
}

#: How many visits each thread makes before and after what a test does.
BACKENDS = {"memcache": 80, "datastore": 20, "cached": 30}

EACH_BACKEND = pytest.mark.parametrize("backend", BACKENDS)


def apps(memcached: Memcached) -> dict[str, Any]:
    """An application for each backend, all in each worker."""
    memcache = {"memcache": {"servers": [memcached.address], "timeout": TIMEOUT}}
    datastore: dict[str, Any] = {"project": PROJECT, "timeout": TIMEOUT}
    return {
        "memcache": {"backend": "memcache", "config": memcache},
        "datastore": {"backend": "datastore", "config": {"datastore": datastore}},
        "cached": {
            "backend": "datastore",
            "config": {**memcache, "datastore": {**datastore, "cache": "memcache"}},
        },
    }


@pytest.fixture(scope="module", params=["not preloaded", "read", "traffic"])
def gunicorn(
    request: pytest.FixtureRequest, memcached: Memcached, datastore_emulator: DatastoreEmulator
) -> Iterator[Gunicorn]:
    """A gunicorn whose master does nothing with sessions, has read them, or never stops to."""
    preload = request.param != "not preloaded"
    server = Gunicorn(
        apps(memcached),
        preload=preload,
        in_master=request.param if preload else "",
        variables={"DATASTORE_EMULATOR_HOST": datastore_emulator.address},
    )
    server.start()
    try:
        yield server
        assert "Traceback" not in server.output(), server.output()
    finally:
        server.stop()


class Crowd:
    """Visitors in eight threads, who visit until they are told to stop."""

    def __init__(self, server: Gunicorn, backend: str) -> None:
        self._server, self._backend = server, backend
        self._made = [0] * 8
        self._stop = False

    def visit(self, meanwhile: Callable[[], Any]) -> list[Visit]:
        """What the visitors saw while `meanwhile` was going on, and a bit before and after."""
        visitors = [Visitor(number, random.Random(number)) for number in range(1, 25)]
        groups = [visitors[first :: len(self._made)] for first in range(len(self._made))]
        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(visit_all, self._server.address, self._backend, groups, self._go_on)
            try:
                self._wait_for_visits()
                meanwhile()
                self._wait_for_visits()
            finally:
                self._stop = True
            return work.result(PATIENCE)

    def _go_on(self, group: int, made: int) -> bool:
        self._made[group] = made
        return not self._stop

    def _wait_for_visits(self) -> None:
        """Wait until each thread has made some more visits."""
        enough = [made + BACKENDS[self._backend] for made in self._made]

        def are_made() -> bool:
            return all(made >= some for made, some in zip(self._made, enough, strict=True))

        assert wait_until(are_made, PATIENCE), f"visits by thread: {self._made} of {enough}"


def replace_all_workers(server: Gunicorn) -> Outage:
    """Kill the workers one after the other, so that all that are left were forked after that."""
    began = time.monotonic()
    for old in server.worker_ids():
        server.kill_worker(old)
        assert wait_until(server.answers, PATIENCE), server.output()
    return Outage(began, time.monotonic())


def fall_silent(server: Server) -> None:
    """Freeze a server a few times, until all threads of all workers wait for its answers."""
    for _ in range(3):
        server.freeze()
        time.sleep(0.3)
        server.thaw()


@EACH_BACKEND
def test_visitors_keep_their_sessions(
    gunicorn: Gunicorn, backend: str, memcached: Memcached, datastore_emulator: DatastoreEmulator
) -> None:
    """Whichever worker serves a visitor, it gets the answer that it waits for and no other's."""
    server: Server = datastore_emulator if backend == "datastore" else memcached
    visits = Crowd(gunicorn, backend).visit(lambda: fall_silent(server))
    assert check(visits) == Findings()
    assert len({visit.worker for visit in visits} - {None}) == gunicorn.workers


@EACH_BACKEND
def test_killed_workers(gunicorn: Gunicorn, backend: str) -> None:
    """Killed workers cut visitors off, and the new ones find every session as it was saved."""
    outages: list[Outage] = []
    visits = Crowd(gunicorn, backend).visit(lambda: outages.append(replace_all_workers(gunicorn)))
    findings = check(visits, outages[0])
    assert (findings.lost, findings.foreign, findings.new_sessions) == ([], [], 0)
    assert {when for when, _ in findings.errors} <= {"during"}
    assert {kind for _, kind in findings.errors} <= CUT_OFF
    assert {visit.worker for visit in visits if visit.final} <= set(gunicorn.worker_ids())


def test_package_under_test_is_the_installed_one(gunicorn: Gunicorn) -> None:
    """gunicorn has the package that the other tests have, not what lies in the current folder."""
    facts = gunicorn.facts()
    assert facts is not None
    assert facts["package"] == webapp2_sessions.__file__


def test_master_used_the_sessions(gunicorn: Gunicorn) -> None:
    """The workers' master did with the sessions what the tests above rely on."""
    before = own_visits(gunicorn)
    replace_all_workers(gunicorn)
    after = own_visits(gunicorn)
    expected = {"": 0 == before == after, "read": 0 < before == after, "traffic": before < after}
    assert expected[gunicorn.in_master], (before, after)


def own_visits(server: Gunicorn) -> int:
    """How many visits the master had made by itself when it forked a worker."""
    facts = server.facts()
    assert facts is not None
    return int(facts["own_visits"])
