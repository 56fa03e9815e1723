"""Sessions in a real memcached: what is stored, for how long, and what is believed."""

from __future__ import annotations

import datetime
import pickle
import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.entries import Entries, entries_of
from support.implementations import Clock, stopped_clock
from support.servers import Memcached
from support.visits import SECRET, Visitor, make_app

from webapp2_sessions import ConfigError, SecureCookieSerializer, SessionTooLarge
from webapp2_sessions.config import SessionConfig
from webapp2_sessions.sessions_memcache import MemcacheSessionFactory
from webapp2_sessions.sessions_memcache.records import session_memcached

DAY = 24 * 3600

#: Seconds after which a thread that hangs is a failure.
PATIENCE = 60.0


@pytest.fixture
def entries(memcached: Memcached) -> Iterator[Entries]:
    """What the shared memcached holds."""
    with entries_of(memcached) as entries:
        yield entries


@pytest.fixture
def visitor_of(memcached: Memcached) -> Callable[..., Visitor]:
    """Makes a visitor of an application with a configuration of its own."""

    def make(memcache: dict[str, Any] | None = None, **config: Any) -> Visitor:
        app = make_app(memcache={"servers": [memcached.address], **(memcache or {})}, **config)
        return Visitor(app, backend="memcache")

    return make


@pytest.fixture
def visitor(visitor_of: Callable[..., Visitor]) -> Visitor:
    """A visitor of an application whose sessions are in memcached."""
    return visitor_of()


def key_of(sid: str) -> bytes:
    """Where the record of a session is."""
    return b"session:" + sid.encode("ascii")


def cookie_for(sid: object) -> str:
    """A cookie that the application would have signed for a session id."""
    return SecureCookieSerializer(SECRET).serialize("session", {"_sid": sid}).decode("ascii")


# Round trip


def test_cookie_holds_the_id_only(visitor: Visitor) -> None:
    """Nothing of the session itself goes to the browser."""
    sid = visitor.write({"value": 1})
    held = SecureCookieSerializer(SECRET).deserialize("session", visitor.cookies["session"])
    assert held == {"_sid": sid}


def test_record_that_is_gone_gives_a_new_session(visitor: Visitor, entries: Entries) -> None:
    """Where memcached has dropped the record, the visitor starts again with another id."""
    sid = visitor.write({"a": 1})
    entries.drop(key_of(sid))
    with visitor.visit() as session:
        assert (dict(session), session.new) == ({}, True)
        assert session.container.sid != sid


# What is written


def test_unmodified_session_is_not_written(visitor: Visitor, entries: Entries) -> None:
    """A request that only reads writes no record."""
    visitor.write({"a": 1})
    before = entries.counted("cmd_set")
    visitor.read()
    assert entries.counted("cmd_set") == before


def test_unmodified_session_sets_no_cookie(visitor: Visitor) -> None:
    """A request that only reads sends no cookie."""
    visitor.write({"a": 1})
    visitor.read()
    assert visitor.set_cookies == []


def test_first_visit_without_a_change_leaves_nothing(visitor: Visitor, entries: Entries) -> None:
    """A visitor who changes nothing gets neither a record nor a cookie, nor asks memcached."""
    before = entries.counted("cmd_get", "cmd_set")
    visitor.read()
    assert (entries.counted("cmd_get", "cmd_set"), visitor.set_cookies) == (before, [])


def test_change_is_one_write(visitor: Visitor, entries: Entries) -> None:
    """However many values a request sets, the record is written once."""
    before = entries.counted("cmd_set")
    visitor.write({"a": 1, "b": 2, "c": 3})
    assert entries.counted("cmd_set") == before + 1


def test_record_is_under_the_prefix(visitor: Visitor, entries: Entries) -> None:
    """The default prefix keeps sessions apart from the application's own entries."""
    sid = visitor.write({"a": 1})
    assert entries.get(b"session:" + sid.encode()) is not None
    assert entries.get(sid.encode()) is None


def test_record_is_under_the_configured_prefix(
    visitor_of: Callable[..., Visitor], entries: Entries
) -> None:
    """A prefix of the application's own takes the place of the default one."""
    sid = visitor_of({"key_prefix": "shop/"}).write({"a": 1})
    assert entries.get(b"shop/" + sid.encode()) is not None
    assert entries.get(key_of(sid)) is None


def test_longest_prefix_works(visitor_of: Callable[..., Visitor]) -> None:
    """The longest prefix that the configuration allows leaves room for the id."""
    visitor = visitor_of({"key_prefix": "p" * 150})
    visitor.write({"a": 1})
    assert visitor.read() == {"a": 1}


