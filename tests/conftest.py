"""What a run is and what it was; and fixtures for the real servers.

A server starts when the first test asks for it. Where it is not installed, tests that need
it are skipped with the command that installs it; with REQUIRE_BACKENDS=1 they fail, except those
of Valkey, which Debian 12 does not have: the last lines tell how many of them were skipped.
"""

from __future__ import annotations

import gc
import os
import platform
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
from support.chromium import Chromium
from support.servers import (
    PROJECT,
    PROXY_VARIABLES,
    DatastoreEmulator,
    Emulator,
    FirestoreEmulator,
    Memcached,
    Redis,
    Server,
    Valkey,
)

import webapp2_sessions

AnyServer = TypeVar("AnyServer", bound=Server)

HERE = Path(__file__).parent

#: What `--quick` leaves out, because it takes long and asks what happens in rare cases, or is not
#: about the product. Left are the unit tests, all of upstream's behaviour beside ours, the contract
#: on each backend and its real server, a real WSGI server, and the examples of the documentation.
SLOW = {
    HERE / name
    for name in (
        *("browser", "faults", "packaging", "races", "typing"),
        *("world/test_coherence_protocol.py", "world/test_mutants.py"),
        *("unit/test_benchmarks.py", "unit/test_pytest_plugin.py"),
        *(f"integration/test_{name}.py" for name in ("cli", "datastore_places")),
        *("integration/test_demo.py", "integration/test_demo_account.py"),
        *(f"integration/test_{name}.py" for name in ("gunicorn", "load_run", "purging")),
        *("integration/test_redis_groups.py", "integration/test_user_patterns.py"),
    )
}

#: The servers that were used, with their versions.
SERVERS = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make test`."""
    parser.addoption("--quick", action="store_true", help="leave out what takes long")


def pytest_configure(config: pytest.Config) -> None:
    """Take less of what there is endlessly much of, when it has to be quick."""
    config.stash[SERVERS] = set()
    if config.getoption("quick"):
        os.environ.setdefault("PROGRAMS", "300")
        os.environ.setdefault("WORLDS", "6")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what is slow, when it has to be quick, and what has an environment of its own."""
    if collection_path == HERE / "appengine":  # `nox -s appengine` runs it without this file
        return True
    return True if config.getoption("quick") and collection_path in SLOW else None


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Tell what will be run and for how long, and which webapp2_sessions it tests."""
    lines = [f"webapp2_sessions: {webapp2_sessions.__file__}"]
    if config.getoption("quick"):
        left_out = ", ".join(sorted(str(path.relative_to(HERE)) for path in SLOW))
        lines.append(f"quick tests, three minutes; `make test-full` runs also {left_out}")
    elif config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        lines.append("all tests, about 20 minutes; `make test` runs the quick ones")
    return lines


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Tell what was run, and for each cause how many tests were skipped."""
    which = "the quick" if config.getoption("quick") else "the chosen"
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS and which != "the quick":
        which = "all"
    servers = ", ".join(sorted(config.stash[SERVERS])) or "no server"
    python = platform.python_version()
    terminalreporter.section("what was run")
    terminalreporter.write_line(f"{which} tests, on Python {python}, with {servers}")
    skipped = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()))
    for reason, number in skipped.most_common():
        terminalreporter.write_line(f"{number} skipped: {reason.removeprefix('Skipped: ')}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell pytest-xdist, in a worker of it, which servers were used."""
    if output := getattr(session.config, "workeroutput", None):
        output["servers"] = sorted(session.config.stash[SERVERS])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear of it from a worker."""
    node.config.stash[SERVERS].update(getattr(node, "workeroutput", {}).get("servers", ()))


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
def redis_server(pytestconfig: pytest.Config) -> Iterator[Redis]:
    """A running redis-server, shared by the whole run."""
    yield from serve(Redis(), pytestconfig)


@pytest.fixture(scope="session")
def valkey_server(pytestconfig: pytest.Config) -> Iterator[Valkey]:
    """A running valkey-server, shared by the whole run."""
    yield from serve(Valkey(), pytestconfig)


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
def launch() -> Iterator[Callable[[AnyServer], AnyServer]]:
    """Start a server of the test's own, which it may freeze, kill and restart."""
    with ExitStack() as at_end:

        def start(server: AnyServer) -> AnyServer:
            require(server)
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
    require(server)
    server.start()
    config.stash[SERVERS].add(f"{server.name} {server.version or '(version unknown)'}")
    try:
        yield server
    finally:
        server.stop()


def require(server: Server) -> None:
    """Skip the test when the server is not installed; with REQUIRE_BACKENDS=1 fail it.

    What is optional is skipped in any case.
    """
    reason = server.missing()
    if reason is None:
        return
    if os.environ.get("REQUIRE_BACKENDS") == "1" and not server.is_optional:
        pytest.fail(f"REQUIRE_BACKENDS=1, but {reason}", pytrace=False)
    pytest.skip(reason)
