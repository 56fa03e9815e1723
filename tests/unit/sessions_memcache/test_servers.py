"""memcached servers: what their failures mean, when a silent one is asked, which has a key."""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections import Counter
from typing import Any

import pytest
from pymemcache.client.base import PooledClient
from pymemcache.exceptions import (
    MemcacheClientError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
    MemcacheUnknownError,
)
from pymemcache.serde import pickle_serde
from support.faults import texts

from webapp2_sessions.config import memcache_settings
from webapp2_sessions.errors import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    SessionTooLarge,
)
from webapp2_sessions.sessions_memcache import servers as memcached_servers
from webapp2_sessions.sessions_memcache.connection import StaleConnection
from webapp2_sessions.sessions_memcache.servers import CustomClient, Node, Nodes, Server, nodes_of

KEY = b"session:0123456789abcdefghijkl"


class FakeClient:
    """A client of memcached whose answers are given; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[Any] = []
        self.lost = 0

    def answer(self, *call: Any) -> Any:
        """The next answer; the last one again and again."""
        self.calls.append(call)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def __getattr__(self, operation: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            return self.answer(operation, *args, *([kwargs] if kwargs else []))

        return call


class FakeServer(Server):
    """A Server that talks to a fake, by a clock that is moved."""

    def __init__(self, *answers: Any) -> None:
        super().__init__("fake:1", 0.5)
        self.client = FakeClient(*answers)
        self.now = 1000.0

    def _connect(self) -> Any:
        return self.client

    def _now(self) -> float:
        return self.now


FAILURES = [
    (ConnectionRefusedError(111, "refused"), BackendUnavailable, "refused the connection"),
    (TimeoutError("timed out"), BackendUnavailable, r"did not answer within 0\.5 s"),
    (OSError(113, "no route"), BackendUnavailable, r"cannot be reached \(OSError\)"),
    (socket.gaierror(-2, "unknown"), BackendUnavailable, r"the server's name was not found"),
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
        FakeServer(failure).call("get", KEY)
    assert (type(caught.value), caught.value.__cause__) == (kind, failure)


@pytest.mark.parametrize(("failure", "kind", "text"), FAILURES, ids=lambda value: repr(value)[:30])
def test_failure_is_not_repeated(failure: Exception, kind: type[BackendError], text: str) -> None:
    """A server that refuses or is silent is asked once, so that a request waits once."""
    failing = FakeServer(failure)
    with pytest.raises(kind, match=text):
        failing.call("get", KEY)
    assert len(failing.client.calls) == 1


def test_error_names_backend_and_address() -> None:
    """The error tells which server of which backend it is, as text and as attributes."""
    with pytest.raises(BackendUnavailable) as caught:
        FakeServer(TimeoutError()).call("get", KEY)
    error = caught.value
    assert (error.backend, error.address) == ("memcache", "fake:1")
    assert str(error).startswith("memcache backend at fake:1: ")


CLOSED = [MemcacheUnexpectedCloseError(), BrokenPipeError(), ConnectionResetError()]


@pytest.mark.parametrize("failure", CLOSED, ids=repr)
def test_server_that_hangs_up(failure: Exception) -> None:
    """The connections have tried what can be tried."""
    with pytest.raises(BackendUnavailable, match="the server closed the connection"):
        FakeServer(failure).call("get", KEY)


@pytest.mark.parametrize("failure", CLOSED, ids=repr)
def test_compare_and_set_counts_as_refused(failure: Exception) -> None:
    """After a restart the token may fit another value."""
    restarted = FakeServer(failure, True)
    assert restarted.call("cas", KEY, b"value", b"1", 60) is False
    assert len(restarted.client.calls) == 1


def test_lost_connections_are_those_of_the_client() -> None:
    """Tokens from before a loss are not used any more."""
    server = FakeServer(b"value")
    server.client.lost = 7
    assert server.lost == 7


def test_noreply() -> None:
    """A value is sent in far less time than a server may take to answer."""
    server = FakeServer(None)
    server.set_noreply(KEY, b"value", 60)
    assert server.client.calls == [("set_noreply", KEY, b"value", 60, 0.05)]


def test_noreply_to_a_server_that_cannot_be_reached() -> None:
    """It is an error: the value was not even sent."""
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        FakeServer(TimeoutError()).set_noreply(KEY, b"value", 60)


def test_program_error_is_no_backend_error() -> None:
    """An error that is no failure of the server passes as it is."""
    with pytest.raises(ZeroDivisionError):
        FakeServer(ZeroDivisionError()).call("get", KEY)


# A server that is silent


def calls_until(server: FakeServer, seconds: float, step: float = 0.125) -> int:
    """How many calls reach the server when it is called again and again."""
    before = len(server.client.calls)
    end = server.now + seconds
    while server.now < end:
        with pytest.raises(BackendUnavailable):
            server.call("get", KEY)
        server.now += step
    return len(server.client.calls) - before


@pytest.mark.parametrize("failure", [TimeoutError(), socket.gaierror()], ids=repr)
def test_silent_server_is_asked_once_a_second(failure: Exception) -> None:
    """The other calls fail at once."""
    assert calls_until(FakeServer(failure), 5.0) == 5


@pytest.mark.parametrize(
    "failure", [ConnectionRefusedError(), OSError(), MemcacheServerError(b"no")], ids=repr
)
def test_server_that_answers_is_asked_each_time(failure: Exception) -> None:
    """What fails at once costs no time, and may work at the next call."""
    server = FakeServer(failure)
    for _ in range(5):
        with pytest.raises(BackendError):
            server.call("get", KEY)
    assert len(server.client.calls) == 5


def test_error_of_a_call_that_was_not_made() -> None:
    """It tells that the server was silent, and when it is tried again."""
    server = FakeServer(TimeoutError())
    with pytest.raises(BackendUnavailable):
        server.call("get", KEY)
    with pytest.raises(BackendUnavailable, match=r"did not answer, and is not asked again for 1 s"):
        server.call("get", KEY)


def test_server_that_comes_back_is_used() -> None:
    """After a second it is tried, and all calls go through again."""
    server = FakeServer(TimeoutError(), b"value")
    with pytest.raises(BackendUnavailable):
        server.call("get", KEY)
    server.now += 1.0
    assert [server.call("get", KEY) for _ in range(3)] == [b"value"] * 3


@pytest.mark.parametrize(
    "answer", [ConnectionRefusedError(), MemcacheServerError(b"no"), ConnectionResetError()]
)
def test_server_that_fails_in_another_way_is_not_silent(answer: Exception) -> None:
    """Whatever it answers, it is asked again at once."""
    server = FakeServer(TimeoutError(), answer, b"value")
    with pytest.raises(BackendUnavailable):
        server.call("get", KEY)
    server.now += 1.0
    with pytest.raises(BackendError):
        server.call("get", KEY)
    assert server.call("get", KEY) == b"value"


def test_one_caller_at_a_time_tries_a_silent_server() -> None:
    """While it waits the others go on without."""
    server = FakeServer(TimeoutError())
    with pytest.raises(BackendUnavailable):
        server.call("get", KEY)
    server.now += 1.0
    others: list[str] = []

    def meanwhile(*call: Any) -> Any:
        server.now += 0.5
        with pytest.raises(BackendUnavailable) as caught:
            server.call("get", KEY)
        others.append(str(caught.value))
        raise TimeoutError()

    server.client.answer = meanwhile  # type: ignore[method-assign]
    with pytest.raises(BackendUnavailable, match="within"):
        server.call("get", KEY)
    assert ["not asked again" in text for text in others] == [True]


def test_connection_that_was_forgotten_is_no_silent_server() -> None:
    """A command that is not repeated fails, and the next one is sent at once."""
    server = FakeServer(StaleConnection(), b"value")
    with pytest.raises(BackendUnavailable, match="did not answer within"):
        server.call("add", KEY, b"value", 60)
    assert server.call("get", KEY) == b"value"


@pytest.mark.parametrize("failure", [TimeoutError(), socket.gaierror()], ids=repr)
@pytest.mark.parametrize("operation", ["stats", "raw_command"])
def test_question_that_may_get_no_answer(failure: Exception, operation: str) -> None:
    """A proxy may not know it; that says nothing about the server."""
    server = FakeServer(failure, b"value")
    with pytest.raises(BackendUnavailable):
        server.call(operation, "settings")
    assert server.call("get", KEY) == b"value"


@pytest.mark.parametrize("operation", ["stats", "raw_command"])
def test_silent_server_is_not_asked_what_is_optional(operation: str) -> None:
    """The one turn a second is for what matters."""
    server = FakeServer(TimeoutError(), b"value")
    with pytest.raises(BackendUnavailable):
        server.call("get", KEY)
    server.now += 1.0
    with pytest.raises(BackendUnavailable, match="not asked again"):
        server.call(operation, "settings")
    assert server.call("get", KEY) == b"value"


def test_name_that_cannot_be_looked_up_in_time() -> None:
    """The name server is to blame, and asked once a second."""
    server = FakeServer(socket.gaierror(socket.EAI_AGAIN, "no answer"))
    with pytest.raises(BackendUnavailable, match=r"name could not be looked up in time"):
        server.call("get", KEY)
    with pytest.raises(BackendUnavailable, match="not asked again"):
        server.call("get", KEY)


# Sizes

NO_ANSWER = [
    TimeoutError(),
    ConnectionRefusedError(),
    MemcacheUnexpectedCloseError(),
    MemcacheClientError(b""),
    MemcacheUnknownError(b"HTTP/1.1"),
    {},
    {b"item_size_max": b"unknown"},
]


@pytest.mark.parametrize("answer", NO_ANSWER, ids=repr)
def test_item_size_that_is_not_told(answer: Any) -> None:
    """memcached's default counts; the question is put once a minute, and no error."""
    server = FakeServer(answer)
    for _ in range(5):
        assert server.item_size() == 1024 * 1024
        server.now += 10.0
    assert len(server.client.calls) == 1
    server.now += 10.0
    assert server.item_size() == 1024 * 1024
    assert len(server.client.calls) == 2