def test_value_is_not_readable_by_another_secret(
    visitor: Visitor, visitor_of: Callable[..., Visitor]
) -> None:
    """An application with another secret key has its own cookies and records."""
    visitor.write({"a": 1})
    stranger = visitor_of(secret_key="another")
    stranger.cookies = dict(visitor.cookies)
    assert stranger.read() == {}


def test_value_that_cannot_be_pickled_sets_no_cookie(visitor: Visitor) -> None:
    """What pickle refuses is the caller's error, and the browser gets no cookie."""
    with pytest.raises((pickle.PicklingError, AttributeError)), visitor.visit() as session:
        session["function"] = lambda: None
    assert visitor.set_cookies == []


# Size


def test_large_session_is_stored(visitor: Visitor) -> None:
    """A session may be much larger than a cookie."""
    visitor.write({"text": "x" * 1_000_000})
    assert visitor.read() == {"text": "x" * 1_000_000}


def test_oversize_session_is_an_error(visitor: Visitor) -> None:
    """A session above memcached's limit of 1 MB is not lost silently."""
    with pytest.raises(SessionTooLarge) as caught:
        visitor.write({"text": "x" * 1_100_000})
    assert (caught.value.size > 1_100_000, caught.value.limit) == (True, 1_048_576 - 512)
    assert f"the session has {caught.value.size} bytes" in str(caught.value)


def test_oversize_session_leaves_the_stored_one(visitor: Visitor) -> None:
    """memcached would delete what is stored, so it is not asked."""
    visitor.write({"a": 1})
    with pytest.raises(SessionTooLarge):
        visitor.write({"text": "x" * 1_100_000})
    assert visitor.read() == {"a": 1}


def test_session_of_the_largest_size(visitor: Visitor) -> None:
    """Up to the limit that the error names, a session is stored."""
    visitor.write({"text": "x" * 1_047_980})
    assert visitor.read() == {"text": "x" * 1_047_980}


def test_server_with_larger_items(launch: Callable[[Memcached], Memcached]) -> None:
    """A memcached that is configured for larger items takes larger sessions."""
    server = launch(Memcached(item_mb=4))
    visitor = Visitor(make_app(memcache={"servers": [server.address]}), backend="memcache")
    visitor.write({"text": "x" * 3_000_000})
    assert visitor.read() == {"text": "x" * 3_000_000}


def test_server_with_smaller_items(launch: Callable[[Memcached], Memcached]) -> None:
    """A server that takes less than memcached's default is found out before it is sent more."""
    server = launch(Memcached(item_mb=0.5))
    visitor = Visitor(make_app(memcache={"servers": [server.address]}), backend="memcache")
    visitor.write({"a": "x" * 500_000})
    with pytest.raises(SessionTooLarge, match=r"largest keys: 'a' \(500"):
        visitor.write({"b": "x" * 100_000})
    assert visitor.read() == {"a": "x" * 500_000}


def test_restarted_server_with_smaller_items(launch: Callable[[Memcached], Memcached]) -> None:
    """What a server takes is asked again after connections were lost."""
    server = launch(Memcached())
    visitor = Visitor(make_app(memcache={"servers": [server.address]}), backend="memcache")
    visitor.write({"a": "x" * 700_000})
    server.kill()
    server.item_mb = 0.5
    server.start()
    visitor.write({"a": "small"})  # a connection is found to be lost
    with pytest.raises(SessionTooLarge):
        visitor.write({"b": "x" * 700_000})
    assert visitor.read() == {"a": "small"}


def test_oversize_session_sets_no_cookie(visitor: Visitor) -> None:
    """There is no cookie for a session that was not stored."""
    with pytest.raises(SessionTooLarge):
        visitor.write({"text": "x" * 1_100_000})
    assert visitor.set_cookies == []


# Lifetime


