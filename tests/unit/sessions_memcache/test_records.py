"""What memcached is asked for: expiry times, keys, signed values, and how its errors appear."""

from __future__ import annotations

import contextlib
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
from webapp2_sessions.sessions_memcache.servers import Node, Nodes
from webapp2_sessions.stored.serializers import OWN_PROTOCOL, Serializer
from webapp2_sessions.stored.signed_values import SignedValues

DAY = 24 * 3600
NOW = 1_700_000_000
#: The latest time that memcached's 32 bits hold.
LATEST = 2**31 - 1

SID = "0123456789abcdefghijkl"
KEY = b"session:" + SID.encode()


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


def memcached_of(
    server: Node, key_prefix: str = "session:", keys: tuple[bytes, ...] = (b"k" * 32,)
) -> SessionMemcached:
    """A SessionMemcached with one server; the first key signs."""
    serializer = Serializer(protocol=OWN_PROTOCOL)
    values = SignedValues(keys[0], serializer, keys[1:])
    sessions = SignedValues(keys[0], serializer, keys[1:], b"\x02")
    return SessionMemcached(Nodes([server]), key_prefix, values, sessions)


@pytest.fixture
def backend() -> SessionMemcached:
    """A SessionMemcached that is not connected to anything."""
    return memcached_of(FakeServer(True))


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
        pytest.param(-float("inf"), 2, id="for ever past"),
        pytest.param(float("nan"), 2, id="not a number"),
        pytest.param(0.001, 2, id="a moment"),
        pytest.param(1, 2, id="a second"),
        pytest.param(1.5, 3, id="a fraction is rounded up"),
        pytest.param(3600.0, 3601, id="a float"),
        pytest.param(decimal.Decimal("59.5"), 61, id="a Decimal"),
        pytest.param(30 * DAY - 1, 30 * DAY, id="30 days, the longest relative time"),
        pytest.param(30 * DAY - 0.5, NOW + 30 * DAY + 1, id="above 30 days by a fraction"),
        pytest.param(30 * DAY, NOW + 30 * DAY + 1, id="above 30 days: a point in time"),
        pytest.param(365 * DAY, NOW + 365 * DAY + 1, id="a year"),
        pytest.param(LATEST - NOW - 2, LATEST - 1, id="until the last but one second"),
        pytest.param(LATEST - NOW - 1, LATEST, id="until the last second of 32 bits"),
        pytest.param(LATEST - NOW, 0, id="beyond 32 bits"),
        pytest.param(1e300, 0, id="huge"),
        pytest.param(float("inf"), 0, id="infinite"),
    ],
)
def test_expiry_is_never_shorter_than_the_lifetime(
    monkeypatch: pytest.MonkeyPatch, lifetime: float | None, expected: int
) -> None:
    monkeypatch.setattr(memcached, "time", SimpleNamespace(time=lambda: NOW + 0.75))
    told = expiry(lifetime)
    assert (told, type(told)) == (expected, int)  # pymemcache refuses numbers that are no int


@given(lifetime=st.floats() | st.integers())
def test_expiry_is_in_the_future_or_never(lifetime: float) -> None:
    before = int(time.time())
    told = expiry(lifetime)
    assert told == 0 or 2 <= told <= 30 * DAY or before < told <= LATEST


# Keys


@pytest.mark.parametrize("name", [SID, "x" * 90])
def test_key_is_prefix_and_name(name: str) -> None:
    assert memcached_of(FakeServer(), "app/").key(name) == b"app/" + name.encode()


@pytest.mark.parametrize(
    "name",
    [
        *("", "x" * 91, "two words", "line\nbreak", "at-the-end\n", "nul\0", "\x7f", "tab\t"),
        *("Zürich", "\ud800", "\U0001f40d" * 100),
    ],
    ids=ascii,
)
def test_name_that_memcached_would_misread_is_hashed(backend: SessionMemcached, name: str) -> None:
    prefix, _, digest = backend.key(name).rpartition(b":")
    assert (prefix, len(bytes.fromhex(digest.decode()))) == (b"session:sha256", 32)
    assert backend.key(name + "\0") != backend.key(name)


