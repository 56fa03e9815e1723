"""Sign-out everywhere, while the user's other browsers save, renew and sign in."""

from __future__ import annotations

import functools
import itertools
import os
import random
from collections.abc import Callable, Mapping, Sequence
from http.cookies import SimpleCookie
from typing import Any

import pytest
from support.racing import Racers, Step, Task, perform
from support.steps import Steps
from support.stores_under_test import StoreUnderTest
from support.visits import Visitor, make_app
from world.turns import Turns

from webapp2_sessions.users import UserSession
from webapp2_sessions.users.index import handle_of

#: Rounds of processes that race, and orders of commands that are drawn. `ROUNDS=200` is thorough.
ROUNDS = int(os.environ.get("ROUNDS", "6"))
ORDERS = int(os.environ.get("ROUNDS", "8"))

Ask = Callable[[str], Any]

#: Tells users of one server apart.
_numbers = itertools.count()


class Target(StoreUnderTest):
    """Where sessions are, and what signs users out of them.

    :param lists: whether it knows the sessions of a user.
    """

    def __init__(self, backend: str, *, lists: bool = False, **config: Any) -> None:
        index = {"user_index": True} if lists else {}
        super().__init__(backend, user_key="user_id", default_backend=backend, **index, **config)
        self.lists = lists

    def browser(self, cookies: Mapping[str, str] | None = None, **config: Any) -> Browser:
        """Return a browser with these cookies."""
        browser = Browser(make_app(**{**self.config, **config}), backend=self.backend)
        browser.cookies.update(cookies or {})
        return browser

    def signed_in(self, user: str, **config: Any) -> Browser:
        """Return a browser in which a user is signed in."""
        browser = self.browser(**config)
        browser.write({"user_id": user})
        return browser

    def listed(self, user: str) -> list[UserSession]:
        """Return all sessions that are listed of a user."""
        with self.browser().visit() as session:
            store = session.container.session_store
            return store.user_sessions(user, limit=None)  # type: ignore[no-any-return]