@pytest.mark.parametrize("answer", NO_ANSWER, ids=repr)
def test_item_size_that_was_told_before(answer: Any) -> None:
    """It counts, until another is told."""
    server = FakeServer({b"item_size_max": 4096}, answer, {b"item_size_max": 8192})
    assert server.item_size() == 4096
    server.client.lost += 1
    assert server.item_size() == 4096
    server.now += 60.0
    assert server.item_size() == 8192
    assert server.item_size() == 8192
    assert len(server.client.calls) == 3


@pytest.mark.parametrize("operation", ["set", "add", "replace", "cas"])
@pytest.mark.parametrize("custom", [False, True])
def test_value_that_the_server_refuses_for_its_size(operation: str, custom: bool) -> None:
    """It is the error of a session that is known to be too large, with what is known."""
    failure = MemcacheServerError(b"object too large for cache")
    node = CustomClient(FakeClient(failure)) if custom else FakeServer(failure)
    with pytest.raises(SessionTooLarge) as caught:
        node.call(operation, KEY, bytes(2000), 60)
    assert (caught.value.size, caught.value.limit) == (2000, 1999)
    assert caught.value.__cause__ is failure


def test_other_refusals_are_no_matter_of_size() -> None:
    """The same words in answer to a command that stores nothing are only words."""
    failing = FakeServer(MemcacheServerError(b"object too large for cache"))
    with pytest.raises(BackendError, match=r"refused \(object too large for cache\)") as caught:
        failing.call("get", KEY)
    assert type(caught.value) is BackendError


