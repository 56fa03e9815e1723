"""The world as a state machine: what Hypothesis draws."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from support.fault_injection import OptionalMemcached, Relay
from support.servers import Redis, Server

from webapp2_sessions.testing import Clock, travel
from world.applications import ENDS, FRONTS, NAMES, Application
from world.configurations import KINDS, USERS, deployments
from world.jar import Url
from world.script import AGES, NUMBERS, OURS, Step
from world.totals import Totals
from world.world import COMEBACKS, Fault, Request, World

__all__ = ["WorldMachine", "machine_of", "world_settings"]

#: Names of cookies that are not to be taken for a session's, or for that of another session.
_DISGUISES = ["x {}", "[{}", "a,{}", "\xa0{}", "{} x", *NAMES]

#: What a handler does with a session; what comes more often is there more often.
_steps = st.sampled_from(
    [
        *[("set", "a"), ("set", "b"), ("inner",), ("flash",), ("sign_in",), ("sign_out",)] * 3,
        *[("same", "a"), ("delete", "a"), ("mark",), ("clear",), ("flashes",), ("renew",)],
        *[("grow",), ("grow",), ("shrink",), *(("max_age", age) for age in AGES)],
        ("named",),
        *[("flash_same",), *(("number", number) for number in NUMBERS)],
        *(("set", key) for key in OURS),
    ]
)
#: What a request does that comes between the commands of another one.
_overtaking = st.sampled_from(
    [*[("sign_out",), ("sign_in",)] * 2, ("set", "b"), ("flashes",), ("grow",), ("shrink",)]
)
#: What requests do with the same keys, of which each has loaded what was there before.
_meeting = st.lists(
    st.sampled_from(
        [
            *[("flash",), ("flash_same",), ("flashes",), ("set", "a"), ("delete", "a")] * 2,
            *[("same", "a"), ("inner",), ("mark",), ("shrink",), ("sign_in",), ("set", "b")],
        ]
    ),
    min_size=1,
    max_size=2,
).map(tuple)
#: What a request does before that, and what each of two does.
_meetings = st.one_of(
    st.tuples(
        st.sampled_from([(), (("flash_same",),), (("flash_same",), ("flash",)), (("set", "a"),)]),
        _meeting,
        st.one_of(_meeting, _overtaking.map(lambda step: (step,))),
    ),
    # A session that was too large for its cookie fits again.
    st.tuples(
        st.just((("grow",),)),
        st.sampled_from([(("shrink",),), (("shrink",), ("set", "a"))]),
        _overtaking.map(lambda step: (step,)),
    ),
    # A value is assigned again while another request changes it.
    st.tuples(
        st.just((("set", "a"),)),
        st.just((("same", "a"),)),
        st.sampled_from([(("set", "a"),), (("delete", "a"),)]),
    ),
    # A session gets another id.
    st.tuples(st.just(()), st.just((("sign_in",),)), _meeting),
)
_uses = st.tuples(
    st.sampled_from([*["session"] * 3, "cart"]), st.lists(_steps, max_size=3).map(tuple)
)
_plain_requests = st.builds(
    Request,
    browser=st.integers(0, 2),
    app=st.integers(0, 2),
    front=st.sampled_from(sorted(FRONTS)),
    path=st.sampled_from(["/", "/app/page"]),
    sessions=st.lists(_uses, min_size=1, max_size=2, unique_by=lambda use: use[0]).map(tuple),
    end=st.sampled_from([*["ok"] * 4, *sorted(ENDS)]),
    namespace=st.sampled_from([*[""] * 11, "tenant"]),
    moves_to=st.sampled_from([*[None] * 14, "tenant", ""]),
    is_threaded=st.sampled_from([*[False] * 15, True]),
)
#: Requests in whose handlers others are made, now and then.
_requests = st.builds(
    lambda request, sub: Request(**{**vars(request), "sub": sub}),
    _plain_requests,
    st.one_of(*[st.none()] * 9, _plain_requests),
)
_faults = st.builds(
    Fault,
    st.sampled_from(["restart", "freeze", "refuse", "answer lost", "answer late"]),
    st.integers(0, 8),
    st.integers(1, 2),
)
#: Whose turn it is, and for how many commands: one that is overtaken is often overtaken by all
#: that another one does.
_choices = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([1, 1, 2, 3, 5, 12])), max_size=8
).map(lambda turns: [choice for choice, commands in turns for _ in range(commands)])

#: More commands than any request sends.
_ALL = 60

#: Commands of the first of two or three requests; all or some of the second; some more of the
#: first, and then all of the third.
_overtakings = st.builds(
    lambda own, others, more: [0] * own + [1] * others + [0] * more + [2] * _ALL,
    st.sampled_from([2, 2, 2, 2, 1, 3, 4, 5, 6, 8]),
    st.sampled_from([_ALL, _ALL, _ALL, 3, 4, 5, 6, 8]),
    st.integers(0, 6),
)

#: Attributes of a cookie that another host of the domain sets.
_PLANTED = ("Domain=example.com; Path=/; Secure", "Domain=example.com; Path=/app; Secure")

#: Of pages that browsers ask for.
_URL = Url("www.example.com", "/")


class WorldMachine(RuleBasedStateMachine):
    """Everything that may happen, one step after the other."""

    #: Between the applications and the server of the worlds.
    relay: ClassVar[Relay]
    #: For which there are servers.
    backends: ClassVar[tuple[str, ...]] = ("securecookie", "encryptedcookie", "memcache")
    #: Where it may be kept which users were signed out; without any there are no users.
    users: ClassVar[tuple[str, ...]] = ()

    #: What happened in all worlds so far.
    totals: ClassVar[Totals] = Totals()

    world: World | None = None

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Draw the applications."""
        drawn = data.draw(deployments(self.backends, self.users), "applications")
        self._travel = travel(Clock(1_800_000_000))
        clock = self._travel.__enter__()
        self.world = World(drawn, self.relay, clock)
        start = tuple((name, (("set", "a"), ("inner",))) for name in NAMES)
        for browser in range(2):
            self.world.ask([Request(browser, 0, "SessionHandler", "/", start)])

    @rule(requests=st.lists(_requests, min_size=1, max_size=3))
    def requests_one_by_one(self, requests: list[Request]) -> None:
        """Browsers ask applications for pages."""
        for request in requests:
            self._world.ask([request])

    @rule(
        requests=st.lists(_requests, min_size=2, max_size=3), choices=_choices, is_one=st.booleans()
    )
    def requests_at_once(self, requests: list[Request], choices: list[int], is_one: bool) -> None:
        """Several requests come at once."""
        if is_one:  # of one browser
            requests = [_with(each, browser=requests[0].browser) for each in requests]
        self._world.ask(requests, choices)

    @rule(first=_requests, step=_overtaking, commands=st.integers(0, 8), is_evicted=st.booleans())
    def request_is_overtaken(
        self, first: Request, step: Step, commands: int, is_evicted: bool
    ) -> None:
        """A request comes between two commands of another one that uses the same session."""
        world, (name, steps) = self._world, first.sessions[0]
        first = _with(first, sessions=((name, steps),))
        second = _with(first, sessions=((name, (step,)),), front="SessionHandler", end="ok")
        if is_evicted and world.apps[first.app % len(world.apps)].rules(name).place == "datastore":
            world.flush_server()
        self._ask_and_look([first, second], [0] * commands + [1] * _ALL)

    @precondition(lambda self: self.world is not None and self.world.cached())
    @rule(
        browser=st.integers(0, 1),
        which=st.integers(0, 5),
        commands=st.integers(1, 4),
        steps=st.lists(_overtaking, min_size=1, max_size=2),
    )
    def fill_is_overtaken(self, browser: int, which: int, commands: int, steps: list[Step]) -> None:
        """Others change or end a session while a request fills the cache with what it was."""
        cached = self._world.cached()
        app, name = cached[which % len(cached)]
        looks, *others = (
            Request(browser, app, "SessionHandler", "/", ((name, done),))
            for done in [(), *((step,) for step in steps)]
        )
        self._world.flush_server()
        self._ask_and_look([looks, *others], [0] * commands + [1] * _ALL + [2] * _ALL)

    @precondition(lambda self: self.world is not None and self.world.stored())
    @rule(
        browser=st.integers(0, 1),
        which=st.integers(0, 5),
        meetings=st.lists(
            st.tuples(_meetings, _overtakings, st.sampled_from([False, False, True])),
            min_size=1,
            max_size=4,
        ),
    )
    def requests_meet(
        self,
        browser: int,
        which: int,
        meetings: list[tuple[tuple[tuple[Step, ...], ...], list[int], bool]],
    ) -> None:
        """Requests change the same keys of one session on a server, or end it.

        Somebody looks in between, or memcached drops everything: both at once may be seen
        (docs/reliability.md, "What the cache in front of Datastore promises").
        """
        stored = self._world.stored()
        app, name = stored[which % len(stored)]
        for steps, choices, is_evicted in meetings:
            before, *requests = [
                Request(browser, app, "SessionHandler", "/", ((name, each),))
                for each in (*steps, ())
            ]
            self._world.ask([before])
            if is_evicted:
                self._ask_and_look(requests[:2], choices, Fault("evict", 1))
            else:
                self._ask_and_look(requests, choices)

    def _ask_and_look(
        self, requests: list[Request], choices: list[int], fault: Fault | None = None
    ) -> None:
        """Send requests at once, and look what the cookies open that were there, or are new."""
        world, first = self._world, requests[0]
        name, url = first.sessions[0][0], Url("www.example.com", first.path)
        before = [text for each, text in world.jars[first.browser].pairs(url) if each == name]
        known = len(world.seen)
        world.ask(requests, choices, fault)
        after = [text for each, text in world.seen[known:] if each == name]
        for text in dict.fromkeys([*before[-1:], *after]):
            world.plant(3, text, name, url, "Path=/; Secure")
            world.ask([_with(first, browser=3, sessions=((name, ()),), end="ok", sub=None)])

    @precondition(
        lambda self: self.world is not None and self.world.uses(self.world.place, "datastore")
    )
    @rule(request=_requests, fault=_faults)
    def request_with_a_fault(self, request: Request, fault: Fault) -> None:
        """A server fails during a request."""
        self._world.ask([request], fault=fault)

    @precondition(lambda self: self.world is not None and self.world.uses(self.world.place))
    @rule(
        requests=st.lists(_requests, min_size=1, max_size=3),
        idle=st.integers(1, 4),
        how=st.sampled_from(["forgotten", "forgotten", "closed"]),
        is_busy=st.booleans(),
    )
    def connections_break(
        self, requests: list[Request], idle: int, how: str, is_busy: bool
    ) -> None:
        """A firewall forgets or closes all connections; somebody finds out, and others come then.

        Other threads may be using each connection that is opened.
        """
        world = self._world
        apps = [number for number, app in enumerate(world.apps) if app.uses(world.place)]
        number = apps[requests[0].app % len(apps)]
        world.break_connections(number, idle, how)
        for request in requests:
            world.ask([_with(request, app=number)])
            if is_busy:
                world.use_connection(number)

    @rule(request=_requests, step=_overtaking)
    def handler_fails(self, request: Request, step: Step) -> None:
        """A handler fails after all that it did, and the browser comes back."""
        name, steps = request.sessions[0]
        request = _with(request, sessions=((name, (*steps, step)),), end="fail")
        self._world.ask([request])
        self._world.ask([_with(request, sessions=((name, ()),), sub=None, end="ok")])

    @precondition(
        lambda self: self.world is not None and self.world.uses(self.world.place, "datastore")
    )
    @rule(request=_requests, step=_overtaking)
    def name_is_lost(self, request: Request, step: Step) -> None:
        """A version lacks a name of what is stored; visitors come, and the version is taken back.

        Whoever has the cookies from before looks at what became of it.
        """
        world, apps = self._world, self._world.apps
        places = [(n, name) for n, app in enumerate(apps) for name in NAMES if _pickles(app, name)]
        if not places:
            return
        number, name = places[request.app % len(places)]
        sessions = ((name, (("named",),)),)
        request = _with(request, app=number, sessions=sessions, sub=None, end="ok")
        world.ask([request])
        url = Url("www.example.com", request.path)
        before = [text for each, text in world.jars[request.browser].pairs(url) if each == name]
        world.rename(request.app)
        world.ask([_with(request, sessions=((name, (step,)),))])
        world.rename(request.app)
        if before:
            world.plant(3, before[-1], name, url, "Path=/; Secure")
            world.ask([_with(request, browser=3, sessions=((name, ()),))])

    @precondition(lambda self: self.world is not None and self.world.stored())
    @rule(
        browser=st.integers(0, 1),
        which=st.integers(0, 5),
        steps=_meeting,
        fault=st.builds(
            Fault,
            st.sampled_from(["refuse", "answer lost"]),
            st.sampled_from([0, 0, 1, 2, 2, 3, 4]),
            st.just(2),
        ),
    )
    def server_gives_no_answer(
        self, browser: int, which: int, steps: tuple[Step, ...], fault: Fault
    ) -> None:
        """A server fails before it reads or writes a session, or just after.

        What is there then is the same with the cache and without it.
        """
        stored = self._world.stored()
        app, name = stored[which % len(stored)]
        request = Request(browser, app, "SessionHandler", "/", ((name, steps),))
        look = _with(request, sessions=((name, ()),))
        self._world.ask([look])
        self._world.ask([request], fault=fault)
        self._world.ask([look])
        if self._world.apps[app].rules(name).place == "datastore":
            self._world.flush_server()
            self._world.ask([look])

    @rule(seconds=st.sampled_from([1, 5, 10, 11, 600, 601, 1800, 1801, 3600, 3601, 7200, 7201]))
    def time_passes(self, seconds: int) -> None:
        """The clocks go on."""
        self._world.let_time_pass(seconds)

    @rule(
        request=_requests,
        is_large=st.booleans(),
        seconds=st.sampled_from([600, 601, 1800, 3600]),
        steps=st.sampled_from([(), (("inner",),)]),
        overtaking=st.one_of(st.none(), st.none(), _overtaking),
    )
    def visitor_comes_back(
        self,
        request: Request,
        is_large: bool,
        seconds: int,
        steps: tuple[Step, ...],
        overtaking: Step | None,
    ) -> None:
        """Somebody does nothing for a while, asks for a page, and looks what is there then.

        What is due for a refresh is refreshed, and nothing else is saved, except by another request
        that comes in between.
        """
        names = [name for name, _ in request.sessions]

        def asked(*steps: Step) -> Request:
            return _with(request, sessions=tuple((name, steps) for name in names), end="ok")

        if is_large:
            self._world.ask([asked(("grow",))])
        self._world.let_time_pass(seconds)
        if overtaking is None:
            self._world.ask([asked(*steps)])
        else:
            self._world.ask([asked(*steps), asked(overtaking)], [0, 0, *[1] * _ALL])
        self._world.ask([asked()])

    @precondition(lambda self: self.world is not None and self.world.uses(self.world.place))
    @rule(is_restarted=st.sampled_from([False, False, False, True]))
    def server_loses_everything(self, is_restarted: bool) -> None:
        """Memcached needs the room, or is restarted."""
        if is_restarted:
            self._world.restart_server()
        else:
            self._world.flush_server()

    @precondition(lambda self: self.world is not None and self.world.uses("datastore"))
    @rule(older_than=st.sampled_from([3600, 86400]))
    def datastore_is_purged(self, older_than: int) -> None:
        """A cron job deletes old sessions."""
        self._world.purge(older_than)

    @rule(
        browser=st.integers(0, 3),
        which=st.integers(0, 30),
        attributes=st.sampled_from([*_PLANTED, "Path=/; Secure"]),
        disguise=st.sampled_from([*["{}"] * len(_DISGUISES), *_DISGUISES]),
    )
    def cookie_is_copied(self, browser: int, which: int, attributes: str, disguise: str) -> None:
        """Somebody gets a cookie that was sent to a browser before, perhaps to another one."""
        world = self._world
        if not world.seen:
            return
        name, text = world.seen[-1 - which % len(world.seen)]
        host = "evil.example.com" if "Domain" in attributes else "www.example.com"
        world.plant(browser, text, disguise.format(name), Url(host, "/"), attributes)

    @rule(
        browser=st.integers(0, 2),
        name=st.sampled_from(sorted(NAMES)),
        text=st.sampled_from(["x", "a|b|c", "e30=|1800000000|" + "0" * 40, "\xff", '"', "="]),
    )
    def cookie_is_forged(self, browser: int, name: str, text: str) -> None:
        """Another host of the domain sets a cookie of its own making."""
        self._world.plant(browser, text, name, Url("evil.example.com", "/"), _PLANTED[0])

    @property
    def _world(self) -> World:
        assert self.world is not None
        return self.world

    def teardown(self) -> None:
        """Put everything back."""
        if self.world is not None:
            self.world.close()
            self.totals.add(self.world)
            self._travel.__exit__(None, None, None)
            self.world = None