@given(name=st.text(st.characters(), max_size=300))
def test_any_key_is_one_that_memcached_takes(name: str) -> None:
    key = memcached_of(FakeServer(), "p" * 150).key(name)
    assert len(key) <= 250
    assert all(0x21 <= byte <= 0x7E for byte in key)


# Which SessionMemcached a configuration gives


@pytest.mark.parametrize(
    "change",
    [
        {"secret_key": "another"},
        {"secret_key_fallbacks": ["older"]},
        {"serializer": "json"},
        {"serializer_fallbacks": ["json"]},
        {"memcache": {"key_prefix": "p:"}},
        {"memcache": {}},
        {"memcache": {"servers": ["127.0.0.1:11212"]}},
        {"memcache": {"servers": ["127.0.0.1:11211", "127.0.0.1:11212"]}},
        {"memcache": {"timeout": 2.0}},
        {"memcache": {"tls_context": ssl.create_default_context()}},
        {"memcache": {"client": object.__new__(PooledClient)}},
    ],
    ids=" ".join,
)
def test_same_settings_give_the_same_object_until_one_changes(change: dict[str, Any]) -> None:
    changed = config(memcache={"key_prefix": "former:"})
    first = session_memcached(changed, "memcache")
    assert session_memcached(config(**changed), "memcache") is first
    changed.update(change)
    assert session_memcached(changed, "memcache") is not first
    unchecked = {"secret_key": "secret", **changed}
    assert session_memcached(unchecked, "memcache") is session_memcached(changed, "memcache")


def test_change_inside_a_setting_is_noticed() -> None:
    changed = config()
    first = session_memcached(changed, "memcache")
    changed["memcache"]["key_prefix"] = "another:"
    second = session_memcached(changed, "memcache")
    assert second.key("name") == b"another:name" != first.key("name")


ROTATED = {"secret_key": "new", "secret_key_fallbacks": ["x", "sécret"]}


@pytest.mark.parametrize(
    ("settings", "purpose", "is_read"),
    [
        ({"secret_key": "sécret".encode()}, "memcache", True),
        (ROTATED, "memcache", True),
        (ROTATED, "datastore", False),
        ({"secret_key": "another"}, "memcache", False),
        ({"secret_key": "sécret"}, "datastore", False),
    ],
    ids=["bytes", "older secret", "older, other purpose", "another secret", "another purpose"],
)
def test_value_is_bound_to_secret_and_purpose(
    settings: dict[str, Any], purpose: str, is_read: bool
) -> None:
    stored = session_memcached(config(secret_key="sécret"), "memcache").encode(b"k", {"a": 1})
    reader = session_memcached(config(**settings), purpose)
    assert reader.decode(b"k", stored) == ({"a": 1} if is_read else None)


# Values and sessions


class Vanishing:
    """A class that is gone when its instance is read."""


@pytest.mark.parametrize("max_age", [None, 60])
def test_value_and_session_are_read_back(backend: SessionMemcached, max_age: int | None) -> None:
    data = {"a": (1, b"\xff")}
    assert backend.decode(b"k", backend.encode(b"k", data)) == data
    stored = backend.encode_session(KEY, "session", data, max_age)
    assert backend.decode_session(KEY, "session", stored) == (data, max_age, None)


def test_details_are_kept_beside_the_data(backend: SessionMemcached) -> None:
    stored = backend.encode_session(KEY, "session", {"a": 1}, 60, {"user": "5"})
    assert backend.decode_session(KEY, "session", stored) == ({"a": 1}, 60, {"user": "5"})


