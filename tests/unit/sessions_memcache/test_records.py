"""What memcached is asked for: expiry times, keys, signed values, and how its errors appear."""

from __future__ import annotations

import decimal
import hmac
import pickle
import ssl
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymemcache.client.base import PooledClient

from webapp2_sessions.config import SessionConfig
from webapp2_sessions.errors import BackendError, SessionTooLarge, UnreadableSession
from webapp2_sessions.sessions_memcache import records as memcached
from webapp2_sessions.sessions_memcache.records import (
    SessionMemcached,
    expiry,
    session_memcached,
)
from webapp2_sessions.sessions_memcache.servers import Node, Nodes, Server
from webapp2_sessions.stored.cache import Token
from webapp2_sessions.stored.serializers import OWN_PROTOCOL, Serializer
from webapp2_sessions.stored.signed_values import SignedValues

DAY = 24 * 3600
NOW = 1_700_000_000
#: The latest time that memcached's 32 bits hold.
LATEST = 2**31 - 1

SID = "0123456789abcdefghijkl"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock at NOW."""
    monkeypatch.setattr(memcached, "time", SimpleNamespace(time=lambda: NOW + 0.75))


class FakeServer(Node):
    """A server whose answers are given; an exception is raised."""

    address = "fake:1"

    def __init__(self, *answers: Any, item_size: int = 1024 * 1024) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[Any, ...]] = []
        self.item_size_max = item_size

    def call(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        """The next answer; the last one again and again."""
        self.calls.append((operation, *args))
        if operation == "stats":
            return {b"item_size_max": self.item_size_max}
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def memcached_of(server: Node, key_prefix: str = "session:") -> SessionMemcached:
    """A SessionMemcached with one server."""
    return SessionMemcached(Nodes([server]), key_prefix, *signers(b"k" * 32))


def signers(key: bytes, *fallbacks: bytes) -> tuple[SignedValues, SignedValues]:
    """What signs values, and what signs sessions."""
    serializer = Serializer(protocol=OWN_PROTOCOL)
    return (
        SignedValues(key, serializer, fallbacks),
        SignedValues(key, serializer, fallbacks, b"\x02"),
    )


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
    return memcached_of(Server("127.0.0.1:1", 0.5), key_prefix)


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
    "change",
    [
        {"secret_key": "another"},
        {"secret_key_fallbacks": ["older"]},
        {"serializer": "json"},
        {"serializer_fallbacks": ["json"]},
        {"memcache": {"key_prefix": "p:"}},
        {"memcache": {}},
    ],
    ids=str,
)
def test_change_of_a_configuration_is_noticed(change: dict[str, Any]) -> None:
    """Also where it is the one that was asked for at last."""
    changed = config(memcache={"key_prefix": "former:"})
    first = session_memcached(changed, "memcache")
    assert session_memcached(changed, "memcache") is first
    changed.update(change)
    assert session_memcached(changed, "memcache") is not first
    unchecked = {"secret_key": "secret", **changed}
    assert session_memcached(unchecked, "memcache") is session_memcached(changed, "memcache")


def test_change_inside_a_configuration_is_noticed() -> None:
    """Of a setting of memcached."""
    changed = config()
    first = session_memcached(changed, "memcache")
    changed["memcache"]["key_prefix"] = "another:"
    second = session_memcached(changed, "memcache")
    assert second.key("name") == b"another:name" != first.key("name")


@pytest.mark.parametrize(
    "other",
    [
        {"secret_key": "another"},
        {"memcache": {"servers": ["127.0.0.1:11212"]}},
        {"memcache": {"key_prefix": "p:"}},
        {"memcache": {"timeout": 2.0}},
        {"memcache": {"servers": ["127.0.0.1:11211", "127.0.0.1:11212"]}},
        {"memcache": {"tls_context": ssl.create_default_context()}},
        {"memcache": {"client": object.__new__(PooledClient)}},
        {"serializer": "json"},
        {"serializer_fallbacks": ["json"]},
        {"secret_key_fallbacks": ["older"]},
    ],
    ids=" ".join,
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


def test_value_of_an_older_secret_is_read() -> None:
    """Stored sessions outlive a rotation of the keys."""
    rotated = config(secret_key="new", secret_key_fallbacks=["x", "secret"])
    data = session_memcached(config(), "memcache").encode(b"k", {"a": 1})
    assert session_memcached(rotated, "memcache").decode(b"k", data) == {"a": 1}


def test_value_of_an_older_secret_and_another_purpose_is_none() -> None:
    """The purposes are kept apart for each key."""
    rotated = config(secret_key="new", secret_key_fallbacks=["secret"])
    data = session_memcached(config(), "datastore").encode(b"k", {"a": 1})
    assert session_memcached(rotated, "memcache").decode(b"k", data) is None


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
    with pytest.raises(UnreadableSession, match=r"127\.0\.0\.1:1: .*\.Vanishing,"):
        backend().decode(b"k", data)


KEY = b"session:" + SID.encode()


def test_value_that_was_stored() -> None:
    """set() asks memcached for exactly that, once."""
    server = FakeServer(True)
    memcached_of(server).set(KEY, b"value", 60)
    assert server.calls == [("set", KEY, b"value", 61)]


@pytest.mark.parametrize("answer", [False, None])
def test_value_that_was_not_stored(answer: object) -> None:
    """A set that memcached did not carry out is an error."""
    with pytest.raises(BackendError, match=r"backend at fake:1: .* did not store the session"):
        memcached_of(FakeServer(answer)).set(KEY, b"value", 0)


# Tokens


def test_value_comes_with_a_token() -> None:
    """gets() gives what compare-and-set needs."""
    server = FakeServer((b"value", b"7"), True)
    memcached = memcached_of(server)
    value, token = memcached.gets(KEY)
    assert value == b"value"
    assert token is not None
    assert memcached.cas(KEY, b"new", token, 60) is True
    assert server.calls == [("gets", KEY), ("cas", KEY, b"new", b"7", 61)]


@pytest.mark.parametrize("answer", [True, False, None])
def test_value_that_is_added_or_touched(answer: object) -> None:
    """A client may answer in its own way; what counts is whether it did so."""
    server = FakeServer(answer)
    memcached = memcached_of(server)
    assert memcached.add(KEY, b"value", 60) is bool(answer)
    assert memcached.touch(KEY, 60) is bool(answer)
    assert server.calls == [("add", KEY, b"value", 61), ("touch", KEY, 61)]


def test_nothing_has_no_token() -> None:
    """Where nothing is stored there is nothing to compare with."""
    assert memcached_of(FakeServer((None, None))).gets(KEY) == (None, (None, 0))


@pytest.mark.parametrize("answer", [False, None])
def test_changed_value_is_not_replaced(answer: object) -> None:
    """Nor is one that is gone."""
    assert memcached_of(FakeServer(answer)).cas(KEY, b"new", Token(b"7", 0), 60) is False


def test_token_from_before_a_lost_connection() -> None:
    """The server may have been restarted, and have given the same token to another value."""
    server = FakeServer((b"value", b"7"), True)
    memcached = memcached_of(server)
    _, token = memcached.gets(KEY)
    server.lost += 1
    assert token is not None
    assert memcached.cas(KEY, b"new", token, 60) is False
    assert server.calls == [("gets", KEY)]


# Revoking


@pytest.mark.parametrize(("time", "mark"), [(0, b"0"), (NOW + 0.5, b"%d" % NOW)])
def test_revoked_record_is_marked_taken_and_deleted(time: float, mark: bytes) -> None:
    """The mark comes first, so that whoever misses the record finds it."""
    server = FakeServer(True, (b"record", b"7"), True)
    assert memcached_of(server).revoke(KEY, time) is True
    assert server.calls == [
        ("add", KEY + b":ended", mark, 3600),
        ("gets", KEY),
        ("cas", KEY, b"ended", b"7", 1),
        ("delete", KEY),
    ]


@pytest.mark.parametrize(
    ("answers", "is_first"),
    [
        ([True, (None, None), False], True),  # nothing is there, and nobody has revoked it
        ([False, (None, None), False], False),  # another request has
        ([False, (b"record", b"7"), True, True], True),  # its server failed before the deletion
        ([False, (b"ended", b"7"), True], False),  # it is about to delete it
        ([True, (b"ended", b"7"), True], False),
        # Another request has written it between the two questions.
        ([True, (b"record", b"7"), False, (b"record", b"8"), True, True], True),
        ([True, (b"record", b"7"), None, (None, None), False], True),
    ],
)
def test_who_revokes_a_record_first(answers: list[Any], is_first: bool) -> None:
    """Whoever takes it away from the others; the mark counts where nothing is there."""
    assert memcached_of(FakeServer(*answers)).revoke(KEY) is is_first


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        (None, None),
        (b"1700000000", NOW),
        (b"1", 1),  # as marks were before they held a time: long ago
        (b"0", None),  # it was destroyed, and has got no other id
        (b"", None),
        (b"soon", None),
        (b"-5", None),
        (b"1.5", None),
        ("\N{ARABIC-INDIC DIGIT ONE}".encode(), None),
        (b"9" * 400, None),
    ],
)
def test_time_at_which_a_record_was_superseded(mark: bytes | None, expected: int | None) -> None:
    """It stands in the mark, into which others can write anything."""
    server = FakeServer(mark)
    assert memcached_of(server).superseded_at(KEY) == expected
    assert server.calls == [("get", KEY + b":ended")]


def test_replaced_record() -> None:
    """A record that is there costs one call."""
    server = FakeServer(True)
    assert memcached_of(server).replace(KEY, b"value", 60) is True
    assert server.calls == [("replace", KEY, b"value", 61)]


def test_revoked_record_is_not_replaced() -> None:
    """One that is not there, and has a mark, stays away."""
    server = FakeServer(False, b"1")
    assert memcached_of(server).replace(KEY, b"value", 60) is False
    assert [call[0] for call in server.calls] == ["replace", "get"]


def test_evicted_record_is_stored_anew() -> None:
    """One that is not there, and has no mark, was evicted."""
    server = FakeServer(False, None, True, None)
    assert memcached_of(server).replace(KEY, b"value", 60) is True
    assert [call[0] for call in server.calls] == ["replace", "get", "set", "get"]


def test_record_that_is_revoked_while_it_is_stored_anew() -> None:
    """It is deleted again."""
    server = FakeServer(False, None, True, b"0", True)
    assert memcached_of(server).replace(KEY, b"value", 60) is False
    assert server.calls[-1] == ("delete", KEY)


@pytest.mark.parametrize("name", [SID, "x" * 90, "x" * 1000])
def test_key_of_a_mark_is_one_that_memcached_takes(name: str) -> None:
    """With the longest prefix too it is at most 250 bytes."""
    server = FakeServer(True, (None, None), False)
    memcached = memcached_of(server, "p" * 150)
    memcached.revoke(memcached.key(name), NOW)
    assert len(server.calls[0][1]) <= 250


# Sizes


def test_small_value_needs_no_question() -> None:
    """What fits into any server is not compared with its limit."""
    server = FakeServer(True)
    memcached_of(server).encode_session(KEY, "session", {"a": "x" * 300}, None)
    assert server.calls == []


@pytest.mark.parametrize("excess", [0, 1])
def test_value_at_the_limit(excess: int) -> None:
    """A value of the server's item size, less what an item needs besides, is the largest."""
    server = FakeServer(True)
    memcached = memcached_of(server)
    size = len(memcached.encode_session(KEY, "session", {"a": "x" * 2000}, None))
    server.calls.clear()
    server.lost += 1  # or the limit is known
    server.item_size_max = size + 512 - excess
    if not excess:
        assert len(memcached.encode_session(KEY, "session", {"a": "x" * 2000}, None)) == size
        assert server.calls == [("stats", "settings")]
        return
    with pytest.raises(SessionTooLarge) as caught:
        memcached.encode_session(KEY, "session", {"a": "x" * 2000}, None)
    assert (caught.value.size, caught.value.limit) == (size, size - 1)


