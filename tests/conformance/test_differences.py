"""CONTRACT section 5: each deliberate difference, with upstream's behaviour beside ours.

Numbers such as b01 are those of the list of upstream's defects in docs/differences.md.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest
import webapp2
from support.implementations import (
    OURS,
    SECRET,
    UPSTREAM,
    Clock,
    Side,
    cookie_pair,
    outcome,
    request,
    save,
    set_cookies,
    stopped_clock,
)

from webapp2_sessions import StoredSessionFactory
from webapp2_sessions.errors import ConfigError
from webapp2_sessions.testing import MemorySessionFactory


def both(call: Any) -> list[tuple[str, Any]]:
    """Return the outcome of ``call(side)`` on upstream and on ours."""
    return [outcome(call, side) for side in (UPSTREAM, OURS)]


def kinds(call: Any) -> list[str]:
    """Return how ``call(side)`` ends on upstream and on ours."""
    return [kind for kind, _ in both(call)]


def signed(value: Any, name: str = "session") -> str:
    """Return a Cookie header with a value that has a valid signature."""
    serializer = UPSTREAM.securecookie.SecureCookieSerializer(SECRET)
    return f"{name}={serializer.serialize(name, value).decode()}"


def with_timestamp(timestamp: bytes) -> str:
    """Return a Cookie header with a valid signature over any timestamp."""
    serializer = UPSTREAM.securecookie.SecureCookieSerializer(SECRET)
    payload = serializer._encode({})
    signature = serializer._get_signature(b"session", payload, timestamp)
    return 'session="' + b"|".join((payload, timestamp, signature)).decode("latin-1") + '"'


class Custom:
    """Makes a factory on either side that remembers the ids it was asked for."""

    def __init__(self, side: Side) -> None:
        self.asked: list[Any] = []
        asked = self.asked

        class Factory(side.sessions.CustomBackendSessionFactory):
            def _get_by_sid(self, sid: Any) -> Any:
                asked.append((sid, bool(self._is_valid_sid(sid))))
                return side.sessions.SessionDict(self)

        self.factory = Factory


# 1. Nothing in a Cookie header raises


@pytest.mark.parametrize(
    "header", ["session=\\377", "other=\\377", 'x="\xff"', 'x="a\\303b"; session=ok']
)
def test_b01_cookie_that_is_not_utf8(header: str) -> None:
    """Upstream answers 500 to some bytes in any cookie; ours opens a new session."""

    def open_session(side: Side) -> Any:
        return side.store(side.app(), header).get_session()

    assert both(open_session)[0][0] == "UnicodeDecodeError"
    assert both(open_session)[1] == ("returned", {})


def test_b01_other_cookies_beside_it_are_read() -> None:
    """Bytes of another cookie do not cost the visitor the session."""
    app = OURS.app()
    header = f'x="\xff"; {signed({"a": 1})}; y=\\377'
    assert OURS.store(app, header).get_session() == {"a": 1}


@pytest.mark.parametrize("payload", [[1], ["a"], 5, "text", [["a", 1]], True])
def test_b02_payload_that_is_no_object(payload: Any) -> None:
    """A signed cookie that holds no dictionary counts as none."""

    def cookie_session(side: Side) -> Any:
        app = side.app()
        session = side.store(app, signed(payload)).get_session()
        return session, session.new

    def stored_session(side: Side) -> Any:
        app = side.app()
        custom = Custom(side)
        side.store(app, signed(payload)).get_session(factory=custom.factory)
        return custom.asked

    expected = "returned" if payload == [["a", 1]] else ("TypeError", "ValueError")
    assert both(cookie_session)[0][0] in expected
    assert both(cookie_session)[1] == ("returned", ({}, True))
    assert both(stored_session)[0][0] == "AttributeError"
    assert both(stored_session)[1] == ("returned", [(None, False)])


@pytest.mark.parametrize("sid", [5, ["x"], {"a": 1}, True])
def test_b03_sid_that_is_no_text(sid: Any) -> None:
    """A custom backend gets it, and ``_is_valid_sid()`` refuses it without raising."""

    def open_session(side: Side) -> Any:
        app = side.app()
        custom = Custom(side)
        side.store(app, signed({"_sid": sid})).get_session(factory=custom.factory)
        return custom.asked

    assert both(open_session)[0][0] == "TypeError"
    assert both(open_session)[1] == ("returned", [(sid, False)])


@pytest.mark.parametrize("sid", [5, ["x"], {"a": 1}, True])
def test_b03_sid_that_is_no_text_in_a_built_in_backend(sid: Any) -> None:
    """It counts as none."""
    app = OURS.app(backends={"memory": MemorySessionFactory})
    session = OURS.store(app, signed({"_sid": sid})).get_session(backend="memory")
    assert (session, session.new) == ({}, True)


@pytest.mark.parametrize("timestamp", [b"abc", b"", b"1.5", b"9" * 5000])
def test_b04_timestamp_that_is_no_integer(timestamp: bytes) -> None:
    """Upstream raises where ``max_age`` is set; ours opens a new session."""

    def open_session(side: Side) -> Any:
        return side.store(side.app(session_max_age=10), with_timestamp(timestamp)).get_session()

    assert kinds(open_session) == ["ValueError", "returned"]
    assert kinds(lambda side: side.store(side.app(), with_timestamp(timestamp)).get_session()) == [
        "returned",
        "returned",
    ]


@pytest.mark.parametrize("timestamp", [b" 12 ", b"+5", b"1_000"])
def test_b04_timestamps_that_int_takes_are_taken(timestamp: bytes) -> None:
    """What upstream accepts is accepted."""
    for side in (UPSTREAM, OURS):
        store = side.store(side.app(session_max_age=10**10), with_timestamp(timestamp))
        assert store.get_session().new is False


def test_b39_direct_use_of_the_serializer() -> None:
    """``deserialize()`` of bytes that are not UTF-8 is None."""

    def deserialize(side: Side) -> Any:
        serializer = side.securecookie.SecureCookieSerializer(SECRET)
        return serializer.deserialize("session", b"a|b|" + b"\xff" * 40)

    assert kinds(deserialize) == ["UnicodeDecodeError", "returned"]


def test_b53_header_without_equals_sign() -> None:
    """A megabyte that takes WebOb's pattern hours is read; the session beside it is found."""
    app = OURS.app()
    header = f"{'x' * 1_000_000}; {signed({'a': 1})}; {'y' * 1_000_000}"
    assert OURS.store(app, header).get_session() == {"a": 1}