@pytest.mark.parametrize(
    ("config", "options", "expected"),
    [
        pytest.param({}, {}, -1, id="no limit"),
        pytest.param({"session_max_age": 3600}, {}, 3600, id="session_max_age"),
        pytest.param({}, {"max_age": 3600}, -1, id="other requests have no limit"),
        pytest.param(
            {"session_max_age": 60}, {"max_age": 3600}, 3600, id="longer for this request"
        ),
        pytest.param(
            {"session_max_age": 3600}, {"max_age": 60}, 3600, id="shorter for this request"
        ),
        pytest.param(
            {"session_max_age": 3600}, {"max_age": None}, -1, id="no limit for this request"
        ),
        pytest.param({"cookie_args": {"max_age": 600}}, {}, 600, id="cookie_args"),
        pytest.param(
            {"cookie_args": {"max_age": datetime.timedelta(hours=1)}}, {}, 3600, id="timedelta"
        ),
        pytest.param(
            {"session_max_age": 3600, "cookie_args": {"max_age": 600}},
            {},
            600,
            id="the browser drops the cookie first",
        ),
        pytest.param(
            {"session_max_age": 600, "cookie_args": {"max_age": 3600}},
            {},
            600,
            id="the signature expires first",
        ),
        pytest.param({"session_max_age": 40 * DAY}, {}, 40 * DAY, id="more than 30 days"),
    ],
)
def test_record_lives_as_long_as_the_session(
    visitor_of: Callable[..., Visitor],
    entries: Entries,
    config: dict[str, Any],
    options: dict[str, Any],
    expected: int,
) -> None:
    """memcached is told a time after which no request can ask for the record any more."""
    sid = visitor_of(**config).write({"a": 1}, **options)
    left = entries.seconds_left(key_of(sid))
    assert left is not None
    assert left == expected if expected == -1 else abs(left - expected) <= 10


def test_record_lives_as_long_as_session_args_say(visitor: Visitor, entries: Entries) -> None:
    """A handler may set the lifetime of one visitor's session."""
    with visitor.visit() as session:
        session["a"] = 1
        session.container.session_args["max_age"] = 600
    left = entries.seconds_left(key_of(session.container.sid))
    assert left is not None
    assert abs(left - 600) <= 10


def test_session_of_forty_days_is_there(visitor_of: Callable[..., Visitor]) -> None:
    """A lifetime above 30 days, which memcached takes for a date, does not end in 1970."""
    visitor = visitor_of(session_max_age=40 * DAY)
    visitor.write({"a": 1})
    assert visitor.read() == {"a": 1}


def test_session_without_end_is_there(visitor_of: Callable[..., Visitor]) -> None:
    """A lifetime beyond what memcached can count does not end at once."""
    visitor = visitor_of(session_max_age=10**12)
    visitor.write({"a": 1})
    assert visitor.read() == {"a": 1}


def test_write_renews_the_lifetime(visitor_of: Callable[..., Visitor], entries: Entries) -> None:
    """Each write tells memcached the lifetime again."""
    visitor = visitor_of(session_max_age=3600)
    visitor.write({"a": 1}, max_age=7200)
    sid = visitor.write({"a": 2})
    left = entries.seconds_left(key_of(sid))
    assert left is not None
    assert abs(left - 3600) <= 10


# Foreign and forged values


class Bomb:
    """Its pickle makes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def foreign_value(kind: str, crater: Path, sid: str, address: str) -> bytes:
    """A value that the memcache backend did not write under the id."""
    config = SessionConfig({"secret_key": SECRET, "memcache": {"servers": [address]}})
    others = SessionConfig({**config, "secret_key": "another"})
    ours, key = session_memcached(config, "memcache"), key_of(sid)
    return {
        "counter": lambda: b"42",
        "nothing": lambda: b"",
        "garbage": lambda: b"\x00\x01\x02" * 50,
        "pickle of an int": lambda: pickle.dumps(42),
        "pickle of a dict": lambda: pickle.dumps({"admin": True}, 2),
        "pickle with an effect": lambda: pickle.dumps(Bomb(crater)),
        "effect behind a false signature": lambda: (
            ours.encode(key, {})[:33] + pickle.dumps(Bomb(crater))
        ),
        "session of another id": lambda: ours.encode(key_of("x" * 22), {"admin": True}),
        "session of another secret": lambda: session_memcached(others, "memcache").encode(
            key, {"admin": True}
        ),
        "entry of the datastore backend": lambda: session_memcached(config, "datastore").encode(
            key, {"admin": True}
        ),
        "signed, and no session": lambda: ours.encode(key, ["no", "dict"]),
    }[kind]()


FOREIGN = [
    "counter",
    "nothing",
    "garbage",
    "pickle of an int",
    "pickle of a dict",
    "pickle with an effect",
    "effect behind a false signature",
    "session of another id",
    "session of another secret",
    "entry of the datastore backend",
    "signed, and no session",
]


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_value_gives_a_new_session(
    visitor: Visitor, memcached: Memcached, entries: Entries, tmp_path: Path, kind: str
) -> None:
    """What we did not write under the id is no session; the visitor gets another id."""
    sid = visitor.write({"a": 1})
    entries.put(key_of(sid), foreign_value(kind, tmp_path / "crater", sid, memcached.address))
    with visitor.visit() as session:
        assert (dict(session), session.new) == ({}, True)
        assert session.container.sid != sid


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_value_is_left_alone(
    visitor: Visitor, memcached: Memcached, entries: Entries, tmp_path: Path, kind: str
) -> None:
    """The application's own entry under such a key survives, also when the session is saved."""
    sid = visitor.write({"a": 1})
    value = foreign_value(kind, tmp_path / "crater", sid, memcached.address)
    entries.put(key_of(sid), value)
    visitor.write({"b": 2})
    assert entries.get(key_of(sid)) == value


