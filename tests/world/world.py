"""The world: browsers that visit applications, servers that fail, time that passes."""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import json
import logging
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import pytest
import webapp2
from support import appengine_namespaces
from support.fault_injection import Relay
from support.processes import has_abandoned_connections, wait_until
from support.servers import Memcached, Redis

from webapp2_sessions import BackendError, SessionConflict, users
from webapp2_sessions.errors import UnreadableSession
from webapp2_sessions.sessions.factories import CustomBackendSessionFactory
from webapp2_sessions.sessions_memcache.connection import Connections
from webapp2_sessions.sessions_redis.cache import _Connections as CacheConnections
from webapp2_sessions.testing.clock import Clock
from world.applications import ENDS, ERRORS, NAMES, SHARED, Application, Boom, secret
from world.commands import Unavailable, watch_commands
from world.connections import Waits, connections_of, fill, servers_of, take
from world.jar import Jar, Url
from world.model import EXPIRED, Change, Deed, Listed, Model, Rules, Violation, Visit
from world.renamed import Named
from world.rivals import Rival
from world.script import DEEDS, STEPS, WHO, Draft, Step, normal, perform
from world.turns import Turns

__all__ = ["BOUND", "COMEBACKS", "Fault", "Request", "World"]

#: Seconds within which any request has to be answered: several time-outs, and a slow machine.
BOUND = 15.0

#: Seconds that pass as well, in which all is done that is done before time passes.
_MOMENT = 0.01

#: How a Redis comes back with what a copy has, and how that is told.
COMEBACKS = {
    "restart with a copy": "it is restarted",
    "failover": "another one takes its place",
    "failover, connections stay": "another one takes its place, and it becomes a replica",
    "failover, connections are of no use": "another one takes its place, and it answers nothing",
}

#: Browsers drop a larger cookie (RFC 6265bis section 5.5): bytes of name and value.
_LARGEST_COOKIE = 4096

#: Values of sessions, which may be in no log.
_TOKEN = "value-of-visit-"


@dataclass(frozen=True)
class Fault:
    """What happens to a server during a request.

    :param kind: "restart", "freeze", "refuse" (in Datastore all three: the command gets no answer,
        and is not carried out), "answer lost" (it is carried out), "answer late" (so it is, and the
        answer comes when nobody waits for it any more; from Datastore never), "evict" (memcached
        drops all), or a key of ``COMEBACKS``.
    :param command: the number of the command, from 0.
    :param times: how many commands to Datastore fail, which tries each twice.
    :param lag: how many commands before that Redis was copied.
    """

    kind: str
    command: int
    times: int = 1
    lag: int = 0

    @property
    def copied_before(self) -> int | None:
        """The number of a command."""
        return self.command - self.lag if self.kind in COMEBACKS else None


@dataclass(frozen=True)
class Request:
    """What a browser asks for, and what the handler does.

    :param browser: its number.
    :param app: the number of the application.
    :param front: a key of ``FRONTS``.
    :param path: of the URL.
    :param sessions: names of sessions, each with what is done with it.
    :param end: a key of ``ENDS``.
    """

    browser: int
    app: int
    front: str
    path: str
    sessions: tuple[tuple[str, tuple[Step, ...]], ...]
    end: str = "ok"
    #: Another request, of another browser, that the handler makes with a copy of its own.
    sub: Request | None = None
    #: The namespace in which it is answered, and the one that is set once a session is open.
    namespace: str = ""
    moves_to: str | None = None
    #: Whether two threads open each session at once.
    is_threaded: bool = False

    def __str__(self) -> str:
        done = "; ".join(
            f"{name}: {', '.join(STEPS[step[0]] for step in steps) or 'looks'}"
            for name, steps in self.sessions
        )
        return (
            f"browser {self.browser} asks application {self.app} ({self.front}) for {self.path}"
            f"{f' in namespace {self.namespace}' if self.namespace else ''}"
            f"{', opens in two threads at once' if self.is_threaded else ''}"
            f"{'' if self.moves_to is None else f', then sets namespace {self.moves_to!r}'}: "
            f"{done}{ENDS[self.end]}{'' if self.sub is None else f'; in it, {self.sub}'}"
        )


