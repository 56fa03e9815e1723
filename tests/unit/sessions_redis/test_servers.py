"""Redis servers: what their failures mean, when a silent one is asked, and clients of others."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
import redis
import redis.asyncio
from redis import exceptions
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel
from support.faults import texts
from support.forks import forks, in_child
from support.scripted import SILENCE, ScriptedServer
from support.servers import Redis

from webapp2_sessions.config import redis_settings
from webapp2_sessions.errors import BackendError, BackendUnavailable, ConfigError
from webapp2_sessions.sessions_redis.connection import Connections
from webapp2_sessions.sessions_redis.servers import (
    CustomRedis,
    RedisServer,
    _clients,
    server_of,
)
from webapp2_sessions.stored.connections import IF_CLOSED, IF_SILENT, IF_UNSENT, StaleConnection

SID = "0123456789abcdefghijkl"
KEY = b"session:" + SID.encode()
PASSWORD = "open-sesame-17"

#: The shortest wait that is no accident of the scheduler's.
TIMEOUT = 0.1

#: Seconds that no test takes.
LONG = 30.0

NOTHING = b"$-1\r\n"


class FakeConnections:
    """Connections whose answers are given; an exception is raised, unless it is an answer."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.commands: list[Any] = []
        self.closed = 0

    def exchange(self, resend: int, *command: Any) -> Any:
        """The next answer; the last one again and again."""
        self.commands.append(command)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception) and not isinstance(answer, exceptions.ResponseError):
            raise answer
        return answer

    def close(self) -> None:
        """Count."""
        self.closed += 1


class FakeServer(RedisServer):
    """A server whose connections are a fake, by a clock that is moved."""

    def __init__(self, *answers: Any) -> None:
        super().__init__("redis://fake:1/0", 0.5)
        self.connections = FakeConnections(*answers)
        self.now = 1000.0

    def _connect(self) -> Any:
        return self.connections

    def _now(self) -> float:
        return self.now

    def get(self) -> Any:
        """What a GET is answered."""
        return self.call(IF_SILENT, "GET", KEY)


class FakeClient:
    """A client of the application's own whose answers are given; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.commands: list[Any] = []

    def execute_command(self, *command: Any) -> Any:
        """The next answer; the last one again and again."""
        self.commands.append(command)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def custom(*answers: Any) -> CustomRedis:
    """The server of a client of the application's own."""
    return CustomRedis(FakeClient(*answers))


# What failures mean


def told(caught: BaseException, caplog: pytest.LogCaptureFixture) -> list[str]:
    """All that an error and the log tell."""
    return [*texts(caught), caplog.text]


#: What a server answers, and what is said of it. All that a server repeats is a secret.
REFUSALS = [
    (b"-NOAUTH Authentication required.", "refused user name or password"),
    (b"-WRONGPASS invalid username-password pair", "refused user name or password"),
    (b"-OOM command not allowed when used memory > 'maxmemory'.", "is full, and evicts nothing"),
    (b"-READONLY You can't write against a read only replica.", "is a replica"),
    (b"-NOPERM User me has no permissions to access 'key %b'" % KEY, "may not do this"),
    (b"-MOVED 3999 127.0.0.1:6381", "is one of a cluster"),
    (b"-ERR unknown command 'GET', with args beginning with: '%b'" % KEY, r"\(ResponseError\)"),
    (b"-WRONGTYPE Operation against a key holding the wrong kind", r"\(ResponseError\)"),
    (b"-ERR %b" % PASSWORD.encode(), r"\(ResponseError\)"),
    (b"HTTP/1.1 400 " + KEY, "no Redis server"),
]


@pytest.fixture
def start(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., Any]]:
    """Start a server with scripted answers; it and a RedisServer that asks it."""
    caplog.set_level(logging.DEBUG)
    with contextlib.ExitStack() as at_end:

        def start(*answers: bytes | None, sign_in: str = "", timeout: float = LONG) -> Any:
            server = at_end.enter_context(ScriptedServer(*answers))
            return server, RedisServer(f"redis://{sign_in}{server.address}/0", timeout)

        yield start


@pytest.mark.parametrize(("answer", "text"), REFUSALS, ids=lambda value: repr(value)[:20])
def test_error_that_a_server_answers_has_words_of_ours(
    start: Any, caplog: pytest.LogCaptureFixture, answer: bytes, text: str
) -> None:
    scripted, server = start(answer + b"\r\n")
    with pytest.raises(BackendError, match=text) as caught:
        server.call(IF_SILENT, "GET", KEY)
    assert type(caught.value) is BackendError
    assert str(caught.value).startswith(f"redis backend at {scripted.address}: ")
    for secret in (SID, PASSWORD):
        assert not [text for text in told(caught.value, caplog) if secret in text]