# Messages


@pytest.mark.parametrize("custom", [False, True])
@pytest.mark.parametrize(
    "failure",
    [
        MemcacheServerError(b"out of memory storing " + KEY),
        MemcacheServerError(KEY),
        MemcacheClientError(b"unknown command get " + KEY),
    ],
    ids=lambda failure: repr(failure)[:30],
)
def test_error_of_a_server_that_repeats_the_command(failure: Exception, custom: bool) -> None:
    """No key is in the error; in its cause neither, which our own connections see to."""
    node = CustomClient(FakeClient(failure)) if custom else FakeServer(failure)
    with pytest.raises(BackendError) as caught:
        node.call("get", KEY)
    shown = texts(caught.value) if custom else [str(caught.value), repr(caught.value)]
    assert not [text for text in shown if KEY.decode()[-22:] in text]


# A client of the application's own


class Unavailable(FakeClient):
    """A client that has lost its servers, as HashClient has after failures."""

    def gets(self, key: bytes) -> None:
        """Nothing instead of two things."""


def node_of(client: Any) -> Node:
    """The node of a client."""
    return CustomClient(client)


def test_custom_client_is_called() -> None:
    """Arguments and results pass through."""
    client = FakeClient(b"value")
    assert node_of(client).call("get", KEY) == b"value"
    assert client.calls == [("get", KEY)]


