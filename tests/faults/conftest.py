"""Servers that a test may harm: real ones, which are killed and stopped by signals."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.faults import BOUND, CARD, PATIENCE, SID, slow_visitor, texts, works
from support.servers import (
    PROJECT,
    PROXY_VARIABLES,
    DatastoreEmulator,
    Memcached,
    free_port,
    wait_until,
)
from support.visits import SECRET

from webapp2_sessions import BackendUnavailable


@pytest.fixture
def fails(caplog: pytest.LogCaptureFixture) -> Callable[..., Any]:
    """A block that must raise BackendUnavailable, in time, without a secret in it."""

    @contextlib.contextmanager
    def block(backend: str, address: str, *secrets: str) -> Iterator[None]:
        caplog.set_level("DEBUG")
        started = time.monotonic()
        with pytest.raises(BackendUnavailable) as caught:
            yield
        assert time.monotonic() - started < BOUND
        assert str(caught.value).startswith(f"{backend} backend at {address}: ")
        for secret in (CARD, SID, SECRET, *secrets):
            assert not [text for text in texts(caught.value) if secret in text]
            assert secret not in caplog.text

    return block


@pytest.fixture
def closed_port() -> str:
    """An address where nobody listens."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def server(launch: Callable[[Memcached], Memcached]) -> Memcached:
    """A memcached that the test may harm."""
    return launch(Memcached())


@pytest.fixture(scope="module")
def own_emulator(datastore_emulator: DatastoreEmulator) -> Iterator[DatastoreEmulator]:
    """A Datastore emulator that the tests of a module may harm."""
    emulator = DatastoreEmulator()  # the shared one has shown that it can be started
    emulator.start()
    yield emulator
    emulator.stop()


@pytest.fixture
def emulator(own_emulator: DatastoreEmulator, monkeypatch: pytest.MonkeyPatch) -> DatastoreEmulator:
    """That emulator, made well after former tests, with the environment pointing to it."""
    for variable in PROXY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", own_emulator.address)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    if own_emulator.pid is None:
        own_emulator.start()
    own_emulator.thaw()
    assert wait_until(lambda: works(slow_visitor()), PATIENCE)
    return own_emulator