@pytest.mark.parametrize("tossed", ["session=x", "session=a|1|b", 'session=""'])
def test_b52_valid_cookie_of_several_wins(tossed: str) -> None:
    """A second cookie of the name, set by a sibling domain, does not throw the visitor out."""

    def open_session(side: Side) -> Any:
        app = side.app()
        return side.store(app, f"{signed({'a': 1})}; {tossed}").get_session()

    assert both(open_session) == [("returned", {}), ("returned", {"a": 1})]


def test_b52_last_of_several_valid_cookies_wins() -> None:
    """Of those that were signed in one second; then ours finds what upstream finds."""
    with stopped_clock():
        header = f"{signed({'n': 1})}; {signed({'n': 2})}"
    for side in (UPSTREAM, OURS):
        assert side.store(side.app(), header).get_session() == {"n": 2}


def test_b52_valid_cookie_that_was_signed_last_wins() -> None:
    """The older one may be of another path or domain; upstream takes the last in the header."""
    with stopped_clock() as clock:
        older = signed({"n": 1})
        clock.advance(1)
        header = f"{signed({'n': 2})}; {older}"
    stores = [side.store(side.app(), header) for side in (UPSTREAM, OURS)]
    assert [store.get_session() for store in stores] == [{"n": 1}, {"n": 2}]


# 2. |= and failing updates


def test_b08_in_place_union() -> None:
    """``session |= {...}`` is saved."""

    def union(side: Side) -> Any:
        session = side.sessions.SessionDict(None)
        same = session
        session |= {"a": 1}
        return session, session.modified, session is same

    assert both(union) == [
        ("returned", ({"a": 1}, False, True)),
        ("returned", ({"a": 1}, True, True)),
    ]


