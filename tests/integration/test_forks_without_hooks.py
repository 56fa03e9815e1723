"""Processes that fork without Python's hooks, as those of uWSGI: in a program of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.servers import DatastoreEmulator, Memcached

TESTS = Path(__file__).parents[1]

#: Seconds after which a program that hangs is a failure.
PATIENCE = 60.0

#: Forks by the system's function. PyDLL keeps Python's lock, of which the child has need.
BEGIN = """
import ctypes, os, sys
from support.visits import Visitor, make_app

fork = ctypes.PyDLL(None).fork

def in_children(action, count):
    pids = []
    for number in range(count):
        pid = fork()
        if pid == 0:
            try:
                os._exit(0 if action(number) else 1)
            except BaseException as error:
                print("child:", repr(error), file=sys.stderr, flush=True)
                os._exit(2)
        pids.append(pid)
    return pids

def are_well(pids):
    return all(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 for pid in pids)
"""

MEMCACHED = """
from webapp2_sessions.sessions_memcache.servers import _clients

app = make_app(memcache={"servers": [sys.argv[1]], "timeout": 10.0})
visitor = Visitor(app, backend="memcache")
visitor.write({"n": -1})  # the warm-up
[parents] = _clients.built.values()
kept = [connection for _, connection in parents._idle]
assert kept

def use(number):
    mine = Visitor(app, backend="memcache")
    for turn in range(100):
        mine.write({"n": [number, turn]})
        if mine.read() != {"n": [number, turn]}:
            return False
    [own] = _clients.built.values()
    return own is not parents and all(each.fileno() != -1 for each in kept)

children = in_children(use, 3)
for turn in range(100):  # the parent goes on meanwhile, by its own connection
    visitor.write({"n": turn})
assert visitor.read() == {"n": 99}
assert [connection for _, connection in parents._idle] == kept
assert are_well(children)
print("well")
"""

DATASTORE = """
from webapp2_sessions.sessions_ndb import client as datastore

app = make_app(datastore={"timeout": 10.0})
store = datastore.Datastore({"timeout": 10.0})
parents = store._client(datastore.Place(None, None))
gate = datastore._fork_gate

def use(number):
    own = store._client(datastore.Place(None, None))
    return own is not parents and own.stub is not parents.stub and gate.run(lambda: True)

assert are_well(in_children(use, 2))
assert store._client(datastore.Place(None, None)) is parents
print("well")
"""


def run(program: str, *arguments: str) -> None:
    """Run a program that says in the end that all is well."""
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BEGIN + program, *arguments],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (finished.stdout, finished.returncode) == ("well\n", 0), finished.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another C library")
def test_memcached_connections_are_not_inherited(memcached: Memcached) -> None:
    """Children that nobody told of the fork neither use the parent's connections nor close them."""
    run(MEMCACHED, memcached.address)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another C library")
def test_datastore_clients_are_not_inherited(datastore: DatastoreEmulator) -> None:
    """The same of gRPC's channel, and of the gate between forks and requests."""
    assert datastore.address == os.environ["DATASTORE_EMULATOR_HOST"]
    run(DATASTORE)
