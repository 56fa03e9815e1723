"""Every configuration, every fault, before every step of a request, by one rule.

A visitor with a stored session changes it, and right before one of the operations which the
request sends to a server, something happens to a real server. Afterwards the server is made
well, and what the visitor was told is compared with what is stored.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.fault_cases import Case, cases
from support.fault_injection import Fault, OptionalMemcached, Relay
from support.faults import BOUND, CARD, texts, works
from support.processes import has_abandoned_connections
from support.servers import PROJECT, Redis, Server, ServerError, wait_until
from support.steps import Steps
from support.visits import SECRET, Visitor, make_app

from webapp2_sessions import (
    BackendError,
    BackendUnavailable,
    SecureCookieSerializer,
    SessionDict,
    SessionTooLarge,
)

Data = dict[Any, Any]

#: Stored before the request. It has more than a kilobyte, which is what small servers refuse.
OLD: Data = {"a": 1, "card": CARD, "text": "t" * 1500}
#: What the request changes: less or more of it would be a mixture. It is as large as that, so that
#: small servers refuse the session also where they have lost what was stored before.
CHANGE: Data = {"a": 2, "more": CARD[::-1], "text": "u" * 1500}
#: Another visitor's session.
OTHERS: Data = {"b": 3, "others": CARD.replace("2", "3"), "text": "o" * 1500}

#: None of them may stand in an error or a log.
SECRETS = (SECRET, OLD["card"], CHANGE["more"], OTHERS["others"])

#: Seconds after which an application gives up the server that is harmed ...
IMPATIENT = {"memcache": 0.1, "redis": 0.1, "datastore": 0.3}
#: ... and any other. Whoever prepares and judges gives up none before.
PATIENT = {"memcache": 5.0, "redis": 5.0, "datastore": 5.0}


@dataclass
class Attempt:
    """A request that loads, changes and saves a session, as it turned out."""

    session: SessionDict | None = None
    #: What was loaded; None where nothing was, or an empty session stands in.
    seen: Data | None = None
    #: What was to be saved, if something was loaded.
    wrote: Data | None = None
    error: Exception | None = None
    cookies: list[str] = field(default_factory=list)
    #: How long it took, without the time that the fault itself takes.
    seconds: float = 0.0

    @property
    def saved(self) -> bool:
        """Whether the visitor was told that the change is saved."""
        return self.error is None and not is_degraded(self.session)


def is_degraded(session: SessionDict | None) -> bool:
    """Whether the session says that it stands in for one that cannot be reached."""
    return bool(getattr(session, "degraded", False))


def attempt(visitor: Visitor, when_loaded: Callable[[], object]) -> Attempt:
    """Let a visitor change the session; between loading and changing something may happen."""
    found = Attempt()
    visitor.response = None
    started = time.monotonic()
    try:
        with visitor.visit() as session:
            found.session = session
            if not is_degraded(session):
                found.seen = dict(session)
            when_loaded()
            session.update(CHANGE)
            if not is_degraded(session):
                found.wrote = dict(session)
    except (AssertionError, ServerError):
        raise  # of the fault, not of the package
    except Exception as error:  # which of them are right is judged later
        found.error = error
    found.seconds = time.monotonic() - started
    found.cookies = visitor.set_cookies
    return found


@dataclass
class Event:
    """A fault of a server that is chosen when it happens."""

    fault: Fault
    server: Server | None = None
    lasts: bool = False
    #: How long it took to do what the request has to wait for.
    seconds: float = 0.0

    def begin(self, server: Server) -> None:
        """Inject the fault."""
        self.server, self.lasts = server, True
        self.timed(lambda: self.fault.do(server))

    def end(self) -> None:
        """Make the server well, unless it is."""
        if self.lasts:
            self.lasts = False
            self.fault.undo(self.server)

    def timed(self, action: Callable[[], object]) -> None:
        """Do something that is not the request's affair."""
        started = time.monotonic()
        action()
        self.seconds += time.monotonic() - started


def look(visitor: Visitor) -> Data | None:
    """What the visitor's session holds; None when that cannot be told."""
    try:
        with visitor.visit() as session:
            return None if is_degraded(session) else dict(session)
    except BackendError:
        return None


def agree(visitors: Iterable[Visitor]) -> bool:
    """Whether all of them see the same."""
    seen = [look(visitor) for visitor in visitors]
    return seen.count(seen[0]) == len(seen)


def sid(cookies: Mapping[str, str]) -> str:
    """The session id that the cookies of a visitor hold."""
    return str(SecureCookieSerializer(SECRET).deserialize("session", cookies["session"])["_sid"])


