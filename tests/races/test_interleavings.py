"""Requests on one session, interleaved in a known order, beside a model that merges nothing.

The model does each request's operation once more, on the session as it is by the time of the
save. That is what merging has to come to.
"""

from __future__ import annotations

import copy
import datetime
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import webapp2
from support.racing import Step, perform
from support.steps import Steps
from support.stores_under_test import StoreUnderTest
from support.visits import Visitor

from webapp2_sessions import SessionStore
from webapp2_sessions.sessions_ndb.records import UtcNowProperty

START = {"shared": 0, "doomed": "d", "kept": [1, {"a": (2,)}], "_flash": [("before", None)]}

#: What each request does; two that do the same write values of their own.
OPERATIONS: dict[str, Callable[[int], list[Step]]] = {
    "set": lambda number: [("set", f"own {number}", number)],
    "change": lambda number: [("set", "shared", number)],
    "delete": lambda number: [("delete", "doomed")],
    "clear": lambda number: [("clear",)],
    "add_flash": lambda number: [("flash", f"message {number}")],
    "get_flashes": lambda number: [("show",)],
    "destroy": lambda number: [("destroy",)],
    "nothing": lambda number: [],
}


class Model:
    """A session as it ought to be."""

    def __init__(self) -> None:
        self.values = {key: value for key, value in START.items() if key != "_flash"}
        self.messages = ["before"]
        self.gone = False

    def load(self) -> Model:
        """What a request sees of it."""
        return copy.deepcopy(self)

    def save(self, operation: str, number: int, seen: Model) -> str:
        """Do an operation; gives what the request does with the cookie."""
        if operation == "destroy":
            self.gone = self.gone or not seen.gone
            return "expires"
        if not seen.modifies(operation):
            return "leaves"
        if seen.gone:  # another session has begun
            return "sets"
        if self.gone:
            return "leaves"
        getattr(self, f"_{operation}")(number, seen)
        return "sets"

    def modifies(self, operation: str) -> bool:
        """Whether an operation does anything to a session in this state."""
        if operation == "delete":
            return not self.gone and "doomed" in self.values
        if operation == "get_flashes":
            return not self.gone and self.messages != []
        return operation != "nothing"

    def _set(self, number: int, seen: Model) -> None:
        self.values[f"own {number}"] = number

    def _change(self, number: int, seen: Model) -> None:
        self.values["shared"] = number

    def _delete(self, number: int, seen: Model) -> None:
        self.values.pop("doomed", None)

    def _clear(self, number: int, seen: Model) -> None:
        self.values = {key: self.values[key] for key in self.values if key not in seen.values}
        self._get_flashes(number, seen)

    def _add_flash(self, number: int, seen: Model) -> None:
        self.messages.append(f"message {number}")

    def _get_flashes(self, number: int, seen: Model) -> None:
        self.messages = [message for message in self.messages if message not in seen.messages]

    @property
    def data(self) -> dict[str, Any] | None:
        """What the next visitor of the session finds; None where there is none."""
        if self.gone:
            return None
        flashes = [(message, None) for message in self.messages]
        return {**self.values, "_flash": flashes} if flashes else self.values


class Interleaving:
    """Requests of one visitor, each of which is loaded and saved when the test says so."""

    def __init__(self, target: StoreUnderTest) -> None:
        self.target = target
        # A request that comes after the end begins another session at once.
        self.visitor = target.visitor(renewal_grace=0)
        self.sid = str(self.visitor.write(START))
        self.model = Model()
        self._open: dict[int, tuple[str, SessionStore, Model]] = {}
        #: What each request did with the cookie, and should have done.
        self.cookies: list[str] = []
        self.expected_cookies: list[str] = []

    def load(self, number: int, operation: str) -> None:
        """A request begins, and does its operation."""
        store = SessionStore(self.visitor.request())
        session = store.get_session(backend=self.target.backend)
        perform(session, OPERATIONS[operation](number))
        self._open[number] = operation, store, self.model.load()

    def save(self, number: int) -> None:
        """The request ends."""
        operation, store, seen = self._open[number]
        response = webapp2.Response()
        store.save_sessions(response)
        self.cookies.append(_effect(response.headers.getall("Set-Cookie")))
        self.expected_cookies.append(self.model.save(operation, number, seen))

    def result(self) -> tuple[dict[str, Any] | None, list[str], str | None]:
        """What the next visit finds, what became of the cookies, and what does not agree."""
        data = _read(self.visitor)
        return data, self.cookies, self.target.disagreement(self.sid, data)

    def expected(self) -> tuple[dict[str, Any] | None, list[str], str | None]:
        """The result by the model."""
        return self.model.data, self.expected_cookies, None


