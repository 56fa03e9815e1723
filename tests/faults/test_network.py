"""Sessions in a memcached that is well, behind a network or a proxy that is not."""

from __future__ import annotations

import contextlib
import itertools
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.entries import entries_of
from support.fault_injection import OptionalMemcached, Relay
from support.faults import BOUND, PATIENCE, works
from support.processes import HOST, has_connections, wait_until
from support.servers import DatastoreEmulator, Memcached, Server
from support.visits import Visitor, make_app

from webapp2_sessions import SessionTooLarge
from webapp2_sessions.cli.check import ping
from webapp2_sessions.errors import BackendUnavailable
from webapp2_sessions.sessions import SessionStore
from webapp2_sessions.sessions_ndb import client as datastore_module

Launch = Callable[[Server], Any]

#: Seconds until a connection that was forgotten is given up.
TIMEOUT = 0.3

THREADS = 8

#: Larger than what is stored without asking for the server's limit.
LARGE = {"text": "t" * 1500}


# Idle connections that are forgotten


def change(visitor: Visitor) -> None:
    """A request that changes the session."""
    visitor.write({"b": 2})


def renew(visitor: Visitor) -> None:
    """One that gives it another id."""
    with visitor.visit() as session:
        session.regenerate_id()
        session["b"] = 2


def end(visitor: Visitor) -> None:
    """One that ends it, and begins another."""
    with visitor.visit() as session:
        session.destroy()
        session.update({"a": 1, "b": 2})


CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "memcache": ("memcache", {}),
    "memcache-merge": ("memcache", {"on_conflict": "merge"}),
    "cached": ("datastore", {"datastore": {"cache": "memcache", "timeout": 10.0}}),
}


@pytest.mark.parametrize("request_", [change, renew, end], ids=lambda each: each.__name__)
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_forgotten_connections_fail_no_request(
    launch: Launch,
    datastore: DatastoreEmulator,
    configuration: str,
    request_: Callable[[Visitor], None],
) -> None:
    """Threads that all have connections which lead nowhere reach the server by new ones."""
    relay = launch(Relay(launch(Memcached())))
    backend, options = CONFIGURATIONS[configuration]
    app = make_app(memcache={"servers": [relay.address], "timeout": TIMEOUT}, **options)
    assert datastore.answers()
    together = threading.Barrier(THREADS)

    def work(_: int) -> dict[Any, Any]:
        mine = Visitor(app, backend=backend)
        together.wait(PATIENCE)  # as many connections as threads
        mine.write({"a": 1})
        if together.wait(PATIENCE) == 0:
            relay.forget()
        together.wait(PATIENCE)
        request_(mine)
        return mine.read()

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(work, range(THREADS)))
    assert found == [{"a": 1, "b": 2}] * THREADS


def test_connections_are_forgotten_again_and_again(launch: Launch) -> None:
    """Each time one request waits for the timeout, and none fails."""
    relay = launch(Relay(launch(Memcached())))
    app = make_app(memcache={"servers": [relay.address], "timeout": TIMEOUT})
    visitor = Visitor(app, backend="memcache")
    for turn in range(4):
        visitor.write({"turn": turn})
        relay.forget()
    assert visitor.read() == {"turn": 3}


def test_new_session_on_a_forgotten_connection(launch: Launch) -> None:
    """Nothing was asked before: it is not sent again, as it may only be late; the next one is."""
    relay = launch(Relay(launch(Memcached())))
    app = make_app(memcache={"servers": [relay.address], "timeout": TIMEOUT})
    Visitor(app, backend="memcache").write({"a": 1})
    relay.forget()
    visitor = Visitor(app, backend="memcache")
    with pytest.raises(BackendUnavailable):
        visitor.write({"b": 2})
    visitor.write({"b": 2})
    assert visitor.read() == {"b": 2}


