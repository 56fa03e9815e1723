"""Cookies that are read and signed in one go: as step by step, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
import webapp2
from hypothesis import example, given
from hypothesis import strategies as st
from support.sides import Clock, stopped_clock
from support.stores import (
    NOW,
    make_request,
    make_store,
    saved_headers,
    sign,
    sign_payload,
    sign_with,
)
from support.visits import SECRET, make_app

from webapp2_sessions import SecureCookieSerializer, SessionStore, sessions
from webapp2_sessions.securecookie.cookie_data import OpenCookie
from webapp2_sessions.securecookie.signed_codec import codec_of
from webapp2_sessions.sessions.received_cookies import ReceivedCookies

#: Values of cookies: ours, and what is nearly ours.
VALUES = [
    sign("s", {"a": 1}),
    sign("s", {"a": 2}),
    sign("s", {}),
    sign("s", [1]),
    sign("s", {"a": 1}, NOW + 120),
    sign("s", {"a": "\N{EURO SIGN}</script>"}),
    sign_with("s", {"a": 1}, {"max_age": 60}),
    sign_with("s", {"a": 1}, {"max_age": 59}),
    sign_with("s", {"a": 1}, {"max_age": "60"}),
    sign("s", {"a": 1}, NOW - 1),
    sign("s", {"a": 1}, secret="another"),
    sign("t", {"a": 1}),
    sign_payload("s", b"no base64!"),
    sign_payload("s", b"bm8ganNvbg=="),
    f'"{sign("s", {"a": 1})}"',
    sign("s", {"a": 1}).replace("=", "\\075"),
    sign("s", {"a": 1})[:-1],
    *["", "x", "|", "||", "a|b|c", "a|b|c|d", "\xe9", '"', "\\", "s="],
]
PAIRS = st.tuples(st.sampled_from(["s", "t", "ss", "s ", " s", "S", "x"]), st.sampled_from(VALUES))
HEADERS = st.lists(PAIRS.map("=".join) | st.sampled_from(["s", "", "=", '"']), max_size=3).flatmap(
    lambda parts: st.sampled_from(["; ", ";", ", "]).map(lambda between: between.join(parts))
)


def at_once(header: str, max_age: Any = None, **config: Any) -> OpenCookie | None:
    """What a store makes of a header with the codec alone, a minute after NOW."""
    with stopped_clock(Clock(NOW + 60)):
        return make_store(header, **config)._read_at_once("s", max_age)


def step_by_step(header: str, max_age: Any = None) -> list[OpenCookie]:
    """What is accepted of it in the general way."""
    request, serializer = make_request(cookie=header), SecureCookieSerializer(SECRET)
    with stopped_clock(Clock(NOW + 60)):
        return ReceivedCookies().accepted(request, serializer, "s", max_age, own_ages=True)


@given(HEADERS, st.sampled_from([None, 0, 59, 60, 60.5, 10**6]))
@example(f"s={VALUES[0]}", None)
@example(f"x=1; s={VALUES[0]}; y=2", 60)
@example(f"s={VALUES[0]}; s={VALUES[1]}", None)
def test_what_is_read_at_once_is_what_is_read_step_by_step(header: str, max_age: Any) -> None:
    """Or nothing, which sends the caller to the latter."""
    found = at_once(header, max_age)
    assert found is None or [found] == step_by_step(header, max_age)


@pytest.mark.parametrize(
    "around",
    ["{}", "x=1; {}", "{}; x=1", "x=1;{};y=2", "x=s; {}", "ss=1; {}", '{}; x="', "{}; s="],
)
def test_what_is_usual_is_read_at_once(around: str) -> None:
    """The only cookie of its name, wherever it stands."""
    assert at_once(around.format(f"s={VALUES[0]}")) == OpenCookie({"a": 1}, NOW, VALUES[0])


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x=1",
        f"s={VALUES[0]}; s=1",
        f"s={VALUES[0]}; s={VALUES[0]}",
        f"s={sign('s', [1])}",
        f"s={sign('s', [{'a': 1}, {'max_age': 60}])}",
        f"s={sign_with('s', {'a': 1}, {})}",
        f"s={sign_with('s', {'a': 1}, {'max_age': 60})}",
        f"s={sign('s', {'a': 1}, secret='another')}",
    ],
)
def test_what_takes_a_closer_look_is_left(header: str) -> None:
    """Several cookies of the name, attributes, and what is no session."""
    assert at_once(header) is None


@pytest.mark.parametrize(("max_age", "is_read"), [(60, True), (59, False), (None, True)])
def test_ages(max_age: int | None, is_read: bool) -> None:
    """A cookie that is too old is left, of which the general way says so."""
    assert (at_once(f"s={VALUES[0]}", max_age) is not None) is is_read


@given(
    st.dictionaries(
        st.text(max_size=3),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()),
        max_size=4,
    ),
    st.sampled_from(["sha1", "sha256", "sha512"]),
)
@example({"a": "</script>"}, "sha1")
def test_what_is_signed_at_once_is_what_the_serializer_signs(data: Any, digest: str) -> None:
    """Byte for byte."""
    with stopped_clock(Clock(NOW)):
        sealed = codec_of(SECRET, digest, "s").seal(data, NOW)
        assert sealed == SecureCookieSerializer(SECRET, digest=digest).serialize("s", data)
    value = sealed.decode()
    assert at_once(f"s={value}", digest=digest) == OpenCookie(data, NOW, value)


def test_what_json_cannot_represent_is_an_error() -> None:
    """The same as the serializer's."""
    with pytest.raises(TypeError, match=r"session\['a'\] \(set\)"):
        codec_of(SECRET, "sha1", "s").seal({"a": {1}}, NOW)