def test_too_large_session_names_its_largest_keys() -> None:
    """The error tells what to store elsewhere, and shows no value."""
    session = {"user": 5, "cart": "x" * 3000, "log": "y" * 2000}
    with pytest.raises(
        SessionTooLarge, match=r"largest keys: 'cart' \(.*'log' \(.*'user'"
    ) as caught:
        memcached_of(FakeServer(item_size=4096)).encode_session(KEY, "session", session, None)
    assert [key for key, _ in caught.value.largest] == ["cart", "log", "user"]
    assert "xxx" not in str(caught.value)


def test_item_size_is_asked_once() -> None:
    """And again after connections were lost, since another server may be there."""
    server = FakeServer(True)
    memcached = memcached_of(server)
    for lost in (0, 0, 1, 1):
        server.lost = lost
        memcached.encode_session(KEY, "session", {"a": "x" * 2000}, None)
    assert server.calls == [("stats", "settings")] * 2


# Sessions


def test_session_is_read_back_with_its_age() -> None:
    """By the name under which it was written."""
    data = {"a": (1, b"\xff")}
    for max_age in (None, 60):
        stored = backend().encode_session(KEY, "session", data, max_age)
        assert backend().decode_session(KEY, "session", stored) == (data, max_age)


def test_layout_of_a_session() -> None:
    """The format is fixed: a byte, and a list that is signed under key, space and name."""
    stored = backend().encode_session(KEY, "Zürich", {"a": 1}, 60)
    name = KEY + b" Z\xc3\xbcrich"
    mac = hmac.digest(b"k" * 32, b"%d:%b" % (len(name), name) + stored[33:], "sha256")
    assert stored == b"\x02" + mac + pickle.dumps([{"a": 1}, 60], 5)