#: How Redis comes back; seldom by a new process, which takes longer than many requests.
_comebacks = st.sampled_from([*COMEBACKS, *["failover", "failover, connections stay"] * 3])
_faults_with_a_copy = st.builds(
    Fault, _comebacks, st.integers(0, 8), lag=st.sampled_from([0, 1, 1, 2, 3, 9])
)


class RedisMachine(WorldMachine):
    """Besides, Redis comes back with data of some time ago, or another one takes its place."""

    @precondition(lambda self: self.world is not None and self.world.uses("redis"))
    @rule(request=_plain_requests, fault=_faults_with_a_copy)
    def redis_comes_back_during_a_request(self, request: Request, fault: Fault) -> None:
        """What is undone is that of some commands, or all since the last copy."""
        self._world.ask([request], fault=fault)

    @precondition(lambda self: self.world is not None and self.world.cached())
    @rule(
        browser=st.integers(0, 1),
        which=st.integers(0, 5),
        steps=_meetings,
        choices=_overtakings,
        fault=_faults_with_a_copy,
    )
    def redis_comes_back_among_requests(
        self,
        browser: int,
        which: int,
        steps: tuple[tuple[Step, ...], ...],
        choices: list[int],
        fault: Fault,
    ) -> None:
        """The same, where requests change a session at once that is in Datastore: no change."""
        cached = self._world.cached()
        app, name = cached[which % len(cached)]
        before, *requests = [
            Request(browser, app, "SessionHandler", "/", ((name, each),)) for each in (*steps, ())
        ]
        self._world.ask([before])
        self._ask_and_look(requests, choices, fault)

    @precondition(lambda self: self.world is not None and self.world.uses("redis"))
    @rule(
        browser=st.integers(0, 1),
        which=st.integers(0, 5),
        rounds=st.lists(
            st.tuples(st.lists(_overtaking, max_size=2), _comebacks), min_size=1, max_size=2
        ),
    )
    def redis_comes_back(
        self, browser: int, which: int, rounds: list[tuple[list[Step], str]]
    ) -> None:
        """Redis is as it was before some requests. Who has the cookies from then looks as well."""
        world, stored = self._world, self._world.stored()
        app, name = stored[which % len(stored)]
        look = Request(browser, app, "SessionHandler", "/", ((name, ()),))
        for steps, how in rounds:
            world.ask([look])
            before = [text for each, text in world.jars[browser].pairs(_URL) if each == name]
            world.copy_server()
            for step in steps:
                world.ask([_with(look, sessions=((name, (step,)),))])
            world.come_back(how)
            for text in before[-1:]:
                world.plant(3, text, name, _URL, "Path=/; Secure")
                world.ask([_with(look, browser=3)])
            world.ask([look])


