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


Registry = ClientRegistry[Client]


@pytest.fixture
def registry() -> Registry:
    """A registry that remembers no failure."""
    return Registry()


@pytest.fixture
def failed(monkeypatch: pytest.MonkeyPatch) -> Failed:
    """A registry in which building the client of "a" has just failed."""
    return Failed(monkeypatch)


class Failed(Registry):
    """Remembers failures for 30 seconds, by a clock that the test advances."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(retry_after=30)
        self.now = 1000.0
        monkeypatch.setattr(self, "_now", lambda: self.now)
        self.build = CountingBuild(ValueError("no such server"))
        self.fail()

    def fail(self) -> pytest.ExceptionInfo[ValueError]:
        """Ask for the client and get the error."""
        with pytest.raises(ValueError, match="no such server") as caught:
            self.get("a", self.build)
        return caught


def test_same_settings_share_a_client(registry: Registry) -> None:
    """The second call for the same settings gives the first one's client."""
    build = CountingBuild()
    assert registry.get(("server", 1), build) is registry.get(("server", 1), build)
    assert build.calls == 1


def test_other_settings_have_another_client(registry: Registry) -> None:
    """Clients are kept by settings."""
    assert registry.get("a", Client) is not registry.get("b", Client)


def test_registries_are_independent() -> None:
    """Two registries do not share clients."""
    first, second = ClientRegistry[Client](), ClientRegistry[Client]()
    assert first.get("a", Client) is not second.get("a", Client)


def test_falsy_client_is_kept() -> None:
    """A client that is false, as one with a length of 0, is not built again."""
    registry: ClientRegistry[list[str]] = ClientRegistry()
    assert registry.get("a", list) is registry.get("a", list)


def test_racing_threads_build_once(registry: Registry) -> None:
    """Threads that come at once while the client is being built all get that one client."""
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


def test_child_builds_its_own(registry: Registry) -> None:
    """After a fork the child does not use the parent's client."""
    registry.get("a", Client)
    assert in_child(lambda: registry.get("a", Client).pid == os.getpid())


def test_parent_keeps_its_client_after_a_fork(registry: Registry) -> None:
    """A fork changes nothing in the parent."""
    client = registry.get("a", Client)
    assert in_child(lambda: registry.get("a", Client) is not client)
    assert registry.get("a", Client) is client


def test_child_does_not_collect_the_parents_client(registry: Registry) -> None:
    """The parent's client stays referenced in the child, where closing it would do harm."""
    collected: list[bool] = []

    class Fragile(Client):
        def __del__(self) -> None:
            collected.append(True)

    registry.get("a", Fragile)

    def child() -> bool:
        registry.get("a", Client)
        return not collected

    assert in_child(child)


def test_fork_while_the_lock_is_held(registry: Registry) -> None:
    """A fork during a build in another thread leaves the child a lock that it can take."""
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


def test_failure_is_raised(registry: Registry) -> None:
    """What the build raises is raised by get()."""
    error = ValueError("no such server")
    with pytest.raises(ValueError, match="no such server") as caught:
        registry.get("a", CountingBuild(error))
    assert caught.value is error


def test_failure_is_not_remembered_by_default(registry: Registry) -> None:
    """Without retry_after the next call builds again."""
    build = CountingBuild(ValueError())
    with pytest.raises(ValueError):  # noqa: PT011 # it is the test's own
        registry.get("a", build)
    build.error = None
    assert isinstance(registry.get("a", build), Client)


def test_failure_is_remembered_for_retry_after(failed: Failed) -> None:
    """Within retry_after seconds the failure is raised again without another attempt."""
    failed.now += 29.9
    failed.fail()
    assert failed.build.calls == 1


def test_failure_is_forgotten_after_retry_after(failed: Failed) -> None:
    """After retry_after seconds the client is built, and then kept."""
    failed.build.error = None
    failed.now += 30.0
    client = failed.get("a", failed.build)
    assert failed.get("a", failed.build) is client
    assert failed.build.calls == 2


def test_second_failure_is_remembered_from_its_own_time(failed: Failed) -> None:
    """Each failed attempt starts retry_after again."""
    for seconds in (30.0, 29.0):
        failed.now += seconds
        failed.fail()
    assert failed.build.calls == 2


def test_failure_of_other_settings_does_not_matter(failed: Failed) -> None:
    """Clients of other settings are built."""
    assert isinstance(failed.get("b", Client), Client)


def test_child_tries_where_the_parent_failed(failed: Failed) -> None:
    """A failure is remembered for the process in which it happened."""
    assert in_child(lambda: failed.get("a", Client).pid == os.getpid())


def test_remembered_failure_does_not_grow(failed: Failed) -> None:
    """An error that is raised often does not collect the frames of all callers."""
    lengths = [len(failed.fail().traceback) for _ in range(4)]
    assert lengths[0] == lengths[3]


def test_registry_where_there_are_no_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """On systems without fork() Python has no hooks for it, and none is needed."""
    monkeypatch.delattr(os, "register_at_fork")
    assert ClientRegistry[str]().get("settings", lambda: "client") == "client"


# Forks that do not call Python's hooks


def in_another_process(monkeypatch: pytest.MonkeyPatch, pid: int) -> None:
    """Let the process have another id, which is all that such a child sees."""
    monkeypatch.setattr(os, "getpid", lambda: pid)


def test_process_is_known_by_its_id(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that nobody told of the fork builds its own client."""
    parents = registry.get("a", Client)
    in_another_process(monkeypatch, 1_000_000)
    own = registry.get("a", Client)
    assert own is not parents
    assert registry.get("a", Client) is own
    assert registry.built == {"a": own}


def test_client_of_a_parent_is_not_collected(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many forks ago it was built."""
    collected: list[int] = []

    class Fragile(Client):
        def __del__(self) -> None:
            collected.append(self.pid)

    for pid in range(1_000_000, 1_000_003):
        in_another_process(monkeypatch, pid)
        registry.get("a", Fragile)
    assert collected == []
    assert len(registry.built) == 1


def test_process_id_that_an_ancestor_had(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Process ids are reused; the ancestor's client is not."""
    clients = []
    for pid in (1_000_000, 1_000_001, 1_000_000):
        in_another_process(monkeypatch, pid)
        clients.append(registry.get("a", Client))
    assert len(set(clients)) == 3


def test_lock_of_a_parent(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread had it at the fork; nobody is there to release it."""
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


def test_failure_of_a_parent(failed: Failed, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not remembered in a child."""
    in_another_process(monkeypatch, 1_000_000)
    assert isinstance(failed.get("a", Client), Client)