class World:
    """All that is there, and the model of what it ought to be.

    :param settings: of each application.
    :param relay: between the applications and a memcached or Redis of this world's own.
    :param clock: the clock of all applications and browsers.
    """

    def __init__(
        self,
        settings: Sequence[Mapping[str, Any]],
        relay: Relay,
        clock: Clock,
    ) -> None:
        self.clock = clock
        self._relay = relay
        #: Where sessions in it are, and what the cache of Datastore is called.
        self.place = "redis" if isinstance(self.server, Redis) else "memcache"
        #: Who may sign in; nobody of another world, because Datastore is the same in all.
        self.users = [f"{name}@{os.urandom(8).hex()}.example" for name in ("ada", "bob")]
        self.model = Model(self.users)
        self.apps = [
            Application(number, each, relay.address, self.place, self._stamp)
            for number, each in enumerate(settings)
        ]
        self.jars = [Jar(clock.time) for _ in range(4)]
        #: Every value that a session's cookie had, in the order in which they were sent.
        self.seen: list[tuple[str, str]] = []
        #: How often what happened, and how the applications are configured.
        self.happened: Counter[str] = Counter(
            feature for app in self.apps for feature in app.features()
        )
        self.requests = 0
        #: What happened, in words.
        self.story: list[str] = []
        self._visits = itertools.count(1)
        self._ticks = itertools.count(1)
        self._turns = Turns(())
        self._fault: Fault | None = None
        #: The server whose next commands fail as well.
        self._failing: str | None = None
        #: Whether a server has failed during the present requests.
        self.has_failed = False
        self._commands = 0
        self._sids: set[str] = set()
        #: The numbers of users' passwords.
        self.passwords: dict[str, int] = dict.fromkeys(self.users, 0)
        #: The numbers of sessions by their ids.
        self._numbers: dict[str, int] = {}
        #: Whether a server has ever failed, so that there may be ids of which nothing was seen.
        self.had_faults = False
        self._changes: list[Change] = []
        #: What Redis held when it was copied.
        self._copy: dict[bytes, tuple[int, bytes]] = {}
        #: Applications whose connections may lead to a former primary.
        self._behind: set[int] = set()
        self._frozen = self._is_late = False
        self._rivals: dict[int, Rival] = {}
        self._log = _Log()
        self._patches = pytest.MonkeyPatch()
        watch_commands(self._patches, self._notice)
        self._waits = Waits(self._patches)
        self._patches.setitem(sys.modules, appengine_namespaces.NAME, appengine_namespaces.MODULE)
        self._await_what_is_sent()
        if any(app.follows for app in self.apps):  # a list may have them in their order
            ids = map(functools.partial(_id, os.urandom(5).hex()), itertools.count())
            kind = CustomBackendSessionFactory
            self._patches.setattr(kind, "_get_new_sid", lambda container: next(ids))
        if self.uses("datastore"):
            self._let_entities_travel()
        logging.getLogger().addHandler(self._log)
        if self.place == "redis":  # what other worlds have left would be copied again and again
            self.server.flush()

    @property
    def server(self) -> Memcached | Redis:
        """The memcached or Redis of the present."""
        server = self._relay.target
        assert isinstance(server, (Memcached, Redis))
        return server

    def close(self) -> None:
        """Put everything back."""
        if self._behind:
            self._close_connections()
        if self._waits.is_used:
            for app in self.apps:
                for connections in connections_of(app):
                    connections.close()
        logging.getLogger().removeHandler(self._log)
        self._patches.undo()

    def uses(self, *places: str) -> bool:
        """Return whether any application keeps sessions there."""
        return any(app.uses(*places) for app in self.apps)

    def _await_what_is_sent(self) -> None:
        """Let the server carry out at once what is sent to it without waiting for an answer."""

        def awaited(send: Callable[..., None]) -> Callable[..., None]:
            def send_and_wait(connections: Any, *args: Any) -> None:
                send(connections, *args)
                if not self._frozen:
                    self._await_server()

            return send_and_wait

        for kind, name in ((Connections, "set_noreply"), (CacheConnections, "send")):
            self._patches.setattr(kind, name, awaited(getattr(kind, name)))

    def _await_server(self) -> None:
        for server in (self._relay, self.server):
            wait_until(lambda: not has_abandoned_connections(server.port), 10.0, 0.001)  # noqa: B023

    def stored(self) -> list[tuple[int, str]]:
        """Return numbers of applications and names of sessions that they keep on a server."""
        return [
            (number, name)
            for number, app in enumerate(self.apps)
            for name in NAMES
            if app.rules(name).place is not None
        ]

    def cached(self) -> list[tuple[int, str]]:
        """Return those of them that are in Datastore, behind a cache."""
        found = ((self.apps[number], number, name) for number, name in self.stored())
        return [
            (number, name)
            for app, number, name in found
            if app.settings["cached"] and app.rules(name).place == "datastore"
        ]

    def _let_entities_travel(self) -> None:
        """Have entities dated by the world's clock: Datastore leaves that to its clients."""
        from webapp2_sessions.sessions_ndb import purging
        from webapp2_sessions.sessions_ndb.records import UtcNowProperty

        now = staticmethod(lambda: self.clock.utc().replace(tzinfo=None))
        self._patches.setattr(UtcNowProperty, "_now", now)
        self._patches.setattr(purging, "_utc_now", UtcNowProperty._now)

    def told(self) -> str:
        """Return what happened, in words."""
        numbered = (f"  {number}. {each}" for number, each in enumerate(self.story, 1))
        return "\n".join(["what happened:", *numbered])

    def _happens(self, *what: str) -> None:
        self.happened.update(what)

    # What happens

    def ask(
        self, requests: Sequence[Request], choices: Sequence[int] = (), fault: Fault | None = None
    ) -> None:
        """Send requests at one time, and compare what came of them with what ought to be.

        :param choices: whose turn it is, at each command and at each end of a handler.
        :param fault: happens at a command of any of them.
        """
        self._change_rest()
        self._turns, self._fault, self._commands = Turns(choices), fault, 0
        self._failing, self.has_failed = None, bool(self._behind)
        self.requests += len(requests)
        self.story += [str(request) for request in requests]
        if fault is not None:
            what = (
                f"{self.server.name} drops everything"
                if fault.kind == "evict"
                else "a server fails"
            )
            self.story.append(
                f"... and at command {fault.command} {what} ({fault.kind}, {fault.times} times)"
                f"{f', copied {fault.lag} commands before' if fault.kind in COMEBACKS else ''}"
            )
        if len(requests) > 1:
            self._happens("requests at once")
            self.story.append(f"... all at once, taking turns by {list(choices)}")
        waits, behind = self._waits.errors, {*self._behind}
        jobs = [_Job(self, request) for request in requests]
        self._turns.run([job.run for job in jobs])
        jobs += [job.sub for job in jobs if job.sub is not None]
        self._fault = None
        self._recover()
        behind |= self._behind
        for job in jobs:
            job.finish()
            for visit in job.visits.values():
                visit.may_ask_former = job.app.number in behind
        is_calm = (fault is None or fault.kind in COMEBACKS) and self._waits.errors == waits
        self._check_waits([job for job in jobs if is_calm and job.app.number not in behind])
        if fault is None:  # that was the one error, after which all connections are closed
            self._behind -= {job.app.number for job in jobs if job.failures()}
        groups: dict[str, list[Visit]] = {}
        for job in jobs:
            for visit in job.visits.values():
                groups.setdefault(visit.name, []).append(visit)
        deeds = [deed for visits in groups.values() for visit in visits for deed in visit.deeds]
        for job in jobs:
            job.learn_lists()
        for visit in itertools.chain(*groups.values()):
            for deed in visit.deeds:
                deed.is_disturbed |= visit.may_ask_former or bool(self._changes)
        moments = self.model.moments()
        checked: set[int] = set()
        for visits in groups.values():
            self.model.records.update(moments)  # sessions of all names see the same
            checked |= self._check(visits, deeds)
        self._change_rest(checked)
        self._learn_numbers([visit.seen.cookie for visits in groups.values() for visit in visits])
        if deeds:  # a sign-in of the same moment would not count
            self.clock.advance(_MOMENT)
        self._check_logs()
        if SHARED.headers.getall("Set-Cookie"):
            raise Violation("a response that all requests share got a cookie")

    def _check(self, visits: list[Visit], deeds: Sequence[Deed]) -> set[int]:
        names = {visit.name for visit in visits} or {deed.name for deed in deeds}
        # What is done with sessions of another name tells of moments alone.
        others = [each for each in deeds if each.name not in names and each.revokes]
        seen = [each for each in deeds if each.name in names]
        seen += [replace(each, kind="revoke") for each in others]
        try:
            return self.model.check(visits, self._changes, seen)
        except Violation as error:
            raise Violation(f"{error}\n{self.told()}") from None

    def _stamp(self, user: str) -> str:
        """Return what stands for a user's password."""
        return f"hash-of-a-password-{self.passwords[user]}"

    def change_password(self, user: str) -> None:
        """Give a user another password."""
        self._happens("a password is changed")
        self.story.append(f"{user} gets another password")
        self.passwords[user] += 1

    def administer(self, app: int, name: str, deed: str, user: str, namespace: str) -> None:
        """List or end the sessions of a user outside of requests."""
        application = self.apps[app % len(self.apps)]
        if not application.can(name, deed) or application.number in self._behind:
            return
        self._change_rest()
        self._happens(f"an administrator {STEPS[deed].replace('the', 'a')}")
        self.story.append(f"an administrator {STEPS[deed]}: {user}'s, by application {app}")
        rules, began = application.rules(name, namespace), self.tick()
        done = self.deed(deed, user, name, rules, rules.namespace)
        token = appengine_namespaces.current.set(namespace)
        options = {"config": application.config, "name": name, "backend": application.backend(name)}
        try:
            if deed == "list":
                found = users.user_sessions(user, limit=None, **options)
                done.listed = self.listed(application, name, found)
            else:
                users.end_user_sessions(user, **options)
        finally:
            appengine_namespaces.current.reset(token)
        done.times = began, self.tick()
        self._check([], [done])
        self.clock.advance(_MOMENT)

    def deed(self, deed: str, user: str, name: str, rules: Rules, namespace: str) -> Deed:
        """Return what the model is to know of something that is done with sessions of a user.

        :param namespace: in which it is done; that of the sessions is in the rules.
        """
        moment = self.model.moment(rules, user, namespace)
        kind = "list" if deed == "list" else "end"
        now, passwords = self.clock.time(), dict(self.passwords)
        keeps = deed == "end_others"
        return Deed(kind, user, name, rules, moment, now, passwords, keeps=keeps)

    def listed(self, app: Application, name: str, found: Sequence[Any]) -> list[Listed]:
        """Return what the model is to know of a list."""
        numbers = {app.handle(name, sid): number for sid, number in self._numbers.items()}
        entries = [Listed(numbers.get(each.handle), each.label, each.is_current) for each in found]
        if any(each.number is None for each in entries) and not self.had_faults:
            raise Violation(f"a list has a session that nobody has\n{self.told()}")
        return entries

    def restart_server(self) -> None:
        """Restart memcached or Redis, empty."""
        self._happens(f"{self.server.name} restarts")
        self.had_faults = True
        self.story.append(f"{self.server.name} is restarted")
        began = self.tick()
        self.server.restart()
        self._close_connections()
        self._changes.append(Change(self.place, (began, self.tick())))

    def _close_connections(self) -> None:
        """Close all connections of applications."""
        self._relay.close_connections()
        self._behind.clear()

    def copy_server(self) -> None:
        """Copy what Redis holds, as by a snapshot or to a replica, for a comeback."""
        assert isinstance(self.server, Redis)
        self.story.append("what redis holds is copied")
        began = self.tick()
        self._copy = self.server.contents()
        self._changes.append(Change(self.place, (began, self.tick()), "copied"))

    def come_back(self, kind: str) -> None:
        """Let Redis come back with what it held when it was copied.

        :param kind: a key of ``COMEBACKS``. Whoever caches in Redis must see that connections to a
            former primary are closed (docs/backends/redis.md, "In front of Datastore").
        """
        former, present = self.server, self._relay.standby
        assert isinstance(former, Redis)
        assert isinstance(present, Redis)
        if kind.startswith("failover") and (self.cached() or self._behind):
            kind = "failover"
        self._happens(f"redis: {kind}")
        self.had_faults = True
        self.story.append(f"redis holds what was copied: {COMEBACKS[kind]}")
        began = self.tick()
        if kind == "restart with a copy":
            former.restart()
            former.load(self._copy)
        else:
            present.load(self._copy)
            former.demote(serves=kind != "failover, connections are of no use")
            self._relay.fail_over()
        if kind in ("restart with a copy", "failover"):
            self._close_connections()
        else:
            self._behind = {app.number for app in self.apps if any(map(len, connections_of(app)))}
        self._changes.append(Change(self.place, (began, self.tick()), "as copied"))

    def flush_server(self) -> None:
        """Drop all that memcached or Redis holds, as evictions do."""
        self._happens(f"{self.server.name} evicts")
        self.story.append(f"{self.server.name} drops everything")
        began = self.tick()
        self.server.flush()
        self._changes.append(Change(self.place, (began, self.tick())))

    def purge(self, older_than: float) -> None:
        """Delete from Datastore what was not written for so many seconds."""
        from webapp2_sessions.sessions_ndb import purging

        self._happens("purge")
        self.story.append(f"sessions of Datastore are purged that are older than {older_than} s")
        app = next(app for app in self.apps if app.uses("datastore"))
        purging.purge_sessions(older_than, config=app.config)
        namespace = app.settings["namespace"] or ""
        self.model.purge("datastore", self.clock.time() - older_than, namespace)

    def plant(self, browser: int, text: str, name: str, url: Url, attributes: str) -> None:
        """Put a cookie into somebody's browser, as another host of the domain can."""
        known = [grant for grant in [self.model.grants.get(text)] if grant is not None]
        self._happens("a cookie is copied" if known else "a cookie is forged")
        self.story.append(
            f"browser {browser} gets a cookie {name!r} by {url.host} ({attributes}): "
            f"{'a copy' if known else repr(text)}"
        )
        self.jars[browser].store(f"{name}={text}; {attributes}", url)

    def break_connections(self, app: int, idle: int, how: str) -> None:
        """Break all connections, of which an application has so many.

        :param how: "forgotten": what is sent on them vanishes; "closed".
        """
        self._happens(f"idle connections are {how}")
        self.story.append(f"{idle} idle connections of application {app} are {how}")
        for connections in connections_of(self.apps[app % len(self.apps)]):
            fill(connections, idle)
        if how == "closed":
            self._close_connections()
        else:
            self._waits.forget([each for each in self.apps if each.uses(self.place)])
            self._relay.forget()

    def rename(self, app: int) -> None:
        """Deploy a version of an application that lacks the name of stored values, or has it."""
        found = self.apps[app % len(self.apps)]
        found.rename()
        is_lost = found.settings["lacks_name"]
        self._happens("a name of stored values is lost" if is_lost else "a name comes back")
        self.story.append(
            f"application {app} {'loses' if is_lost else 'has'} the name of stored values"
        )

    def use_connection(self, app: int) -> None:
        """Have another thread use the connection that would be used next."""
        self.story.append(f"another thread of application {app} uses a connection")
        for connections in connections_of(self.apps[app % len(self.apps)]):
            take(connections)

    def _check_waits(self, undisturbed: Sequence[_Job]) -> None:
        """Raise if more was waited for, or has failed, than docs/reliability.md says.

        :param undisturbed: the requests, if nothing happened that is an error.
        """
        for app in self.apps:
            for server in servers_of(app):
                server._asked_again = 0.0  # somebody else has asked it since
        for number, count in self._waits.forgotten.items():
            # A cache in Redis has connections of its own.
            if count > len(servers_of(self.apps[number])):
                raise Violation(
                    f"application {number} waited {count} times for connections that were "
                    f"forgotten at one time\n{self.told()}"
                )
        for job in undisturbed:
            for failure in job.failures():
                raise Violation(f"{job} failed without a cause: {failure}\n{self.told()}")

    def _change_rest(self, besides: Set[int] = frozenset()) -> None:
        """Tell the model what was lost, or undone, besides some records."""
        for change in self._changes:
            self.model.change(change, besides)
        self._changes.clear()

    def let_time_pass(self, seconds: float) -> None:
        """Move all clocks."""
        self._happens("time passes")
        self.story.append(f"{seconds} s pass")
        self.clock.advance(seconds + _MOMENT)

    # What the jobs call

    def number(self) -> int:
        """Return the number of the next visit."""
        return next(self._visits)

    def tick(self) -> int:
        """Return a number that is larger than all before."""
        return next(self._ticks)

    def pass_on(self) -> None:
        """Let another request go on."""
        self._turns.pass_on()

    def open_twice(self, open_session: Callable[[], Any]) -> Any:
        """Open a session in two threads, one of which comes while the other one opens it."""
        self._happens("two threads open a session")
        rival = self._rivals[threading.get_ident()] = Rival(open_session)
        try:
            session = open_session()
        except BackendError:
            if rival.finish() is None:
                raise
            return rival.session
        finally:
            del self._rivals[threading.get_ident()]
        if rival.finish() not in (None, session) or rival.session is not session:
            raise Violation("two threads of a request got two sessions")
        return session

    def _notice(self, server: str, command: str, when: str) -> None:
        rival = self._rivals.get(threading.get_ident())
        if rival is not None:
            rival.come()
        self._deliver()
        if when == "before":
            self._turns.pass_on()
            self._waits.command = command
            number, self._commands = self._commands, self._commands + 1
        else:
            number = self._commands - 1
        fault = self._fault
        if when == "before" and fault is not None and fault.copied_before == number:
            self.copy_server()
        if fault is None or (fault.command != number and self._failing != server):
            return
        is_done = fault.kind == "answer lost"
        if server == "datastore":
            is_done = is_done or fault.kind == "answer late"
        if when != ("after" if is_done else "before"):
            return
        self._fault = None
        if fault.kind == "evict":
            self.flush_server()
            return
        if fault.kind in COMEBACKS:
            self.come_back(fault.kind)
            self.has_failed |= bool(self._behind)
            return
        self._happens(f"{server}: {fault.kind}")
        self.has_failed = self.had_faults = True
        if server == "datastore":
            if fault.times > 1:
                self._fault, self._failing = Fault(fault.kind, -1, fault.times - 1), server
            raise Unavailable()
        if fault.kind == "refuse":
            raise ConnectionRefusedError()
        if fault.kind == "freeze":
            self.server.freeze()
            self._frozen = True
        elif fault.kind == "answer late":
            self._relay.delay_answer()
            self._is_late = True
        else:
            self.restart_server()

    def _recover(self) -> None:
        """Let a frozen server go on, and carry out what was sent to it meanwhile."""
        self._deliver()
        if self._frozen:
            self._frozen = False
            self.server.thaw()
            self._await_server()

    def _deliver(self) -> None:
        """Deliver an answer that is late, to whoever listens."""
        if self._is_late:
            self._is_late = False
            self._relay.deliver_answer()

    def learn(self, container: Any) -> None:
        """Remember an id, which may be in no log."""
        sid = getattr(container, "sid", None)
        if sid:
            self._sids.add(sid)

    def learn_number(self, container: Any, visit: Visit) -> None:
        """Remember the number of a session that a request has begun, or given another id."""
        sid = getattr(container, "sid", None)
        if sid:
            self._numbers.setdefault(sid, visit.number)

    def _learn_numbers(self, cookies: Sequence[str | None]) -> None:
        """Remember the numbers of the sessions to which cookies lead."""
        for text in cookies:
            grant = self.model.grants.get(text or "")
            if grant is not None and grant.record is not None and not grant.is_encrypted:
                held = json.loads(base64.b64decode(str(text).partition("|")[0]))
                data = held[0] if isinstance(held, list) else held
                if "_sid" in data:
                    self._numbers[data["_sid"]] = grant.record

    def _check_logs(self) -> None:
        text = self._log.take()
        if not text:
            return
        secrets = [_TOKEN, *self.users, "hash-of-a-password", *map(secret, range(4)), *self._sids]
        secrets += [each.rpartition("|")[2][-40:] for _, each in self.seen]
        for each in secrets:
            if len(each) > 10 and each in text:
                raise Violation(f"a log has {each[:6]!r}...: {text[:2000]}")


