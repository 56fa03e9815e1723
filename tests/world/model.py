"""What ought to be: which session each cookie opens, and what it holds.

The model knows a cookie by its value alone. It is told what requests did and what was seen of
them, and finds an order of their loads and saves that explains it, by the rules that the
documentation gives. Where a request failed, several states are possible until somebody looks.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from world.script import WHO, Draft

__all__ = [
    "EXPIRED",
    "Change",
    "Deed",
    "Gone",
    "Grant",
    "Listed",
    "Live",
    "Model",
    "Moment",
    "Rules",
    "Seen",
    "Violation",
    "Visit",
]

#: Stands for a Set-Cookie header that expires a cookie.
EXPIRED = "expired"

#: Servers whose records are signed.
_SIGNED = ("memcache", "redis")

#: Cookies of one name that are tried, as docs/security.md says.
_MOST_TRIED = 4


class Violation(AssertionError):
    """Something happened that must not."""


class Live(NamedTuple):
    """A session on a server."""

    data: Mapping[str, Any]
    #: Seconds that `set_max_age()` gave it.
    max_age: int | None
    #: The key by which it is signed where it is stored.
    key: str
    #: When it was written, in Unix seconds.
    written: float
    #: Whether it cannot be loaded without a name that later versions lack.
    is_named: bool = False
    #: When a renewal, which then failed, has left the mark of another id in Redis.
    marked_at: float | None = None
    #: Who is signed in, and whether the index of users has it; ``None`` for perhaps.
    owner: Owner | None = None
    is_noted: bool | None = False


class Owner(NamedTuple):
    """Who is signed in to a session on a server, as far as its record tells."""

    name: str
    user: str
    #: When the user signed in, in Unix milliseconds as it counts, and in seconds as it is listed.
    signed_in: int
    began: float | None
    #: The number of the user's password, if that was asked for.
    stamp: int | None
    label: str | None
    #: When nobody can open it any more, in Unix seconds.
    ends: float


class Moment(NamedTuple):
    """Until when no sign-in of a user counts: a record as others, which a server may lose."""

    #: In Unix milliseconds.
    at: int


class Gone(NamedTuple):
    """A session that was on a server."""

    #: When it got another id, in Unix seconds.
    superseded_at: float | None = None
    #: Whether the server lost it, so that whoever has loaded it may store it again.
    is_lost: bool = False


State = Live | Gone | Moment
#: The sessions on servers, by number.
Records = dict[int, State]
#: All states that each of them may have.
Possible = dict[int, list[State]]


class Rules(NamedTuple):
    """What of an application's configuration the model has to know, for one session."""

    #: Where its records are, if it has any.
    place: str | None
    #: Whether the cookie holds the data.
    is_cookie: bool
    #: Keys and digest that sign, and all that are accepted.
    signer: tuple[str, str]
    accepted: frozenset[tuple[str, str]]
    #: The keys among them.
    keys: frozenset[str]
    is_encrypted: bool = False
    merges: bool = False
    by_content: bool = False
    session_max_age: int | None = None
    refresh_after: int | None = None
    absolute_max_age: int | None = None
    renewal_grace: int = 10
    expires_damaged: bool = False
    #: In which its records are.
    namespace: str = ""
    #: Whether what it stores may need a name to be loaded, and whether it lacks that.
    pickles: bool = False
    lacks_name: bool = False
    #: Whether it begins a session again that it cannot load.
    begins_again: bool = False
    #: Whether it follows users; the other settings of users are those of who does.
    follows: bool = False
    stamps: bool = False
    #: Where the moments are up to which no sign-in counts.
    revokes: str | None = None
    is_indexed: bool = False
    most_sessions: int | None = None


class Grant(NamedTuple):
    """What a cookie's value stands for."""

    name: str
    signed_at: int
    signer: tuple[str, str]
    is_encrypted: bool
    #: The number of a session on a server; None if the cookie holds the data itself.
    record: int | None
    #: Where that is.
    place: str | None
    data: Mapping[str, Any]
    max_age: int | None
    began: int | None
    #: In which the session on a server is.
    namespace: str = ""
    #: What else the cookie may hold, until somebody looks.
    or_data: tuple[Mapping[str, Any], ...] = ()
    #: What it may say of its user: the number of the password, and when she signed in.
    signs: tuple[tuple[int | None, int | None], ...] = ((None, None),)


class Change(NamedTuple):
    """Something that happens to all that a server holds.

    :param kind: "lost"; "copied", as by a snapshot or a replica; or "as copied", all that has
        happened since being undone.
    """

    place: str
    times: tuple[int, int]
    kind: str = "lost"


#: A session that a server does not know.
_NONE = Gone(is_lost=True)


@dataclass
class Seen:
    """What was seen of a request that used one session."""

    #: Whether the session was new, and what it held; None if it could not be opened.
    opened: tuple[bool, dict[str, Any]] | None = None
    degraded: bool = False
    #: Whether it could not be opened for what is stored.
    is_unreadable: bool = False
    #: "yes"; "no"; "ends", if only the end of a destroyed session counts; "perhaps" or "perhaps
    #: ends", after an error.
    saved: str = "no"
    #: The new value of the cookie that went to the browser, or EXPIRED.
    cookie: str | None = None
    #: Whether a cookie would have been sent.
    delivered: bool = True
    #: From the Set-Cookie header.
    max_age: int | None = None
    #: When its load and its save began and ended, as numbers that grow.
    times: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: Whether the session was ended when it was opened, because its user was signed out.
    is_refused: bool = False
    #: The numbers of users' passwords then, before and after.
    passwords: dict[str, tuple[Mapping[str, int], ...]] = field(default_factory=dict)