def test_late_answer_is_nobody_elses(launch: Launch) -> None:
    """A load is sent again, a first write fails, and what comes late reaches no other request."""
    relay = launch(Relay(launch(Memcached())))
    app = make_app(memcache={"servers": [relay.address], "timeout": TIMEOUT})
    one, other = Visitor(app, backend="memcache"), Visitor(app, backend="memcache")
    one.write({"a": 1})
    relay.delay_answer()
    assert one.read() == {"a": 1}
    relay.deliver_answer()
    assert one.read() == {"a": 1}
    relay.delay_answer()
    with pytest.raises(BackendUnavailable):
        other.write({"b": 2})
    relay.deliver_answer()
    assert (one.read(), other.read()) == ({"a": 1}, {})


@pytest.mark.parametrize("request_", [change, renew, end], ids=lambda each: each.__name__)
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_connections_that_are_closed_while_idle_fail_no_request(
    launch: Launch,
    datastore: DatastoreEmulator,
    configuration: str,
    request_: Callable[[Visitor], None],
) -> None:
    """Commands are sent by new ones, whatever they are."""
    relay = launch(Relay(launch(Memcached())))
    backend, options = CONFIGURATIONS[configuration]
    app = make_app(memcache={"servers": [relay.address], "timeout": TIMEOUT}, **options)
    assert datastore.answers()
    visitor = Visitor(app, backend=backend)
    visitor.write({"a": 1})
    relay.close_connections()
    request_(visitor)
    relay.close_connections()
    new = Visitor(app, backend=backend)
    new.write({"a": 1})
    assert (visitor.read(), new.read()) == ({"a": 1, "b": 2}, {"a": 1})


