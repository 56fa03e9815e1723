"""ClientRegistry builds a client once per process and settings."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.forks import FORKS, in_child

from webapp2_sessions.stored.clients import ClientRegistry

pytestmark = FORKS

#: Seconds after which a thread that hangs is a failure.
PATIENCE = 30.0


class Client:
    """A client that knows in which process it was made."""

    def __init__(self) -> None:
        self.pid = os.getpid()


class CountingBuild:
    """Builds clients and counts the calls; fails as long as `error` is set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls = 0
        self.error = error

    def __call__(self) -> Client:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return Client()


class Clock:
    """Replaces a registry's clock by one that the test moves."""

    def __init__(self, registry: ClientRegistry[Client], monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(registry, "_now", lambda: self.now)


def test_same_settings_share_a_client() -> None:
    """The second call for the same settings gives the first one's client."""
    registry: ClientRegistry[Client] = ClientRegistry()
    build = CountingBuild()
    assert registry.get(("server", 1), build) is registry.get(("server", 1), build)
    assert build.calls == 1


def test_other_settings_have_another_client() -> None:
    """Each settings value has a client of its own."""
    registry: ClientRegistry[Client] = ClientRegistry()
    assert registry.get("a", Client) is not registry.get("b", Client)


def test_registries_are_independent() -> None:
    """Two registries do not share clients."""
    first, second = ClientRegistry[Client](), ClientRegistry[Client]()
    assert first.get("a", Client) is not second.get("a", Client)


def test_falsy_client_is_kept() -> None:
    """A client that is false, as one with a length of 0, is not built again."""
    registry: ClientRegistry[list[str]] = ClientRegistry()
    assert registry.get("a", list) is registry.get("a", list)


def test_racing_threads_build_once() -> None:
    """Threads that come at once while the client is being built all get that one client."""
    registry: ClientRegistry[Client] = ClientRegistry()
    count = 16
    at_start, building = threading.Barrier(count), threading.Event()

    def slow_build() -> Client:
        builds.append(threading.get_ident())
        building.wait(0.2)  # never set: gives the others time to arrive
        return Client()

    def ask(_: int) -> Client:
        at_start.wait(PATIENCE)
        return registry.get("a", slow_build)

    builds: list[int] = []
    with ThreadPoolExecutor(count) as pool:
        clients = set(pool.map(ask, range(count)))
    assert (len(builds), len(clients)) == (1, 1)


def test_child_builds_its_own() -> None:
    """After a fork the child does not use the parent's client."""
    registry: ClientRegistry[Client] = ClientRegistry()
    registry.get("a", Client)
    assert in_child(lambda: registry.get("a", Client).pid == os.getpid())


def test_parent_keeps_its_client_after_a_fork() -> None:
    """A fork changes nothing in the parent."""
    registry: ClientRegistry[Client] = ClientRegistry()
    client = registry.get("a", Client)
    assert in_child(lambda: registry.get("a", Client) is not client)
    assert registry.get("a", Client) is client


def test_child_does_not_collect_the_parents_client() -> None:
    """The parent's client stays referenced in the child, where closing it would do harm."""
    registry: ClientRegistry[Client] = ClientRegistry()
    collected: list[bool] = []

    class Fragile(Client):
        def __del__(self) -> None:
            collected.append(True)

    registry.get("a", Fragile)

    def child() -> bool:
        registry.get("a", Client)
        return not collected

    assert in_child(child)


def test_fork_while_the_lock_is_held() -> None:
    """A fork during a build in another thread leaves the child a lock that it can take."""
    registry: ClientRegistry[Client] = ClientRegistry()
    building, forked = threading.Event(), threading.Event()

    def slow_build() -> Client:
        building.set()
        forked.wait(PATIENCE)
        return Client()

    thread = threading.Thread(target=registry.get, args=("a", slow_build))
    thread.start()
    try:
        assert building.wait(PATIENCE)
        assert in_child(lambda: registry.get("a", Client).pid == os.getpid())
    finally:
        forked.set()
        thread.join(PATIENCE)


def test_failure_is_raised() -> None:
    """What the build raises is raised by get()."""
    registry: ClientRegistry[Client] = ClientRegistry()
    error = ValueError("no such server")
    with pytest.raises(ValueError, match="no such server") as caught:
        registry.get("a", CountingBuild(error))
    assert caught.value is error


def test_failure_is_not_remembered_by_default() -> None:
    """Without retry_after the next call builds again."""
    registry: ClientRegistry[Client] = ClientRegistry()
    build = CountingBuild(ValueError())
    with pytest.raises(ValueError):  # noqa: PT011 # it is the test's own
        registry.get("a", build)
    build.error = None
    assert isinstance(registry.get("a", build), Client)


def test_failure_is_remembered_for_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within retry_after seconds the failure is raised again without another attempt."""
    registry: ClientRegistry[Client] = ClientRegistry(retry_after=30)
    clock = Clock(registry, monkeypatch)
    build = CountingBuild(ValueError("no such server"))
    for passed in (0.0, 29.9):
        clock.now = 1000.0 + passed
        with pytest.raises(ValueError, match="no such server"):
            registry.get("a", build)
    assert build.calls == 1


def test_failure_is_forgotten_after_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """After retry_after seconds the client is built anew, and then kept."""
    registry: ClientRegistry[Client] = ClientRegistry(retry_after=30)
    clock = Clock(registry, monkeypatch)
    build = CountingBuild(ValueError())
    with pytest.raises(ValueError):  # noqa: PT011 # it is the test's own
        registry.get("a", build)
    build.error = None
    clock.now += 30.0
    client = registry.get("a", build)
    assert registry.get("a", build) is client
    assert build.calls == 2


def test_second_failure_is_remembered_from_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each failed attempt starts retry_after anew."""
    registry: ClientRegistry[Client] = ClientRegistry(retry_after=30)
    clock = Clock(registry, monkeypatch)
    build = CountingBuild(ValueError())
    for passed in (0.0, 30.0, 59.0):
        clock.now = 1000.0 + passed
        with pytest.raises(ValueError):  # noqa: PT011 # it is the test's own
            registry.get("a", build)
    assert build.calls == 2


def test_failure_of_other_settings_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A remembered failure keeps nobody else from building."""
    registry: ClientRegistry[Client] = ClientRegistry(retry_after=30)
    Clock(registry, monkeypatch)
    with pytest.raises(ValueError):  # noqa: PT011 # it is the test's own
        registry.get("a", CountingBuild(ValueError()))
    assert isinstance(registry.get("b", Client), Client)


def test_child_tries_where_the_parent_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure is remembered for the process in which it happened."""
    registry: ClientRegistry[Client] = ClientRegistry(retry_after=30)
    Clock(registry, monkeypatch)
    with pytest.raises(ValueError):  # noqa: PT011 # it is the test's own
        registry.get("a", CountingBuild(ValueError()))
    assert in_child(lambda: registry.get("a", Client).pid == os.getpid())


def test_remembered_failure_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that is raised often does not collect the frames of all who met it."""
    registry: ClientRegistry[Client] = ClientRegistry(retry_after=30)
    Clock(registry, monkeypatch)
    lengths = []
    for _ in range(5):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 # it is the test's own
            registry.get("a", CountingBuild(ValueError()))
        lengths.append(len(caught.traceback))
    assert lengths[1] == lengths[4]


def test_registry_where_there_are_no_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """On systems without fork() Python has no hooks for it, and none is needed."""
    monkeypatch.delattr(os, "register_at_fork")
    assert ClientRegistry[str]().get("settings", lambda: "client") == "client"


# Forks that do not call Python's hooks


def in_another_process(monkeypatch: pytest.MonkeyPatch, pid: int) -> None:
    """Let the process have another id, which is all that such a child sees."""
    monkeypatch.setattr(os, "getpid", lambda: pid)


def test_process_is_known_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that nobody told of the fork builds its own client."""
    registry: ClientRegistry[Client] = ClientRegistry()
    parents = registry.get("a", Client)
    in_another_process(monkeypatch, 1_000_000)
    own = registry.get("a", Client)
    assert own is not parents
    assert registry.get("a", Client) is own
    assert registry.built == {"a": own}


def test_client_of_a_parent_is_not_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many forks ago it was built."""
    registry: ClientRegistry[Client] = ClientRegistry()
    collected: list[int] = []

    class Fragile(Client):
        def __del__(self) -> None:
            collected.append(self.pid)

    for pid in range(1_000_000, 1_000_003):
        in_another_process(monkeypatch, pid)
        registry.get("a", Fragile)
    assert collected == []
    assert len(registry.built) == 1


def test_process_id_that_an_ancestor_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system gives ids again; the ancestor's client is none of ours."""
    registry: ClientRegistry[Client] = ClientRegistry()
    clients = []
    for pid in (1_000_000, 1_000_001, 1_000_000):
        in_another_process(monkeypatch, pid)
        clients.append(registry.get("a", Client))
    assert len(set(clients)) == 3


def test_lock_of_a_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread had it at the fork; nobody is there to release it."""
    registry: ClientRegistry[Client] = ClientRegistry()
    stop = threading.Event()
    building = threading.Event()

    def slow_build() -> Client:
        building.set()
        stop.wait(PATIENCE)
        return Client()

    thread = threading.Thread(target=registry.get, args=("a", slow_build))
    thread.start()
    try:
        assert building.wait(PATIENCE)
        in_another_process(monkeypatch, 1_000_000)
        assert isinstance(registry.get("a", Client), Client)
        assert thread.is_alive()  # it still has the lock
    finally:
        stop.set()
        thread.join(PATIENCE)


def test_failure_of_a_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not remembered in a child."""
    registry: ClientRegistry[Client] = ClientRegistry(retry_after=30)
    Clock(registry, monkeypatch)
    with pytest.raises(ValueError):  # noqa: PT011 # it is the test's own
        registry.get("a", CountingBuild(ValueError()))
    in_another_process(monkeypatch, 1_000_000)
    assert isinstance(registry.get("a", Client), Client)
