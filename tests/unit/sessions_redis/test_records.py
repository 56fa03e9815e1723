"""What Redis is asked for: lifetimes, compare-and-set, what is sent twice, and ends of sessions."""

from __future__ import annotations

import contextlib
import decimal
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import exceptions
from support.processes import wait_until
from support.scripted import SILENCE, ScriptedServer
from support.servers import Redis as Server

from webapp2_sessions.config import SessionConfig
from webapp2_sessions.errors import BackendError, BackendUnavailable, ConfigError
from webapp2_sessions.sessions_redis.records import (
    _TOKEN_SIZE,
    SessionRedis,
    milliseconds,
    session_redis,
)
from webapp2_sessions.sessions_redis.servers import CustomRedis, Redis, RedisServer
from webapp2_sessions.stored.serializers import OWN_PROTOCOL, Serializer
from webapp2_sessions.stored.signed_values import SignedValues

DAY = 24 * 3600
YEAR = 366 * DAY

SID = "0123456789abcdefghijkl"
KEY = b"session:" + SID.encode()
TOKEN = b"t" * _TOKEN_SIZE

#: The shortest wait that is no accident of the scheduler's.
TIMEOUT = 0.1

#: Seconds that no test takes.
LONG = 30.0

NOTHING = b"$-1\r\n"
OK = b"+OK\r\n"

_prefixes = (f"records{os.getpid()}x{number}:" for number in itertools.count())


def records_of(server: Redis, key_prefix: str = "session:") -> SessionRedis:
    """Records on a server."""
    serializer = Serializer(protocol=OWN_PROTOCOL)
    values = SignedValues(b"k" * 32, serializer, ())
    sessions = SignedValues(b"k" * 32, serializer, (), b"\x02")
    return SessionRedis(server, key_prefix, values, sessions)


@pytest.fixture
def ours(redis_server: Server) -> SessionRedis:
    """Records on a real server, under keys that no other test has."""
    return records_of(RedisServer(redis_server.url, LONG), next(_prefixes))


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[ScriptedServer, SessionRedis]]]:
    """Start a server with scripted answers, and make records on it."""
    with contextlib.ExitStack() as at_end:

        def start(*answers: bytes | None) -> tuple[ScriptedServer, SessionRedis]:
            server = at_end.enter_context(ScriptedServer(*answers))
            return server, records_of(RedisServer(f"redis://{server.address}", TIMEOUT))

        yield start


# Lifetimes


@pytest.mark.parametrize(
    ("lifetime", "expected"),
    [
        pytest.param(None, None, id="never"),
        pytest.param(0, 2000, id="zero, which Redis refuses"),
        pytest.param(-1, 2000, id="past, which Redis takes for a deletion"),
        pytest.param(-float("inf"), 2000, id="for ever past"),
        pytest.param(float("nan"), 2000, id="not a number"),
        pytest.param(0.001, 2000, id="a moment"),
        pytest.param(1, 2000, id="a second"),
        pytest.param(1.5, 3000, id="a fraction is rounded up"),
        pytest.param(3600.0, 3601_000, id="a float"),
        pytest.param(decimal.Decimal("59.5"), 61_000, id="a Decimal"),
        pytest.param(30 * DAY, (30 * DAY + 1) * 1000, id="30 days"),
        pytest.param(100 * YEAR - 1, 100 * YEAR * 1000, id="nearly a hundred years"),
        pytest.param(100 * YEAR, None, id="a hundred years"),
        pytest.param(1e300, None, id="huge"),
        pytest.param(10**400, None, id="an integer that is no float"),
        pytest.param(float("inf"), None, id="infinite"),
    ],
)
def test_lifetime_is_never_shorter_than_that_of_the_cookie(
    lifetime: float | None, expected: int | None
) -> None:
    told = milliseconds(lifetime)
    assert (told, type(told)) == (expected, type(expected))


@given(lifetime=st.floats() | st.integers())
def test_lifetime_is_one_that_redis_takes(lifetime: float) -> None:
    told = milliseconds(lifetime)
    assert told is None or 2000 <= told < 2**62