@pytest.mark.parametrize(
    ("key", "owner"),
    [(KEY, "another"), (KEY, ""), (KEY[:-1] + b"x", "session"), (KEY + b" session", "")],
)
def test_session_of_another_name_or_key_is_none(key: bytes, owner: str) -> None:
    """A record belongs to both."""
    stored = backend().encode_session(KEY, "session", {"a": 1}, None)
    assert backend().decode_session(key, owner, stored) == (None, None)


def test_session_from_before_sessions_had_names() -> None:
    """It is read under any name, until it expires, and has no age of its own."""
    stored = backend().encode(KEY, {"a": 1})
    assert backend().decode_session(KEY, "session", stored) == ({"a": 1}, None)


@pytest.mark.parametrize("data", [None, b"", b"0", b"text", pickle.dumps({"a": 1}), b"\x02" * 100])
def test_foreign_value_is_no_session(data: bytes | None) -> None:
    """No entry, and an entry that we did not write, count as none."""
    assert backend().decode_session(KEY, "session", data) == (None, None)


def test_own_session_that_cannot_be_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As any other value of ours."""
    stored = backend().encode_session(KEY, "session", {"note": Vanishing()}, None)
    monkeypatch.delattr(f"{__name__}.Vanishing")
    with pytest.raises(
        UnreadableSession,
        match=r"127\.0\.0\.1:1: .*Vanishing, which cannot be imported: AttributeError\)",
    ):
        backend().decode_session(KEY, "session", stored)


# Signing again


def rotated(server: Node) -> SessionMemcached:
    """As `memcached_of`, with another key, and the one of that as a fallback."""
    return SessionMemcached(Nodes([server]), "session:", *signers(b"n" * 32, b"k" * 32))


def encoded(memcached: SessionMemcached) -> bytes:
    """What is stored for a session."""
    return memcached.encode_session(KEY, "session", {"a": 1}, 60)


def encoded_before(memcached: SessionMemcached) -> bytes:
    """What was stored before sessions had names."""
    return memcached.encode(KEY, {"a": 1})


@pytest.mark.parametrize("encode", [encoded, encoded_before])
def test_record_of_an_older_key_is_signed_again(encode: Callable[..., bytes]) -> None:
    """By compare-and-set, so that what another request writes meanwhile stays."""
    server = FakeServer((encode(memcached_of(FakeServer(True))), b"7"), True)
    rotated(server).sign_again(KEY, "session", 60)
    assert server.calls == [
        ("gets", KEY),
        ("cas", KEY, encode(rotated(FakeServer(True))), b"7", 61),
    ]


@pytest.mark.parametrize("answer", [False, None])
def test_record_that_another_request_has_written_is_not_signed_again(answer: object) -> None:
    """It is the other's now, or gone."""
    server = FakeServer((encoded(memcached_of(FakeServer(True))), b"7"), answer)
    rotated(server).sign_again(KEY, "session", 60)
    assert [call[0] for call in server.calls] == ["gets", "cas"]


@pytest.mark.parametrize(
    "stored",
    [
        (None, None),
        (b"", b"7"),
        (b"something else", b"7"),
        (encoded(rotated(FakeServer(1))), b"7"),
        (encoded_before(rotated(FakeServer(1))), b"7"),
        (memcached_of(FakeServer(1)).encode_session(KEY, "another", {}, None), b"7"),
    ],
    ids=[
        *("nothing", "destroyed", "of others", "of the present key"),
        *("of the present key, without a name", "of another name"),
    ],
)
def test_other_records_are_not_signed_again(stored: tuple[Any, ...]) -> None:
    """Only what an older key of ours has signed."""
    server = FakeServer(stored)
    rotated(server).sign_again(KEY, "session", 60)
    assert server.calls == [("gets", KEY)]


def test_nothing_is_asked_where_there_are_no_older_keys() -> None:
    """A rotation that is over costs nothing."""
    server = FakeServer(BackendError("memcache", "here", "must not be asked"))
    memcached_of(server).sign_again(KEY, "session", 60)
    assert server.calls == []