def test_b10_update_that_fails_midway() -> None:
    """The items that it has set are saved."""

    def update(side: Side) -> Any:
        session = side.sessions.SessionDict(None)
        kind, text = outcome(session.update, [("a", 1), 5])
        return session, session.modified, kind, text

    (_, upstream), (_, ours) = both(update)
    assert (upstream[:2], ours[:2]) == (({"a": 1}, False), ({"a": 1}, True))
    assert upstream[2:] == ours[2:]


def test_update_that_fails_at_once_modifies_neither() -> None:
    """Where nothing was set, nothing is saved."""
    for side in (UPSTREAM, OURS):
        session = side.sessions.SessionDict(None, {"a": 1})
        assert outcome(session.update, 5)[0] == "TypeError"
        assert session.modified is False


# 3. Session ids


@pytest.mark.parametrize(
    ("sid", "upstream", "ours"),
    [
        ("a" * 22, True, True),
        ("_" * 22, True, True),
        ("a" * 22 + "\n", True, False),
        ("é" * 22, True, False),
        ("٣" * 22, True, False),
        ("a" * 21, False, False),
        ("a" * 23, False, False),
    ],
)
def test_b30_ids_are_ascii_and_matched_to_the_end(sid: str, upstream: bool, ours: bool) -> None:
    """Upstream lets a newline and any Unicode letter pass."""

    def valid(side: Side) -> Any:
        factory = side.sessions.CustomBackendSessionFactory("s", side.store(side.app()))
        return bool(factory._is_valid_sid(sid))

    assert both(valid) == [("returned", upstream), ("returned", ours)]


# 4. Logs


def test_b37_cookies_do_not_reach_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Upstream logs expired and forged cookies in full; ours the name and the cause."""
    with stopped_clock(Clock()) as clock:
        expired = signed({"card": "4242"})
        clock.advance(100)
        logs = []
        for side in (UPSTREAM, OURS):
            caplog.clear()
            for header in (expired, expired[:-1] + "x"):
                side.store(side.app(session_max_age=10), header).get_session()
            logs.append(caplog.text)
    assert expired.partition("=")[2] in logs[0]
    assert "eyJ" not in logs[1]
    assert "'session' was not accepted: it is older than 10 seconds" in logs[1]
    assert "'session' was not accepted: its signature does not fit" in logs[1]


# 5. Secret key


def test_b18_missing_secret_raises_each_time() -> None:
    """Upstream gives the app's second request a store that cannot sign."""
    second = []
    for side in (UPSTREAM, OURS):
        app = webapp2.WSGIApplication()
        assert outcome(side.store, app)[0] != "returned"
        second.append(outcome(side.store, app)[0])
    assert second == ["returned", "ConfigError"]


def test_b19_secret_of_one_store_is_not_the_apps() -> None:
    """A store with a configuration of its own does not switch the check off."""

    def second_store(side: Side) -> Any:
        app = webapp2.WSGIApplication()
        side.store(app, config={"secret_key": "own"})
        return side.store(app)

    assert kinds(second_store) == ["returned", "ConfigError"]


def test_b20_empty_secret() -> None:
    """Upstream signs with the empty key, which everybody knows."""
    for secret in ("", b""):
        assert kinds(lambda side, s=secret: side.store(side.app(secret_key=s))) == [
            "returned",
            "ConfigError",
        ]


def test_missing_secret_says_how_to_make_one() -> None:
    """The message holds a command that prints a good key."""
    with pytest.raises(ConfigError, match=r"webapp2-sessions keygen"):
        OURS.store(webapp2.WSGIApplication())


# 6. default_config


def test_b21_cookie_args_are_the_stores_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change through one application's store does not show in another's cookies."""
    domains = []
    for side in (UPSTREAM, OURS):
        defaults = dict(side.sessions.default_config["cookie_args"])
        monkeypatch.setitem(side.sessions.default_config, "cookie_args", defaults)
        side.store(side.app()).config["cookie_args"]["domain"] = ".one.example"
        domains.append(side.store(side.app()).config["cookie_args"]["domain"])
    assert domains == [".one.example", None]


def test_b22_default_config_is_not_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upstream puts the imported class there, and into the application's own dictionary."""
    kept = []
    for side in (UPSTREAM, OURS):
        backends = {"x": "webapp2_extras.sessions.SecureCookieSessionFactory"}
        side.store(side.app(backends=backends)).get_session(backend="x")
        kept.append(isinstance(backends["x"], str))
    assert kept == [False, True]


