"""ClientRegistry builds a client once per process and settings."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

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


class Failed(Registry):
    """Remembers for 30 seconds that the client of "a" could not be built, by a clock of its own."""

    now = 1000.0

    def __init__(self) -> None:
        super().__init__(retry_after=30)
        self.build = CountingBuild(ValueError("no such server"))
        self.fail()

    def _now(self) -> float:
        return self.now

    def fail(self) -> pytest.ExceptionInfo[ValueError]:
        """Ask for the client and get the error."""
        with pytest.raises(ValueError, match="no such server") as caught:
            self.get("a", self.build)
        return caught


@pytest.fixture
def registry() -> Registry:
    """A registry that remembers no failure."""
    return Registry()


@pytest.fixture
def failed() -> Failed:
    """A registry in which building the client of "a" has just failed."""
    return Failed()


@contextmanager
def building(registry: Registry) -> Iterator[threading.Thread]:
    """Build the client of "a" in another thread, to the end of the block."""
    has_begun, may_end = threading.Event(), threading.Event()

    def build() -> Client:
        has_begun.set()
        may_end.wait(PATIENCE)
        return Client()

    thread = threading.Thread(target=registry.get, args=("a", build))
    thread.start()
    try:
        assert has_begun.wait(PATIENCE)
        yield thread
    finally:
        may_end.set()
        thread.join(PATIENCE)


def test_same_settings_share_a_client(registry: Registry) -> None:
    build = CountingBuild()
    assert registry.get(("server", 1), build) is registry.get(("server", 1), build)
    assert build.calls == 1


def test_falsy_client_is_kept() -> None:
    """As one with a length of 0."""
    registry: ClientRegistry[list[str]] = ClientRegistry()
    assert registry.get("a", list) is registry.get("a", list)


def test_other_settings_and_other_registries_have_another_client(registry: Registry) -> None:
    clients = [registry.get("a", Client), registry.get("b", Client), Registry().get("a", Client)]
    assert len(set(clients)) == 3


def test_racing_threads_build_once(registry: Registry) -> None:
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


def test_child_builds_its_own_client_and_the_parent_keeps_its(registry: Registry) -> None:
    client = registry.get("a", Client)
    assert in_child(lambda: registry.get("a", Client).pid == os.getpid())
    assert registry.get("a", Client) is client


def test_child_does_not_collect_the_parents_client(registry: Registry) -> None:
    """The parent's client stays referenced in the child, which must not close it."""
    collected: list[bool] = []

    class Fragile(Client):
        def __del__(self) -> None:
            collected.append(True)

    registry.get("a", Fragile)

    def child() -> bool:
        registry.get("a", Client)
        return not collected

    assert in_child(child)


def test_fork_during_a_build_leaves_the_child_a_lock_that_it_can_take(registry: Registry) -> None:
    with building(registry):
        assert in_child(lambda: registry.get("a", Client).pid == os.getpid())


def test_failure_is_raised_and_not_remembered_by_default(registry: Registry) -> None:
    build = CountingBuild(ValueError("no such server"))
    with pytest.raises(ValueError, match="no such server") as caught:
        registry.get("a", build)
    assert caught.value is build.error
    build.error = None
    assert isinstance(registry.get("a", build), Client)


def test_failure_is_remembered_for_retry_after(failed: Failed) -> None:
    failed.now += 29.9
    failed.fail()
    assert failed.build.calls == 1


def test_failure_is_forgotten_after_retry_after(failed: Failed) -> None:
    failed.build.error = None
    failed.now += 30.0
    client = failed.get("a", failed.build)
    assert failed.get("a", failed.build) is client
    assert failed.build.calls == 2


def test_second_failure_is_remembered_from_its_own_time(failed: Failed) -> None:
    for seconds in (30.0, 29.0):
        failed.now += seconds
        failed.fail()
    assert failed.build.calls == 2


def test_failure_of_other_settings_does_not_matter(failed: Failed) -> None:
    assert isinstance(failed.get("b", Client), Client)


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


def test_child_that_was_not_told_of_the_fork_builds_its_own_client(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_lock_of_a_parent_is_not_waited_for(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread had it at the fork; nobody is there to release it."""
    with building(registry) as thread:
        in_another_process(monkeypatch, 1_000_000)
        assert isinstance(registry.get("a", Client), Client)
        assert thread.is_alive()  # it still has the lock


def test_failure_of_a_parent_is_not_remembered(
    failed: Failed, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_child(lambda: failed.get("a", Client).pid == os.getpid())
    in_another_process(monkeypatch, 1_000_000)
    assert isinstance(failed.get("a", Client), Client)


class Owner:
    """Something that has a client as long as it is there."""


def test_client_is_closed_when_its_owner_is_collected(registry: Registry) -> None:
    """With more settings than are kept, connections to the first ones would stay open."""
    owner, closed = Owner(), list[Client]()
    key = registry.key_of(owner, closed.append)
    client = registry.get(key, Client)
    assert (registry.get(key, Client), closed) == (client, [])
    del owner
    gc.collect()  # PyPy and free-threaded Pythons collect later
    assert (list(registry.built), closed) == ([], [client])


def test_client_that_is_not_to_be_closed_is_only_given_up(registry: Registry) -> None:
    owner = Owner()
    registry.get(registry.key_of(owner), Client)
    del owner
    gc.collect()
    assert list(registry.built) == []


def test_owner_without_a_client_is_collected_like_any_other(registry: Registry) -> None:
    closed = list[Client]()
    registry.key_of(Owner(), closed.append)
    gc.collect()
    assert closed == []


class FailingOwner:
    """Something whose client cannot be made."""

    def __init__(self, registry: Registry) -> None:
        self.key = registry.key_of(self)

    def make(self) -> Client:
        """Raise an error, whose traceback has this object."""
        raise ValueError("no such server")


def test_failure_does_not_keep_its_owner(registry: Registry) -> None:
    """Nor what the request held that has met it, which its traceback would keep."""
    owner = FailingOwner(registry)
    left = weakref.ref(owner)
    with contextlib.suppress(ValueError):
        registry.get(owner.key, owner.make)
    del owner
    gc.collect()
    assert left() is None


def test_failure_that_is_remembered_keeps_its_owner_no_longer(failed: Failed) -> None:
    owner = FailingOwner(failed)
    left = weakref.ref(owner)
    with contextlib.suppress(ValueError):
        failed.get(owner.key, owner.make)
    del owner
    failed.now += 30.0
    failed.get("b", Client)
    gc.collect()
    assert left() is None


def test_client_of_a_parent_is_not_closed_when_the_child_gives_up_its_owner(
    registry: Registry,
) -> None:
    owner, closed = Owner(), list[Client]()
    key = registry.key_of(owner, closed.append)
    registry.get(key, Client)
    owners = [owner]
    del owner

    def give_up() -> bool:
        owners.clear()
        gc.collect()
        return closed == []

    assert in_child(give_up)
    assert key in registry.built