@dataclass
class Visit:
    """One session in one request.

    :param number: of the visit; also that of the session on a server that it may begin.
    :param cookies: the values of the cookies of its name, in the order of the header.
    :param now: the time in Unix seconds.
    """

    number: int
    name: str
    rules: Rules
    cookies: list[str]
    now: float
    #: What the request does, in words.
    story: str = ""
    #: Whether what it stores cannot be loaded without a name.
    is_named: bool = False
    draft: Draft = field(default_factory=lambda: Draft({}))
    seen: Seen = field(default_factory=Seen)
    #: Whether it may have asked a server that was the primary before the last failover.
    may_ask_former: bool = False
    #: What it did with the sessions of users.
    deeds: list[Deed] = field(default_factory=list)
    #: The numbers of users' passwords at what is being explained.
    passwords: Mapping[str, int] = field(default_factory=dict)


class Listed(NamedTuple):
    """An entry of a list of a user's sessions."""

    #: The number of the session; ``None`` if it is not known.
    number: int | None
    label: str | None
    is_current: bool


@dataclass(eq=False)
class Deed:
    """The sessions of a user are listed, or ended.

    :param kind: "list"; "end"; "revoke" for an end of sessions of another name, by which no sign-in
        from before counts.
    :param rules: those of the sessions.
    :param moment: the number of the record of the user's moment.
    :param now: the time in Unix seconds.
    """

    kind: str
    user: str
    name: str
    rules: Rules
    moment: int
    now: float
    passwords: Mapping[str, int]
    #: The visit by which it happens; ``None`` outside of requests.
    visit: int | None = None
    times: tuple[int, int] = (0, 0)
    #: Whether the session of the visit stays, and the number of the only one that is to end.
    keeps: bool = False
    only: int | None = None
    has_failed: bool = False
    #: Whether a server was lost or replaced meanwhile, so that it may have come to a part of it.
    is_disturbed: bool = False
    listed: list[Listed] = field(default_factory=list)

    @property
    def is_partial(self) -> bool:
        """Whether it may have come to a part of it."""
        return self.has_failed or self.is_disturbed

    @property
    def revokes(self) -> bool:
        """Whether no sign-in from before counts any more."""
        is_end = self.kind in ("end", "revoke")
        return is_end and self.rules.revokes is not None and self.only is None


class _Loaded(NamedTuple):
    """What a visit knows of its session after loading it."""

    record: int | None = None
    grant: Grant | None = None
    base: Mapping[str, Any] = {}
    max_age: int | None = None
    superseded: bool = False
    #: Records of cookies that led nowhere; they end when the session gets an id.
    replaced: tuple[int, ...] = ()
    #: Those of them that cannot be loaded, which end when it is stored.
    unreadable: tuple[int, ...] = ()
    #: What a visit that ends a record has found there, to merge with it.
    found: State | None = None
    #: When the user signed in, in Unix milliseconds, and the number of the password then asked for.
    signed_in: int = 0
    stamp: int | None = None
    #: What its record said of the user.
    owner: Owner | None = None


class _Copies(NamedTuple):
    """Sessions as they were: in the last copy, and at the former primary."""

    saved: Possible
    former: Possible


class _Result(NamedTuple):
    """What the visits have come to in one order."""

    records: Records
    #: What each visit's new cookie leads to: a record, or data.
    leads: dict[int, Grant]
    copies: _Copies