@pytest.mark.parametrize(
    "store",
    [
        lambda records, key, lifetime: records.set(key, b"data", lifetime),
        lambda records, key, lifetime: records.replace(key, b"data", lifetime),
        lambda records, key, lifetime: records.fill(key, b"data", TOKEN, lifetime),
        lambda records, key, lifetime: records.touch(key, lifetime),
    ],
    ids=["set", "replace", "fill", "touch"],
)
@pytest.mark.parametrize(
    ("lifetime", "left"), [(None, -1), (1e300, -1), (99, 100_000), (98.5, 100_000)]
)
@pytest.mark.parametrize("before", [None, 5000])
def test_record_lives_so_long(
    ours: SessionRedis, store: Any, lifetime: float | None, left: int, before: float | None
) -> None:
    key = ours.key(SID)
    ours.set(key, TOKEN + b"data", before)
    assert store(ours, key, lifetime) in (None, True)
    found = ours.server.call(0, "PTTL", key)
    assert found == -1 if left == -1 else left - 5000 < found <= left


def test_new_record_lives_so_long(ours: SessionRedis) -> None:
    for sid, lifetime in ("forever", None), ("short", 99.5):
        assert ours.fill(ours.key(sid), b"data", None, lifetime)
    assert ours.server.call(0, "PTTL", ours.key("forever")) == -1
    assert 96_000 < ours.server.call(0, "PTTL", ours.key("short")) <= 101_000
    assert ours.times(ours.key("forever"))["expires_in"] == -1
    assert 96 < ours.times(ours.key("short"))["expires_in"] <= 101
    assert ours.times(ours.key("none")) == {}


# Compare and set


def test_record_is_stored_if_the_token_holds(ours: SessionRedis) -> None:
    key = ours.key(SID)
    first, second = (ours.encode_session(key, "name", {"n": n}, None) for n in range(2))
    assert ours.gets(key) == (None, None)
    assert ours.fill(key, first, None, 60)
    assert not ours.fill(key, second, None, 60)
    data, token = ours.gets(key)
    assert (data, token) == (first, ours.token_of(first))
    assert ours.fill(key, second, token, 60)
    assert not ours.fill(key, first, token, 60)
    assert ours.get(key) == second
    ours.revoke(key)
    assert not ours.fill(key, first, ours.token_of(second), 60)
    assert ours.get(key) is None


def test_token_is_format_and_signature(ours: SessionRedis) -> None:
    key = ours.key(SID)
    one, other = (ours.encode_session(key, "name", {"n": n}, None) for n in range(2))
    assert ours.token_of(one) != ours.token_of(other)
    assert ours.token_of(one)[:1] == ours.token_of(other)[:1]
    # What follows it is the data, with which it changes.
    assert len(ours.token_of(one)) == 1 + 32


@pytest.mark.parametrize("lifetime", [60, None])
def test_value_of_any_bytes_is_stored_as_it_is(ours: SessionRedis, lifetime: float | None) -> None:
    key, data = ours.key(SID), TOKEN + bytes(range(256)) * 100
    assert ours.fill(key, data, None, lifetime)
    assert ours.fill(key, data[::-1], TOKEN, lifetime)
    assert ours.get(key) == data[::-1]


def test_script_that_the_server_has_forgotten_is_sent_again(
    ours: SessionRedis, redis_server: Server
) -> None:
    key = ours.key(SID)
    ours.set(key, TOKEN, 60)
    for _ in range(2):
        redis_server.ask("SCRIPT", "FLUSH")
        assert ours.fill(key, TOKEN + b"new", TOKEN, 60)
        assert ours.get(key) == TOKEN + b"new"


def test_key_of_another_kind_counts_as_none(ours: SessionRedis) -> None:
    key = ours.key(SID)
    for each in (key, key + b":superseded"):
        ours.server.call(0, "RPUSH", each, b"x")
    assert ours.get(key) is None
    assert ours.gets(key) == (None, None)
    assert ours.superseded_at(key) is None
    with pytest.raises(BackendError, match=r"refused \(ResponseError\)"):
        ours.fill(key, b"data", TOKEN, 60)


# What is sent twice

