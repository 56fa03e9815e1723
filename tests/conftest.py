"""Fixtures for the real servers, and which of them a run used.

A server starts when the first test asks for it. Where it is not installed, tests that need
it are skipped with the command that installs it; with REQUIRE_BACKENDS=1 they fail.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeVar

import pytest
from support.chromium import Chromium
from support.servers import (
    PROJECT,
    PROXY_VARIABLES,
    DatastoreEmulator,
    Emulator,
    FirestoreEmulator,
    Memcached,
    Server,
)

AnyServer = TypeVar("AnyServer", bound=Server)

#: One line per server that a test asked for.
SERVER_LINES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the list that the summary prints."""
    config.stash[SERVER_LINES] = []


def pytest_report_header() -> str:
    """Tell which webapp2_sessions is tested: an installed one or the checkout."""
    try:
        package = importlib.import_module("webapp2_sessions")
    except ImportError as error:
        return f"webapp2_sessions: cannot be imported ({error})"
    return f"webapp2_sessions: {package.__file__}"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the servers that were used and those that were missing."""
    if lines := config.stash[SERVER_LINES]:
        terminalreporter.section("servers")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def memcached(pytestconfig: pytest.Config) -> Iterator[Memcached]:
    """A running memcached, shared by the whole run."""
    yield from serve(Memcached(), pytestconfig)


@pytest.fixture(scope="session")
def second_memcached(pytestconfig: pytest.Config) -> Iterator[Memcached]:
    """Another running memcached, shared by the whole run."""
    yield from serve(Memcached(), pytestconfig)


@pytest.fixture(scope="session")
def third_memcached(pytestconfig: pytest.Config) -> Iterator[Memcached]:
    """One more, for sessions on several servers."""
    yield from serve(Memcached(), pytestconfig)


@pytest.fixture(scope="session")
def datastore_emulator(pytestconfig: pytest.Config) -> Iterator[DatastoreEmulator]:
    """A running Datastore emulator, shared by the whole run."""
    yield from serve(DatastoreEmulator(), pytestconfig)


@pytest.fixture(scope="session")
def firestore_emulator(pytestconfig: pytest.Config) -> Iterator[FirestoreEmulator]:
    """A running Firestore emulator in Datastore mode, shared by the whole run."""
    yield from serve(FirestoreEmulator(), pytestconfig)


@pytest.fixture(scope="session")
def chromium(pytestconfig: pytest.Config) -> Iterator[Chromium]:
    """A chromedriver, which starts browsers, shared by the whole run."""
    yield from serve(Chromium(), pytestconfig)


@pytest.fixture
def launch(pytestconfig: pytest.Config) -> Iterator[Callable[[AnyServer], AnyServer]]:
    """Start a server of the test's own, which it may freeze, kill and restart."""
    with ExitStack() as at_end:

        def start(server: AnyServer) -> AnyServer:
            require(server, pytestconfig)
            at_end.callback(server.stop)
            server.start()
            return server

        yield start


@pytest.fixture
def datastore(
    datastore_emulator: DatastoreEmulator, monkeypatch: pytest.MonkeyPatch
) -> DatastoreEmulator:
    """The Datastore emulator; clients made during the test use it."""
    return point_clients_to(datastore_emulator, monkeypatch)


@pytest.fixture
def firestore(
    firestore_emulator: FirestoreEmulator, monkeypatch: pytest.MonkeyPatch
) -> FirestoreEmulator:
    """The Firestore emulator in Datastore mode; clients made during the test use it."""
    return point_clients_to(firestore_emulator, monkeypatch)


@pytest.fixture
def no_channels() -> None:
    """No channel of gRPC is left from the tests before.

    Each looks its server up in a forked child, and again and again where the server has ended.
    gRPC aborts some of the children that are forked meanwhile. Dozens of channels are left.
    """
    datastore = sys.modules.get("webapp2_sessions.sessions_ndb.client")
    if datastore is not None:
        clients = datastore._clients.built
        for client in clients.values():
            client.stub.close()
        clients.clear()
    gc.collect()  # the channels of clients that tests have made


AnyEmulator = TypeVar("AnyEmulator", bound=Emulator)


def point_clients_to(emulator: AnyEmulator, monkeypatch: pytest.MonkeyPatch) -> AnyEmulator:
    """Set the environment that Google's clients read when they are made."""
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", emulator.address)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    for variable in PROXY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    return emulator


def serve(server: AnyServer, config: pytest.Config) -> Iterator[AnyServer]:
    """Start `server` for the tests that ask for it and stop it after the last one."""
    require(server, config)
    server.start()
    config.stash[SERVER_LINES].append(
        f"{server.name} {server.version or '(version unknown)'} at {server.address}"
    )
    try:
        yield server
    finally:
        server.stop()


def require(server: Server, config: pytest.Config) -> None:
    """Skip the test when the server is not installed; with REQUIRE_BACKENDS=1 fail it."""
    reason = server.missing()
    if reason is None:
        return
    line = f"{server.name} missing: {reason}"
    if line not in config.stash[SERVER_LINES]:
        config.stash[SERVER_LINES].append(line)
    if os.environ.get("REQUIRE_BACKENDS") == "1":
        pytest.fail(f"REQUIRE_BACKENDS=1, but {reason}", pytrace=False)
    pytest.skip(reason)