class Model:
    """What ought to be.

    :param users: the names of all who may sign in.
    """

    def __init__(self, users: Sequence[str] = ()) -> None:
        self._users = users
        self.grants: dict[str, Grant] = {}
        self.records: Possible = {}
        self._copies = _Copies({}, {})
        #: Where each is stored.
        self.places: dict[int, str] = {}
        self.namespaces: dict[int, str] = {}
        #: The numbers of users' moments, by place, namespace and user.
        self._moments: dict[tuple[str, str, str], int] = {}

    def change(self, change: Change, besides: Set[int] = frozenset()) -> None:
        """Change what a server holds, besides records that were checked with the change."""
        saved, former = self._copies
        for number, states in self.records.items():
            if self.places[number] != change.place or number in besides:
                continue
            if change.kind == "copied":
                saved[number] = states
            elif change.kind == "lost":
                self.records[number] = [_NONE]
            else:
                former[number], self.records[number] = states, saved.get(number, [_NONE])

    def purge(self, place: str, before: float, namespace: str = "") -> None:
        """Sessions that were written before a time are deleted."""
        for number, states in self.records.items():
            if (self.places[number], self.namespaces[number]) == (place, namespace):
                self.records[number] = _distinct(
                    [
                        _NONE if isinstance(state, Live) and state.written < before else state
                        for state in states
                    ]
                )

    def moment(self, rules: Rules, user: str, namespace: str | None = None) -> int:
        """Return the number of the record of a user's moment."""
        place, namespace = rules.revokes or "", rules.namespace if namespace is None else namespace
        number = self._moments.setdefault((place, namespace, user), -(2**80) - len(self._moments))
        self.records.setdefault(number, [_NONE])
        self.places.setdefault(number, place)
        self.namespaces.setdefault(number, namespace)
        return number

    def moments(self) -> Possible:
        """Return the records of all users' moments."""
        return {number: self.records[number] for number in self._moments.values()}

    def _of_users(self, visits: Sequence[Visit], deeds: Sequence[Deed]) -> set[int]:
        """Return what is of users to whom something may happen: moments, and listed sessions."""
        found = {deed.moment for deed in deeds if deed.rules.revokes is not None}
        lists = [(deed.rules, deed.name) for deed in deeds if deed.kind != "revoke"]
        for visit in visits:
            if visit.rules.revokes is not None:
                found.update(self.moment(visit.rules, user) for user in self._users)
            if visit.rules.most_sessions is not None and visit.draft.signs_in:
                lists.append((visit.rules, visit.name))
        for rules, name in lists:
            for number, states in self.records.items() if rules.is_indexed else ():
                owners = [state.owner for state in states if isinstance(state, Live)]
                is_there = (self.places[number], self.namespaces[number]) == _place_of(rules)
                if is_there and any(owner is not None and owner.name == name for owner in owners):
                    found.add(number)
        return found

    def _involved(self, visits: Sequence[Visit]) -> set[int]:
        """Return the sessions to which the cookies of visits may lead."""
        found = set()
        for visit in visits:
            for text in visit.cookies:
                grant = self.grants.get(text)
                number = _number(grant, visit.rules)
                if number is not None and grant is not None and grant.name == visit.name:
                    found.add(number)
                    self.records.setdefault(number, [_NONE])
                    self.places.setdefault(number, visit.rules.place or "")
                    self.namespaces.setdefault(number, visit.rules.namespace)
        return found

    def check(
        self, visits: list[Visit], changes: Sequence[Change] = (), deeds: Sequence[Deed] = ()
    ) -> set[int]:
        """Find orders of loads and saves that explain what was seen of requests at one time.

        :param changes: of all that a server holds, meanwhile.
        :param deeds: what the visits and others did with the sessions of users meanwhile.
        :returns: the numbers of the records that had a part in it.
        :raises Violation: there is none.
        """
        involved = self._involved(visits) | self._of_users(visits, deeds)
        results: list[_Result] = []
        for records in _products({number: self.records[number] for number in involved}):
            events = [Event(visit, kind) for visit in visits for kind in visit.seen.times]
            events += [Event(visit, "merge") for visit in visits if _merges_first(visit)]
            events += [Event(visit, "limit") for visit in visits if _may_end_others(visit)]
            events += [Event(change, change.kind) for change in changes]
            events += [Event(deed, "revoke") for deed in deeds if deed.revokes]
            events += [Event(deed, deed.kind) for deed in deeds if deed.kind != "revoke"]
            places = {**self.places, **{each.number: each.rules.place for each in visits}}
            namespaces = {each.number: each.rules.namespace for each in visits}
            orders = _Orders(self, places, {**self.namespaces, **namespaces}, events)
            results += orders.explanations(events, records, self._copies)
        results = [result for result in results if _is_told(visits, result, bool(changes))]
        if not results:
            raise Violation(_told(self, visits, involved, deeds))
        numbers = {number for result in results for number in result.records}
        for number in numbers:
            states = [result.records.get(number, _NONE) for result in results]
            if changes:
                states = [_perhaps_noted(state) for state in states]
            self.records[number] = _distinct(states)
        if changes:
            copies = [result.copies for result in results]
            saved, former = (_united(each) for each in zip(*copies, strict=True))
            self._copies = _Copies(saved, former)
        for visit in visits:
            if visit.rules.place is not None:
                self.places.setdefault(visit.number, visit.rules.place)
                self.namespaces.setdefault(visit.number, visit.rules.namespace)
            self._take_cookie(visit, [each.leads.get(visit.number) for each in results])
        return involved | {visit.number for visit in visits}

    def _take_cookie(self, visit: Visit, leads: list[Grant | None]) -> None:
        text = visit.seen.cookie
        if text is None or text == EXPIRED:
            return
        grants = [
            grant for grant in leads if grant is not None and grant.max_age == visit.seen.max_age
        ]
        if not grants:
            raise Violation(
                f"visit {visit.number}: its cookie has the age {visit.seen.max_age}, not "
                f"{[grant and grant.max_age for grant in leads]}\n{_told(self, [visit], set())}"
            )
        grant = grants[0]
        if any(each.record != grant.record for each in grants):
            raise Violation(f"visit {visit.number}: one cookie leads to several sessions")
        possible = [*dict.fromkeys(grant.data for grant in grants)]
        signs = tuple(dict.fromkeys(each for grant in grants for each in grant.signs))
        known = self.grants.get(text)
        if known is not None:  # signed in the same second
            possible = [data for data in (known.data, *known.or_data) if data in possible]
            signs = tuple(each for each in known.signs if each in signs)
            if known.record != grant.record or not possible or not signs:
                raise Violation(f"visit {visit.number} was sent the cookie of another session")
        data, *others = possible
        self.grants[text] = grant._replace(data=data, or_data=tuple(others), signs=signs)


def _is_told(visits: Sequence[Visit], result: _Result, is_any_lost: bool) -> bool:
    """Return whether each visit that has saved a session was sent its cookie.

    Whoever writes again what the server has lost finds out afterwards that another request has
    ended the session, and sends none.
    """
    for visit in visits:
        grant = result.leads.get(visit.number)
        if grant is not None and visit.seen.delivered and visit.seen.cookie is None:
            state = None if grant.record is None else result.records[grant.record]
            if visit.rules.is_indexed and isinstance(state, Gone):
                continue  # another request has ended it as one of its user's
            if not is_any_lost or not isinstance(state, Gone) or state.is_lost:
                return False
    return True


def _united(found: Sequence[Possible]) -> Possible:
    """Return all states that each session may have by any of several."""
    return {
        number: _distinct([state for each in found for state in each.get(number, [_NONE])])
        for number in {number for each in found for number in each}
    }


def _products(states: Possible) -> Iterator[Records]:
    if not states:
        yield {}
        return
    number, *_ = states
    for rest in _products({key: value for key, value in states.items() if key != number}):
        for state in states[number]:
            yield {number: state, **rest}


def _distinct(states: list[State]) -> list[State]:
    found: list[State] = []
    for state in states:
        if state not in found:
            found.append(state)
    return found


class Event(NamedTuple):
    """Something that happens at one moment between two times."""

    subject: Visit | Change | Deed
    kind: str

    @property
    def times(self) -> tuple[int, int]:
        """When it began and ended."""
        if isinstance(self.subject, (Change, Deed)):
            return self.subject.times
        is_save = self.kind in ("merge", "limit")
        return self.subject.seen.times["save" if is_save else self.kind]

    def comes_during(self, other: Event) -> bool:
        """Return whether it may be that one begins before the other has ended."""
        return self.times[0] < other.times[1] and other.times[0] < self.times[1]