@pytest.mark.parametrize("kind", ["pickle with an effect", "effect behind a false signature"])
def test_foreign_pickle_is_not_loaded(
    visitor: Visitor, memcached: Memcached, entries: Entries, tmp_path: Path, kind: str
) -> None:
    """A pickle that somebody else put into memcached is never executed."""
    sid, crater = visitor.write({"a": 1}), tmp_path / "crater"
    entries.put(key_of(sid), foreign_value(kind, crater, sid, memcached.address))
    visitor.read()
    assert not crater.exists()


# Session ids


@pytest.mark.parametrize(
    "sid",
    [
        "x" * 22 + "\n",
        "x" * 21 + "é",
        "x" * 21 + "٣",
        "x" * 21,
        "x" * 23,
        "x" * 20 + "\r\n",
        "x" * 21 + " ",
        "",
        None,
        42,
        ["x"] * 22,
        {"x": 1},
    ],
    ids=ascii,
)
def test_id_that_is_none_of_ours_asks_nobody(
    visitor: Visitor, entries: Entries, sid: object
) -> None:
    """A signed cookie with anything but 22 ASCII characters is no session and reaches no server."""
    visitor.cookies["session"] = cookie_for(sid)
    before = entries.counted("cmd_get")
    assert visitor.read() == {}
    assert entries.counted("cmd_get") == before


@pytest.mark.parametrize(("grace", "asked"), [(10, 2), (0, 1)])
def test_valid_id_is_asked_for(
    grace: int, asked: int, visitor_of: Callable[..., Visitor], entries: Entries
) -> None:
    """A signed cookie with an id that could be ours does reach the server.

    Where there is no session, it may have been renewed a moment ago.
    """
    visitor = visitor_of(renewal_grace=grace)
    visitor.cookies["session"] = cookie_for("x" * 22)
    before = entries.counted("cmd_get")
    visitor.read()
    assert entries.counted("cmd_get") == before + asked


@pytest.mark.parametrize(
    ("sid", "expected"),
    [
        ("0123456789abcdefghijkl", True),
        ("ABCDEFGHIJKLMNOPQRSTUV", True),
        ("a_____________________", True),
        ("0123456789abcdefghijkl\n", False),
        ("0123456789abcdefghijk\n", False),
        ("0123456789abcdefghijké", False),
        ("0123456789abcdefghijk-", False),
        ("0123456789abcdefghijk", False),
        ("0123456789abcdefghijklm", False),
        ("", False),
        (None, False),
    ],
)
def test_is_valid_sid(visitor: Visitor, sid: str | None, expected: bool) -> None:
    """An id is 22 ASCII word characters and nothing after them."""
    with visitor.visit() as session:
        factory = session.container
    assert isinstance(factory, MemcacheSessionFactory)
    assert factory._is_valid_sid(sid) is expected


# Sockets


