"""What memcached is asked for: expiry times, keys, signed values, and how its errors appear."""

from __future__ import annotations

import decimal
import itertools
import pickle
import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymemcache.exceptions import (
    MemcacheClientError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
    MemcacheUnknownError,
)

from webapp2_sessions import memcached
from webapp2_sessions.config import SessionConfig
from webapp2_sessions.errors import BackendError, BackendUnavailable, UnreadableSession
from webapp2_sessions.memcached import SessionMemcached, expiry, session_memcached
from webapp2_sessions.serializers import SignedPickles

DAY = 24 * 3600
NOW = 1_700_000_000
#: The latest time that memcached's 32 bits hold.
LATEST = 2**31 - 1

SID = "0123456789abcdefghijkl"

#: Each fake has an address of its own, since clients are kept by address.
addresses = itertools.count()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock at NOW."""
    monkeypatch.setattr(memcached, "time", SimpleNamespace(time=lambda: NOW + 0.75))


class FakeClient:
    """A client of memcached whose answers are given; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, operation: str) -> Any:
        def call(*args: Any) -> Any:
            self.calls.append((operation, *args))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return call


class Backend(SessionMemcached):
    """A SessionMemcached that talks to a fake."""

    def __init__(self, *answers: Any) -> None:
        server = f"fake:{next(addresses)}"
        super().__init__(server, 0.5, "session:", SignedPickles(b"k" * 32))
        self.fake = FakeClient(*answers)

    def _connect(self) -> Any:
        return self.fake


def config(**settings: Any) -> SessionConfig:
    """A checked configuration."""
    return SessionConfig({"secret_key": "secret", **settings})


# Expiry


@pytest.mark.parametrize(
    ("lifetime", "expected"),
    [
        pytest.param(None, 0, id="never"),
        pytest.param(0, 2, id="zero, which memcached takes for never"),
        pytest.param(-1, 2, id="past, which memcached drops at once"),
        pytest.param(-1e12, 2, id="long past"),
        pytest.param(-float("inf"), 2, id="for ever past"),
        pytest.param(float("nan"), 2, id="not a number"),
        pytest.param(0.001, 2, id="a moment"),
        pytest.param(1, 2, id="a second"),
        pytest.param(1.5, 3, id="a fraction is rounded up"),
        pytest.param(60, 61, id="a minute"),
        pytest.param(3600.0, 3601, id="a float"),
        pytest.param(decimal.Decimal("59.5"), 61, id="a Decimal"),
        pytest.param(30 * DAY - 1, 30 * DAY, id="30 days, the longest relative time"),
        pytest.param(30 * DAY - 0.5, NOW + 30 * DAY + 1, id="above 30 days by a fraction"),
        pytest.param(30 * DAY, NOW + 30 * DAY + 1, id="above 30 days: a point in time"),
        pytest.param(31 * DAY, NOW + 31 * DAY + 1, id="31 days"),
        pytest.param(365 * DAY, NOW + 365 * DAY + 1, id="a year"),
        pytest.param(LATEST - NOW - 2, LATEST - 1, id="until the last but one second"),
        pytest.param(LATEST - NOW - 1, LATEST, id="until the last second of 32 bits"),
        pytest.param(LATEST - NOW, 0, id="beyond 32 bits"),
        pytest.param(2**40, 0, id="longer than the time since 1970"),
        pytest.param(1e300, 0, id="huge"),
        pytest.param(float("inf"), 0, id="infinite"),
    ],
)
@pytest.mark.usefixtures("clock")
def test_expiry(lifetime: float | None, expected: int) -> None:
    """What memcached is told is never shorter than the lifetime, and nothing it misunderstands."""
    assert expiry(lifetime) == expected


@pytest.mark.usefixtures("clock")
def test_expiry_is_an_int() -> None:
    """pymemcache refuses numbers that are no int."""
    assert {type(expiry(seconds)) for seconds in (None, 1.5, 40.5 * DAY, 1e300)} == {int}