class _Orders:
    """Orders of events, in which each comes to what was seen.

    A load or a save is one moment there. Where a server comes back with a copy meanwhile, at most
    one request is on its way, so that each session that it finds or leaves may be as before or
    after that, whatever the others are.

    :param model: knows what cookies stand for.
    :param places: where sessions are stored.
    :param namespaces: in which they are.
    :param events: all of them.
    """

    def __init__(
        self,
        model: Model,
        places: Mapping[int, str | None],
        namespaces: Mapping[int, str],
        events: Sequence[Event],
    ) -> None:
        self._model = model
        self._places = places
        self._namespaces = namespaces
        self._events = events

    def _changed(
        self, event: Event, change: Change, records: Records, copies: _Copies
    ) -> Iterator[tuple[Records, _Copies]]:
        """Yield what a change of a server may leave."""
        numbers = [number for number in records if self._places[number] == change.place]
        # A renewal leaves its mark before it ends the former session.
        marks = [
            each.subject.now
            for each in self._events
            if isinstance(each.subject, Visit) and each.kind == "save" and event.comes_during(each)
        ]
        present: Possible = {}
        for number in numbers:
            state = records[number]
            marked = [
                state._replace(marked_at=at)
                for at in marks
                if isinstance(state, Live) and change.place == "redis"
            ]
            present[number] = [state, *marked]
        if change.kind == "lost":
            yield {**records, **dict.fromkeys(numbers, _NONE)}, copies
        elif change.kind == "copied":
            yield records, copies._replace(saved={**copies.saved, **present})
        else:
            former = copies._replace(former={**copies.former, **present})
            for saved in _products({each: copies.saved.get(each, [_NONE]) for each in numbers}):
                yield {**records, **saved}, former

    def _is_interrupted(self, event: Event) -> bool:
        """Return whether a server comes back with a copy meanwhile."""
        changes = (each for each in self._events if each.kind == "as copied")
        return any(change.comes_during(event) for change in changes)

    def _views(
        self, event: Event, visit: Visit, records: Records, copies: _Copies
    ) -> Iterator[Records]:
        """Yield what a visit may find: what is there, or was there before, or will be."""
        others = [copies.former] if visit.may_ask_former else []
        others += [copies.saved] if self._is_interrupted(event) else []
        possible: Possible = {}
        for number, state in records.items():
            possible[number] = [state]
            if others and self._places[number] == "redis":
                for other in others:
                    possible[number] += other.get(number, [_NONE])
                if isinstance(state, Gone):
                    possible[number].append(_NONE)  # the mark of another id is asked for later
        yield from _products({number: _distinct(states) for number, states in possible.items()})

    def explanations(
        self,
        events: list[Event],
        records: Records,
        copies: _Copies,
        loaded: Mapping[int, _Loaded | None] = {},
        leads: dict[int, Grant] | None = None,
    ) -> Iterator[_Result]:
        """Yield what each order comes to."""
        leads = leads or {}
        if not events:
            yield _Result(records, leads, copies)
            return
        for index, event in enumerate(events):
            began = event.times[0]
            if any(other.times[1] < began for other in events):
                continue  # another one had ended before
            rest = events[:index] + events[index + 1 :]
            subject = event.subject
            if isinstance(subject, Change):
                for after, kept in self._changed(event, subject, records, copies):
                    yield from self.explanations(rest, after, kept, loaded, leads)
            elif event.kind == "load":
                for view in self._views(event, subject, records, copies):
                    for found in self._loads(subject, view):
                        known = {**loaded, subject.number: found}
                        yield from self.explanations(rest, records, copies, known, leads)
            elif isinstance(subject, Deed):
                if event.kind == "end" and Event(subject, "revoke") in rest:
                    continue  # which comes first
                if event.kind == "revoke":
                    for after in _revoked(subject, records):
                        yield from self.explanations(rest, after, copies, loaded, leads)
                    continue
                for after in self._done(subject, records, loaded):
                    yield from self.explanations(rest, after, copies, loaded, leads)
            elif event.kind == "limit":
                if any(each.subject is subject and each.kind != "limit" for each in rest):
                    continue  # it has not saved
                for after in self._limited(subject, records, leads):
                    yield from self.explanations(rest, after, copies, loaded, leads)
            elif event.kind == "merge":
                known = {**loaded, subject.number: _found(records, loaded[subject.number])}
                yield from self.explanations(rest, records, copies, known, leads)
            elif not any(each.subject is subject and each.kind != "limit" for each in rest):
                # It has merged.
                for saved, grant in self._saves(event, subject, records, loaded[subject.number]):
                    more = leads if grant is None else {**leads, subject.number: grant}
                    yield from self.explanations(rest, saved, copies, loaded, more)

    def _saves(
        self, event: Event, visit: Visit, records: Records, loaded: _Loaded | None
    ) -> Iterator[tuple[Records, Grant | None]]:
        """Yield what a visit may have saved, if that is what was seen."""
        at_save = visit.seen.passwords.get("save", ({},))
        for saved, grant in (
            each
            for passwords in at_save
            for each in _save(replace(visit, passwords=passwords), records, loaded)
        ):
            yield saved, grant
            if self._is_interrupted(
                event
            ):  # between the mark of another id and the end of the former one
                yield {n: Gone() if isinstance(s, Gone) else s for n, s in saved.items()}, grant

    def _loads(self, visit: Visit, records: Records) -> Iterator[_Loaded | None]:
        """Yield what a visit may have loaded, if that is what was seen."""
        for passwords in visit.seen.passwords.get("load", ({},)):
            yield from _load(self._model, replace(visit, passwords=passwords), records)

    def _listable(self, rules: Rules, name: str, user: str, records: Records) -> dict[int, Live]:
        """Return the sessions that may be noted of a user."""
        return {
            number: state
            for number, state in records.items()
            if isinstance(state, Live)
            and state.owner is not None
            and (state.owner.name, state.owner.user) == (name, user)
            and (self._places[number], self._namespaces[number]) == _place_of(rules)
        }

    def _done(
        self, deed: Deed, records: Records, loaded: Mapping[int, _Loaded | None]
    ) -> Iterator[Records]:
        """Yield what a deed may leave, if it came to what was seen."""
        moment, rules, own = records.get(deed.moment, _NONE), deed.rules, None
        if deed.visit is not None:
            mine = loaded.get(deed.visit)
            own = None if mine is None else mine.record
        found = {}
        if rules.is_indexed:
            found = self._listable(rules, deed.name, deed.user, records)
        is_partial = deed.is_partial
        if deed.kind == "list":
            if is_partial or _lists(deed, found, moment, own):
                yield records
            return
        if is_partial:
            yield records
        for number in [*found]:
            is_kept = number != deed.only if deed.only is not None else deed.keeps and number == own
            if is_kept:
                del found[number]
        yield _ended(records, *found)
        certain = [n for n, each in found.items() if each.is_noted and deed.now < _end_of(each)]
        if len(certain) < len(found):
            yield _ended(records, *certain)

    def _limited(
        self, visit: Visit, records: Records, leads: Mapping[int, Grant]
    ) -> Iterator[Records]:
        """Yield what a sign-in leaves of the user's sessions that are too many."""
        rules, grant = visit.rules, leads.get(visit.number)
        state = None if grant is None or grant.record is None else records[grant.record]
        is_disturbed = visit.may_ask_former or any(
            isinstance(event.subject, Change) for event in self._events
        )
        has_failed = is_disturbed or visit.seen.saved == "perhaps"
        if not isinstance(state, Live) or state.owner is None or has_failed:
            yield records
        if visit.seen.saved == "perhaps":
            user = str(visit.draft.user)  # it may have been written, without a cookie
        elif isinstance(state, Live) and state.owner is not None:
            user = state.owner.user
        else:
            return
        own = visit.number if grant is None else grant.record
        moment = records.get(self._model.moment(rules, user), _NONE)
        found = self._listable(rules, visit.name, user, records)
        found.pop(own or 0, None)
        for passwords in visit.seen.passwords.get("save", ({},)):
            judged = {n: _is_open(e, rules, visit.now, passwords, moment) for n, e in found.items()}
            certain = [n for n, each in judged.items() if each is True]
            possible = [n for n, each in judged.items() if each is not False]
            for numbers in [certain] if certain == possible else [certain, possible]:
                yield from _without_oldest(records, found, numbers, rules.most_sessions or 0)