def test_idle_channel_is_closed(
    launch: Launch, datastore: DatastoreEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything between can forget it; the next request opens another."""
    options = dict(datastore_module._CHANNEL_OPTIONS)
    assert options["grpc.client_idle_timeout_ms"] <= 60_000
    assert options["grpc.keepalive_time_ms"] <= 60_000
    options["grpc.client_idle_timeout_ms"] = 1000  # gRPC's clock cannot be moved
    monkeypatch.setattr(datastore_module, "_CHANNEL_OPTIONS", tuple(options.items()))
    relay = launch(Relay(datastore))
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", relay.address)
    visitor = Visitor(make_app(), backend="datastore")
    visitor.write({"a": 1})
    assert wait_until(lambda: not has_connections(relay.port), PATIENCE)
    relay.forget()
    assert visitor.read() == {"a": 1}


# Names of servers


class OtherMemcached(Memcached):
    """A memcached at another address of this machine, and the port of the first."""

    def __init__(self, first: Memcached) -> None:
        super().__init__()
        self.port = first.port

    def command(self, folder: Path) -> list[str]:
        return [part.replace(HOST, OTHER_HOST) for part in super().command(folder)]

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((OTHER_HOST, self.port), 1.0):
            return True
        return False


#: Another address at which a machine with Linux listens.
OTHER_HOST = "127.0.0.2"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address")
def test_name_with_rotating_addresses(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All processes agree on one of the servers, and hear that there are several."""
    first = launch(Memcached())
    launch(OtherMemcached(first))
    rotated = itertools.cycle([[HOST, OTHER_HOST], [OTHER_HOST, HOST]])

    def look_up(_: str, port: int, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in next(rotated)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    # Each of them has connections of its own, as a process has.
    settings = [{"servers": [f"memcached:{first.port}"], "timeout": 5.0 + n} for n in range(4)]
    visitors = [Visitor(make_app(memcache=each), backend="memcache") for each in settings]
    visitors[0].write({"a": 1})
    for visitor in visitors[1:]:
        visitor.cookies = visitors[0].cookies
    assert [visitor.read() for visitor in visitors] == [{"a": 1}] * 4
    assert f"'memcached:{first.port}' has 2 addresses" in caplog.text


def test_silent_name_server(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., Any]
) -> None:
    """It costs no more than a silent memcached; addresses from before are used meanwhile."""
    server = launch(Memcached())
    answers = threading.Event()
    look_up = socket.getaddrinfo

    def wait(host: str, *args: Any, **options: Any) -> list[Any]:
        if host != "memcached":
            return list(look_up(host, *args, **options))
        answers.wait(PATIENCE)
        return list(look_up(HOST, *args, **options))

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    settings = {"servers": [f"memcached:{server.port}"], "timeout": TIMEOUT}
    visitor = Visitor(make_app(memcache=settings), backend="memcache")
    try:
        with fails("memcache", f"memcached:{server.port}"):
            visitor.write({"a": 1})
        answers.set()
        assert wait_until(lambda: works(visitor), BOUND)
        answers.clear()
        server.restart()  # and with it all connections are gone
        visitor.write({"a": 2})
        assert visitor.read() == {"a": 2}
    finally:
        answers.set()


# Proxies that do not know "stats"

PROXIES = pytest.mark.parametrize("statistics", ["refuses", "closes", "drops"])


def visitor_of(server: Server, **options: Any) -> Visitor:
    """A visitor of an application whose sessions are there."""
    settings = {"servers": [server.address], "timeout": 5.0}
    return Visitor(make_app(memcache=settings, **options), backend="memcache")


@PROXIES
@pytest.mark.parametrize("options", [{}, {"on_conflict": "merge"}], ids=["plain", "merge"])
def test_session_is_stored_through_a_proxy(
    launch: Launch, statistics: str, options: dict[str, Any]
) -> None:
    """Also one that is larger than what fits anywhere."""
    visitor = visitor_of(launch(Relay(launch(Memcached()), statistics)), **options)
    visitor.write(LARGE)
    visitor.write({"a": 1})
    assert visitor.read() == {**LARGE, "a": 1}


@PROXIES
@pytest.mark.parametrize("options", [{}, {"on_conflict": "merge"}], ids=["plain", "merge"])
def test_session_that_the_server_refuses(
    launch: Launch, statistics: str, options: dict[str, Any]
) -> None:
    """It is too large as if that had been known before, and what is stored stays."""
    small = launch(OptionalMemcached(("-I", "512k")))
    visitor = visitor_of(launch(Relay(small, statistics)), **options)
    visitor.write({"a": 1})
    with pytest.raises(SessionTooLarge) as caught:
        visitor.write({"text": "t" * 600_000})
    assert caught.value.size > 600_000
    assert caught.value.limit == caught.value.size - 1
    assert visitor.read() == {"a": 1}
    with pytest.raises(SessionTooLarge):
        visitor_of(small).write({"text": "t" * 600_000})


def check(server: Server) -> list[str]:
    """What the command `check` has to say about a server."""
    store = SessionStore(Visitor(visitor_of(server).app).request())
    return ping(store.config, "memcache")


def test_check_finds_nothing(launch: Launch) -> None:
    """A server that takes what a session may be; nothing is left there."""
    server = launch(Memcached())
    assert check(server) == []
    with entries_of(server) as entries:
        assert entries.counted("curr_items") == 0
        assert entries.counted("cmd_set") == 1
        assert entries.counted("bytes_written") > 1024 * 1024


@PROXIES
def test_check_through_a_proxy(launch: Launch, statistics: str) -> None:
    """A value of the default size goes through it."""
    assert check(launch(Relay(launch(Memcached()), statistics))) == []


@PROXIES
def test_check_of_a_small_server_behind_a_proxy(launch: Launch, statistics: str) -> None:
    """It takes less than it seems to."""
    relay = launch(Relay(launch(OptionalMemcached(("-I", "512k"))), statistics))
    [problem] = check(relay)
    assert problem.startswith(f"memcache backend at {relay.address}: the session has ")


def test_check_of_a_small_server(launch: Launch) -> None:
    """One that tells its limit is right as it is."""
    assert check(launch(OptionalMemcached(("-I", "512k")))) == []