@given(lifetime=st.floats() | st.integers())
def test_expiry_is_in_the_future_or_never(lifetime: float) -> None:
    """No lifetime at all gives a time that is over, or one of more than 32 bits."""
    before = int(time.time())
    told = expiry(lifetime)
    assert told == 0 or 2 <= told <= 30 * DAY or before < told <= LATEST


# Keys


def backend(key_prefix: str = "session:") -> SessionMemcached:
    """A SessionMemcached that is not connected to anything."""
    return SessionMemcached("127.0.0.1:1", 0.5, key_prefix, SignedPickles(b"k" * 32))


def test_key_is_prefix_and_name() -> None:
    """A session id stands in the key as it is."""
    assert backend("app/").key(SID) == b"app/" + SID.encode()


def test_longest_readable_name() -> None:
    """A name of up to 90 safe characters is not hashed."""
    assert backend("").key("x" * 90) == b"x" * 90


HASHED = [
    "",
    "x" * 91,
    "two words",
    "line\nbreak",
    "at-the-end\n",
    "nul\0",
    "\x7f",
    "tab\t",
    "Zürich",
    "\ud800",
    "\U0001f40d" * 100,
]


@pytest.mark.parametrize("name", HASHED, ids=ascii)
def test_unsafe_name_is_hashed(name: str) -> None:
    """What memcached would refuse or misread is replaced by its SHA-256."""
    prefix, _, digest = backend().key(name).rpartition(b":")
    assert (prefix, len(bytes.fromhex(digest.decode()))) == (b"session:sha256", 32)


def test_hashed_names_are_told_apart() -> None:
    """Each unsafe name has a key of its own."""
    assert len({backend().key(name) for name in HASHED}) == len(HASHED)


@given(name=st.text(st.characters(), max_size=300))
def test_any_key_is_one_that_memcached_takes(name: str) -> None:
    """With the longest prefix too, a key is at most 250 bytes of printable ASCII."""
    key = backend("p" * 150).key(name)
    assert len(key) <= 250
    assert all(0x21 <= byte <= 0x7E for byte in key)


# Which SessionMemcached a configuration gives


def test_same_settings_give_the_same_object() -> None:
    """Keys are derived once for all requests of an application."""
    assert session_memcached(config(), "memcache") is session_memcached(config(), "memcache")


@pytest.mark.parametrize(
    "other",
    [
        {"secret_key": "another"},
        {"memcache": {"servers": ["127.0.0.1:11212"]}},
        {"memcache": {"key_prefix": "p:"}},
        {"memcache": {"timeout": 2.0}},
    ],
    ids=str,
)
def test_other_settings_give_another_object(other: dict[str, Any]) -> None:
    """Each of the settings is taken into account."""
    first = session_memcached(config(), "memcache")
    assert session_memcached(config(**other), "memcache") is not first


def test_text_and_bytes_of_one_secret_read_the_same() -> None:
    """A secret given as bytes is the same secret."""
    text = session_memcached(config(secret_key="sécret"), "memcache")
    raw = session_memcached(config(secret_key="sécret".encode()), "memcache")
    assert raw.decode(b"k", text.encode(b"k", {"a": 1})) == {"a": 1}


@pytest.mark.parametrize(
    ("values", "purpose"),
    [({"secret_key": "another"}, "memcache"), ({}, "datastore")],
    ids=["another secret", "another purpose"],
)
def test_value_of_others_is_no_value(values: dict[str, Any], purpose: str) -> None:
    """What another application, or the other backend, wrote under the key counts as none."""
    ours = session_memcached(config(), "memcache")
    theirs = session_memcached(config(**values), purpose)
    assert ours.decode(b"k", theirs.encode(b"k", {"a": 1})) is None


# Values


class Vanishing:
    """A class that is gone when its instance is read."""


def test_value_is_read_back() -> None:
    """decode() gives what encode() was given."""
    values = {"a": (1, b"\xff")}
    assert backend().decode(b"k", backend().encode(b"k", values)) == values


@pytest.mark.parametrize("data", [None, b"", b"0", b"text", pickle.dumps({"a": 1}), b"\x01" * 100])
def test_foreign_value_is_no_value(data: bytes | None) -> None:
    """No entry, and an entry that we did not write, count as none."""
    assert backend().decode(b"k", data) is None