def test_layout_of_a_session_is_fixed(backend: SessionMemcached) -> None:
    # A byte, and a list that is signed under key, space and name.
    stored = backend.encode_session(KEY, "Zürich", {"a": 1}, 60)
    name = KEY + b" Z\xc3\xbcrich"
    mac = hmac.digest(b"k" * 32, b"%d:%b" % (len(name), name) + stored[33:], "sha256")
    assert stored == b"\x02" + mac + pickle.dumps([{"a": 1}, 60], 5)


@pytest.mark.parametrize(
    "data",
    [None, b"", b"0", b"text", pickle.dumps({"a": 1}), b"\x01" * 100, b"\x02" * 100],
)
def test_what_we_did_not_write_counts_as_none(backend: SessionMemcached, data: Any) -> None:
    assert backend.decode(b"k", data) is None
    assert backend.decode_session(KEY, "session", data) == (None, None, None)


@pytest.mark.parametrize(
    ("key", "owner"),
    [(KEY, "another"), (KEY, ""), (KEY[:-1] + b"x", "session"), (KEY + b" session", "")],
)
def test_session_of_other_name_or_key_is_none(
    backend: SessionMemcached, key: bytes, owner: str
) -> None:
    stored = backend.encode_session(KEY, "session", {"a": 1}, None)
    assert backend.decode_session(key, owner, stored) == (None, None, None)


def test_session_from_before_sessions_had_names_is_read(backend: SessionMemcached) -> None:
    stored = backend.encode(KEY, {"a": 1})
    assert backend.decode_session(KEY, "session", stored) == ({"a": 1}, None, None)


def test_own_value_that_cannot_be_unpickled_is_no_empty_session(
    backend: SessionMemcached, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"note": Vanishing()}
    value, session = backend.encode(KEY, data), backend.encode_session(KEY, "session", data, None)
    monkeypatch.delattr(f"{__name__}.Vanishing")
    words = r"fake:1: .*\.Vanishing, which cannot be imported: AttributeError\)"
    with pytest.raises(UnreadableSession, match=words):
        backend.decode(KEY, value)
    with pytest.raises(UnreadableSession, match=words):
        backend.decode_session(KEY, "session", session)


# Commands


def test_value_is_stored_once() -> None:
    server = FakeServer(True)
    memcached_of(server).set(KEY, b"value", 60)
    assert server.calls == [("set", KEY, b"value", 61)]


@pytest.mark.parametrize("answer", [False, None])
def test_value_that_was_not_stored_is_an_error(answer: object) -> None:
    with pytest.raises(BackendError, match=r"backend at fake:1: .* did not store the session"):
        memcached_of(FakeServer(answer)).set(KEY, b"value", 0)


@pytest.mark.parametrize("answer", [True, False, None])
def test_any_true_answer_to_add_and_touch_counts(answer: object) -> None:
    server = FakeServer(answer)
    memcached = memcached_of(server)
    assert memcached.fill(KEY, b"value", memcached.absent(KEY), 60) is bool(answer)
    assert memcached.touch(KEY, 60) is bool(answer)
    assert server.calls == [("fill", KEY, b"value", 61), ("touch", KEY, 61)]


def test_value_comes_with_a_token_for_compare_and_set() -> None:
    server = FakeServer((b"value", b"7"), True)
    memcached = memcached_of(server)
    value, token = memcached.gets(KEY)
    assert value == b"value"
    assert token is not None
    assert memcached.fill(KEY, b"new", token, 60) is True
    assert server.calls == [("gets", KEY), ("cas", KEY, b"new", b"7", 61)]


def test_nothing_is_there_to_compare_with() -> None:
    server = FakeServer((None, None))
    assert memcached_of(server).gets(KEY) == (None, (None, server, 0))


@pytest.mark.parametrize("answer", [False, None], ids=["changed", "gone"])
def test_value_that_is_another_is_not_replaced(answer: object) -> None:
    memcached = memcached_of(FakeServer((b"value", b"7"), answer))
    _, token = memcached.gets(KEY)
    assert token is not None
    assert memcached.fill(KEY, b"new", token, 60) is False


