"""memcached servers: what their failures mean, when a silent one is asked, which has a key."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
from collections import Counter
from typing import Any
from unittest import mock

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
from webapp2_sessions.sessions_memcache.servers import CustomClient, Nodes, Server, nodes_of
from webapp2_sessions.stored import breaker
from webapp2_sessions.stored.connections import StaleConnection

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

    def close(self) -> None:
        """There is nothing to close."""

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


def custom(*answers: Any) -> CustomClient:
    """The node of a client of the application's own."""
    return CustomClient(FakeClient(*answers))


NODES = [FakeServer, custom]


CLOSED = [MemcacheUnexpectedCloseError(), BrokenPipeError(), ConnectionResetError()]

FAILURES = [
    (ConnectionRefusedError(111, "refused"), BackendUnavailable, "refused the connection"),
    (TimeoutError("timed out"), BackendUnavailable, r"did not answer within 0\.5 s"),
    (OSError(113, "no route"), BackendUnavailable, r"cannot be reached \(OSError\)"),
    (socket.gaierror(-2, "unknown"), BackendUnavailable, r"the server's name was not found"),
    (socket.gaierror(socket.EAI_AGAIN, ""), BackendUnavailable, "not be looked up in time"),
    *((failure, BackendUnavailable, "the server closed the connection") for failure in CLOSED),
    (MemcacheServerError(b"out of memory"), BackendError, r"the server refused \(out of memory\)"),
    (MemcacheClientError(b"bad"), BackendError, r"refused \(MemcacheClientError\)"),
    (MemcacheUnknownError(b"HTTP/1.1"), BackendError, r"refused \(MemcacheUnknownError\)"),
]


@pytest.mark.parametrize(("failure", "kind", "text"), FAILURES, ids=lambda value: repr(value)[:30])
def test_failure_is_a_backend_error_and_not_repeated(
    failure: Exception, kind: type[BackendError], text: str
) -> None:
    failing = FakeServer(failure)
    with pytest.raises(BackendError, match=text) as caught:
        failing.call("get", KEY)
    error = caught.value
    assert (type(error), error.__cause__) == (kind, failure)
    assert (error.backend, error.address) == ("memcache", "fake:1")
    assert str(error).startswith("memcache backend at fake:1: ")
    assert len(failing.client.calls) == 1


@pytest.mark.parametrize("failure", CLOSED, ids=repr)
def test_compare_and_set_counts_as_refused_if_the_connection_breaks(failure: Exception) -> None:
    # After a restart the token may fit another value.
    restarted = FakeServer(failure, True)
    assert restarted.call("cas", KEY, b"value", b"1", 60) is False
    assert len(restarted.client.calls) == 1


def test_lost_connections_are_those_of_the_client() -> None:
    server = FakeServer(b"value")
    server.client.lost = 7
    assert server.lost == 7


def test_noreply_takes_far_less_time_than_an_answer_may() -> None:
    server = FakeServer(None)
    server.set_noreply(KEY, b"value", 60)
    assert server.client.calls == [("set_noreply", KEY, b"value", 60, 0.05)]


def test_noreply_to_a_server_that_cannot_be_reached_is_an_error() -> None:
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        FakeServer(TimeoutError()).set_noreply(KEY, b"value", 60)


def test_program_error_is_no_backend_error() -> None:
    with pytest.raises(ZeroDivisionError):
        FakeServer(ZeroDivisionError()).call("get", KEY)


# A server that is silent


def silent(*answers: Any) -> FakeServer:
    """A server that did not answer a moment ago; these are the next answers."""
    server = FakeServer(TimeoutError(), *answers)
    with pytest.raises(BackendUnavailable):
        server.call("get", KEY)
    return server


@pytest.mark.parametrize("failure", [TimeoutError(), socket.gaierror()], ids=repr)
def test_silent_server_is_asked_once_a_second(failure: Exception) -> None:
    server = FakeServer(failure)
    for _ in range(40):
        with pytest.raises(BackendUnavailable):
            server.call("get", KEY)
        server.now += 0.125
    assert len(server.client.calls) == 5


@pytest.mark.parametrize(
    "failure", [ConnectionRefusedError(), OSError(), MemcacheServerError(b"no")], ids=repr
)
def test_server_that_fails_at_once_is_asked_each_time(failure: Exception) -> None:
    server = FakeServer(failure)
    for _ in range(5):
        with pytest.raises(BackendError):
            server.call("get", KEY)
    assert len(server.client.calls) == 5


def test_error_of_a_call_that_was_not_made_says_so() -> None:
    with pytest.raises(BackendUnavailable, match=r"did not answer, and is not asked again for 1 s"):
        silent().call("get", KEY)


@pytest.mark.parametrize(
    "answer",
    [b"value", ConnectionRefusedError(), MemcacheServerError(b"no"), ConnectionResetError()],
)
def test_server_that_answers_in_whatever_way_is_silent_no_more(answer: Any) -> None:
    server = silent(answer, b"value")
    server.now += 1.0
    with contextlib.suppress(BackendError):
        assert server.call("get", KEY) == b"value"
    assert [server.call("get", KEY) for _ in range(3)] == [b"value"] * 3