#: What a handler does where users sign in.
_of_users = st.sampled_from(
    [
        *[("enter", user) for user in (0, 0, 1)] * 2,
        *[("leave",), ("list",), ("list",), ("label",), ("end_all",), ("end_others",)],
        *[("end_one", 0), ("end_one", 1), ("password",), ("renew",), ("sign_out",), ("set", "b")],
        *[("grow",), ("shrink",), ("flash",), ("clear",)],
    ]
)
#: What ends sessions, or begins one.
_endings = st.sampled_from(
    [("end_all",), ("end_others",), ("end_one", 0), ("end_one", 1), ("password",), ("leave",)]
)
_visits_of_users = st.builds(
    lambda request, steps, name: _with(request, sessions=((name, steps),), sub=None),
    _plain_requests,
    st.lists(_of_users, min_size=1, max_size=3).map(tuple),
    st.sampled_from([*["session"] * 4, "cart"]),
)


class UsersMachine(WorldMachine):
    """Besides, users sign in with their browsers, look where they are signed in, and sign out."""

    @rule(requests=st.lists(_visits_of_users, min_size=1, max_size=3))
    def users_come(self, requests: list[Request]) -> None:
        """Users ask for pages, one after the other."""
        for request in requests:
            self._world.ask([request])

    @rule(
        requests=st.lists(_visits_of_users, min_size=2, max_size=3),
        choices=_choices,
        is_one=st.booleans(),
    )
    def users_come_at_once(self, requests: list[Request], choices: list[int], is_one: bool) -> None:
        """Users ask for pages at once, of the same session if they like."""
        if is_one:
            requests = [_with(each, browser=requests[0].browser) for each in requests]
        self._world.ask(requests, choices)
        self._look_everywhere(requests[0])

    @rule(
        request=_visits_of_users,
        user=st.integers(0, 1),
        first=st.lists(_of_users, max_size=2).map(tuple),
        ending=_endings,
        commands=st.integers(0, 10),
        is_before=st.booleans(),
        seconds=st.sampled_from([0, 0, 1, 1801]),
    )
    def user_ends_sessions(
        self,
        request: Request,
        user: int,
        first: tuple[Step, ...],
        ending: Step,
        commands: int,
        is_before: bool,
        seconds: int,
    ) -> None:
        """A user signs in with two browsers, and signs out elsewhere while the other one is used.

        Whoever has a cookie from before looks what it opens.
        """
        world, [(name, steps)] = self._world, request.sessions
        request = _with(request, end="ok", moves_to=None)

        def asked(browser: int, *steps: Step) -> Request:
            return _with(request, browser=browser % 3, sessions=((name, steps),))

        here = request.browser
        world.ask([asked(here + 1, ("enter", user), ("label",))])
        world.ask([asked(here, ("enter", user))])
        if seconds:
            world.let_time_pass(seconds)
        ends, other = asked(here, *first, ending), asked(here + 1, *steps)
        if is_before:
            world.ask([other, ends], [0] * commands + [1] * _ALL)
        else:
            world.ask([ends, other], [0] * commands + [1] * _ALL)
        self._look_everywhere(request)
        world.ask([asked(here, ("list",)), asked(here + 1, ("list",))])

    @rule(
        request=_visits_of_users,
        fault=_faults,
        steps=st.lists(st.one_of(_of_users, _endings), min_size=1, max_size=2).map(tuple),
    )
    def users_meet_a_fault(self, request: Request, fault: Fault, steps: tuple[Step, ...]) -> None:
        """A server fails while a user signs in, or out, or looks where she is signed in."""
        name = request.sessions[0][0]
        self._world.ask([_with(request, sessions=((name, (("enter", 0),)),))])
        request = _with(request, sessions=((name, steps),))
        self._world.ask([request], fault=fault)
        self._look_everywhere(request)
        self._world.ask([_with(request, sessions=((name, (("list",),)),), end="ok")])

    @rule(
        request=_visits_of_users,
        user=st.integers(0, 1),
        deed=st.sampled_from(["list", "list", "end_all"]),
    )
    def administrator_comes(self, request: Request, user: int, deed: str) -> None:
        """Somebody lists or ends the sessions of a user outside of requests."""
        name = request.sessions[0][0]
        world = self._world
        world.administer(request.app, name, deed, world.users[user], request.namespace)
        if deed != "list":
            self._look_everywhere(request)

    @rule(request=_visits_of_users, user=st.integers(0, 1))
    def password_is_changed(self, request: Request, user: int) -> None:
        """A user has another password."""
        self._world.change_password(self._world.users[user])
        self._look_everywhere(request)

    @rule(
        request=_visits_of_users,
        user=st.integers(0, 1),
        attributes=st.sampled_from(_PLANTED),
    )
    def cookie_is_planted(self, request: Request, user: int, attributes: str) -> None:
        """Somebody plants his cookie in a browser, in which a user signs in then; he looks."""
        world, [(name, steps)] = self._world, request.sessions
        request = _with(request, end="ok", moves_to=None)
        world.ask([_with(request, browser=3, sessions=((name, (("set", "a"),)),))])
        before = [text for each, text in world.jars[3].pairs(_URL) if each == name]
        for text in before[-1:]:
            world.plant(request.browser, text, name, Url("evil.example.com", "/"), attributes)
        world.ask([_with(request, sessions=((name, (("enter", user), *steps)),))])
        world.ask([_with(request, browser=3, sessions=((name, ()),))])

    def _look_everywhere(self, request: Request) -> None:
        """Look what the last cookies open that were sent to anybody."""
        world, name = self._world, request.sessions[0][0]
        texts = [text for each, text in world.seen[-12:] if each == name]
        for text in dict.fromkeys(texts[::-1][:4]):
            world.plant(3, text, name, _URL, "Path=/; Secure")
            looks = _with(request, browser=3, sessions=((name, ()),), end="ok", moves_to=None)
            world.ask([_with(looks, is_threaded=False)])