def _effect(set_cookies: Sequence[str]) -> str:
    if not set_cookies:
        return "leaves"
    (header,) = set_cookies
    return "expires" if "Max-Age=0" in header else "sets"


def _read(visitor: Visitor) -> dict[str, Any] | None:
    """What a session holds; None where the visit begins a new one."""
    with visitor.visit() as session:
        return None if session.new else dict(session)


@pytest.mark.parametrize("second", OPERATIONS)
@pytest.mark.parametrize("first", OPERATIONS)
def test_two_requests(target: StoreUnderTest, first: str, second: str) -> None:
    """Both load the session, then one after the other saves it."""
    both = Interleaving(target)
    both.load(1, first)
    both.load(2, second)
    both.save(1)
    both.save(2)
    assert both.expected() == both.result()


#: In which order three requests load and save.
ORDERS = {
    "all load, then all save": "load1 load2 load3 save1 save2 save3",
    "the third begins after a save": "load1 load2 save2 load3 save1 save3",
    "the third is between the two": "load1 load2 save1 load3 save3 save2",
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("first", OPERATIONS)
def test_three_requests(in_memcached: StoreUnderTest, first: str, order: str) -> None:
    """Each combination of a first operation with two others."""
    wrong = {}
    for second, third in itertools.product(OPERATIONS, repeat=2):
        three = Interleaving(in_memcached)
        for word in ORDERS[order].split():
            number = int(word[-1])
            if word.startswith("load"):
                three.load(number, (first, second, third)[number - 1])
            else:
                three.save(number)
        if three.result() != three.expected():
            wrong[second, third] = three.result(), three.expected()
    assert wrong == {}


def test_later_save_of_the_same_key_wins(target: StoreUnderTest) -> None:
    """The order of the saves counts, not that of the loads or of the changes."""
    visitor = target.visitor()
    visitor.write({"key": 0, "other": [1]})
    loaded = [SessionStore(visitor.request()) for _ in range(2)]
    for number, store in enumerate(loaded, 1):
        store.get_session(backend=target.backend)["key"] = number
    for store in reversed(loaded):
        store.save_sessions(webapp2.Response())
    assert visitor.read() == {"key": 1, "other": [1]}


def test_request_sees_what_it_merged_with(target: StoreUnderTest) -> None:
    """After the save the session holds the others' changes as well."""
    visitor = target.visitor()
    visitor.write({"a": 1})
    store = SessionStore(visitor.request())
    session = store.get_session(backend=target.backend)
    session["mine"] = 1
    visitor.write({"theirs": 2})
    store.save_sessions(webapp2.Response())
    assert session == {"a": 1, "mine": 1, "theirs": 2}


def test_change_inside_a_value_after_a_save(target: StoreUnderTest) -> None:
    """A request that saves twice merges what it changed in between, also inside of a value."""
    visitor = target.visitor()
    visitor.write({"cart": []})
    store = SessionStore(visitor.request())
    session = store.get_session(backend=target.backend)
    session["first"] = True
    store.save_sessions(webapp2.Response())
    session["cart"].append("book")
    session.modified = True
    visitor.write({"theirs": 1})
    store.save_sessions(webapp2.Response())
    assert visitor.read() == {"cart": ["book"], "first": True, "theirs": 1}


def test_flashes_under_a_key_of_their_own(target: StoreUnderTest) -> None:
    """A key is known for flash messages where the request used it for some."""
    visitor = target.visitor()
    with visitor.visit() as session:
        session.add_flash("old", key="notices")
    stores = [SessionStore(visitor.request()) for _ in range(2)]
    stores[0].get_session(backend=target.backend).add_flash("one", key="notices")
    assert stores[1].get_session(backend=target.backend).get_flashes("notices") == [("old", None)]
    for store in stores:
        store.save_sessions(webapp2.Response())
    assert visitor.read() == {"notices": [("one", None)]}


def test_renewal_of_a_destroyed_session(target: StoreUnderTest) -> None:
    """A request that would only have renewed the session sends no cookie."""
    visitor = target.visitor(refresh_after=1e-9)
    visitor.write({"a": 1})
    store = SessionStore(visitor.request())
    store.get_session(backend=target.backend)
    with visitor.visit() as session:
        session.destroy()
    response = webapp2.Response()
    store.save_sessions(response)
    assert response.headers.getall("Set-Cookie") == []


@pytest.mark.parametrize("moment", [None, datetime.datetime(2026, 1, 1)])
def test_one_of_two_renewals_at_once_counts(
    target: StoreUnderTest, monkeypatch: pytest.MonkeyPatch, moment: datetime.datetime | None
) -> None:
    """One overtakes the other at each of its commands; only the first sends a cookie.

    Also if their marks are of one moment, and so would be the same: Datastore keeps the version of
    an entity that is written as it is.
    """
    if moment is not None and target.backend == "datastore":
        monkeypatch.setattr(UtcNowProperty, "_now", staticmethod(lambda: moment))
    steps = Steps(monkeypatch)
    for number in itertools.count():
        visitor = target.visitor()
        visitor.write(START)
        first, second = (SessionStore(visitor.request()) for _ in range(2))
        for store in (first, second):
            store.get_session(backend=target.backend).regenerate_id()
        responses = webapp2.Response(), webapp2.Response()
        reached: list[int] = []
        overtake = functools.partial(_save_at, number, second, responses[1], reached)
        with steps.counted(overtake):
            first.save_sessions(responses[0])
        if not reached:
            assert number > 2
            return
        cookies = [response.headers.getall("Set-Cookie") for response in responses]
        assert sorted(map(len, cookies)) == [0, 1], f"overtaken at command {number}"


def test_session_that_was_seen_to_end_does_not_come_back(
    target: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late request saves at each command of a sign-out, before and after others look."""
    steps = Steps(monkeypatch)
    for number in itertools.count():
        visitor = target.visitor(on_conflict="overwrite")
        visitor.write(START)
        ending, late = (SessionStore(visitor.request()) for _ in range(2))
        ending.get_session(backend=target.backend).destroy()
        late.get_session(backend=target.backend)["late"] = 1
        seen: list[Any] = []

        def overtake(
            step: int,
            number: int = number,
            visitor: Visitor = visitor,
            late: SessionStore = late,
            seen: list[Any] = seen,
        ) -> None:
            if step == number:
                seen.append(_read(visitor))
                response = webapp2.Response()
                late.save_sessions(response)
                seen.extend([_read(visitor), response.headers.getall("Set-Cookie")])

        with steps.counted(overtake):
            ending.save_sessions(webapp2.Response())
        if not seen:
            assert number > 0
            return
        before, after, cookies = seen
        if before is None:
            assert (after, cookies) == (None, []), f"overtaken at command {number}"
        assert _read(visitor) is None


def _save_at(
    number: int, store: SessionStore, response: webapp2.Response, reached: list[int], step: int
) -> None:
    if step == number:
        reached.append(step)
        store.save_sessions(response)


def test_overwriting_loses_updates(target: StoreUnderTest) -> None:
    """Without merging, which is the default, the first of two saves is lost."""
    visitor = target.visitor(on_conflict="overwrite")
    visitor.write({"a": 1})
    stores = [SessionStore(visitor.request()) for _ in range(2)]
    for number, store in enumerate(stores):
        store.get_session(backend=target.backend)[f"own {number}"] = number
    for store in stores:
        store.save_sessions(webapp2.Response())
    assert visitor.read() == {"a": 1, "own 1": 1}
