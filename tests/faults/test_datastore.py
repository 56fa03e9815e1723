"""Sessions in a Datastore that refuses, dies, restarts or falls silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.faults import CARD, PATIENCE, returning_visitor, slow_visitor, texts, works
from support.servers import PROJECT, PROXY_VARIABLES, DatastoreEmulator, wait_until
from support.visits import SECRET, Visitor, make_app

from webapp2_sessions import BackendError, BackendUnavailable


@pytest.fixture
def no_datastore(closed_port: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An environment that names an emulator where there is none."""
    for variable in PROXY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", closed_port)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    return closed_port


@pytest.fixture
def guest(emulator: DatastoreEmulator) -> Visitor:
    """A visitor with a session in that emulator."""
    visitor = slow_visitor()
    visitor.write({"card": CARD})
    return visitor


def test_datastore_refuses_at_load(no_datastore: str, fails: Callable[..., Any]) -> None:
    """A visitor with a session gets an error, not an empty session."""
    with fails("datastore", no_datastore):
        returning_visitor(make_app(), "datastore").read()


def test_datastore_refuses_at_save(no_datastore: str, fails: Callable[..., Any]) -> None:
    """A first session that cannot be stored is an error, and sets no cookie."""
    visitor = Visitor(make_app(), backend="datastore")
    with fails("datastore", no_datastore):
        visitor.write({"card": CARD})
    assert (visitor.set_cookies, visitor.cookies) == ([], {})


@pytest.mark.usefixtures("no_datastore")
def test_datastore_is_not_needed_without_a_cookie() -> None:
    """A visitor without a session who does nothing meets no error."""
    assert Visitor(make_app(), backend="datastore").read() == {}


def test_oversize_session_shows_nothing_of_it(
    datastore: DatastoreEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    """The error and its causes tell the problem without the session."""
    caplog.set_level("DEBUG")
    visitor = Visitor(make_app(), backend="datastore")
    with pytest.raises(BackendError) as caught, visitor.visit() as session:
        session["card"] = CARD * 70_000
    secrets = (CARD, SECRET, session.container.sid)
    assert not [text for text in texts(caught.value) for secret in secrets if secret in text]
    assert not [secret for secret in secrets if secret in caplog.text]


def test_datastore_frozen_at_load(
    emulator: DatastoreEmulator, guest: Visitor, fails: Callable[..., Any]
) -> None:
    """A service that is silent is given up after the timeout."""
    emulator.freeze()
    with fails("datastore", emulator.address):
        guest.read()


def test_datastore_frozen_at_save(
    emulator: DatastoreEmulator, guest: Visitor, fails: Callable[..., Any]
) -> None:
    """A service that falls silent during the request is an error at save, without a cookie."""
    with fails("datastore", emulator.address), guest.visit() as session:
        session["more"] = CARD
        emulator.freeze()
    assert guest.set_cookies == []


def test_datastore_thawed_has_the_session(emulator: DatastoreEmulator, guest: Visitor) -> None:
    """After the silence the visitor's cookie still leads to the session."""
    emulator.freeze()
    with pytest.raises(BackendUnavailable):
        guest.read()
    emulator.thaw()
    assert guest.read() == {"card": CARD}


def test_datastore_thawed_after_a_save(
    emulator: DatastoreEmulator, guest: Visitor, fails: Callable[..., Any]
) -> None:
    """A save that failed did happen or did not; the session is never empty."""
    with fails("datastore", emulator.address), guest.visit() as session:
        session["b"] = 2
        emulator.freeze()
    emulator.thaw()
    assert guest.read() in ({"card": CARD}, {"card": CARD, "b": 2})


def test_datastore_comes_back(emulator: DatastoreEmulator, guest: Visitor) -> None:
    """After an outage that the application has seen, it stores sessions again."""
    emulator.kill()
    for _ in range(5):
        with pytest.raises(BackendUnavailable):
            guest.read()
    emulator.start()
    assert wait_until(lambda: works(guest), PATIENCE)
    assert guest.read() == {"works": True}