def test_a_request_class_may_read_cookies_in_its_own_way() -> None:
    """Then the header is not looked at."""

    class Request(webapp2.Request):
        cookies = {"s": VALUES[1]}  # noqa: RUF012

    request = Request({"HTTP_COOKIE": f"s={VALUES[0]}", "REQUEST_METHOD": "GET"})
    request.app = make_app()
    assert SessionStore(request)._read_at_once("s", None) == OpenCookie({"a": 2}, NOW, VALUES[1])


# The store, which may have been given something else to work with.


class Shouting(SecureCookieSerializer):
    """Notes what it is asked to do."""

    calls: list[str]

    def serialize(self, name: Any, value: Any) -> bytes:
        """Sign, and note it."""
        self.calls.append("serialize")
        return super().serialize(name, value)

    def unseal(self, name: Any, value: Any) -> Any:
        """Read, and note it."""
        self.calls.append("unseal")
        return super().unseal(name, value)


def shouting() -> Shouting:
    """One that has not been asked yet."""
    made = Shouting(SECRET)
    made.calls = []
    return made


def visit(store: SessionStore) -> webapp2.Response:
    """Modify the session and save it."""
    store.get_session("s")["b"] = 2
    response = webapp2.Response()
    store.save_sessions(response)
    return response


def test_a_serializer_that_was_set_does_the_work() -> None:
    """On the store, or by a subclass."""
    made = shouting()

    class Store(SessionStore):
        serializer = made

    first, second = (make_store(cookie=f"s={VALUES[0]}") for _ in range(2))
    first.serializer = made
    visit(first)
    second.__class__ = Store
    visit(second)
    assert made.calls == ["unseal", "serialize"] * 2