def _revoked(deed: Deed, records: Records) -> Iterator[Records]:
    """Yield what a deed may leave of the moment up to which no sign-in counts."""
    if deed.is_partial:
        yield records
    state = records[deed.moment]
    known = state.at if isinstance(state, Moment) else -1
    yield {**records, deed.moment: Moment(max(int(deed.now * 1000), known))}


def _without_oldest(
    records: Records, found: Mapping[int, Live], numbers: Sequence[int], limit: int
) -> Iterator[Records]:
    """Yield records without those that began first: of equal ones any."""
    count = len(numbers) + 1 - limit
    if count <= 0:
        yield records
        return

    def began(number: int) -> float:
        owner = found[number].owner
        return 0.0 if owner is None or owner.began is None else owner.began

    last = sorted(map(began, numbers))[count - 1]
    for ended in itertools.combinations(numbers, count):
        others = {*numbers} - {*ended}
        if all(began(n) <= last for n in ended) and all(began(n) >= last for n in others):
            yield _ended(records, *ended)


def _lists(deed: Deed, found: Mapping[int, Live], moment: State, own: int | None) -> bool:
    """Return whether a list is what it ought to be: what opens, and nothing else."""
    listed = {each.number: each for each in deed.listed if each.number is not None}
    for number, state in found.items():
        is_open = _is_open(state, deed.rules, deed.now, deed.passwords, moment)
        if number == own and is_open is False:
            is_open = None  # it is open, whatever has become of its user's sign-ins meanwhile
        each = listed.pop(number, None)
        if each is None and is_open is True:
            return False
        if each is not None:
            owner = state.owner
            label = None if owner is None else owner.label
            if is_open is False or (each.label, each.is_current) != (label, number == own):
                return False
    return not listed


def _is_open(
    state: Live, rules: Rules, now: float, passwords: Mapping[str, int], moment: State
) -> bool | None:
    """Return whether a session of a user can be opened, and is listed; ``None`` for perhaps."""
    owner = state.owner
    if owner is None or not _counts(
        rules, owner.stamp, owner.signed_in, owner.user, passwords, moment
    ):
        return False
    is_readable = state.key in rules.keys and not (state.is_named and rules.lacks_name)
    age = math.inf if rules.session_max_age is None else rules.session_max_age
    is_young = now < _end_of(state) and now < state.written + age
    return True if state.is_noted and is_readable and is_young else None


def _counts(
    rules: Rules,
    stamp: int | None,
    signed_in: int,
    user: str,
    passwords: Mapping[str, int],
    moment: State,
) -> bool:
    """Return whether a sign-in still counts."""
    if rules.stamps and stamp is not None and stamp != passwords.get(user, 0):
        return False
    return rules.revokes is None or not isinstance(moment, Moment) or signed_in > moment.at


def _end_of(state: Live) -> float:
    return math.inf if state.owner is None else state.owner.ends


def _place_of(rules: Rules) -> tuple[str, str]:
    return rules.place or "", rules.namespace


def _perhaps_noted(state: State) -> State:
    """Return what is left of a session by a server that has lost something meanwhile."""
    if isinstance(state, Live) and state.is_noted:
        return state._replace(is_noted=None)
    return state


def _may_end_others(visit: Visit) -> bool:
    """Return whether a visit may end sessions of its user that are too many."""
    draft = visit.draft
    saves = visit.seen.saved in ("yes", "perhaps") and "save" in visit.seen.times
    return visit.rules.most_sessions is not None and draft.signs_in and saves


def _merges_first(visit: Visit) -> bool:
    """Return whether a visit merges with a record, and then ends it.

    It does for a record of another id, and for a session that fits its cookie again. What others
    save in between is lost, as docs/reliability.md says.
    """
    draft = visit.draft
    fits_again = visit.rules.is_cookie and "big" in draft.base and "big" not in draft.data
    moves = draft.regenerates or fits_again
    return visit.rules.merges and moves and "save" in visit.seen.times


def _found(records: Records, loaded: _Loaded | None) -> _Loaded | None:
    if loaded is None or loaded.record is None:
        return loaded
    return loaded._replace(found=records[loaded.record])