@pytest.mark.parametrize(("answer", "text"), REFUSALS, ids=lambda value: repr(value)[:20])
def test_same_while_a_connection_begins(
    start: Any, caplog: pytest.LogCaptureFixture, answer: bytes, text: str
) -> None:
    _, server = start(answer + b"\r\n", sign_in=f":{PASSWORD}@")
    with pytest.raises(BackendError, match=text) as caught:
        server.call(IF_SILENT, "GET", KEY)
    for secret in (SID, PASSWORD):
        assert not [text for text in told(caught.value, caplog) if secret in text]


FAILURES: list[tuple[bytes | None, str]] = [
    (b"-LOADING Redis is loading the dataset in memory\r\n", "is still loading its data"),
    (b"-ERR max number of clients reached\r\n", "closed the connection"),
    (b"", "closed the connection"),
    (SILENCE, r"did not answer within 0\.1 s"),
    (b"$5\r\nda", r"did not answer within 0\.1 s"),
]


@pytest.mark.parametrize(("answer", "text"), FAILURES, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("sign_in", ["", f":{PASSWORD}@"], ids=["asked", "connecting"])
def test_server_that_cannot_be_asked_is_unavailable(
    start: Any,
    caplog: pytest.LogCaptureFixture,
    answer: bytes | None,
    text: str,
    sign_in: str,
) -> None:
    _, server = start(answer, sign_in=sign_in, timeout=TIMEOUT)
    with pytest.raises(BackendUnavailable, match=text) as caught:
        server.call(IF_SILENT, "GET", KEY)
    for secret in (SID, PASSWORD):
        assert not [text for text in told(caught.value, caplog) if secret in text]


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (ConnectionRefusedError(111, "refused"), "the server refused the connection"),
        (TimeoutError("timed out"), r"did not answer within 0\.5 s"),
        (OSError(113, "no route"), r"cannot be reached \(OSError\)"),
        (FileNotFoundError(2, "none"), r"cannot be reached \(FileNotFoundError\)"),
        (ssl.SSLCertVerificationError("x"), r"cannot be reached \(SSLCertVerificationError\)"),
        (socket.gaierror(-2, "unknown"), "the server's name was not found"),
        (socket.gaierror(socket.EAI_AGAIN, ""), "not be looked up in time"),
        (ConnectionResetError(104, "reset"), "closed the connection"),
    ],
    ids=repr,
)
def test_failure_to_connect_is_told_by_its_kind(
    monkeypatch: pytest.MonkeyPatch, failure: OSError, text: str
) -> None:
    def connect(*_: Any) -> Any:
        raise failure

    monkeypatch.setattr("webapp2_sessions.sessions_redis.connection.connect", connect)
    server = RedisServer(f"redis://:{PASSWORD}@host:1/0", 0.5)
    with pytest.raises(BackendUnavailable, match=text) as caught:
        server.call(IF_SILENT, "GET", KEY)
    assert caught.value.address == "host:1"
    assert not [text for text in texts(caught.value) if PASSWORD in text]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", "localhost"),
        ("redis:///3", "localhost"),
        (f"redis://:{PASSWORD}@/3", "localhost"),
        (f"rediss://me:{PASSWORD}@host:7/3", "host:7"),
        ("redis://[::1]:7", "[::1]:7"),
        (f"unix://:{PASSWORD}@/run/redis.sock", "/run/redis.sock"),
    ],
)
def test_server_is_named_without_its_password(url: str, address: str) -> None:
    assert RedisServer(url, 0.5).address == address


def test_program_error_is_no_backend_error() -> None:
    with pytest.raises(ZeroDivisionError):
        FakeServer(ZeroDivisionError()).get()


@pytest.mark.parametrize("error", [exceptions.ReadOnlyError, exceptions.MasterDownError])
def test_connections_to_a_replica_are_dropped(error: type[Exception]) -> None:
    # After a failover the name stands for another server.
    server = FakeServer(error("x"), b"value")
    with pytest.raises(BackendError, match="replica"):
        server.get()
    assert server.connections.closed == 1
    assert server.get() == b"value"
    assert server.connections.closed == 1


# A server that is silent

SILENT = exceptions.TimeoutError("Timeout reading from socket")


def gaierror() -> Exception:
    """What redis-py makes of a name that is not found."""
    error = exceptions.ConnectionError("not found")
    error.__context__ = socket.gaierror(-2, "unknown")
    return error