@pytest.mark.parametrize("operation", ["add", "delete", "replace", "set", "touch"])
def test_custom_client_waits_for_the_answer(operation: str) -> None:
    """pymemcache would say that all is well before the server has answered."""
    client = FakeClient(True)
    node_of(client).call(operation, KEY)
    assert client.calls == [(operation, KEY, {"noreply": False})]


def test_custom_client_is_made_once() -> None:
    """A function that makes one is called on first use only."""
    made: list[FakeClient] = []

    def make() -> FakeClient:
        made.append(FakeClient(b"value"))
        return made[-1]

    node = node_of(make)
    assert made == []
    assert [node.call("get", KEY) for _ in range(3)] == [b"value"] * 3
    assert len(made) == 1


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (ConnectionRefusedError(), r"the client failed \(ConnectionRefusedError\)"),
        (TimeoutError(), r"the client failed \(TimeoutError\)"),
        (RuntimeError("Too many objects"), r"the client failed \(RuntimeError\)"),
        (KeyError(b"key"), r"the client failed \(KeyError\)"),
        (MemcacheUnexpectedCloseError(), "closed the connection"),
        (MemcacheServerError(b"out of memory"), r"refused \(out of memory\)"),
    ],
    ids=repr,
)
def test_failure_of_an_custom_client(failure: Exception, text: str) -> None:
    """It is ours, with the cause, and names the setting."""
    with pytest.raises(BackendError, match=text) as caught:
        node_of(FakeClient(failure)).call("get", KEY)
    assert caught.value.address == "config['memcache']['client']"
    assert caught.value.__cause__ is failure


@pytest.mark.parametrize("error", [KeyError(KEY), RuntimeError(f"no place for {KEY!r}")], ids=type)
def test_key_in_an_error_of_an_custom_client(error: Exception) -> None:
    """It is not in ours, nor in the cause, which the log shows."""
    with pytest.raises(BackendUnavailable) as caught:
        node_of(FakeClient(error)).call("get", KEY)
    assert not [text for text in texts(caught.value) if KEY.decode()[-22:] in text]


@pytest.mark.parametrize("made", [False, True])
def test_custom_client_that_decodes(made: bool) -> None:
    """It is refused before it is asked anything, also one that a function makes."""
    client = PooledClient("127.0.0.1:1", serde=pickle_serde)
    node = node_of((lambda: client) if made else client)
    for _ in range(2):
        with pytest.raises(ConfigError, match="without serde"):
            node.call("get", KEY)


@pytest.mark.parametrize("value", ["text", bytearray(b"data"), memoryview(b"data"), {"a": 1}, 7])
@pytest.mark.parametrize("operation", ["get", "gets"])
def test_value_that_an_custom_client_has_decoded(value: Any, operation: str) -> None:
    """Only bytes have a signature that can be checked."""
    node = node_of(FakeClient(value if operation == "get" else (value, b"1")))
    with pytest.raises(BackendError, match=f"returned {type(value).__name__} and not the bytes"):
        node.call(operation, KEY)


def test_custom_client_without_a_server() -> None:
    """HashClient returns nothing at all then, which must not pass for an empty place."""
    with pytest.raises(BackendUnavailable, match="no server for the key"):
        node_of(Unavailable(None)).call("gets", KEY)


@pytest.mark.parametrize(
    "client",
    [FakeClient({b"item_size_max": 4096}), FakeClient(TypeError()), FakeClient(AttributeError())],
)
def test_item_size_of_an_custom_client(client: FakeClient) -> None:
    """It is asked; a client that cannot tell has memcached's default."""
    expected = 4096 if isinstance(client.answers[0], dict) else 1024 * 1024
    assert node_of(client).item_size() == expected


def test_noreply_of_a_custom_client() -> None:
    """There is no other way to its servers."""
    client = FakeClient(True)
    node_of(client).set_noreply(KEY, b"", 3)
    assert client.calls == [("set", KEY, b"", 3, {"noreply": False})]


def test_pause_is_what_is_documented() -> None:
    """The documentation says once a second."""
    assert memcached_servers._PAUSE == 1.0


# Which server has a key

KEYS = [b"session:%022d" % number for number in range(3000)]


def servers(*addresses: str) -> Nodes:
    """The nodes of some servers."""
    return Nodes([Server(address, 1.0) for address in addresses])