def test_b23_backends_are_merged_cookie_args_replaced() -> None:
    """Naming a backend of one's own keeps the default ones."""

    def default_session(side: Side) -> Any:
        factory = side.sessions.SecureCookieSessionFactory
        return side.store(side.app(backends={"x": factory})).get_session()

    assert kinds(default_session) == ["KeyError", "returned"]


# 7. Wrong configuration is refused where it is given


@pytest.mark.parametrize("max_age", ["3600", __import__("datetime").timedelta(hours=1), 1j])
def test_b05_max_age_that_is_no_number(max_age: Any) -> None:
    """Upstream raises when the visitor comes back; ours at once."""

    def configured(side: Side) -> Any:
        return side.store(side.app(session_max_age=max_age)).get_session()

    def given(side: Side) -> Any:
        return side.store(side.app()).get_session(max_age=max_age)

    def read(side: Side) -> Any:
        return side.store(side.app()).get_secure_cookie("x", max_age=max_age)

    for call in (configured, given, read):
        assert kinds(call) == ["returned", "ConfigError"]


@pytest.mark.parametrize(
    "args",
    [
        {"foo": 1},
        {"samesite": "none"},
        {"samesite": "sometimes"},
        {"max_age": "x"},
        {"domain": 5},
    ],
)
def test_b16_cookie_arguments(args: dict[str, Any]) -> None:
    """Upstream raises on save, after stored sessions are written."""

    def open_session(side: Side) -> Any:
        return side.store(side.app(cookie_args=args)).get_session()

    def set_secure_cookie(side: Side) -> Any:
        return side.store(side.app()).set_secure_cookie("x", {}, **args)

    assert kinds(open_session) == ["returned", "ConfigError"]
    assert kinds(set_secure_cookie) == ["returned", "ConfigError"]


def test_b16_nothing_is_stored_when_the_cookie_cannot_be_sent() -> None:
    """Also where the application broke ``session_args`` itself."""
    written = []

    class Factory(StoredSessionFactory):
        def _read(self, sid: str) -> Any:
            return None

        def _write(self, sid: str, data: Any, lifetime: Any) -> None:
            written.append(data)

    store = OURS.store(OURS.app())
    session = store.get_session(factory=Factory)
    session["a"] = 1
    session.container.session_args["samesite"] = "none"
    assert outcome(save, store)[0] == "ConfigError"
    assert written == []


def test_b24_cookie_args_none() -> None:
    """Upstream raises an AttributeError at the first session."""

    def store(side: Side) -> Any:
        return side.store(side.app(cookie_args=None))

    assert kinds(store) == ["returned", "ConfigError"]


@pytest.mark.parametrize("name", ["bad name", "café", "path", "Expires", "a;b", "$x"])
def test_b36_cookie_names(name: str) -> None:
    """Upstream accepts the name and raises on save."""

    def open_session(side: Side) -> Any:
        return side.store(side.app()).get_session(name)

    def configured(side: Side) -> Any:
        return side.store(side.app(cookie_name=name))

    def set_secure_cookie(side: Side) -> Any:
        return side.store(side.app()).set_secure_cookie(name, {})

    for call in (open_session, configured, set_secure_cookie):
        assert kinds(call) == ["returned", "ConfigError"]


def test_b59_name_given_as_bytes() -> None:
    """Upstream writes the cookie and never reads it back."""
    sessions = []
    for side in (UPSTREAM, OURS):
        app = side.app()
        store = side.store(app)
        store.get_session(b"foo")["a"] = 1
        [header] = save(store)
        sessions.append(side.store(app, cookie_pair(header)).get_session(b"foo"))
    assert sessions == [{}, {"a": 1}]


# 8. set_secure_cookie and deserialize