@pytest.mark.parametrize("failure", [SILENT, TimeoutError(), gaierror()], ids=repr)
def test_silent_server_is_asked_once_a_second(failure: Exception) -> None:
    server = FakeServer(failure)
    for _ in range(40):
        with pytest.raises(BackendUnavailable):
            server.get()
        server.now += 0.125
    assert len(server.connections.commands) == 5


@pytest.mark.parametrize(
    "failure",
    [
        exceptions.ConnectionError("closed"),
        exceptions.BusyLoadingError(""),
        exceptions.InvalidResponse("no answer"),
        exceptions.ResponseError("no"),
    ],
    ids=repr,
)
def test_server_that_fails_at_once_is_asked_each_time(failure: Exception) -> None:
    server = FakeServer(failure)
    for _ in range(5):
        with pytest.raises(BackendError):
            server.get()
    assert len(server.connections.commands) == 5


@pytest.mark.parametrize(
    "answer",
    [
        b"value",
        exceptions.ConnectionError("closed"),
        exceptions.ResponseError("no"),
        exceptions.InvalidResponse("no answer"),
    ],
    ids=repr,
)
def test_server_that_answers_in_whatever_way_is_silent_no_more(answer: Any) -> None:
    server = FakeServer(SILENT, answer, b"value")
    with pytest.raises(BackendUnavailable):
        server.get()
    with pytest.raises(BackendUnavailable, match="not asked again for 1 s"):
        server.get()
    server.now += 1.0
    with contextlib.suppress(BackendError):
        assert server.get() == b"value"
    assert [server.get() for _ in range(3)] == [b"value"] * 3


def test_connection_that_was_forgotten_makes_no_silent_server() -> None:
    server = FakeServer(StaleConnection(), b"value")
    with pytest.raises(BackendUnavailable, match="did not answer within"):
        server.call(IF_CLOSED, "SET", KEY, b"value")
    assert server.get() == b"value"


# Compare and set


def test_script_is_sent_whole_where_the_server_does_not_know_it() -> None:
    server = FakeServer(exceptions.NoScriptError("x"), 1)
    assert server.compare_and_set(KEY, b"begin", b"data", 5000) is True
    [known, whole] = server.connections.commands
    assert (known[0], whole[0]) == ("EVALSHA", "EVAL")
    assert known[2:] == whole[2:] == (1, KEY, 4, b"begin", b"data", 5000)


def test_script_is_as_the_server_hashes_it(redis_server: Redis) -> None:
    server = RedisServer(redis_server.url, LONG)
    server.compare_and_set(b"cas:none", b"begin", b"data", None)
    sha = FakeServer(1)
    sha.compare_and_set(KEY, b"begin", b"data", None)
    assert redis_server.ask("SCRIPT EXISTS", sha.connections.commands[0][1]) == [True]


@pytest.mark.parametrize("answer", [0, None, b"OK", 2], ids=repr)
def test_only_one_answer_means_stored(answer: Any) -> None:
    assert FakeServer(answer).compare_and_set(KEY, b"begin", b"data", 5000) is False


@pytest.mark.parametrize("at", [0, 1])
def test_refusal_of_the_script_is_an_error(at: int) -> None:
    answers = [exceptions.NoScriptError("x"), exceptions.OutOfMemoryError("x")][1 - at :]
    with pytest.raises(BackendError, match="it is full"):
        FakeServer(*answers).compare_and_set(KEY, b"begin", b"data", 5000)


# A client of the application's own


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (exceptions.ConnectionError(SID), "closed the connection"),
        (exceptions.TimeoutError(SID), r"the client failed \(TimeoutError\)"),
        (exceptions.MaxConnectionsError(SID), r"connection failed \(MaxConnectionsError\)"),
        (MasterNotFoundError(SID), r"connection failed \(MasterNotFoundError\)"),
        (exceptions.RedisClusterException(SID), r"failed \(RedisClusterException\)"),
        (exceptions.SlotNotCoveredError(SID), r"failed \(SlotNotCoveredError\)"),
        (exceptions.InvalidResponse(SID), r"failed \(InvalidResponse\)"),
        (ConnectionRefusedError(SID), "refused the connection"),
        (OSError(SID), r"failed \(OSError\)"),
        (KeyError(SID), r"failed \(KeyError\)"),
        (IndexError(SID), r"failed \(IndexError\)"),
        (RuntimeError(SID), r"failed \(RuntimeError\)"),
    ],
    ids=repr,
)
def test_failure_of_a_custom_client_names_the_setting_and_no_key(
    failure: Exception, text: str
) -> None:
    with pytest.raises(BackendUnavailable, match=text) as caught:
        custom(failure).call(IF_SILENT, "GET", KEY)
    assert caught.value.address == "config['redis']['client']"
    assert not [text for text in texts(caught.value) if SID in text]


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (exceptions.ResponseError(f"unknown command with {SID}"), r"\(ResponseError\)"),
        (exceptions.NoPermissionError(SID), "may not do this"),
        (exceptions.AuthenticationError(SID), "refused user name or password"),
    ],
    ids=repr,
)
def test_refusal_of_a_custom_client_is_an_error_without_the_key(
    failure: Exception, text: str
) -> None:
    with pytest.raises(BackendError, match=text) as caught:
        custom(failure).call(IF_SILENT, "GET", KEY)
    assert type(caught.value) is BackendError
    assert not [text for text in texts(caught.value) if SID in text]