def places(nodes: Nodes) -> dict[bytes, str]:
    """Where each key goes."""
    return {key: nodes.node_of(key).address for key in KEYS}


def settings(**memcache: Any) -> dict[str, Any]:
    """The settings of a configuration."""
    return memcache_settings({"memcache": memcache})


def test_one_server_has_all_keys() -> None:
    """There is nothing to choose."""
    assert set(places(servers("a:1")).values()) == {"a:1"}


def test_keys_are_spread_evenly() -> None:
    """Each server has its share, give or take five standard deviations."""
    counts = Counter(places(servers("a:1", "b:1", "c:1")).values())
    assert len(counts) == 3
    assert all(1000 - 130 < count < 1000 + 130 for count in counts.values())


def test_order_of_the_servers_does_not_matter() -> None:
    """Two applications that list them differently agree."""
    assert places(servers("a:1", "b:1", "c:1")) == places(servers("c:1", "a:1", "b:1"))


def test_added_server_takes_its_share_only() -> None:
    """No key moves between the servers that were there before."""
    before, after = places(servers("a:1", "b:1")), places(servers("a:1", "b:1", "c:1"))
    assert {after[key] for key in KEYS if after[key] != before[key]} == {"c:1"}


def test_place_of_a_key_is_fixed() -> None:
    """Another version of this package finds the sessions of this one."""
    nodes = servers("10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211")
    assert [nodes.node_of(key).address[7] for key in KEYS[:12]] == list(PLACES)


#: Which of the three servers has each of the first keys.
PLACES = "132131222223"


# Pythons that are restricted to FIPS 140


def refuse(*_: Any, **__: Any) -> Any:
    """What hash functions do that are switched off."""
    raise ValueError("disabled for FIPS")


def unknown(data: bytes = b"", *, usedforsecurity: bool = True) -> Any:
    """OpenSSL's BLAKE2b, which has no length of its own."""


FIPS = pytest.mark.parametrize("blake2b", [None, refuse, unknown], ids=["missing", "off", "other"])


def restrict(monkeypatch: pytest.MonkeyPatch, blake2b: Any) -> None:
    """Take BLAKE2b away."""
    if blake2b is None:
        monkeypatch.delattr(hashlib, "blake2b")
    else:
        monkeypatch.setattr(hashlib, "blake2b", blake2b)


@FIPS
def test_one_server_without_blake2b(monkeypatch: pytest.MonkeyPatch, blake2b: Any) -> None:
    """It has all keys, and no hash is asked for."""
    restrict(monkeypatch, blake2b)
    monkeypatch.setattr(hashlib, "sha256", refuse)
    assert set(places(servers("a:1")).values()) == {"a:1"}


@FIPS
def test_several_servers_without_blake2b(monkeypatch: pytest.MonkeyPatch, blake2b: Any) -> None:
    """SHA-256 spreads the keys as well, to fixed places."""
    restrict(monkeypatch, blake2b)
    nodes = servers("10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211")
    assert [nodes.node_of(key).address[7] for key in KEYS[:12]] == list(PLACES_BY_SHA256)
    counts = Counter(places(nodes).values())
    assert all(1000 - 130 < count < 1000 + 130 for count in counts.values())


#: As PLACES, where BLAKE2b is not to be had.
PLACES_BY_SHA256 = "232111321223"


# Settings


def test_same_settings_give_the_same_servers() -> None:
    """Sessions and the cache of Datastore share what is known of a silent server."""
    some = {"servers": ["a:1", "b:1"], "timeout": 0.5}
    assert nodes_of(settings(**some)) is nodes_of(settings(**some, key_prefix="other:"))


@pytest.mark.parametrize(
    "other",
    [
        {"servers": ["a:1"]},
        {"timeout": 2.0},
        {"tls_context": ssl.create_default_context()},
        {"client": object.__new__(PooledClient)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_settings_give_other_servers(other: dict[str, Any]) -> None:
    """Each of the settings is taken into account."""
    assert nodes_of(settings(**other)) is not nodes_of(settings())


def test_clients_are_told_apart_by_identity() -> None:
    """Those of two applications may compare equal, or have no hash."""

    class Equal:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

    settings = {"servers": (), "timeout": 1, "tls_context": None}
    one, other = ({**settings, "client": Equal()} for _ in range(2))
    assert nodes_of(one) is nodes_of(one) is not nodes_of(other)