def test_b55_set_secure_cookie_of_what_is_no_dict() -> None:
    """Upstream asserts, which ``python -O`` leaves out."""

    def set_secure_cookie(side: Side) -> Any:
        return side.store(side.app()).set_secure_cookie("x", [("a", 1)])

    assert kinds(set_secure_cookie) == ["AssertionError", "TypeError"]


def test_b38_deserialize_unquotes() -> None:
    """A quoted value, which Python 2's upstream accepted, is accepted."""

    def deserialize(side: Side) -> Any:
        serializer = side.securecookie.SecureCookieSerializer(SECRET)
        value = serializer.serialize("x", {"a": 1})
        return serializer.deserialize("x", b'"' + value.replace(b"|", b"\\174") + b'"')

    assert both(deserialize) == [("returned", None), ("returned", {"a": 1})]


# 11. Vary


def test_b61_vary_cookie() -> None:
    """Responses of requests that used a session say so to caches."""
    values = []
    for side in (UPSTREAM, OURS):
        for use in (True, False):
            store = side.store(side.app())
            if use:
                store.get_session()
            response = webapp2.Response()
            store.save_sessions(response)
            values.append(response.headers.get("Vary"))
    assert values == [None, None, "Cookie", None]


def test_b61_vary_can_be_switched_off() -> None:
    """``vary: False`` gives upstream's headers."""
    store = OURS.store(OURS.app(vary=False))
    store.get_session()["a"] = 1
    response = webapp2.Response()
    store.save_sessions(response)
    assert "Vary" not in response.headers


# 12. Oversize cookies


def test_b33_oversize_cookie_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Both send what browsers drop; ours says so, with the keys at fault and no value."""
    lengths = []
    for side in (UPSTREAM, OURS):
        store = side.store(side.app())
        store.get_session("shop").update({"cart": "v" * 5000, "b": 1, "c": "w" * 300})
        with caplog.at_level(logging.WARNING):
            [header] = save(store)
        lengths.append(len(header))
    assert lengths[0] == lengths[1] > 4093
    [record] = caplog.records
    message = record.getMessage()
    assert f"'shop' has {lengths[1]} bytes" in message
    assert "'cart' (5002 bytes), 'c' (302 bytes), 'b' (1 bytes)" in message
    assert "vvv" not in message


# 13. save_sessions while sessions are opened


def test_b49_factory_opens_a_session_while_saving() -> None:
    """Upstream raises; ours saves the session that was opened as well."""

    def save_with_another(side: Side) -> Any:
        class Factory(side.sessions.SecureCookieSessionFactory):
            def save_session(self, response: Any) -> None:
                self.session_store.get_session("log")["saved"] = self.name
                super().save_session(response)

        app = side.app()
        store = side.sessions.SessionStore(request(app))
        store.get_session("one", factory=Factory)["a"] = 1
        response = webapp2.Response()
        store.save_sessions(response)
        return [header.partition("=")[0] for header in set_cookies(response)]

    assert both(save_with_another)[0][0] == "RuntimeError"
    assert both(save_with_another)[1] == ("returned", ["one", "log"])


# Requests that have ended


def test_request_of_a_store_that_outlives_it() -> None:
    """Upstream's store keeps it alive; ours says that it has ended, unless somebody else does."""

    def request_after_the_answer(side: Side) -> Any:
        stores: list[Any] = []

        class Page(webapp2.RequestHandler):
            def get(self) -> None:
                stores.append(side.sessions.get_store(request=self.request))
                stores[0].save_sessions(self.response)

        app = side.app()
        app.router.add(("/page", Page))
        request(app, path="/page").get_response(app)
        return stores[0].request.path

    kept, ended = both(request_after_the_answer)
    assert kept == ("returned", "/page")
    assert ended[0] == "AttributeError"
    assert ended[1].startswith("the request has ended")


# Both libraries in one application


def test_application_that_used_upstreams_store_before_ours() -> None:
    """Upstream leaves its own classes in the application's configuration; ours are used."""
    app = OURS.app()
    UPSTREAM.store(app)
    session = OURS.store(app).get_session()
    assert type(session) is OURS.sessions.SessionDict