@contextmanager
def machine_of(kind: str, base: type[WorldMachine] = WorldMachine) -> Iterator[Any]:
    """Yield the machine of worlds of a kind, whose server runs."""
    with ExitStack() as at_end:
        bases: tuple[type[WorldMachine], ...] = (base,)
        server: Server = OptionalMemcached()
        standby: Redis | None = None
        if "redis" in KINDS[kind]:
            server, standby, bases = Redis(), Redis(), (RedisMachine, base)
        if kind in USERS:
            bases = (UsersMachine, *bases)
        relay = Relay(server, standby=standby)
        for each in (server, standby, relay):
            if each is not None:
                each.start()
                at_end.callback(each.stop)
        attributes: dict[str, Any] = {"relay": relay, "backends": KINDS[kind], "totals": Totals()}
        attributes["users"] = USERS.get(kind, ())
        yield type("Machine", bases, attributes)


def world_settings(worlds: int) -> settings:
    """Return Hypothesis's settings for a number of worlds, which are not kept."""
    return settings(
        max_examples=worlds,
        stateful_step_count=30,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate] if os.environ.get("NOSHRINK") else [Phase.generate, Phase.shrink],
    )


def _pickles(app: Application, name: str) -> bool:
    return app.rules(name).pickles


def _with(request: Request, **changed: Any) -> Request:
    return Request(**{**vars(request), **changed})