def _acceptable(grants: Mapping[str, Grant], visit: Visit) -> list[Grant]:
    """Return what the visit's cookies stand for, those signed last first."""
    rules, found = visit.rules, []
    for text in reversed(visit.cookies):
        grant = grants.get(text)
        if grant is None or grant.name != visit.name or grant.is_encrypted != rules.is_encrypted:
            continue
        if grant.signer not in rules.accepted:
            continue
        limit = rules.session_max_age if grant.max_age is None else grant.max_age
        if limit is None or grant.signed_at >= int(visit.now) - limit:
            found.append(grant)
    return sorted(found, key=lambda grant: grant.signed_at, reverse=True)


def _number(grant: Grant | None, rules: Rules) -> int | None:
    """Return the number of the session that an application looks for; None if it looks for none.

    In another place than the session's there is none, but it can be ended there.
    """
    if grant is None or grant.record is None or rules.place is None:
        return None
    if (grant.place, grant.namespace) == (rules.place, rules.namespace):
        return grant.record
    return -(grant.record << 32 | zlib.crc32(f"{rules.place} {rules.namespace}".encode("ascii")))


def _load(model: Model, visit: Visit, records: Records) -> Iterator[_Loaded | None]:
    """Yield what a visit may have loaded, by the passwords of one time."""
    grants = model.grants
    if visit.seen.opened is None and not visit.seen.is_unreadable:
        yield None
        return
    rules, (is_new, data) = visit.rules, visit.seen.opened or (False, None)
    if visit.seen.degraded and is_new:
        if visit.draft.destroyed:
            yield from _unread(grants, visit)
        else:
            yield None
        return
    if visit.seen.degraded and rules.revokes is not None and not data:
        # It was not to be learnt whether the user was signed out.
        if visit.draft.destroyed:
            yield from _unread(grants, visit)
            yield _Loaded()
        else:
            yield None
        return
    superseded, replaced, unreadable = False, [], []
    refused: _Loaded | None = None
    for grant in _acceptable(grants, visit)[:_MOST_TRIED]:
        absolute = rules.absolute_max_age
        began = grant.signed_at if grant.began is None else grant.began
        if absolute is not None and visit.now - began > absolute:
            continue
        if grant.record is None:
            if rules.is_cookie:
                ended = tuple(unreadable)
                for held in (grant.data, *grant.or_data):
                    certain = grant._replace(data=held, or_data=())
                    found = _Loaded(
                        *(None, certain, held, grant.max_age),
                        replaced=tuple(replaced),
                        unreadable=ended,
                    )
                    is_same = not is_new and data == held
                    for each, counts in _signed_in(model, visit, records, found):
                        if is_same if counts else is_new and visit.seen.is_refused:
                            yield each
                            break
                    else:
                        continue
                    break
                return
            refused = None
            continue
        number = _number(grant, rules)
        if number is None:
            continue
        state = records[number]
        is_signed = rules.place in _SIGNED
        if isinstance(state, Live) and not (is_signed and state.key not in rules.keys):
            if state.is_named and rules.lacks_name:
                if not rules.begins_again:
                    if visit.seen.is_unreadable:
                        yield None
                    return
                unreadable.append(number)
                replaced.append(number)
                refused = None
                continue
            ended = tuple(unreadable)
            found = _Loaded(
                *(number, grant, state.data, state.max_age),
                replaced=tuple(replaced),
                unreadable=ended,
                owner=state.owner,
            )
            is_same = not is_new and data == state.data
            verdicts = [*_signed_in(model, visit, records, found)]
            yield from (each for each, counts in verdicts if counts and is_same)
            if all(counts for _, counts in verdicts):
                return
            if rules.is_cookie:
                if is_new and visit.seen.is_refused:
                    yield found
                return
            refused = found
            continue
        refused = None
        replaced.append(number)
        if isinstance(state, Live):
            continue  # signed by a key that this application does not know
        if state.superseded_at is not None and not state.is_lost:
            superseded |= visit.now - state.superseded_at < rules.renewal_grace
    if is_new and data == {} and visit.seen.is_refused == (refused is not None):
        if refused is not None:
            yield refused._replace(replaced=tuple(replaced), unreadable=tuple(unreadable))
        else:
            yield _Loaded(None, None, {}, None, superseded, tuple(replaced), tuple(unreadable))


def _signed_in(
    model: Model, visit: Visit, records: Records, found: _Loaded
) -> Iterator[tuple[_Loaded, bool]]:
    """Yield what is known of the user of a session, and whether that still counts.

    Both by all that its cookie may say.
    """
    user, grant, rules = found.base.get(WHO), found.grant, visit.rules
    if user is None or grant is None or not rules.follows:
        yield found, True
        return
    moment = records.get(model.moment(rules, user), _NONE)
    for stamp, signed_in in grant.signs:
        at = grant.signed_at * 1000 if signed_in is None else signed_in
        present = visit.passwords.get(user, 0) if rules.stamps else None
        counts = _counts(rules, stamp, at, user, visit.passwords, moment)
        yield found._replace(signed_in=at, stamp=present), counts


def _unread(grants: Mapping[str, Grant], visit: Visit) -> Iterator[_Loaded]:
    """Yield what a visit may have failed to read, which it can end all the same."""
    replaced: list[int] = []
    for grant in _acceptable(grants, visit)[:_MOST_TRIED]:
        number = _number(grant, visit.rules)
        if number is not None:
            yield _Loaded(number, replaced=tuple(replaced))
            replaced.append(number)