def test_one_caller_at_a_time_tries_a_silent_server() -> None:
    server = silent()
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


def test_connection_that_was_forgotten_makes_no_silent_server() -> None:
    server = FakeServer(StaleConnection(), b"value")
    with pytest.raises(BackendUnavailable, match="did not answer within"):
        server.call("add", KEY, b"value", 60)
    assert server.call("get", KEY) == b"value"


@pytest.mark.parametrize("failure", [TimeoutError(), socket.gaierror()], ids=repr)
@pytest.mark.parametrize("operation", ["stats", "raw_command"])
def test_silence_to_an_optional_question_says_nothing(failure: Exception, operation: str) -> None:
    server = FakeServer(failure, b"value")
    with pytest.raises(BackendUnavailable):
        server.call(operation, "settings")
    assert server.call("get", KEY) == b"value"


@pytest.mark.parametrize("operation", ["stats", "raw_command"])
def test_silent_server_is_not_asked_what_is_optional(operation: str) -> None:
    # The one turn a second is for what matters.
    server = silent(b"value")
    server.now += 1.0
    with pytest.raises(BackendUnavailable, match="not asked again"):
        server.call(operation, "settings")
    assert server.call("get", KEY) == b"value"


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
def test_default_item_size_counts_and_the_question_is_put_once_a_minute(answer: Any) -> None:
    server = FakeServer(answer)
    for _ in range(5):
        assert server.largest_value() + 512 == 1024 * 1024
        server.now += 10.0
    assert len(server.client.calls) == 1
    server.now += 10.0
    assert server.largest_value() + 512 == 1024 * 1024
    assert len(server.client.calls) == 2


@pytest.mark.parametrize("answer", NO_ANSWER, ids=repr)
def test_item_size_that_was_told_counts_until_another_is(answer: Any) -> None:
    server = FakeServer({b"item_size_max": 4096}, answer, {b"item_size_max": 8192})
    assert server.largest_value() + 512 == 4096
    server.client.lost += 1
    assert server.largest_value() + 512 == 4096
    server.now += 60.0
    assert server.largest_value() + 512 == 8192
    assert server.largest_value() + 512 == 8192
    assert len(server.client.calls) == 3


@pytest.mark.parametrize("operation", ["set", "add", "replace", "cas"])
@pytest.mark.parametrize("make", NODES)
def test_value_that_the_server_refuses_for_its_size_is_too_large(make: Any, operation: str) -> None:
    failure = MemcacheServerError(b"object too large for cache")
    with pytest.raises(SessionTooLarge) as caught:
        make(failure).call(operation, KEY, bytes(2000), 60)
    assert (caught.value.size, caught.value.limit) == (2000, 1999)
    assert caught.value.__cause__ is failure


def test_same_words_to_a_command_that_stores_nothing_are_no_matter_of_size() -> None:
    failing = FakeServer(MemcacheServerError(b"object too large for cache"))
    with pytest.raises(BackendError, match=r"refused \(object too large for cache\)") as caught:
        failing.call("get", KEY)
    assert type(caught.value) is BackendError


# Messages


@pytest.mark.parametrize("make", NODES)
@pytest.mark.parametrize(
    "failure",
    [
        MemcacheServerError(b"out of memory storing " + KEY),
        MemcacheServerError(KEY),
        MemcacheClientError(b"unknown command get " + KEY),
    ],
    ids=lambda failure: repr(failure)[:30],
)
def test_key_that_a_server_repeats_is_not_in_the_error(failure: Exception, make: Any) -> None:
    with pytest.raises(BackendError) as caught:
        make(failure).call("get", KEY)
    shown = [str(caught.value), repr(caught.value)]
    if make is custom:  # our own connections keep it out of the cause
        shown = texts(caught.value)
    assert not [text for text in shown if KEY.decode()[-22:] in text]


# A client of the application's own


@pytest.mark.parametrize("operation", ["get", "add", "delete", "replace", "set", "touch"])
def test_custom_client_is_called_and_waits_for_the_answer(operation: str) -> None:
    # pymemcache would say that all is well before the server has answered.
    client = FakeClient(b"value")
    assert CustomClient(client).call(operation, KEY) == b"value"
    options = [] if operation == "get" else [{"noreply": False}]
    assert client.calls == [(operation, KEY, *options)]


def test_custom_client_is_made_once_on_first_use() -> None:
    make = mock.Mock(spec=[], side_effect=lambda: FakeClient(b"value"))
    node = CustomClient(make)
    make.assert_not_called()
    assert [node.call("get", KEY) for _ in range(3)] == [b"value"] * 3
    make.assert_called_once_with()


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
def test_failure_of_a_custom_client_names_the_setting(failure: Exception, text: str) -> None:
    node = custom(failure)
    with pytest.raises(BackendError, match=text) as caught:
        node.call("get", KEY)
    assert node.lost == 1  # its server may have been restarted
    assert caught.value.address == "config['memcache']['client']"
    assert caught.value.__cause__ is failure