@pytest.mark.parametrize("name", ["get_secure_cookie", "save_secure_cookie"])
@pytest.mark.parametrize("where", ["class", "instance", "module"])
def test_a_method_that_was_replaced_is_called(
    name: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a subclass, on the store itself, or in the class for all."""
    calls: list[str] = []
    original = getattr(SessionStore, name)

    def replacement(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return original(self, *args, **kwargs)

    store = make_store(cookie=f"s={VALUES[0]}")
    if where == "class":
        store.__class__ = type("Store", (SessionStore,), {name: replacement})
    elif where == "instance":
        monkeypatch.setattr(store, name, lambda *args, **kw: replacement(store, *args, **kw))
    else:
        monkeypatch.setattr(sessions.SessionStore, name, replacement)
    visit(store)
    assert calls == [name]


def test_a_configuration_may_change() -> None:
    """Keys may be replaced while requests are served."""
    app = make_app(cookie_name="s")
    header = f"s={sign('s', {'a': 1})}"
    assert SessionStore(make_request(app, header)).get_session() == {"a": 1}
    config = SessionStore(make_request(app)).config
    config["secret_key"] = "another"
    assert SessionStore(make_request(app, header)).get_session() == {}
    header = f"s={sign('s', {'a': 2}, secret='another')}"
    assert SessionStore(make_request(app, header)).get_session() == {"a": 2}
    with stopped_clock(Clock(NOW)):
        written = visit(SessionStore(make_request(app))).headers["Set-Cookie"]
    assert written.startswith(f"s={sign('s', {'b': 2}, secret='another')};")
    config["absolute_max_age"] = 60
    assert SessionStore(make_request(app, header)).get_session() == {}


def test_names_without_number_are_not_kept() -> None:
    """Only what is made for the configured one stays with the configuration."""
    store: Any = make_store(cookie=f"s={VALUES[0]}", cookie_name="s")
    store.get_session("s")
    store.get_session("s0")
    before = dict(store.config.derived)
    for number in range(9):
        store.get_session(f"s{number}")["a"] = 1
    saved_headers(store)
    assert store.config.derived == before


def test_what_was_replaced_in_the_serializers_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """For all, as tests do with the clock: sessions are signed, and grow old, by that."""
    header = f"s={VALUES[0]}"
    for now, expected in ((NOW + 60, {"a": 1}), (NOW + 61, {})):
        monkeypatch.setattr(SecureCookieSerializer, "_get_timestamp", lambda self, now=now: now)
        store = make_store(cookie=header, cookie_name="s", session_max_age=60)
        assert store.get_session() == expected
        assert f"|{now}|" in visit(store).headers["Set-Cookie"]
    monkeypatch.setattr(SecureCookieSerializer, "serialize", lambda self, name, value: b"signed")
    assert visit(make_store()).headers["Set-Cookie"] == "s=signed; Path=/"


def test_the_serializer_is_made_once_and_can_be_set() -> None:
    """Each store has its own."""
    store = make_store()
    assert store.serializer is store.serializer
    assert store.serializer is not make_store().serializer
    mine = object()
    store.serializer = mine
    assert store.serializer is mine


class Steps(SessionStore):
    """A store for which nothing is done in one go, since it might have changed anything."""


def told(store: SessionStore, max_age: Any) -> tuple[Any, ...]:
    """All that a session tells, and what is sent to the browser once it was modified."""
    with stopped_clock(Clock(NOW + 60)):
        session = store.get_session("s", max_age=max_age)
        container = store.sessions["s"]
        assert store.get_session("s") is session is container.session
        known = {
            name: getattr(container, name)
            for name in (
                *("name", "session_args", "_signed_at", "_began", "own_max_age", "_max_age"),
                *("_value", "sets_max_age", "superseded"),
            )
        }
        seen = dict(session), session.new, session.modified, known, container.session_store is store
        read, written = webapp2.Response(), webapp2.Response()
        store.save_sessions(read)
        session["b"] = 1
        store.save_sessions(written)
    return *seen, read.headerlist, written.headerlist


@given(
    HEADERS,
    st.sampled_from([None, 0, 60, 10**6]),
    st.sampled_from(
        [{}, {"absolute_max_age": 90}, {"change_detection": "content"}, {"refresh_after": 30}]
    ),
)
@example(f"s={VALUES[0]}", None, {})
@example(f"s={VALUES[6]}", 1, {})
@example(f"s={sign_with('s', {'a': 1}, {'began': NOW - 10})}", None, {})
@example(f"s={VALUES[0]}; s={VALUES[1]}", None, {"refresh_after": 30})
def test_a_session_that_is_opened_at_once_is_as_one_opened_step_by_step(
    header: str, max_age: Any, config: dict[str, Any]
) -> None:
    """With whatever cookies and options."""
    config = {"cookie_name": "s", **config}
    at_once, steps = (make_store(cookie=header, **config) for _ in range(2))
    steps.__class__ = Steps
    assert told(at_once, max_age) == told(steps, max_age)


def test_most_sessions_are_opened_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the test above would compare the same with the same."""
    taken: list[bool] = []
    original = SessionStore._open_at_once

    def noted(self: SessionStore, *args: Any) -> Any:
        session = original(self, *args)
        taken.append(session is not None)
        return session

    monkeypatch.setattr(SessionStore, "_open_at_once", noted)
    for store in (make_store(cookie=f"s={VALUES[0]}", cookie_name="s"), make_store()):
        store.get_session()
    assert taken == [True, False]