class Browser(Visitor):
    """A browser, and whoever has copied each of its cookies."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        #: Each cookie that it ever got.
        self.copies: list[str] = []

    def take(self, response: Any) -> None:
        """Store the cookies of a response."""
        self.take_headers(response.headers.getall("Set-Cookie"))

    def take_headers(self, headers: Sequence[str]) -> None:
        """Store cookies."""
        for header in headers:
            for name, morsel in SimpleCookie(header).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
                    self.copies.append(morsel.value)

    def do(self, *steps: Step) -> list[str]:
        """Make a request."""
        with self.visit() as session:
            return perform(session, steps)


def _redis(ask: Ask, **config: Any) -> Target:
    return Target("redis", lists=True, redis={"url": ask("redis_server").url}, **config)


def _datastore(ask: Ask, emulator: str = "datastore", **config: Any) -> Target:
    ask(emulator)
    return Target("datastore", lists=True, **config)


def _cached_datastore(ask: Ask, cache: str, **config: Any) -> Target:
    servers = {
        "memcache": lambda: {"servers": [ask("memcached").address]},
        "redis": lambda: {"url": ask("redis_server").url},
    }
    return _datastore(ask, datastore={"cache": cache}, **{cache: servers[cache]()}, **config)


def _revoked(ask: Ask, backend: str, revocation: str) -> Target:
    config: dict[str, Any] = {"revocation": revocation}
    if revocation == "datastore":
        ask("datastore")
    else:
        config["redis"] = {"url": ask("redis_server").url}
    if backend == "memcache":
        config["memcache"] = {"servers": [ask("memcached").address]}
    return Target(backend, **config)


TARGETS: dict[str, Callable[[Ask], Target]] = {
    "Redis": _redis,
    "Redis, overwriting": lambda ask: _redis(ask, on_conflict="overwrite"),
    "Redis, revoked": lambda ask: _redis(ask, revocation="redis"),
    "Datastore": _datastore,
    "Datastore, overwriting": lambda ask: _datastore(ask, on_conflict="overwrite"),
    "Firestore": lambda ask: _datastore(ask, "firestore"),
    "Datastore, memcached": lambda ask: _cached_datastore(ask, "memcache"),
    "Datastore, Redis": lambda ask: _cached_datastore(ask, "redis"),
    "memcached, revoked by Redis": lambda ask: _revoked(ask, "memcache", "redis"),
    "memcached, revoked by Datastore": lambda ask: _revoked(ask, "memcache", "datastore"),
    "cookies, revoked by Redis": lambda ask: _revoked(ask, "securecookie", "redis"),
    "cookies, revoked by Datastore": lambda ask: _revoked(ask, "securecookie", "datastore"),
}


@pytest.fixture(params=list(TARGETS))
def target(request: pytest.FixtureRequest) -> Target:
    """Each of them, with its servers running."""
    target = TARGETS[request.param](request.getfixturevalue)
    if request.param.endswith("overwriting"):
        target.config["on_conflict"] = "overwrite"
    return target


def opened(target: Target, value: str) -> tuple[Any, str] | None:
    """Who is signed in to the session that a cookie opens, and its handle; None for nobody."""
    with target.browser({"session": value}).visit() as session:
        user = session.get("user_id")
        handle = handle_of(session.container) if target.lists else ""
        return None if user is None else (user, handle)


def wrong(
    target: Target,
    user: str,
    ended: Sequence[Browser],
    living: Sequence[Browser],
    either: Sequence[Browser] = (),
) -> list[str]:
    """What is wrong after some browsers were signed out and others were not."""
    problems = []
    for browser in ended:
        found = [number for number, copy in enumerate(browser.copies) if opened(target, copy)]
        if found:
            problems.append(f"who was signed out is in by cookies {found}")
    problems += [
        "who was not signed out is out"
        for browser in living
        if opened(target, browser.cookies.get("session", "")) is None
    ]
    if target.lists:
        everybody = {*ended, *living, *either}
        copies = {copy for browser in everybody for copy in browser.copies}
        open_now = {opened(target, copy) for copy in copies}
        alive = {each[1] for each in open_now if each is not None and each[0] == user}
        listed = {each.handle for each in target.listed(user)}
        if alive != listed:
            numbers = f"{len(listed - alive)} are listed and dead"
            problems.append(f"{numbers}, {len(alive - listed)} alive and not listed")
    return problems


def new_user() -> str:
    """Return a user whom no other round has."""
    return f"ada{os.getpid()}x{next(_numbers)}"


# In an order that the test decides

#: What the other browser does meanwhile; "sign in" begins without a session.
MEANWHILE: dict[str, Callable[[str], list[Step]]] = {
    "save": lambda user: [("set", "a", 1)],
    "renew": lambda user: [("renew",)],
    "renew and save": lambda user: [("renew",), ("set", "a", 1)],
    "label": lambda user: [("label", "phone")],
    "refresh": lambda user: [],
    "sign out": lambda user: [("destroy",)],
    "sign out, and keep the rest": lambda user: [("delete", "user_id"), ("set", "left", 1)],
    "sign in": lambda user: [("set", "user_id", user)],
    "sign in as somebody else": lambda user: [("set", "user_id", "bob")],
}


class Turning(Steps):
    """Gives each request its turn at each of its commands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch)
        self._turns = Turns([])
        self._before = lambda step: None

    def _step(self, operation: str) -> None:
        self.operations.append(operation)
        self._turns.pass_on()

    def run(self, choices: Sequence[int], jobs: Sequence[Callable[[], object]]) -> None:
        """Run jobs, whose turns the choices give."""
        self.operations, self._turns = [], Turns(choices)
        self._turns.run(jobs)