@pytest.mark.parametrize("kind", ["ClusterDownError", "MasterDownError", "TryAgainError"])
def test_refusal_that_passes_is_an_unavailable_server(kind: str) -> None:
    failure = getattr(exceptions, kind)(SID)
    for server in custom(failure), FakeServer(failure):
        with pytest.raises(BackendUnavailable, match=rf"refused \({kind}\): it") as caught:
            server.call(IF_SILENT, "GET", KEY)
        assert not [text for text in texts(caught.value) if SID in text]


def test_cluster_that_redis_py_5_does_not_recognize() -> None:
    with pytest.raises(BackendError, match="is one of a cluster"):
        FakeServer(exceptions.ResponseError("MOVED 3999 127.0.0.1:6381")).get()


def test_error_that_answers_a_custom_client_keeps_no_frames() -> None:
    # They hold keys and data.
    answer = custom(exceptions.ResponseError("no"))._answer(IF_SILENT, "GET", KEY)
    assert answer.__traceback__ is None


def test_custom_client_that_cannot_be_made_is_tried_again_after_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A cluster's client asks its servers while it is made.
    make = mock.Mock(spec=[], side_effect=exceptions.RedisClusterException(SID))
    server, now = CustomRedis(make), [1000.0]
    monkeypatch.setattr(_clients, "_now", lambda: now[0])
    for _ in range(20):
        with pytest.raises(BackendUnavailable, match="RedisClusterException") as caught:
            server.call(IF_SILENT, "GET", KEY)
        assert not [text for text in texts(caught.value) if SID in text]
        now[0] += 0.25
    assert make.call_count == 5
    make.side_effect = lambda: FakeClient(b"value")
    now[0] += 1
    assert server.call(IF_SILENT, "GET", KEY) == b"value"


@pytest.mark.parametrize("failure", [ZeroDivisionError(), KeyboardInterrupt()], ids=repr)
def test_program_error_of_a_custom_client_is_raised(failure: BaseException) -> None:
    with pytest.raises(type(failure)):
        custom(failure).call(IF_SILENT, "GET", KEY)


def test_silent_custom_client_is_asked_each_time() -> None:
    # It decides how long it waits.
    server = custom(exceptions.TimeoutError(""))
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            server.call(IF_SILENT, "GET", KEY)
    assert len(server._given.commands) == 3


def test_custom_client_that_does_not_know_the_script() -> None:
    server = custom(exceptions.NoScriptError("x"), 1)
    assert server.compare_and_set(KEY, b"begin", b"data", 5000)


def test_custom_client_is_made_once_on_first_use() -> None:
    make = mock.Mock(spec=[], side_effect=lambda: FakeClient(b"value"))
    server = CustomRedis(make)
    make.assert_not_called()
    assert [server.call(IF_SILENT, "GET", KEY) for _ in range(3)] == [b"value"] * 3
    make.assert_called_once_with()


@pytest.mark.parametrize("is_made", [False, True])
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: redis.Redis(decode_responses=True), "without decode_responses=True"),
        (
            lambda: Sentinel([("127.0.0.1", 1)]).master_for("shop", decode_responses=True),
            "without decode_responses=True",
        ),
        (lambda: Sentinel([("127.0.0.1", 1)]).slave_for("shop"), "reads from the primary"),
        (lambda: redis.asyncio.Redis(), "not of redis.asyncio"),
        (lambda: redis.asyncio.RedisCluster(host="127.0.0.1", port=1), "not of redis.asyncio"),
    ],
)
def test_client_that_cannot_be_used_is_refused_before_it_is_asked(
    make: Callable[[], Any], text: str, is_made: bool
) -> None:
    server = CustomRedis(make if is_made else make())
    for _ in range(2):
        with pytest.raises(ConfigError, match=text):
            server.call(IF_SILENT, "GET", KEY)