def test_token_from_before_a_lost_connection_is_not_used() -> None:
    # The server may have been restarted, and have given the same token to another value.
    server = FakeServer((b"value", b"7"), True)
    memcached = memcached_of(server)
    _, token = memcached.gets(KEY)
    server.lost += 1
    assert token is not None
    assert memcached.fill(KEY, b"new", token, 60) is False
    assert server.calls == [("gets", KEY)]


# Revoking


@pytest.mark.parametrize(("time", "mark"), [(0, b"0"), (NOW + 0.5, b"%d" % NOW)])
def test_revoked_record_is_marked_before_it_is_deleted(time: float, mark: bytes) -> None:
    # Whoever misses the record finds the mark.
    server = FakeServer(True, (b"record", b"7"), True)
    assert memcached_of(server).revoke(KEY, time) is True
    (_, key, left, seconds), *others = server.calls
    assert (key, left.partition(b" ")[0], seconds) == (KEY + b":ended", mark, 3600)
    assert others == [
        ("gets", KEY),
        ("cas", KEY, b"ended", b"7", -1),
        ("delete", KEY),
    ]


@pytest.mark.parametrize(
    ("answers", "is_first"),
    [
        ([True, (None, None), None, False], True),  # nothing is there, and nobody has revoked it
        ([True, (None, None), b"0 another", False], False),  # who has found it has left a mark
        ([False, (None, None), False], False),  # another request has
        (
            [False, (b"record", b"7"), True, True, True],
            True,
        ),  # its server failed before the deletion
        ([False, (b"ended", b"7"), True], False),  # it is about to delete it
        ([True, (b"ended", b"7"), True], False),
        # Another request has written it between the two questions.
        ([True, (b"record", b"7"), False, (b"record", b"8"), True, True], True),
        ([True, (b"record", b"7"), None, (None, None), None, False], True),
    ],
)
def test_who_takes_a_record_away_revokes_it_first(answers: list[Any], is_first: bool) -> None:
    assert memcached_of(FakeServer(*answers)).revoke(KEY) is is_first


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        (None, None),
        (b"1700000000", NOW),
        (b"1", 1),  # as marks were before they held a time: long ago
        (b"0", None),  # it was destroyed, and has got no other id
        *((mark, None) for mark in (b"", b"soon", b"-5", b"1.5", b"9" * 400)),
        ("\N{ARABIC-INDIC DIGIT ONE}".encode(), None),
    ],
)
def test_time_in_the_mark_is_bounded(mark: bytes | None, expected: int | None) -> None:
    # Others can write anything into it.
    server = FakeServer(mark)
    assert memcached_of(server).superseded_at(KEY) == expected
    assert server.calls == [("get", KEY + b":ended")]


@pytest.mark.parametrize(
    ("answers", "is_stored", "calls"),
    [
        ([True], True, ["replace"]),
        ([False, b"1"], False, ["replace", "get"]),
        ([False, None, True, None], True, ["replace", "get", "set", "get"]),
        ([False, None, True, b"0", True], False, ["replace", "get", "set", "get", "delete"]),
    ],
    ids=["there", "revoked", "evicted", "revoked meanwhile"],
)
def test_record_is_replaced_unless_revoked(
    answers: list[Any], is_stored: bool, calls: list[str]
) -> None:
    server = FakeServer(*answers)
    assert memcached_of(server).replace(KEY, b"value", 60) is is_stored
    assert server.calls[0] == ("replace", KEY, b"value", 61)
    assert [call[0] for call in server.calls] == calls


@pytest.mark.parametrize("name", [SID, "x" * 90, "x" * 1000])
def test_key_of_a_mark_is_one_that_memcached_takes(name: str) -> None:
    server = FakeServer(True, (None, None), False)
    memcached = memcached_of(server, "p" * 150)
    memcached.revoke(memcached.key(name), NOW)
    assert len(server.calls[0][1]) <= 250