CALLS: dict[str, tuple[Callable[[SessionRedis], Any], bytes, bytes, Any]] = {
    "get": (lambda each: each.get(KEY), b"GET " + KEY, b"$1\r\nd\r\n", b"d"),
    "set": (lambda each: each.set(KEY, b"d", 9), b"SET %b d PX 10000" % KEY, OK, None),
    "set for ever": (lambda each: each.set(KEY, b"d", None), b"SET %b d" % KEY, OK, None),
    "replace": (lambda each: each.replace(KEY, b"d", 9), b"SET %b d PX 10000 XX" % KEY, OK, True),
    "add": (lambda each: each.fill(KEY, b"d", None, 9), b"SET %b d PX 10000 NX" % KEY, OK, True),
    "cas": (lambda each: each.fill(KEY, b"d", TOKEN, 9), b"EVALSHA ", b":1\r\n", True),
    "touch": (lambda each: each.touch(KEY, 9), b"PEXPIRE %b 10000" % KEY, b":1\r\n", True),
    "revoke": (lambda each: each.revoke(KEY), b"DEL " + KEY, b":1\r\n", True),
    "superseded": (lambda each: each.superseded_at(KEY), b"GET %b:superseded" % KEY, NOTHING, None),
}

#: What may be sent again after its connection was closed, and after there was no answer.
AFTER_CLOSE = {"get", "set", "set for ever", "replace", "touch", "superseded"}
AFTER_SILENCE = {"get", "touch", "superseded"}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("failure", "repeated"),
    [(b"", AFTER_CLOSE), (SILENCE, AFTER_SILENCE)],
    ids=["closed", "silent"],
)
def test_command_is_repeated_if_twice_is_as_good_as_once(
    start: Any, name: str, failure: bytes | None, repeated: set[str]
) -> None:
    call, command, answer, meaning = CALLS[name]
    server, records = start(NOTHING, failure, answer)
    records.get(b"other")
    if name in repeated:
        assert call(records) == meaning
        assert len(server.commands) == 3
        assert server.commands[2] == server.commands[1]
        assert server.connections == 2
    else:
        with pytest.raises(BackendUnavailable):
            call(records)
        assert len(server.commands) == 2
        assert server.connections == 1
    assert server.commands[1].startswith(command)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("failure", [b"", SILENCE], ids=["closed", "silent"])
def test_command_on_a_new_connection_is_sent_once(
    start: Any, name: str, failure: bytes | None
) -> None:
    server, records = start(failure)
    with pytest.raises(BackendUnavailable):
        CALLS[name][0](records)
    assert len(server.commands) == 1


def test_mark_of_another_id_is_repeated_and_the_deletion_is_not(start: Any) -> None:
    server, records = start(NOTHING, b"", OK, b"")
    records.get(b"other")
    with pytest.raises(BackendUnavailable):
        records.revoke(KEY, 1_700_000_000.9)
    mark = b"SET %b:superseded 1700000000 EX 300 NX" % KEY
    assert server.commands[1:] == [mark, mark, b"DEL " + KEY]


# Writing, and the end of a session


def test_record_that_is_not_there_is_not_written_again(ours: SessionRedis) -> None:
    key = ours.key(SID)
    assert not ours.replace(key, b"data", 60)
    assert not ours.touch(key, 60)
    assert not ours.touch(key, None)
    ours.set(key, b"data", 60)
    assert ours.touch(key, None)
    assert ours.touch(key, None)  # it has no lifetime that could be taken away
    assert ours.replace(key, b"more", 60)
    assert [ours.revoke(key), ours.revoke(key)] == [True, False]
    assert not ours.replace(key, b"late", 60)
    assert ours.get(key) is None
    assert not ours.is_revoked(key)


def test_session_with_another_id_is_marked(ours: SessionRedis) -> None:
    key = ours.key(SID)
    ours.set(key, b"data", 60)
    assert ours.superseded_at(key) is None
    assert [ours.revoke(key, 1_700_000_000.9), ours.revoke(key, 1_700_000_009)] == [True, False]
    assert ours.superseded_at(key) == 1_700_000_000
    assert ours.is_revoked(key)
    left = ours.server.call(0, "TTL", key + b":superseded")
    assert 290 < left <= 300


@pytest.mark.parametrize("mark", [b"", b"x", b"-1", b"1" * 15, b"17.5", "\u0664".encode()])
def test_mark_that_is_none_counts_as_missing(ours: SessionRedis, mark: bytes) -> None:
    key = ours.key(SID)
    ours.server.call(0, "SET", key + b":superseded", mark)
    assert ours.superseded_at(key) is None