@contextmanager
def watched(rescue: Callable[[], object]) -> Iterator[None]:
    """A block that is brought to its end by `rescue`, when it hangs."""
    watchdog = threading.Timer(2 * BOUND, rescue)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
        watchdog.join()


class Trial:
    """The servers of a case, and visitors.

    :param nodes: the memcached or Redis servers that the application is told, or relays in front of
        them.
    :param emulator: the same for Datastore, where there is one.
    :param steps: counts the operations of the requests.
    :param log: holds what is logged.
    """

    def __init__(
        self,
        case: Case,
        nodes: list[Server],
        emulator: Server | None,
        steps: Steps,
        log: pytest.LogCaptureFixture,
    ) -> None:
        self.case = case
        self.nodes = {node.address: node for node in nodes}
        self.emulator = emulator
        self.steps = steps
        self.log = log

    def visitor(self, values: Mapping[str, Any], cookies: Mapping[str, str]) -> Visitor:
        """A visitor with these cookies, of a new application."""
        visitor = Visitor(make_app(**values), backend=self.case.configuration.backend)
        visitor.cookies = dict(cookies)
        return visitor

    def judge(self, cookies: Mapping[str, str], *, cached: bool = True) -> Visitor:
        """A visitor who is patient and hears of errors."""
        values = self.case.configuration.values(list(self.nodes) if cached else [], PATIENT)
        values.pop("on_backend_error", None)
        if "datastore" in values:
            # As in the environment; but naming it gives the judge a connection of its own, which
            # does not pause after attempts that the application has made.
            values["datastore"]["project"] = PROJECT
        return self.visitor(values, cookies)

    def stored(self, data: Data) -> dict[str, str]:
        """Store a session; the cookies that lead to it."""
        writer = self.judge({})
        assert wait_until(lambda: works(writer, data), BOUND)
        return writer.cookies

    def returning(self, number: int) -> Visitor:
        """A visitor with a stored session, of an application that has its connections."""
        victim = self.case.victim
        timeouts = {**PATIENT, victim: IMPATIENT[victim]}
        # A timeout of its own gives the application clients of its own, which have met no fault.
        timeouts[self.case.configuration.kind] += number / 1000
        values = self.case.configuration.values(list(self.nodes), timeouts)
        visitor = self.visitor(values, self.stored(OLD))
        # An earlier fault may have cost it its connections; a cached session would be read without
        # that to Datastore.
        assert wait_until(lambda: works(self.visitor(values, {})), BOUND)
        assert wait_until(lambda: look(visitor) == OLD, BOUND)
        return visitor

    def target(self) -> Server:
        """The server that fails: of several memcached servers the one that the request asks."""
        if self.case.victim == "datastore":
            assert self.emulator is not None
            return self.emulator
        return self.nodes[self.steps.first_memcached or next(iter(self.nodes))]

    @functools.cached_property
    def number_of_steps(self) -> int:
        """How many operations the request takes when nothing happens."""
        visitor = self.judge(self.stored(OLD))
        self.cool()
        with self.steps.counted(lambda _: None):
            assert attempt(visitor, lambda: None).saved
        return len(self.steps.operations)

    def cool(self) -> None:
        """Empty the cache, where the case wants it so."""
        if self.case.configuration.cold:
            for node in self.nodes.values():
                getattr(node, "target", node).flush()

    def harmed(self, number: int, visitor: Visitor) -> tuple[Attempt, Server | None]:
        """A request with the fault before that step; the server is well again afterwards."""
        event = Event(self.case.fault)

        def before(step: int) -> None:
            if step == number:
                event.begin(self.target())

        def when_loaded() -> None:
            if event.fault.passes and event.lasts:
                event.end()
                with self.steps.paused():  # the application's connections become well, too
                    assert wait_until(lambda: look(visitor) is not None, BOUND)

        try:
            with self.steps.counted(before), watched(event.end):
                result = attempt(visitor, lambda: event.timed(when_loaded))
        finally:
            event.end()
        result.seconds -= event.seconds
        return result, event.server

    def problems(self, number: int) -> list[str] | None:
        """What is wrong after the fault before that step; None when it was not reached.

        That happens when a machine is so busy that a former step meets a timeout.
        """
        other, visitor = self.stored(OTHERS), self.returning(number)
        secrets = [*SECRETS, sid(other), sid(visitor.cookies), *visitor.cookies.values()]
        self.cool()
        self.log.clear()
        result, harmed = self.harmed(number, visitor)
        if harmed is None:
            return None
        assert wait_until(lambda: not has_abandoned_connections(harmed.port), BOUND)
        wrong = [*self.wrong_in(result), *self.wrong_in_store(result, visitor)]
        if look(self.judge(other)) not in (OTHERS, *self.lost("others")):
            wrong.append("another visitor's session is not what it was")
        told = [*texts(result.error), self.log.text]
        secrets += [sid(visitor.cookies), *visitor.cookies.values()]  # they may be new
        if any(secret in text for text in told for secret in secrets):
            wrong.append("an error or the log tells a secret")
        if number == self.number_of_steps - 1 and not wait_until(lambda: works(visitor), BOUND):
            wrong.append("the application does not recover")
        step = f"fault before step {number}, {self.steps.operations[number]}"
        return [f"{step}: {problem}" for problem in wrong]

    def wrong_in(self, result: Attempt) -> Iterator[str]:
        """What is wrong in what the visitor was told."""
        error = result.error
        if error is not None:
            if not isinstance(error, BackendError):
                yield f"raised {error!r}"
            elif self.case.is_cache_fault or (
                # A session that is too large is too large also when the server is well.
                self.case.configuration.degrades and not isinstance(error, SessionTooLarge)
            ):
                yield f"raised {error!r}, which is no reason for an error"
            elif not (self.case.fault.refuses or isinstance(error, BackendUnavailable)):
                yield f"raised {error!r}, and the server was not available"
            elif error.address not in (*self.nodes, self.emulator and self.emulator.address):
                yield f"the error names {error.address}"
        if self.case.is_cache_fault and not result.saved:
            yield "was not saved"
        if bool(result.cookies) != result.saved and not self.seemed_ended(result):
            yield f"sent {len(result.cookies)} cookies"
        if result.seen not in (None, OLD, *self.lost("own")):
            yield f"loaded {result.seen}"
        if result.seconds > BOUND:
            yield f"took {result.seconds} s"

    def seemed_ended(self, result: Attempt) -> bool:
        """Whether the session was lost meanwhile, and was taken for one that somebody has ended."""
        return self.case.may_seem_ended and result.saved and not result.cookies

    def lost(self, whose: str) -> list[Data]:
        """What stands for a session that is gone, if it may be."""
        return [{}] if self.case.may_lose(whose) else []

    def wrong_in_store(self, result: Attempt, visitor: Visitor) -> Iterator[str]:
        """What is wrong in what is stored."""
        wrote = [] if result.wrote is None else [result.wrote]
        allowed = wrote if result.saved else [OLD, *wrote, *self.lost("own")]
        if self.seemed_ended(result):
            allowed = [{}]
        judges = [self.judge(visitor.cookies)]
        if self.case.is_cached:
            judges.append(self.judge(visitor.cookies, cached=False))
        assert wait_until(lambda: all(look(judge) is not None for judge in judges), BOUND)
        found = [look(judge) for judge in judges]
        if any(data not in allowed for data in found):
            yield f"found {found} where saved is {result.saved}"
        if not self.case.may_lose("others") and not wait_until(lambda: agree(judges), BOUND):
            yield "the cache and Datastore differ"