@pytest.fixture
def turning(monkeypatch: pytest.MonkeyPatch) -> Turning:
    """Turns of requests at their commands."""
    return Turning(monkeypatch)


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_sign_out_everywhere_between_two_commands_of_another_request(
    target: Target, turning: Turning, meanwhile: str
) -> None:
    """The other request is at each of its commands, and goes on at each of the sign-out's."""
    places = [(here, there) for here in range(9) for there in range(9)]
    found = {}
    for here, there in random.Random(1).sample(places, min(ORDERS, len(places))):
        user = new_user()
        phone, laptop = target.signed_in(user), target.browser(refresh_after=1e-9)
        if meanwhile != "sign in":
            laptop.write({"user_id": user})
        steps = MEANWHILE[meanwhile](user)
        turning.run(
            [0] * here + [1] * there + [0] * 99,
            [
                functools.partial(laptop.do, *steps),
                functools.partial(phone.do, ("end others", user)),
            ],
        )
        # Who signs in at the same time may come before or after.
        signs_in = meanwhile.startswith("sign in")
        ended, either = ([], [laptop]) if signs_in else ([laptop], [])
        if problems := wrong(target, user, ended, [phone], either):
            found[here, there] = problems
    assert found == {}


def test_requests_of_many_browsers_in_any_order_of_their_commands(
    target: Target, turning: Turning
) -> None:
    """Two renew an id, one saves, one signs in, while all others are signed out, or all."""
    found = {}
    for number in range(ORDERS):
        user, keeps = new_user(), number % 2 == 0
        phone, *others = (target.signed_in(user, refresh_after=1e-9) for _ in range(4))
        newcomer, bob = target.browser(), target.signed_in("bob")
        same = target.browser(others[0].cookies)
        browsers = [phone, *others, same, newcomer, bob]
        requests: list[list[Step]] = [
            [("end others" if keeps else "end", user)],
            [("renew",)],
            [("renew",), ("label", "tablet")],
            [("set", "a", 1)],
            [("renew",), ("set", "b", 1)],
            [("set", "user_id", user)],
            [("renew",)],
        ]
        order = random.Random(number)
        turning.run(
            [order.randrange(len(browsers)) for _ in range(200)],
            [
                functools.partial(browser.do, *steps)
                for browser, steps in zip(browsers, requests, strict=True)
            ],
        )
        later = target.signed_in(user)
        ended, living = [*others, same], [bob, later]
        (living if keeps else ended).append(phone)
        if problems := wrong(target, user, ended, living, [newcomer]):
            found[number] = problems
    assert found == {}


# As it happens


@pytest.mark.parametrize("how", ["end others", "end", "end one"])
def test_processes_that_race(target: Target, racers: Racers, how: str) -> None:
    """Nine requests at once, in each second round all of which have loaded their sessions."""
    if how == "end one" and not target.lists:
        pytest.skip("only what is listed ends by its handle")
    found = {}
    for number in range(ROUNDS):
        user = new_user()
        phone, *others = (target.signed_in(user) for _ in range(6))
        others.append(target.browser(others[1].cookies))
        newcomer, bob = target.browser(), target.signed_in("bob")
        browsers = [phone, *others, newcomer, bob]
        end: Step = (how, user)
        if how == "end one":
            end = (*end, handle_in(target, others[1]))
        requests: list[list[Step]] = [
            [end],
            [("set", "a", 1)],
            [("renew",)],
            [("renew",), ("set", "a", 1)],
            [("label", "phone")],
            [],
            [("renew",), ("set", "b", 1)],
            [("set", "user_id", user)],
            [("renew",)],
        ]
        task = Task(
            {**target.config, "refresh_after": 1e-9},
            target.backend,
            [browser.cookies for browser in browsers],
            requests,
            number % 2 == 1,
            target.environment,
        )
        outcomes = racers.run(task)
        for browser, outcome in zip(browsers, outcomes, strict=True):
            browser.take_headers(outcome.set_cookies)
        later = target.signed_in(user)
        ended, living = others, [bob, later]
        if how == "end others":
            living.append(phone)
        elif how == "end":
            ended = [*others, phone]
        else:
            # Its number tells whether it came before the session got another id.
            both = [others[1], others[5]]
            ended = both if outcomes[0].shown == ["1"] else []
            living += [phone, *(each for each in others if each not in both)]
        problems = wrong(target, user, ended, living, [*others, newcomer])
        problems += [outcome.error for outcome in outcomes if outcome.error]
        if problems:
            found[number] = problems
    assert found == {}


def handle_in(target: Target, browser: Browser) -> str:
    """The handle of a browser's session."""
    found = opened(target, browser.cookies["session"])
    assert found is not None
    return found[1]