# Sizes


def encode_of_size(memcached: SessionMemcached, size: int) -> bytes:
    """Encode a session of about so many bytes."""
    return memcached.encode_session(KEY, "session", {"a": "x" * size}, None)


def test_small_value_is_not_compared_with_the_servers_limit() -> None:
    server = FakeServer(True)
    encode_of_size(memcached_of(server), 300)
    assert server.calls == []


@pytest.mark.parametrize("excess", [0, 1])
def test_largest_value_is_the_item_size_less_what_an_item_needs_besides(excess: int) -> None:
    size = len(encode_of_size(memcached_of(FakeServer(True)), 2000))
    memcached = memcached_of(server := FakeServer(True, item_size=size + 512 - excess))
    with pytest.raises(SessionTooLarge) if excess else contextlib.nullcontext() as caught:
        assert len(encode_of_size(memcached, 2000)) == size
    assert server.calls == [("stats", "settings")]
    if excess:
        assert (caught.value.size, caught.value.limit) == (size, size - 1)


def test_too_large_session_names_its_largest_keys_and_shows_no_value() -> None:
    session = {"user": 5, "cart": "x" * 3000, "log": "y" * 2000}
    words = r"largest keys: 'cart' \(.*'log' \(.*'user'"
    with pytest.raises(SessionTooLarge, match=words) as caught:
        memcached_of(FakeServer(item_size=4096)).encode_session(KEY, "session", session, None)
    assert [key for key, _ in caught.value.largest] == ["cart", "log", "user"]
    assert "xxx" not in str(caught.value)


def test_item_size_is_asked_once_and_after_connections_were_lost() -> None:
    server = FakeServer(True)
    memcached = memcached_of(server)
    for lost in (0, 0, 1, 1):
        server.lost = lost
        encode_of_size(memcached, 2000)
    assert server.calls == [("stats", "settings")] * 2


# Signing again


def rotated(server: Node) -> SessionMemcached:
    """As `memcached_of`, with another key, and the one of that as a fallback."""
    return memcached_of(server, keys=(b"n" * 32, b"k" * 32))


def encoded(memcached: SessionMemcached) -> bytes:
    """What is stored for a session."""
    return memcached.encode_session(KEY, "session", {"a": 1}, 60)


def encoded_before(memcached: SessionMemcached) -> bytes:
    """What was stored before sessions had names."""
    return memcached.encode(KEY, {"a": 1})


@pytest.mark.parametrize("encode", [encoded, encoded_before])
@pytest.mark.parametrize("answer", [True, False, None], ids=["stored", "changed", "gone"])
def test_record_of_an_older_key_is_signed_again_by_compare_and_set(
    encode: Callable[..., bytes], answer: object, backend: SessionMemcached
) -> None:
    server = FakeServer((encode(backend), b"7"), answer)
    rotated(server).sign_again(KEY, "session", 60)
    again = encode(rotated(FakeServer()))
    assert server.calls == [("gets", KEY), ("cas", KEY, again, b"7", 61)]


@pytest.mark.parametrize(
    "stored",
    [
        (None, None),
        (b"", b"7"),
        (b"something else", b"7"),
        (encoded(rotated(FakeServer())), b"7"),
        (encoded_before(rotated(FakeServer())), b"7"),
        (memcached_of(FakeServer()).encode_session(KEY, "another", {}, None), b"7"),
    ],
    ids=["nothing", "destroyed", "of others", "present key", "without a name", "another name"],
)
def test_other_records_are_not_signed_again(stored: tuple[Any, ...]) -> None:
    server = FakeServer(stored)
    rotated(server).sign_again(KEY, "session", 60)
    assert server.calls == [("gets", KEY)]


def test_nothing_is_asked_where_there_are_no_older_keys() -> None:
    server = FakeServer(BackendError("memcache", "here", "must not be asked"))
    memcached_of(server).sign_again(KEY, "session", 60)
    assert server.calls == []
