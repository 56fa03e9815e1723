"""A site moves to another secret key and another hash function, and nobody is signed out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
import webapp2
from support.implementations import Clock, stopped_clock
from support.servers import Memcached
from support.visits import Visitor, make_app

from webapp2_sessions import SecureCookieSerializer
from webapp2_sessions.config import SessionConfig
from webapp2_sessions.sessions.encrypted import EncryptedCookieSerializer
from webapp2_sessions.sessions_memcache.records import session_memcached

A, B = "the key that the site began with", "the key that takes the place of it"

HOUR = 3600
MAX_AGE = 24 * HOUR

#: The configurations of the site, in the order of its deployments. At each of them servers with
#: the former one and with the next one answer for a while, in turn.
STEPS: list[dict[str, Any]] = [
    {"secret_key": A},
    {"secret_key": A, "secret_key_fallbacks": [B], "digest_fallbacks": ["sha256"]},
    {
        "secret_key": B,
        "secret_key_fallbacks": [A],
        "digest": "sha256",
        "digest_fallbacks": ["sha1"],
    },
    {"secret_key": B, "digest": "sha256"},
]
BEGIN, PREPARED, MOVED, DONE = range(4)

BACKENDS = ("securecookie", "encryptedcookie", "memcache")
EACH_BACKEND = pytest.mark.parametrize("backend", BACKENDS)

_numbers = itertools.count()


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock for cookies; memcached goes by the real one, from which it starts."""
    with stopped_clock(Clock(float(int(time.time())))) as clock:
        yield clock


class Site:
    """The site at each of its steps, with one memcached.

    :param refresh_after: for how long visitors who only read keep their cookies.
    """

    def __init__(self, server: Memcached, refresh_after: float | None = None) -> None:
        settings = {"servers": [server.address], "key_prefix": f"rotation{next(_numbers)}:"}
        common = {
            "memcache": settings,
            "session_max_age": MAX_AGE,
            "refresh_after": refresh_after,
        }
        self.configs = [{**common, **step} for step in STEPS]
        self.apps: list[webapp2.WSGIApplication] = [make_app(**each) for each in self.configs]

    def visitor(self, backend: str, step: int = BEGIN) -> Visitor:
        """A visitor without cookies."""
        return Visitor(self.apps[step], backend=backend)


@pytest.fixture
def site(memcached: Memcached) -> Site:
    """A site whose visitors are signed in for a day after their last write."""
    return Site(memcached)


class Regular:
    """A visitor who is signed in, and who would notice if that was over too early.

    :param reads_only: whether the session is never written after the beginning.
    """

    def __init__(self, visitor: Visitor, clock: Clock, reads_only: bool) -> None:
        self.visitor = visitor
        self.count = 0
        self.reads_only = reads_only
        self._clock = clock
        self._write()

    def _write(self) -> None:
        self.visitor.write({"user": id(self), "count": self.count})
        self._written = self._clock.now

    def comes(self, app: webapp2.WSGIApplication) -> bool:
        """Visit; returns whether all is as it was left, or rightly over."""
        self.visitor.app = app
        session = self.visitor.read()
        if self.visitor.set_cookies:
            self._written = self._clock.now  # renewed
        in_time = self._clock.now - self._written <= MAX_AGE
        right = session == ({"user": id(self), "count": self.count} if in_time else {})
        if not self.reads_only:
            self.count += 1
            self._write()
        return right


class Traffic:
    """Visits to the site, hour by hour, by more and more visitors."""

    def __init__(self, site: Site, backend: str, clock: Clock) -> None:
        self._site = site
        self._backend = backend
        self._clock = clock
        self._rng = Random(7)
        self._crowd: list[Regular] = []

    def go_on(self, *steps: int) -> int:
        """Let 8 hours pass with servers at these steps; returns how many visits went wrong."""
        wrong = 0
        for hour in range(8):
            step = self._rng.choice(steps)
            visitor = self._site.visitor(self._backend, step)
            self._crowd.append(Regular(visitor, self._clock, reads_only=hour % 2 == 0))
            self._clock.advance(HOUR)
            for regular in self._rng.sample(self._crowd, len(self._crowd)):
                wrong += not regular.comes(self._site.apps[self._rng.choice(steps)])
        return wrong


@EACH_BACKEND
@pytest.mark.parametrize("refresh_after", [None, HOUR])
def test_nobody_is_signed_out_before_their_time(
    memcached: Memcached, clock: Clock, backend: str, refresh_after: float | None
) -> None:
    """Under traffic, from the first configuration to the last, with writers and readers."""
    traffic = Traffic(Site(memcached, refresh_after), backend, clock)
    wrong = [
        traffic.go_on(*steps)
        for steps in (
            *((BEGIN,), (BEGIN, PREPARED), (PREPARED,)),
            *((PREPARED, MOVED), (MOVED,), (MOVED,), (MOVED,)),  # for a day, as MAX_AGE says
            *((MOVED, DONE), (DONE,)),
        )
    ]
    assert wrong == [0] * 9


@EACH_BACKEND
@pytest.mark.parametrize("refresh_after", [None, HOUR])
def test_going_on_too_early_is_noticed(
    memcached: Memcached, clock: Clock, backend: str, refresh_after: float | None
) -> None:
    """The traffic of the test before finds a preparation or a wait that was left out."""
    traffic = Traffic(Site(memcached, refresh_after), backend, clock)
    assert traffic.go_on(PREPARED) == 0
    assert traffic.go_on(BEGIN, MOVED) > 0
    traffic = Traffic(Site(memcached, refresh_after), backend, clock)
    assert [traffic.go_on(PREPARED), traffic.go_on(MOVED)] == [0, 0]
    assert (traffic.go_on(DONE) > 0) is (refresh_after is None)