ONCE = Retry(NoBackoff(), 0)
TWICE = Retry(NoBackoff(), 1)


@pytest.mark.parametrize(
    ("make", "is_told"),
    [
        (lambda: redis.Redis(port=1, retry=TWICE), True),
        (lambda: redis.Redis(port=1, retry=ONCE), False),
        (
            lambda: Sentinel([("127.0.0.1", 1)], sentinel_kwargs={"retry": ONCE}).master_for(
                "shop", retry=TWICE
            ),
            True,
        ),
        (
            lambda: Sentinel([("127.0.0.1", 1)], sentinel_kwargs={"retry": ONCE}).master_for(
                "shop", retry=ONCE
            ),
            False,
        ),
        (lambda: mock.Mock(spec=["execute_command", "retry"], retry=TWICE), True),
        (lambda: mock.Mock(spec=["execute_command", "retry"], retry=ONCE), False),
        (lambda: FakeClient(b"value"), False),
    ],
)
def test_client_that_repeats_commands_is_warned_of_once(
    caplog: pytest.LogCaptureFixture, make: Callable[[], Any], is_told: bool
) -> None:
    server = CustomRedis(make())
    for _ in range(2):
        with contextlib.suppress(BackendError):
            server.call(IF_SILENT, "GET", KEY)
    assert [("retry=Retry(NoBackoff(), 0)" in text) for text in caplog.messages] == [True] * is_told


def test_cluster_that_decodes_is_refused() -> None:
    # One that is connected to nothing.
    cluster = object.__new__(RedisCluster)
    cluster.encoder = redis.Redis(decode_responses=True).get_encoder()
    with pytest.raises(ConfigError, match="without decode_responses=True"):
        CustomRedis(cluster).call(IF_SILENT, "GET", KEY)


@pytest.mark.parametrize(
    "reading", [{"read_from_replicas": True}, {"load_balancing_strategy": object()}]
)
def test_cluster_that_asks_replicas_is_refused(reading: dict[str, Any]) -> None:
    cluster = object.__new__(RedisCluster)
    vars(cluster).update(reading, encoder=redis.Redis().get_encoder())
    with pytest.raises(ConfigError, match="reads from the primary"):
        CustomRedis(cluster).call(IF_SILENT, "GET", KEY)


def test_what_makes_no_client_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must have execute_command\(\), which dict has not"):
        CustomRedis(dict).call(IF_SILENT, "GET", KEY)


# Forks


@forks
def test_child_has_connections_of_its_own(redis_server: Redis) -> None:
    server = RedisServer(redis_server.url, LONG)
    server.call(IF_SILENT, "SET", b"fork:a", b"1")
    parent = server.call(IF_SILENT, "CLIENT", "ID")
    assert in_child(lambda: server.call(IF_SILENT, "CLIENT", "ID") != parent)
    assert in_child(lambda: server.call(IF_SILENT, "GET", b"fork:a") == b"1")
    assert server.call(IF_SILENT, "CLIENT", "ID") == parent


# Settings


def settings(**values: Any) -> dict[str, Any]:
    """The whole section of a configuration."""
    return redis_settings({"redis": values})


def test_same_settings_give_the_same_server() -> None:
    # What is known of a silent server is shared.
    url = "redis://127.0.0.1:1/0"
    first = server_of(settings(url=url))
    assert first is server_of(settings(url=url, key_prefix="other:"))
    assert first is not server_of(settings(url=url, timeout=2.0))
    assert first is not server_of(settings(url="redis://127.0.0.1:1/1"))
    assert first is not server_of(settings(url=url, tls_context=ssl.create_default_context()))


def test_clients_are_told_apart_by_identity() -> None:
    class Equal:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

    one, other = settings(client=Equal()), settings(client=Equal())
    assert server_of(one) is server_of(one)
    assert server_of(one) is not server_of(other)


def test_command_that_must_not_be_repeated_is_sent_once(start: Any) -> None:
    scripted, server = start(NOTHING, b"")
    server.call(IF_SILENT, "GET", KEY)
    with pytest.raises(BackendUnavailable, match="closed the connection"):
        server.call(IF_UNSENT, "DEL", KEY)
    assert len(scripted.commands) == 2


def test_a_server_has_one_pool(start: Any) -> None:
    scripted, server = start(NOTHING, NOTHING)
    assert isinstance(server._connect(), Connections)
    server.call(IF_SILENT, "GET", KEY)
    server.call(IF_SILENT, "GET", KEY)
    assert scripted.connections == 1