@pytest.fixture
def trial(
    request: pytest.FixtureRequest,
    launch: Callable[[Server], Server],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Trial:
    """The servers of the case, with relays in front of those that have the fault."""
    case: Case = request.param
    caplog.set_level("DEBUG")

    def front(server: Server, kind: str) -> Server:
        relayed = case.fault.relayed and case.victim == kind
        return launch(Relay(server)) if relayed else server

    kind = case.configuration.kind
    options = case.fault.options if case.victim == kind else ()
    makers: dict[str, Callable[[], Server]] = {
        "memcache": lambda: OptionalMemcached(options),
        "redis": lambda: Redis(*options),
    }
    nodes = [launch(makers[kind]()) for _ in range(case.configuration.nodes)]
    emulator = None
    if case.configuration.backend == "datastore":
        emulator = front(request.getfixturevalue("emulator"), "datastore")
        monkeypatch.setenv("DATASTORE_EMULATOR_HOST", emulator.address)
    nodes = [front(node, kind) for node in nodes]
    return Trial(case, nodes, emulator, Steps(monkeypatch), caplog)


@pytest.mark.parametrize("trial", cases(), ids=str, indirect=True)
def test_rule_holds_before_every_step(trial: Trial) -> None:
    """A change is stored or the visitor hears of it, and no data is mixed up."""
    assert trial.number_of_steps >= 2  # one to load, and one to save
    found: list[str] = []
    for number in range(trial.number_of_steps):
        attempts = (trial.problems(number) for _ in range(3))
        found += next(
            (problems for problems in attempts if problems is not None),
            # How many there are may differ by what the cache holds; each request has two.
            [f"step {number} was not reached"] if number < 2 else [],
        )
    assert found == []