def _save(
    visit: Visit, records: Records, loaded: _Loaded | None
) -> Iterator[tuple[Records, Grant | None]]:
    """Yield what a visit may have saved, by the passwords of one time."""
    seen, draft = visit.seen, visit.draft
    if loaded is None or seen.saved == "no":
        if seen.cookie in (None, EXPIRED):
            yield records, None
        return
    if seen.saved in ("ends", "perhaps ends"):
        ended = _end(records, loaded) if draft.destroyed else records
        if seen.saved == "perhaps ends" and seen.cookie is None:
            yield records, None
        if seen.cookie is None or (draft.destroyed and seen.cookie == EXPIRED):
            yield ended, None
        return
    outcomes = list(_saves(visit, records, loaded))
    if seen.saved == "perhaps":
        if seen.cookie not in (None, EXPIRED):  # another session of the request failed
            yield from (each for each in outcomes if isinstance(each[1], Grant))
        else:
            yield records, None
            yield from ((after, None) for after, _ in outcomes)
            if draft.destroyed or draft.regenerates:
                yield _end(records, loaded), None
            state = None if loaded.record is None else records[loaded.record]
            if draft.regenerates and isinstance(state, Live) and visit.rules.place == "redis":
                marked = state._replace(marked_at=visit.now)  # and then it failed
                yield {**records, loaded.record: marked}, None  # type: ignore[dict-item]
        return
    for after, sent in outcomes:
        if sent is None or isinstance(sent, str):
            if seen.cookie == sent or (seen.cookie is None and not seen.delivered):
                yield after, None
        elif seen.cookie not in (None, EXPIRED):
            yield after, sent
        elif seen.cookie is None:
            yield after, sent if seen.delivered else None


def _end(records: Records, loaded: _Loaded) -> Records:
    """End what a visit has loaded."""
    own = () if loaded.record is None else (loaded.record,)
    return _ended(records, *loaded.replaced, *own)


def _ended(
    records: Records, *numbers: int, at: float | None = None, place: str | None = None
) -> Records:
    """End sessions; what has ended already stays as it is.

    Redis does not remember what was destroyed, so that the mark of another id may come later.
    """
    after = dict(records)
    for number in numbers:
        state = records[number]
        is_marked_late = (
            place == "redis" and isinstance(state, Gone) and state.superseded_at is None
        )
        if isinstance(state, Live) or (isinstance(state, Gone) and state.is_lost) or is_marked_late:
            marked_at = state.marked_at if isinstance(state, Live) else None
            after[number] = Gone(at if marked_at is None else marked_at)
    return after


def _saves(
    visit: Visit, records: Records, loaded: _Loaded
) -> Iterator[tuple[Records, Grant | str | None]]:
    """Yield the states that a save may leave, and the cookie: a grant, EXPIRED or None."""
    rules, draft, seen = visit.rules, visit.draft, visit.seen
    if seen.degraded and not draft.destroyed:
        yield records, None
        return
    if draft.destroyed:
        records = _end(records, loaded)
        loaded = _Loaded()
    is_changed = draft.modified
    if rules.by_content and not draft.destroyed:
        is_changed = draft.forced or draft.data != draft.base
    elif rules.by_content:
        is_changed = draft.forced or draft.data != {}
    if loaded.superseded and not draft.regenerates:
        yield records, None
        return
    max_age = draft.max_age if draft.sets_max_age else loaded.max_age
    data = draft.data
    if not is_changed:
        if draft.destroyed:
            yield records, EXPIRED
            return
        yield _refresh(visit, records, loaded, max_age)
        return
    is_stored = not rules.is_cookie or (rules.place is not None and "big" in data)
    state = None if loaded.record is None else records[loaded.record]
    states = [state, loaded.found]
    # Redis loses nothing by itself: what is missing there counts as ended.
    is_kept = rules.place == "redis"
    if any(isinstance(each, Gone) and (is_kept or not each.is_lost) for each in states):
        yield records, None  # another request was first to end it
        if loaded.record is not None and (draft.regenerates or not is_stored):
            # It leaves its mark before it finds that out.
            yield _ended(records, loaded.record, at=visit.now, place=rules.place), None
        return
    state = loaded.found or state
    if isinstance(state, Live) and rules.place in _SIGNED and state.key not in rules.keys:
        yield records, None  # for this application it is no session any more
    elif isinstance(state, Live) and rules.merges:
        if not draft.sets_max_age:
            max_age = state.max_age
        is_kept = draft.regenerates or max_age == state.max_age
        for merged in _merges(loaded.base, data, state.data, draft.assigned, is_kept):
            is_stored = not rules.is_cookie or (rules.place is not None and "big" in merged)
            yield from _stored(visit, records, loaded, merged, max_age, is_stored)
        return
    yield from _stored(visit, records, loaded, data, max_age, is_stored)


def _stored(
    visit: Visit,
    records: Records,
    loaded: _Loaded,
    data: Mapping[str, Any],
    max_age: int | None,
    is_stored: bool,
) -> Iterator[tuple[Records, Grant | str | None]]:
    draft, old = visit.draft, loaded.record
    state, known = loaded.found or (None if old is None else records[old]), loaded.owner
    if visit.rules.merges and isinstance(state, Live):
        known = state.owner
    if not is_stored:
        if old is not None:
            records = _ended(records, old, at=visit.now, place=visit.rules.place)
        if draft.regenerates:
            records = _ended(records, *loaded.replaced)
        yield records, _grant(visit, loaded, None, data, max_age, data)
        return
    records = _ended(records, *loaded.unreadable, at=visit.now, place=visit.rules.place)
    number = visit.number if old is None or draft.regenerates else old
    if draft.regenerates:
        former = loaded.replaced if old is None else (*loaded.replaced, old)
        records = _ended(records, *former, at=visit.now, place=visit.rules.place)
    grant = _grant(visit, loaded, number, {}, max_age, data)
    live = Live(data, max_age, visit.rules.signer[0], visit.now, visit.is_named)
    if visit.rules.follows and data.get(WHO) is not None:
        owner = _owner(visit, data[WHO], grant, known, max_age)
        live = live._replace(owner=owner, is_noted=visit.rules.is_indexed)
    yield {**records, number: live}, grant


def _owner(
    visit: Visit, user: str, grant: Grant, known: Owner | None, max_age: int | None
) -> Owner:
    """Return what a record says of its user.

    :param known: what it said before.
    """
    draft, [(stamp, signed_in)] = visit.draft, grant.signs
    if draft.signs_in or (known is not None and known.user != user):
        known = None
    began = visit.now if draft.signs_in else (signed_in or 0) / 1000
    began = began if known is None or known.began is None else known.began
    label = None if known is None else known.label
    return Owner(
        visit.name,
        user,
        signed_in or 0,
        began,
        stamp,
        draft.label if draft.sets_label else label,
        visit.now + _lifetime(visit, grant, max_age),
    )