class UnixMemcached(Memcached):
    """A memcached that listens on a Unix socket."""

    path = ""

    def command(self, folder: Path) -> list[str]:
        """As over TCP, with the socket instead of address and port."""
        command = super().command(folder)
        start = command.index("-l")
        return [*command[:start], "-s", self.path, "-a", "777", *command[start + 6 :]]

    @property
    def address(self) -> str:
        """What the configuration takes for it."""
        return f"unix:{self.path}"

    def answers(self) -> bool:
        """Whether somebody listens at the socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.path) == 0


def test_unix_socket(launch: Callable[[UnixMemcached], UnixMemcached]) -> None:
    """A memcached on the same machine can be reached by its socket."""
    with tempfile.TemporaryDirectory() as folder:  # short: a socket's path has a limit
        Path(folder).chmod(0o777)
        server = UnixMemcached()
        server.path = f"{folder}/socket"
        launch(server)
        visitor = Visitor(make_app(memcache={"servers": [server.address]}), backend="memcache")
        visitor.write({"a": 1})
        assert visitor.read() == {"a": 1}
        server.stop()


# Renewing


def test_renewal_touches_the_record(visitor_of: Callable[..., Visitor], entries: Entries) -> None:
    """Its life is as long as at first, and its data is not sent again."""
    with stopped_clock(Clock(float(int(time.time())))) as clock:
        visitor = visitor_of(session_max_age=1000, refresh_after=100)
        sid = visitor.write({"a": 1})
        former, written = visitor.cookies["session"], entries.counted("cmd_set")
        entries.expire(key_of(str(sid)), 500)
        clock.advance(100)
        assert visitor.read() == {"a": 1}
    assert visitor.cookies["session"] != former
    left = entries.seconds_left(key_of(str(sid)))
    assert left is not None
    assert 990 < left <= 1001
    assert entries.counted("cmd_set") == written


def test_renewal_signs_the_record_anew(
    visitor_of: Callable[..., Visitor], entries: Entries
) -> None:
    """Once, with as long a life as it gets otherwise; then the older key is not needed."""
    with stopped_clock(Clock(float(int(time.time())))) as clock:
        visitor = visitor_of(session_max_age=1000, refresh_after=100)
        key = key_of(str(visitor.write({"a": 1})))
        former = entries.get(key)
        rotating = {"secret_key": "n" * 4 + SECRET, "secret_key_fallbacks": [SECRET]}
        visitor.app = visitor_of(session_max_age=1000, refresh_after=100, **rotating).app
        records = []
        for _ in range(2):
            entries.expire(key, 500)
            clock.advance(100)
            assert visitor.read() == {"a": 1}
            records.append(entries.get(key))
            assert 990 < (entries.seconds_left(key) or 0) <= 1001
    assert records[0] != former
    assert records[0][33:] == former[33:]
    assert records[0] == records[1]


def test_record_that_memcached_keeps_too_long(
    visitor_of: Callable[..., Visitor], entries: Entries
) -> None:
    """Its session is over all the same."""
    with stopped_clock(Clock(float(int(time.time())))) as clock:
        visitor = visitor_of(session_max_age=1000)
        sid = visitor.write({"a": 1})
        entries.expire(key_of(str(sid)), 0)
        clock.advance(1001)
        assert visitor.read() == {}
    assert entries.get(key_of(str(sid))) is not None


def test_destroyed_session_leaves_a_mark(visitor: Visitor, entries: Entries) -> None:
    """The record is gone, and the mark there for an hour."""
    sid = visitor.write({"a": 1})
    with visitor.visit() as session:
        session.destroy()
    left = entries.seconds_left(key_of(str(sid)) + b":ended")
    assert entries.get(key_of(str(sid))) is None
    assert left is not None
    assert 3590 < left <= 3600


@pytest.mark.parametrize("on_conflict", ["overwrite", "merge"])
def test_record_that_vanished_is_written_anew(
    visitor_of: Callable[..., Visitor], entries: Entries, on_conflict: str
) -> None:
    """What memcached drops during a request, or the application deletes, is there again."""
    visitor = visitor_of(on_conflict=on_conflict)
    sid = visitor.write({"a": 1})
    with visitor.visit() as session:
        session["b"] = 2
        entries.drop(key_of(str(sid)))
    assert visitor.read() == {"a": 1, "b": 2}


# The application's own factories


def test_subclass_with_its_own_id_pattern(visitor: Visitor) -> None:
    """A subclass may make and accept ids of its own form."""

    class Numbered(MemcacheSessionFactory):
        _sid_re = re.compile(r"[0-9]{30}\Z")

        def _get_new_sid(self) -> str:
            return "7" * 30

    assert visitor.write({"a": 1}, factory=Numbered) == "7" * 30
    assert visitor.read(factory=Numbered) == {"a": 1}


# A store of the application's own


class DuckStore:
    """What a store needs to have, and no more."""

    def __init__(self, sid: str) -> None:
        self.config: dict[str, Any] = {"cookie_args": {}}
        self._sid = sid

    def get_secure_cookie(self, name: str, max_age: float | None = None) -> dict[str, str]:
        """Give the id that a cookie would hold."""
        return {"_sid": self._sid}


def test_duck_typed_store_uses_the_active_application(visitor: Visitor) -> None:
    """The active application's configuration stands in for what such a store does not have."""
    store = DuckStore(str(visitor.write({"a": 1})))
    visitor.app.set_globals(app=visitor.app)
    try:
        assert MemcacheSessionFactory("session", store).get_session() == {"a": 1}
    finally:
        visitor.app.clear_globals()


def test_duck_typed_store_without_an_application() -> None:
    """Without a key to check the values with, the error names it."""
    with pytest.raises(ConfigError, match="secret_key: is missing"):
        MemcacheSessionFactory("session", DuckStore("a" * 22)).get_session()