def _id(world: str, number: int) -> str:
    """Return an id whose place among those of one world is the same in each run."""
    return world + hashlib.sha256(str(number).encode("ascii")).hexdigest()[:12]


class _Job:
    """One request while it is answered."""

    def __init__(self, world: World, request: Request, is_sub: bool = False) -> None:
        self._world, self._request, self._is_sub = world, request, is_sub
        self.app = world.apps[request.app % len(world.apps)]
        self._jar = world.jars[request.browser]
        self._url = Url("www.example.com", request.path)
        self._pairs = self._jar.pairs(self._url)
        self._sessions: dict[str, Any] = {}
        self._errors: list[Exception] = []
        #: Those that the handler took from `get_session()`.
        self._failures: list[BackendError] = []
        self._headers: list[tuple[str, str]] = []
        self._saving = 0
        self.visits: dict[str, Visit] = {}
        #: What was listed, for each deed.
        self._lists: list[tuple[Deed, Sequence[Any]]] = []
        #: The request that the handler made.
        self.sub: _Job | None = None

    def run(self) -> None:
        """Answer the request."""
        made = webapp2.Request.blank(f"https://{self._url.host}{self._url.path}")
        self._answer(made.environ)

    def _answer(self, environ: dict[str, Any]) -> None:
        header = "; ".join(f"{name}={value}" for name, value in self._pairs)
        environ["HTTP_COOKIE"] = header
        environ.pop(ERRORS, None)
        started = time.monotonic()
        token = appengine_namespaces.current.set(self._request.namespace)
        try:
            self._headers = self.app.answer(self._request.front, environ, self._handle)
        finally:
            appengine_namespaces.current.reset(token)
        self._world.happened.update((f"front: {self._request.front}", f"end: {self._request.end}"))
        ended = self._world.tick()
        for visit in self.visits.values():
            if self._saving:
                visit.seen.times["save"] = self._saving, ended
                known = visit.seen.passwords["save"]
                visit.seen.passwords["save"] = self._with_passwords(*known)
        if time.monotonic() - started > BOUND:
            raise Violation(f"a request took {time.monotonic() - started:.0f} s")
        self._errors += environ.get(ERRORS, [])
        for error in self._errors:
            # There are too few requests at once for a conflict that lasts.
            is_expected = isinstance(error, (Boom, BackendError))
            if not is_expected or isinstance(error, SessionConflict):
                raise Violation(f"{type(error).__name__}: {error}") from error

    def _handle(self, handler: Any, get_session: Any) -> Any:
        world, request = self._world, self._request
        for name, steps in request.sessions:
            self._use(name, steps, get_session)
        if request.sub is not None:
            world.happened["sub-request"] += 1
            self.sub = _Job(world, request.sub, is_sub=True)
            self.sub._answer(handler.request.copy().environ)
            app = handler.request.app  # webapp2 unbinds it after any request
            app.set_globals(app=app, request=handler.request)
        world.pass_on()
        self._saving = world.tick()
        for visit in self.visits.values():
            visit.seen.passwords["save"] = self._with_passwords()
            if visit.rules.follows and self._saved()[0] == "yes":
                visit.draft.follow()
        if request.end == "abort":
            handler.abort(404)
        if request.end == "fail":
            raise Boom()
        if request.end == "other":
            return webapp2.Response("other")
        if request.end == "shared":
            return SHARED
        if request.end == "stream":
            handler.response.app_iter = self._stream()
            return None
        handler.response.write("ok")
        return None

    def _stream(self) -> Iterator[bytes]:
        """Yield a body, and change the sessions meanwhile: that is lost."""
        for session in self._sessions.values():
            session["late"] = f"{_TOKEN}late"
        yield b"ok"

    def _use(self, name: str, steps: Sequence[Step], get_session: Any) -> None:
        world, request = self._world, self._request
        cookies = [value for each, value in self._pairs if each == name]
        namespace = appengine_namespaces.current.get()
        rules = self.app.rules(name, namespace)
        visit = Visit(world.number(), name, rules, cookies, world.clock.time(), str(request))
        self.visits[name] = visit
        began, passwords = world.tick(), self._with_passwords()
        try:
            session = self._open(name, get_session)
        except BackendError as error:
            self._failures.append(error)
            visit.seen.is_unreadable = isinstance(error, UnreadableSession)
            if visit.seen.is_unreadable:
                world.happened["an unreadable session"] += 1
            visit.seen.times["load"] = began, world.tick()
            return
        visit.seen.times["load"] = began, world.tick()
        visit.seen.passwords["load"] = self._with_passwords(*passwords)
        visit.seen.degraded = session._degraded
        visit.seen.opened = session.new, normal(dict(session))
        visit.draft = Draft(visit.seen.opened[1])
        if session.destroyed:
            world.happened["a session of a user who was signed out"] += 1
            visit.seen.is_refused = visit.draft.destroyed = True
        self._sessions[name] = session
        if request.namespace:
            world.happened["a namespace"] += 1
        if request.moves_to is not None:
            world.happened["the namespace changes during a request"] += 1
            appengine_namespaces.current.set(request.moves_to)
        for number, step in enumerate(steps):
            token = f"{_TOKEN}{visit.number}-{number}"
            if step[0] == "enter":
                step = step[0], world.users[step[1]]
            is_named = step == ("named",) and rules.pickles and not rules.lacks_name
            if step[0] in DEEDS:
                self._do(step, visit, session)
            else:
                visit.draft.do(step, token)
                perform(session, step, Named(token) if is_named else token)
            if normal(dict(session)) != visit.draft.data:
                raise Violation(f"{step} gave {dict(session)}, not {visit.draft.data}")
        world.learn(session.container)
        world.happened.update(STEPS[step[0]] for step in steps)

    def _with_passwords(self, *known: Mapping[str, int]) -> tuple[Mapping[str, int], ...]:
        """Return the numbers of passwords as they were, if they were different, and are."""
        present = dict(self._world.passwords)
        return known if present in known else (*known, present)

    def _do(self, step: Step, visit: Visit, session: Any) -> None:
        """Do something with the sessions of the user who is signed in."""
        world, name, user = self._world, visit.name, session.get(WHO)
        if user is None or not self.app.can(name, step[0]):
            return
        if step[0] == "password":
            world.change_password(user)
            return
        store = session.container.session_store
        namespace = self.app.settings["namespace"] or appengine_namespaces.current.get()
        done = world.deed(step[0], user, name, visit.rules, namespace)
        done.visit, began = visit.number, world.tick()
        try:
            if step[0] == "list":
                self._lists.append((done, store.user_sessions(name=name, limit=None)))
            elif step[0] == "end_one":
                listed = store.user_sessions(name=name)
                if not listed:
                    return
                began, chosen = world.tick(), listed[step[1] % len(listed)]
                done.only = 0
                self._lists.append((done, [chosen]))
                store.end_user_sessions(name=name, handle=chosen.handle)
            else:
                store.end_user_sessions(name=name, keep=True if done.keeps else None)
        except BackendError as error:
            self._failures.append(error)
            done.has_failed = True
        done.times = began, world.tick()
        # Others may have changed the password in the middle of it.
        done.is_disturbed = dict(world.passwords) != done.passwords
        visit.deeds.append(done)
        if done.has_failed:
            # Of what it may have come to, only this is up to the session.
            visit.draft.earliest = session.container._following._earliest
            if done.keeps and session._regenerates and not visit.draft.regenerates:
                visit.draft.stay()
            return
        if done.revokes:
            visit.draft.earliest = int(done.now * 1000) + 1
        if done.keeps and done.revokes:
            visit.draft.stay()
        elif step[0] == "end_all" or (step[0] == "end_one" and session.destroyed):
            visit.draft.do(("sign_out",), "")

    def learn_lists(self) -> None:
        """Note what was listed, once it is known which sessions there are."""
        for done, found in self._lists:
            done.listed = self._world.listed(self.app, done.name, found)
            if done.only is not None:
                done.only = done.listed[0].number or 0

    def _open(self, name: str, get_session: Any) -> Any:
        """Open a session."""
        open_session = functools.partial(get_session, name, backend=self.app.backend(name))
        if self._request.is_threaded:
            return self._world.open_twice(open_session)
        return open_session()

    def __str__(self) -> str:
        return str(self._request)

    def failures(self) -> list[str]:
        """Return the failures of the server that reached the application or degraded a session."""
        errors = [each for each in self._errors if isinstance(each, BackendError)]
        found = [
            str(each)
            for each in (*errors, *self._failures)
            if each.backend == self._world.place and not isinstance(each, UnreadableSession)
        ]
        return found + [
            f"the session {name!r} is degraded"
            for name, session in self._sessions.items()
            if session._degraded and self.visits[name].rules.place == self._world.place
        ]

    def finish(self) -> None:
        """Note what was seen, and let the browser keep its cookies."""
        backend_errors = [each for each in self._errors if isinstance(each, BackendError)]
        request = self._request
        set_cookies = [value for key, value in self._headers if key.lower() == "set-cookie"]
        for name, visit in self.visits.items():
            seen, session = visit.seen, self._sessions.get(name)
            if session is not None:
                self._world.learn(session.container)
                self._world.learn_number(session.container, visit)
                value = dict(session).get("named")
                visit.is_named = isinstance(value, Named) and visit.rules.pickles
            was_degraded = seen.degraded
            seen.saved, seen.delivered = self._saved()
            if self._saving and backend_errors and session is not None:
                seen.saved = "perhaps"
            if session is not None and session._degraded and not was_degraded:
                seen.saved = "perhaps"
            if seen.saved == "ends" and self._world.has_failed:
                seen.saved = "perhaps ends"  # which is logged, since the handler's error is raised
            seen.cookie, seen.max_age = _cookie(set_cookies, name)
            if self._errors:
                visit.story += f" -> {[type(each).__name__ for each in self._errors]}"
        unknown = {each.partition("=")[0] for each in set_cookies} - set(self.visits)
        if unknown:
            raise Violation(f"{request} was sent cookies that it did not ask for: {unknown}")
        for header in set_cookies:
            name, _, rest = header.partition("=")
            value = rest.partition(";")[0]
            if value:
                self._world.seen.append((name, value))
            # What a sub-request gets goes to the handler that made it.
            if not self._is_sub and len(name) + len(value) <= _LARGEST_COOKIE:
                self._jar.store(header, self._url)
        for visit in self.visits.values() if not self._is_sub else ():
            self._check_expired(visit)

    def _check_expired(self, visit: Visit) -> None:
        """Raise if the browser keeps a cookie that was to be expired."""
        settings, seen, draft = self.app.settings, visit.seen, visit.draft
        places = []
        if seen.cookie == EXPIRED and seen.saved != "perhaps":
            places.append((settings["domain"], settings["path"]))
        if seen.cookie is not None and (draft.destroyed or draft.regenerates):
            places += [(None, path) for path in settings["former_paths"]]
        for domain, path in places:
            if self._jar.has(visit.name, domain or self._url.host, path):
                raise Violation(f"{self._request} left a cookie of {domain} and {path}")

    def _saved(self) -> tuple[str, bool]:
        """Return what the front does with sessions, and whether their cookies are sent."""
        front, end = self._request.front, self._request.end
        if end == "fail":
            return ("yes", False) if front == "documented" else ("ends", True)
        return "yes", front != "documented" or end != "abort"


def _cookie(headers: Sequence[str], name: str) -> tuple[str | None, int | None]:
    found, max_age = None, None
    for header in headers:
        each, _, rest = header.partition("=")
        if each != name:
            continue
        value = rest.partition(";")[0]
        if value:
            age = re.search(r"(?i)max-age=(-?\d+)", rest)
            found, max_age = value, int(age[1]) if age else None
        elif found is None:
            found = EXPIRED
    return found, max_age


class _Log(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message, with its traceback."""
        self._lines.append(self.format(record))

    def take(self) -> str:
        """Return what was logged since the last call."""
        lines, self._lines = self._lines, []
        return "\n".join(lines)