def test_one_of_many_ends_a_session(ours: SessionRedis) -> None:
    key = ours.key(SID)
    ours.set(key, b"data", 60)
    outcomes: list[bool] = []
    barrier = threading.Barrier(8)

    def end() -> None:
        barrier.wait(LONG)
        outcomes.append(ours.revoke(key))

    threads = [threading.Thread(target=end) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert sorted(outcomes) == [False] * 7 + [True]


# Unusual servers


class Odd:
    """A client of the application's own with one answer to all; an exception is raised."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def execute_command(self, *command: Any) -> Any:
        """Return it."""
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("value", ["text", bytearray(b"data"), 7, ["a"], True], ids=repr)
def test_value_that_is_no_bytes_is_refused(value: Any) -> None:
    records = records_of(CustomRedis(Odd(value)))
    for call in (records.get, records.gets, records.superseded_at):
        with pytest.raises(BackendError, match=f"{type(value).__name__} and not the bytes"):
            call(KEY)


def test_server_that_does_not_say_ok_has_not_stored() -> None:
    with pytest.raises(BackendError, match="did not store the session"):
        records_of(CustomRedis(Odd(None))).set(KEY, b"data", 60)


@pytest.mark.parametrize("answer", [b"+QUEUED\r\n", b"*0\r\n"])
def test_another_answer_tells_of_no_record_that_is_stored(start: Any, answer: bytes) -> None:
    """As within a transaction, or by a proxy that is at fault."""
    for store in (SessionRedis.set, SessionRedis.replace):
        _, records = start(answer)
        with pytest.raises(BackendError, match="the answer is none to the command"):
            store(records, KEY, b"data", None)


@pytest.mark.parametrize("answer", [b"+OK\r\n", b"*0\r\n", b":2\r\n", NOTHING])
def test_another_answer_tells_of_no_session_that_is_ended(start: Any, answer: bytes) -> None:
    _, records = start(answer)
    with pytest.raises(BackendError, match="the answer is none to the command"):
        records.revoke(KEY)


def test_idle_time_is_left_out_where_it_cannot_be_told(
    ours: SessionRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ours.key(SID)
    ours.set(key, b"data", 60)
    assert ours.times(key).keys() == {"expires_in", "idle"}
    call = ours.server.call

    def refuse(resend: int, *command: Any) -> Any:
        if command[0] == "OBJECT":
            raise ours.server._refused(exceptions.ResponseError("LFU"))
        return call(resend, *command)

    monkeypatch.setattr(ours.server, "call", refuse)
    assert ours.times(key).keys() == {"expires_in"}


def test_record_ends_by_the_servers_clock(ours: SessionRedis) -> None:
    key = ours.key(SID)
    ours.set(key, TOKEN, 60)
    ours.server.call(0, "PEXPIRE", key, 1)
    assert wait_until(lambda: ours.get(key) is None, LONG)
    assert not ours.replace(key, b"late", 60)
    assert not ours.fill(key, b"late", TOKEN, 60)


# Settings


class Unhashable(Odd):
    """A client that is equal to any other."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)


def config(**settings: Any) -> SessionConfig:
    """A checked configuration."""
    return SessionConfig({"secret_key": "secret", **settings})


def test_same_settings_give_the_same_records() -> None:
    first = session_redis(config())
    assert first is session_redis(config())
    for other in (
        config(redis={"url": "redis://127.0.0.1:1/1"}),
        config(redis={"key_prefix": "mine:"}),
        config(redis={"namespace": "mine"}),
        config(redis={"client": Unhashable()}),
        config(serializer="json"),
        config(secret_key="another"),
        config(secret_key_fallbacks=["another"]),
    ):
        assert first is not session_redis(other)


def test_clients_are_told_apart_by_identity() -> None:
    one, other = config(redis={"client": Unhashable()}), config(redis={"client": Unhashable()})
    assert session_redis(one) is session_redis(one)
    assert session_redis(one) is not session_redis(other)


def test_key_is_needed() -> None:
    with pytest.raises(ConfigError, match="secret_key"):
        session_redis({})