def _lifetime(visit: Visit, grant: Grant, max_age: int | None) -> float:
    """Return for how many seconds what is written now may be opened."""
    rules = visit.rules
    age = rules.session_max_age if max_age is None else max_age
    limits = [] if age is None else [float(age)]
    if rules.absolute_max_age is not None and grant.began is not None:
        limits.append(grant.began + rules.absolute_max_age - visit.now)
    return min(limits, default=math.inf)


def _refresh(
    visit: Visit, records: Records, loaded: _Loaded, max_age: int | None
) -> tuple[Records, Grant | str | None]:
    after, grant = visit.rules.refresh_after, loaded.grant
    if after is None or grant is None or visit.now - grant.signed_at < after:
        damaged = visit.rules.expires_damaged and visit.cookies and grant is None
        return records, EXPIRED if damaged and visit.seen.cookie == EXPIRED else None
    if loaded.record is None:
        return records, _grant(visit, loaded, None, grant.data, max_age, grant.data)
    state = records[loaded.record]
    if not isinstance(state, Live):
        return records, None
    rules = visit.rules
    # A record that an older key has signed is signed again.
    key = rules.signer[0] if state.key in rules.keys else state.key
    new = _grant(visit, loaded, loaded.record, {}, max_age, loaded.base)
    owner = state.owner
    if owner is not None:
        owner = owner._replace(ends=visit.now + _lifetime(visit, new, max_age))
    state = state._replace(written=visit.now, key=key, owner=owner)
    return {**records, loaded.record: state}, new


def _grant(
    visit: Visit,
    loaded: _Loaded,
    record: int | None,
    data: Mapping[str, Any],
    max_age: int | None,
    held: Mapping[str, Any],
) -> Grant:
    """Return what a visit's cookie stands for.

    :param data: what is in the cookie.
    :param held: what is in the session.
    """
    rules, now = visit.rules, int(visit.now)
    user, stamp, signed_in = held.get(WHO), None, None
    if rules.follows and user is not None:
        draft = visit.draft
        signed_in = int(visit.now * 1000) if draft.signs_in else loaded.signed_in
        signed_in = max(signed_in, draft.earliest)
        is_asked = draft.signs_in or draft.regenerates
        stamp = visit.passwords.get(user, 0) if is_asked else loaded.stamp
    began = None
    if rules.absolute_max_age is not None:
        began = now
        if loaded.grant is not None:
            grant = loaded.grant
            began = grant.signed_at if grant.began is None else grant.began
    return Grant(
        visit.name,
        now,
        rules.signer,
        rules.is_encrypted,
        record,
        None if record is None else rules.place,
        _frozen(data),
        max_age,
        began,
        rules.namespace if record is not None else "",
        signs=((stamp if rules.stamps else None, None if rules.revokes is None else signed_in),),
    )


class _frozen(dict[str, Any]):  # noqa: N801 # a dictionary that can be in a set
    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(self))


def _merges(
    base: Mapping[str, Any],
    mine: Mapping[str, Any],
    theirs: Mapping[str, Any],
    assigned: set[str],
    is_kept: bool,
) -> Iterator[dict[str, Any]]:
    """Yield what a merge may come to.

    Requests that add the same message, and make the same changes otherwise, leave one message.

    :param is_kept: whether nothing beside the data is to be saved.
    """
    merged = _merge(base, mine, theirs, assigned)
    was, now, left = (each.get("_flash", []) for each in (base, theirs, merged))
    others, doubled = _without(now, was), _without(left, now)
    is_same = {**merged, "_flash": []} == {**theirs, "_flash": []}
    if (
        is_kept
        and doubled
        and is_same
        and not _without(now, left)
        and not _without(doubled, others)
    ):
        yield dict(theirs)
    yield merged


def _merge(
    base: Mapping[str, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any], assigned: set[str]
) -> dict[str, Any]:
    """Merge as docs/reliability.md says: by key, and messages one by one."""
    if dict(base) == dict(theirs):
        return dict(mine)
    merged = dict(theirs)
    for key in {*base, *mine, *assigned}:
        if key not in assigned and base.get(key) == mine.get(key):
            continue
        if key == "_flash":
            was, new, now = (each.get(key, []) for each in (base, mine, theirs))
            left = [*_without(now, _without(was, new)), *_without(new, was)]
            merged[key] = left
            if not left:
                del merged[key]
        elif key in mine:
            merged[key] = mine[key]
        else:
            merged.pop(key, None)
    return merged


def _without(messages: list[Any], others: list[Any]) -> list[Any]:
    """Return messages without others, each of which takes away one that is equal."""
    others, left = [*others], []
    for message in messages:
        if message in others:
            others.remove(message)
        else:
            left.append(message)
    return left


def _told(model: Model, visits: list[Visit], involved: set[int], deeds: Sequence[Deed] = ()) -> str:
    lines = ["no order of loads and saves explains what was seen:"]
    for visit in visits:
        seen = visit.seen
        kinds = [model.grants.get(text) for text in visit.cookies]
        lines.append(
            f"  visit {visit.number} of {visit.name!r} at {visit.now:.0f} by {visit.rules}\n"
            f"    visit: {visit.story}\n"
            f"    cookies {kinds}\n    saw {seen.opened}, degraded {seen.degraded}; "
            f"saved {seen.saved!r}, times {seen.times}\n"
            f"    cookie {'-' if seen.cookie is None else seen.cookie[:12]}, "
            f"delivered {seen.delivered}\n"
            f"    wanted to hold {visit.draft.data}, modified {visit.draft.modified}, "
            f"renewed {visit.draft.regenerates}, destroyed {visit.draft.destroyed}, "
            f"refused {seen.is_refused}, signs in {visit.draft.signs_in}, "
            f"passwords {seen.passwords}"
        )
    lines += [f"  deed {deed}" for deed in deeds]
    lines += [f"  session {number} may be {model.records[number]}" for number in involved]
    return "\n".join(lines)