@pytest.mark.parametrize("error", [KeyError(KEY), RuntimeError(f"no place for {KEY!r}")], ids=type)
def test_key_in_an_error_of_a_custom_client_is_not_shown(error: Exception) -> None:
    with pytest.raises(BackendUnavailable) as caught:
        custom(error).call("get", KEY)
    assert not [text for text in texts(caught.value) if KEY.decode()[-22:] in text]


@pytest.mark.parametrize("made", [False, True])
def test_custom_client_that_decodes_is_refused_before_it_is_asked(made: bool) -> None:
    client = PooledClient("127.0.0.1:1", serde=pickle_serde)
    node = CustomClient((lambda: client) if made else client)
    for _ in range(2):
        with pytest.raises(ConfigError, match="without serde"):
            node.call("get", KEY)


@pytest.mark.parametrize("value", ["text", bytearray(b"data"), memoryview(b"data"), {"a": 1}, 7])
@pytest.mark.parametrize("operation", ["get", "gets"])
def test_value_that_a_custom_client_has_decoded_is_refused(value: Any, operation: str) -> None:
    node = custom(value if operation == "get" else (value, b"1"))
    with pytest.raises(BackendError, match=f"returned {type(value).__name__} and not the bytes"):
        node.call(operation, KEY)


def test_custom_client_without_a_server_has_no_empty_place() -> None:
    # HashClient returns nothing at all then.
    with pytest.raises(BackendUnavailable, match="no server for the key"):
        custom(None).call("gets", KEY)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [({b"item_size_max": 4096}, 4096), (TypeError(), 1024**2), (AttributeError(), 1024**2)],
)
def test_custom_client_has_the_default_item_size(answer: Any, expected: int) -> None:
    assert custom(answer).largest_value() + 512 == expected


def test_noreply_of_a_custom_client_is_as_it_decides() -> None:
    client = FakeClient(True)
    CustomClient(client).set_noreply(KEY, b"", 3)
    assert client.calls == [("set", KEY, b"", 3, {"noreply": False})]


def test_pause_is_what_is_documented() -> None:
    assert breaker._PAUSE == 1.0


# Which server has a key

KEYS = [b"session:%022d" % number for number in range(3000)]


def servers(*addresses: str) -> Nodes:
    return Nodes([Server(address, 1.0) for address in addresses])


def places(nodes: Nodes) -> dict[bytes, str]:
    return {key: nodes.node_of(key).address for key in KEYS}


def settings(**memcache: Any) -> dict[str, Any]:
    return memcache_settings({"memcache": memcache})


def is_even(nodes: Nodes) -> bool:
    """Whether each of three servers has its share, give or take five standard deviations."""
    counts = Counter(places(nodes).values())
    return len(counts) == 3 and all(1000 - 130 < count < 1000 + 130 for count in counts.values())


def test_keys_are_spread_evenly() -> None:
    assert is_even(servers("a:1", "b:1", "c:1"))


def test_order_of_the_servers_does_not_matter() -> None:
    assert places(servers("a:1", "b:1", "c:1")) == places(servers("c:1", "a:1", "b:1"))


def test_added_server_takes_its_share_only() -> None:
    before, after = places(servers("a:1", "b:1")), places(servers("a:1", "b:1", "c:1"))
    assert {after[key] for key in KEYS if after[key] != before[key]} == {"c:1"}


def first_places() -> str:
    """The numbers of the servers that have the first keys."""
    nodes = servers("10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211")
    return "".join(nodes.node_of(key).address[7] for key in KEYS[:12])


def test_place_of_a_key_is_fixed() -> None:
    # Another version of this package finds the sessions of this one.
    assert first_places() == "132131222223"


# Pythons that are restricted to FIPS 140


def refuse(*_: Any, **__: Any) -> Any:
    """What hash functions do that are switched off."""
    raise ValueError("disabled for FIPS")


def unknown(data: bytes = b"", *, usedforsecurity: bool = True) -> Any:
    """OpenSSL's BLAKE2b, which has no length of its own."""


@pytest.fixture(params=[None, refuse, unknown], ids=["missing", "off", "other"])
def without_blake2b(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Take BLAKE2b away."""
    if request.param is None:
        monkeypatch.delattr(hashlib, "blake2b")
    else:
        monkeypatch.setattr(hashlib, "blake2b", request.param)


@pytest.mark.usefixtures("without_blake2b")
def test_one_server_has_all_keys_and_needs_no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "sha256", refuse)
    assert set(places(servers("a:1")).values()) == {"a:1"}


@pytest.mark.usefixtures("without_blake2b")
def test_sha256_spreads_the_keys_as_well_to_fixed_places() -> None:
    assert first_places() == "232111321223"
    assert is_even(servers("10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211"))


# Settings


def test_same_settings_give_the_same_servers() -> None:
    # Sessions and the cache of Datastore share what is known of a silent server.
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
    assert nodes_of(settings(**other)) is not nodes_of(settings())


def test_clients_are_told_apart_by_identity() -> None:
    class Equal:
        __hash__ = None

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

    settings = {"servers": (), "timeout": 1, "tls_context": None}
    one, other = ({**settings, "client": Equal()} for _ in range(2))
    assert nodes_of(one) is nodes_of(one) is not nodes_of(other)