@EACH_BACKEND
def test_skipping_the_preparation_signs_out(site: Site, clock: Clock, backend: str) -> None:
    """A server that does not know the new key yet refuses what another one has signed with it."""
    visitor = site.visitor(backend)
    visitor.write({"a": 1})
    visitor.app = site.apps[MOVED]
    visitor.write({"b": 2})
    visitor.app = site.apps[BEGIN]
    assert visitor.read() == {}


@EACH_BACKEND
def test_a_session_is_signed_anew_by_its_next_write(site: Site, clock: Clock, backend: str) -> None:
    """After that the older key is not needed for it."""
    visitor = site.visitor(backend)
    visitor.write({"a": 1})
    visitor.app = site.apps[MOVED]
    visitor.write({"b": 2})
    visitor.app = site.apps[DONE]
    assert visitor.read() == {"a": 1, "b": 2}


@EACH_BACKEND
def test_a_session_is_signed_anew_by_its_renewal(
    memcached: Memcached, clock: Clock, backend: str
) -> None:
    """A visitor who only reads needs no older key either, where `refresh_after` is set."""
    site = Site(memcached, refresh_after=HOUR)
    visitor = site.visitor(backend)
    visitor.write({"a": 1})
    visitor.app = site.apps[MOVED]
    clock.advance(HOUR)
    assert visitor.read() == {"a": 1}
    visitor.app = site.apps[DONE]
    assert visitor.read() == {"a": 1}


@EACH_BACKEND
def test_a_session_that_was_only_read_ends_with_the_older_key(
    site: Site, clock: Clock, backend: str
) -> None:
    """Without a write or a renewal it is not signed again; hence the wait before the last step."""
    visitor = site.visitor(backend)
    visitor.write({"a": 1})
    visitor.app = site.apps[MOVED]
    assert visitor.read() == {"a": 1}
    assert visitor.set_cookies == []
    visitor.app = site.apps[DONE]
    assert visitor.read() == {}


@EACH_BACKEND
@pytest.mark.parametrize("step", [BEGIN, PREPARED])
def test_nothing_of_the_older_key_is_accepted_afterwards(
    site: Site, clock: Clock, backend: str, step: int
) -> None:
    """A cookie that somebody kept is worth nothing, and neither is its record."""
    visitor = site.visitor(backend, step)
    visitor.write({"a": 1})
    kept = dict(visitor.cookies)
    visitor.app = site.apps[MOVED]
    visitor.write({"b": 2})
    visitor.app, visitor.cookies = site.apps[DONE], kept
    assert visitor.read() == {}


@pytest.mark.parametrize(
    ("key", "digest", "accepted"),
    [
        (A, "sha1", [BEGIN, PREPARED, MOVED]),
        (A, "sha256", [PREPARED, MOVED]),
        (A, "sha512", []),
        (B, "sha1", [PREPARED, MOVED]),
        (B, "sha256", [PREPARED, MOVED, DONE]),
        (B, "sha512", []),
    ],
)
@pytest.mark.parametrize("backend", ["securecookie", "memcache"])
def test_what_each_step_accepts(
    site: Site, clock: Clock, backend: str, key: str, digest: str, accepted: list[int]
) -> None:
    """Whoever learnt the older key makes valid cookies until the last step, and then none."""
    visitor = site.visitor(backend, DONE)
    sid = visitor.write({"_sid": None})
    found = []
    for step, app in enumerate(site.apps):
        # The record is the site's own at each step, so that the cookie alone decides.
        if sid is not None:
            store_record(site, step, sid, {"forged": True})
        forged = {"_sid": sid} if sid is not None else {"forged": True}
        value = SecureCookieSerializer(key, digest=digest).serialize("session", forged)
        visitor.app, visitor.cookies = app, {"session": value.decode()}
        found += [step] if visitor.read() == {"forged": True} else []
    assert accepted == found


@pytest.mark.parametrize(
    ("key", "accepted"), [(A, [BEGIN, PREPARED, MOVED]), (B, [PREPARED, MOVED, DONE])]
)
def test_what_each_step_decrypts(site: Site, clock: Clock, key: str, accepted: list[int]) -> None:
    """Encrypted cookies have no hash function to choose."""
    visitor = site.visitor("encryptedcookie")
    value = EncryptedCookieSerializer(key).serialize("session", {"forged": True}).decode()
    found = []
    for step, app in enumerate(site.apps):
        visitor.app, visitor.cookies = app, {"session": value}
        found += [step] if visitor.read() == {"forged": True} else []
    assert accepted == found


@pytest.mark.parametrize(
    ("by", "accepted"), [(BEGIN, [BEGIN, PREPARED, MOVED]), (MOVED, [PREPARED, MOVED, DONE])]
)
def test_what_each_step_reads_from_memcached(
    site: Site, clock: Clock, by: int, accepted: list[int]
) -> None:
    """Whoever learnt the older key and can write to memcached makes no record after the last."""
    found = []
    for step in range(len(STEPS)):
        visitor = site.visitor("memcache", step)
        sid = visitor.write({"a": 1})
        assert sid is not None
        store_record(site, by, sid, {"forged": True})
        found += [step] if visitor.read() == {"forged": True} else []
    assert accepted == found


def store_record(site: Site, step: int, sid: str, data: dict[str, Any]) -> None:
    """Put a record into memcached that is signed as at one step of the site."""
    memcached = session_memcached(SessionConfig(site.configs[step]), "memcache")
    key = memcached.key(sid)
    memcached.set(key, memcached.encode(key, data), 0)