def test_own_value_that_cannot_be_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session of ours whose class was renamed is an error, not an empty session."""
    data = backend().encode(b"k", {"note": Vanishing()})
    monkeypatch.delattr(f"{__name__}.Vanishing")
    with pytest.raises(UnreadableSession, match=r"127\.0\.0\.1:1: .*\(AttributeError\)"):
        backend().decode(b"k", data)


def test_record_that_was_stored() -> None:
    """set() asks memcached for exactly the record, once."""
    told = Backend(True)
    told.set(SID, {"a": 1}, 60)
    key = b"session:" + SID.encode()
    assert told.fake.calls == [("set", key, told.encode(key, {"a": 1}), 61)]


@pytest.mark.parametrize("answer", [False, None])
def test_record_that_was_not_stored(answer: object) -> None:
    """A set that memcached did not carry out is an error."""
    with pytest.raises(BackendError, match="did not store the session"):
        Backend(answer).set(SID, {"a": 1}, None)


def test_empty_session_is_a_record() -> None:
    """A session without values is not taken for none."""
    stored = backend().encode(b"session:" + SID.encode(), {})
    assert Backend(stored).get(SID) == {}


# Errors


FAILURES = [
    (ConnectionRefusedError(111, "refused"), BackendUnavailable, "refused the connection"),
    (TimeoutError("timed out"), BackendUnavailable, r"did not answer within 0\.5 s"),
    (OSError(113, "no route"), BackendUnavailable, r"cannot be reached \(OSError\)"),
    (MemcacheServerError(b"out of memory"), BackendError, r"the server refused \(out of memory\)"),
    (MemcacheClientError(b"bad"), BackendError, r"refused \(MemcacheClientError\)"),
    (MemcacheUnknownError(b"HTTP/1.1"), BackendError, r"refused \(MemcacheUnknownError\)"),
]


@pytest.mark.parametrize(("failure", "kind", "text"), FAILURES, ids=lambda value: repr(value)[:30])
def test_failure_is_a_backend_error(
    failure: Exception, kind: type[BackendError], text: str
) -> None:
    """Whatever goes wrong is a BackendError that tells what, with the cause attached."""
    with pytest.raises(BackendError, match=text) as caught:
        Backend(failure).get(SID)
    assert (type(caught.value), caught.value.__cause__) == (kind, failure)


@pytest.mark.parametrize(("failure", "kind", "text"), FAILURES, ids=lambda value: repr(value)[:30])
def test_failure_is_not_repeated(failure: Exception, kind: type[BackendError], text: str) -> None:
    """A server that refuses or is silent is asked once, so that a request waits once."""
    failing = Backend(failure)
    with pytest.raises(kind, match=text):
        failing.get(SID)
    assert len(failing.fake.calls) == 1


def test_error_names_backend_and_address() -> None:
    """The error tells which server of which backend it is, as text and as attributes."""
    failing = Backend(TimeoutError())
    with pytest.raises(BackendUnavailable) as caught:
        failing.get(SID)
    error = caught.value
    assert (error.backend, error.address) == ("memcache", failing.address)
    assert str(error).startswith(f"memcache backend at {failing.address}: ")


CLOSED = [MemcacheUnexpectedCloseError(), BrokenPipeError(), ConnectionResetError()]


@pytest.mark.parametrize("failure", CLOSED, ids=repr)
def test_closed_connections_are_replaced(failure: Exception) -> None:
    """Connections that a restart has closed are left behind without an error."""
    restarted = Backend(*[failure] * 20, None)
    assert restarted.get(SID) is None


@pytest.mark.parametrize("failure", CLOSED, ids=repr)
def test_server_that_closes_every_connection(failure: Exception) -> None:
    """A server that hangs up each time is given up."""
    with pytest.raises(BackendUnavailable, match="closes every connection"):
        Backend(failure).get(SID)


def test_program_error_is_no_backend_error() -> None:
    """An error that is no failure of the server passes as it is."""
    with pytest.raises(ZeroDivisionError):
        Backend(ZeroDivisionError()).get(SID)
