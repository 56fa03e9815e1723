"""Sessions in App Engine's bundled memcache where something is unusual: errors, sizes, others."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from google.appengine.api import apiproxy_stub_map, memcache, namespace_manager
from google.appengine.runtime import apiproxy_errors
from support.faults import texts
from support.visits import SECRET, Visitor, make_app

from webapp2_sessions import BackendError, BackendUnavailable, ConfigError, SessionTooLarge
from webapp2_sessions.config import SessionConfig
from webapp2_sessions.sessions_memcache.appengine import AppEngineMemcache
from webapp2_sessions.sessions_memcache.servers import TAKEN

#: Seconds that no thread takes.
PATIENCE = 60.0


def visitor_of(**config: Any) -> Visitor:
    """A visitor of an application with sessions there."""
    return Visitor(make_app(memcache={"client": "appengine"}, **config), backend="memcache")


@pytest.fixture
def visitor() -> Visitor:
    """A visitor without cookies."""
    return visitor_of()


def break_service(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let each call of the service fail."""
    stub = apiproxy_stub_map.apiproxy.GetStub("memcache")

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(stub, "MakeSyncCall", fail)


@pytest.mark.parametrize(
    "error", [apiproxy_errors.DeadlineExceededError(), apiproxy_errors.CapabilityDisabledError()]
)
def test_service_that_fails(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It is an error, and no miss: an empty session would take the place of the stored one."""
    visitor.write({"user": "ada"})
    with monkeypatch.context() as patch:
        break_service(patch, error)
        with pytest.raises(BackendUnavailable, match=type(error).__name__):
            visitor.read()
        with pytest.raises(BackendUnavailable, match=type(error).__name__):
            visitor_of().write({"user": "bob"})
    assert visitor.read() == {"user": "ada"}


def test_no_service(visitor: Visitor, testbed: Any) -> None:
    """The error says how to have one."""
    testbed.deactivate()
    try:
        with pytest.raises(BackendUnavailable, match=r"wrap the application by .*wrap_wsgi_app"):
            visitor.write({"user": "ada"})
    finally:
        testbed.activate()


def test_largest_session(visitor: Visitor) -> None:
    """One of 990 kB is kept, and one of a megabyte is told with its size."""
    visitor.write({"text": "x" * 990_000})
    assert visitor.read() == {"text": "x" * 990_000}
    with pytest.raises(SessionTooLarge, match="text"):
        visitor.write({"text": "x" * 1_000_000})
    assert visitor.read() == {"text": "x" * 990_000}


def test_what_others_have_stored_is_not_unpickled(visitor: Visitor) -> None:
    """The SDK would decode it before anybody has checked who wrote it."""
    sid = visitor.write({"user": "ada"})
    memcache.set(f"session:{sid}", {"user": "bob"}, namespace="")
    with pytest.raises(BackendError, match="no session"):
        visitor.read()


@pytest.mark.parametrize("suffix", ["", ":ended"], ids=["record", "mark"])
@pytest.mark.parametrize(
    ("value", "flags"), [(b"ada's", 3), (b"ada's", 5), (b"\xffada's", 1), (b"ada's", 7)]
)
def test_what_the_sdk_cannot_decode_is_an_error(
    visitor: Visitor, value: bytes, flags: int, suffix: str
) -> None:
    """A number that is none, text that is no UTF-8, and a type that the SDK does not know."""
    sid = visitor.write({"user": "ada"})
    memcache.delete(f"session:{sid}", namespace="")
    request, response = memcache.MemcacheSetRequest(), memcache.MemcacheSetResponse()
    key = f"session:{sid}{suffix}".encode()
    request.item.add(key=key, value=value, flags=flags, set_policy=memcache.MemcacheSetRequest.SET)
    apiproxy_stub_map.MakeSyncCall("memcache", "Set", request, response)
    with pytest.raises(BackendError, match="no session") as caught:
        visitor.read()
    assert not [text for text in texts(caught.value) if "ada" in text]


def test_namespace_of_the_sdk_counts_once(visitor: Visitor) -> None:
    """A record belongs to the namespace where it was opened, also when the handler changes it."""
    namespace_manager.set_namespace("a")
    try:
        with visitor.visit() as session:
            session["user"] = "ada"
            namespace_manager.set_namespace("b")
        assert visitor.read() == {}
        namespace_manager.set_namespace("a")
        assert visitor.read() == {"user": "ada"}
    finally:
        namespace_manager.set_namespace("")


def test_value_that_is_too_large_for_the_cache(testbed: Any) -> None:
    """It is an error of the backend's, which a cache passes over."""
    with pytest.raises(SessionTooLarge):
        AppEngineMemcache(1.0).call("set", b"key", b"x" * 1_000_001, 60)


def test_value_that_was_taken_away_is_none(testbed: Any) -> None:
    """It stays for a second at most, and nobody replaces it or lets it live."""
    service = AppEngineMemcache(1.0)
    service.call("set", b"key", b"record", 60)
    _, token = service.call("gets", b"key")
    assert service.call("cas", b"key", TAKEN, token, -1)
    assert not service.call("replace", b"key", b"late", 60)
    assert not service.call("touch", b"key", 60)
    service.call("set", b"other", b"record", 60)
    assert service.call("replace", b"other", b"more", 60)
    assert service.call("touch", b"other", 60)
    assert service.call("get", b"other") == b"more"


def test_threads_that_merge() -> None:
    """None of a hundred changes is lost."""
    visitor = visitor_of(on_conflict="merge")
    visitor.write({"start": 1})

    def change(number: int) -> None:
        for each in range(5):
            other = Visitor(visitor.app, backend="memcache")
            other.cookies = dict(visitor.cookies)
            with other.visit() as session:
                session[f"{number}-{each}"] = 1

    threads = [threading.Thread(target=change, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(visitor.read()) == 101


@pytest.mark.parametrize("client", [memcache, memcache.Client()])
def test_client_of_the_sdk_is_refused(client: Any) -> None:
    """It turns failures into misses; the error says what to write."""
    with pytest.raises(ConfigError, match="must be 'appengine' instead"):
        SessionConfig({"secret_key": SECRET, "memcache": {"client": client}})
