"""The cache, a record and some processes as a model of all that may happen, and what is promised.

Nothing happens between two questions of a process, and anything may happen before one.

A record's data is its version: 1, 2, ... A deletion has a version as well. What is promised is that
no reader gets what is older than the newest version of a process that has finished, of which it may
also have heard by being refused: in every state, since a reader may begin in any. A process that
deletes and dies has promised as much. Where this does not hold is said by :class:`Model`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

from webapp2_sessions.stored.cache import CoherentCache
from world.explorer import Explorer, Found
from world.processes import (
    ANYTHING,
    BREAKS,
    DELETING,
    ENDING,
    FAILS,
    FULL,
    PRESENT,
    REFUSES,
    Point,
    version_of,
)

STALE = b""
TOMBSTONE = b"closed"

#: How long the clock moves at once, in seconds: no request takes longer, entries live longer.
PAUSE = 600

#: Whether a process reaches the cache: yes; not for as long as it runs, though what it sends
#: without waiting arrives; no.
REACHES, PAUSES, IS_CUT_OFF = range(3)


class Entry(NamedTuple):
    """What is in the cache."""

    data: bytes
    #: What compare-and-set compares.
    cas: int
    #: Whether it outlives a pause.
    lasts: bool
    #: Whether it has been there before the last pause; only then it may be evicted.
    is_aged: bool = False


class Process(NamedTuple):
    """One that runs."""

    name: str
    point: Point
    #: Whether its idle connection is to the server that runs; ``None`` if it has none.
    is_connected: bool | None = None
    contact: int = REACHES
    #: The newest version of the record that readers may expect to see when it has finished.
    version: int = 0
    #: Whether it could not even send the cache what it wanted to be there.
    is_mute: bool = False
    #: Whether its last tombstone is not there, for all it knows.
    has_failed: bool = False


class Record(NamedTuple):
    """What is in the record's store."""

    #: Of what was written or deleted last.
    version: int
    is_there: bool = True
    #: Whether there is the mark of a session that was ended.
    is_ended: bool = False


class Message(NamedTuple):
    """What arrives some time."""

    sender: str
    question: tuple[Any, ...]
    #: As of :class:`Process`, if it had finished before this arrives.
    version: int = 0


class State(NamedTuple):
    """All that there is."""

    processes: tuple[Process, ...]
    entry: Entry | None
    record: Record
    #: How many faults may still happen, and how often the clock may still move.
    faults: int
    pauses: int
    messages: tuple[Message, ...] = ()
    clock: int = 0
    #: No entry may be older, and whether there may be none.
    promised: int = 0
    is_gone: bool = False
    #: Whether the server is silent; what is sent to it arrives when it goes on.
    is_frozen: bool = False
    #: What compare-and-set may compare once more after a restart.
    former: tuple[int, ...] = ()


class Scenario(NamedTuple):
    """What runs at once, and what may happen to it.

    :param scripts: names of `SCRIPTS`.
    :param begins: what is in the cache: nothing ("cold"), the record ("warm"), a mark ("stale"), or
        what was the record before one that died has written it ("old").
    :param faults: the kinds that may happen, of :data:`FAULTS`.
    :param at_most: how many of them.
    :param pauses: how often ten minutes may pass.
    """

    scripts: str
    begins: str = "cold"
    faults: frozenset[str] = frozenset()
    at_most: int = 0
    pauses: int = 0

    def initial(self, cache: type[CoherentCache]) -> State:
        """Return the state at first."""
        names = self.scripts.split()
        known: dict[Hashable, Point] = {}
        points = {name: Point(cache, name, (), known) for name in names}
        entry = {"cold": None, "warm": b"v2", "stale": STALE, "old": b"v1"}[self.begins]
        return State(
            tuple(Process(f"{name} {'ABCDE'[i]}", points[name]) for i, name in enumerate(names)),
            None if entry is None else Entry(entry, 1, True),
            Record(2),
            self.at_most,
            self.pauses,
            promised=1 if self.begins == "old" else 2,
        )


#: What may happen to one message to the cache ...
MESSAGE_FAULTS = frozenset({"lost", "unanswered", "late", "twice", "full"})
#: ... to a process and its way to it ...
PROCESS_FAULTS = frozenset({"dies", "pauses", "cut off"})
#: ... to the cache ...
SERVER_FAULTS = frozenset({"restarts", "evicts", "freezes"})
#: ... to the record's store ...
RECORD_FAULTS = frozenset({"record lost", "record unanswered", "record late"})
#: ... and all of it.
FAULTS = MESSAGE_FAULTS | PROCESS_FAULTS | SERVER_FAULTS | RECORD_FAULTS

#: What is known to break what is promised, so that it is no part of the above: a server that comes
#: back with what it had some time ago, a process that stands still after it has looked at the
#: clock, and what is sent without waiting for an answer and gets lost.
BEYOND = frozenset({"restores", "stands still", "sent in vain"})

STORES = frozenset({"add", "cas", "set", "send", "delete"})
OF_RECORD = frozenset({"load", "put", "erase", "end", "is ended"})


class Model:
    """What can happen in which state, and what is promised.

    :param cache: the class of the cache.
    :param excuses: whether a promise counts as kept where it is known not to hold: of a process
        that could not even send to the cache, which a deletion raises; of a writer that died on its
        way; and while one has saved a session that was purged, and has yet to ask whether it was
        ended as well. What was sent without waiting arrives first.
    """

    def __init__(
        self,
        scenario: Scenario,
        cache: type[CoherentCache] = CoherentCache,
        excuses: bool = True,
    ) -> None:
        self._scenario = scenario
        self._cache = cache
        self._excuses = excuses
        self._may = {kind: kind in scenario.faults for kind in FAULTS | BEYOND}
        scripts = scenario.scripts.split()
        self._is_quiet = not DELETING.intersection(scripts)
        is_plain = scenario.begins != "old" and not scenario.at_most
        self._is_alone = self._is_quiet and is_plain and len(scripts) == 1

    def explore(self) -> Found:
        """Visit all states."""
        explorer = Explorer(self.relevant_steps, self.problem_of, self.key)
        return explorer.search(self._scenario.initial(self._cache))

    # Promises

    def problem_of(self, state: State) -> str | None:
        """Return which promise does not hold, for readers that begin in this state."""
        entry, promised, version = state.entry, state.promised, None
        if entry is not None:
            version = version_of(entry.data)
            is_old = version is not None and version < promised
            if is_old:
                return f"readers get version {version}, and whoever made {promised} has finished"
            is_quiet = self._is_quiet and state.faults == self._scenario.at_most
            if is_quiet and entry.data == TOMBSTONE:
                return "readers miss for an hour, and nothing was deleted"
        is_back = state.record.is_there or ((version or 0) > promised and not state.messages)
        if state.is_gone and is_back and not (self._excuses and _is_undoing(state)):
            return "the session is back"
        if self._is_alone and not state.processes:
            newest = b"v%d" % state.record.version
            if entry is None or entry.data != newest:
                return "the next reader misses, and nobody was in the way"
        return None

    @staticmethod
    def key(state: State) -> Hashable:
        """Return the same for two states that differ in names only."""
        if state.messages:
            return state
        nameless = sorted((each[1:] for each in state.processes), key=hash)
        return (*nameless, *state[1:])

    # Steps

    def relevant_steps(self, state: State) -> Iterator[tuple[Any, State]]:
        """Return what may happen next, without messages that change nothing when they arrive."""
        for step, following in self.steps(state):
            if following.messages:
                left = (each for each in following.messages if _matters(each, following))
                following = following._replace(messages=tuple(sorted(left, key=hash)))
            yield step, following

    def steps(self, state: State) -> Iterator[tuple[Any, State]]:
        """Return what may happen next."""
        for number, process in enumerate(state.processes):
            yield from self._turns(state, number, process)
            if state.faults and self._may["dies"] and process.point.answers:
                rest = (*state.processes[:number], *state.processes[number + 1 :])
                left = state._replace(processes=rest, faults=state.faults - 1)
                is_excused = process.point.script not in ENDING or process.has_failed
                if not (self._excuses and is_excused):
                    left = _promised(left, process.name, process.version)
                else:
                    left = _excused(left, process.name)
                yield (process.name, "dies"), left
        for number, message in enumerate(state.messages):
            if not state.is_frozen or message.question[0] in OF_RECORD:
                rest_of = (*state.messages[:number], *state.messages[number + 1 :])
                yield from self._arrivals(state._replace(messages=rest_of), message)
        if state.pauses:
            yield ("ten minutes pass",), _paused(state)
        if state.is_frozen:
            yield ("the cache goes on",), state._replace(is_frozen=False)
        if state.faults:
            yield from self._accidents(state._replace(faults=state.faults - 1))

    def _accidents(self, state: State) -> Iterator[tuple[Any, State]]:
        """Return what may happen to the cache."""
        may, entry = self._may, state.entry
        if may["restarts"]:
            yield ("the cache restarts empty",), _restarted(state, None)
        if may["restores"]:
            for version in range(1, state.record.version + 1):
                old = Entry(b"v%d" % version, 1, True)
                yield (f"the cache restarts with v{version}",), _restarted(state, old)
        if may["evicts"] and entry is not None and entry.is_aged:
            yield ("the entry is evicted",), state._replace(entry=None)
        if may["freezes"] and not state.is_frozen:
            yield ("the cache falls silent",), state._replace(is_frozen=True)

    def _turns(self, state: State, number: int, process: Process) -> Iterator[tuple[Any, State]]:
        """Let a process put its next question."""
        question = process.point.question
        while question == ("now",):
            process = process._replace(point=process.point.after(state.clock))
            question = process.point.question
            if state.faults and self._may["stands still"] and question[0] == "add":
                slow = state._replace(faults=state.faults - 1)
                yield (process.name, "stands still"), self._after(slow, number, process)
        if isinstance(question, str):
            yield (process.name, question), self._after(state, number, process)
            return
        turns = self._at_record if question[0] in OF_RECORD else self._at_cache
        for effect, answer, losses, following, changed in turns(state, process, question):
            if question[0] == "set":
                changed = changed._replace(has_failed=answer == FAILS)
            changed = changed._replace(point=process.point.after(answer, losses))
            yield (
                (process.name, question, effect, answer),
                self._after(following, number, changed),
            )

    def _at_cache(
        self, state: State, process: Process, question: tuple[Any, ...]
    ) -> Iterator[tuple[str, Any, int, State, Process]]:
        """Answer a question in every way, those of faults included.

        :returns: what happens, the answer, how many connections are lost over it, and the state and
            the process after it.
        """
        operation = question[0]
        if operation == "send":
            yield from self._sent(state, process, question)
            return
        failed = process._replace(is_connected=None)
        if process.contact != REACHES:
            yield "not sent", FAILS, 0, state, failed
            return
        message = Message(process.name, question)
        delayed = state._replace(messages=(*state.messages, message))
        delayed = delayed if operation in STORES else state
        if state.is_frozen:
            yield "late", FAILS, 1, delayed, failed
            yield "late, and no more", FAILS, 1, delayed, failed._replace(contact=PAUSES)
            return
        losses = int(process.is_connected is False)
        connected = process._replace(is_connected=True)
        if losses and operation in ("add", "cas"):
            yield "refused by the client", False, losses, state, process._replace(is_connected=None)
            return
        for answer, entry in _answers(state, question):
            done = _stored(state, entry)
            yield "", answer, losses, done, connected
            if not state.faults:
                continue
            fewer = done._replace(faults=state.faults - 1)
            if operation in STORES:
                for effect in self._effects("unanswered"):
                    yield (effect[0], FAILS, 1, fewer, failed._replace(contact=effect[1]))
                if self._may["twice"]:
                    twice = fewer._replace(messages=delayed.messages)
                    yield "and once more later", answer, losses, twice, connected
        if not state.faults:
            return
        fewer = state._replace(faults=state.faults - 1)
        for effect in self._effects("lost"):
            yield effect[0], FAILS, 1, fewer, failed._replace(contact=effect[1])
        if operation in STORES:
            late = delayed._replace(faults=state.faults - 1)
            for effect in self._effects("late"):
                yield effect[0], FAILS, 1, late, failed._replace(contact=effect[1])
            if self._may["full"]:
                # memcached removes what a "set" should have replaced.
                is_removed = operation == "set" and state.entry is not None and state.entry.is_aged
                left = fewer._replace(entry=None) if is_removed else fewer
                yield "no memory left", FULL, 0, left, connected
        if self._may["cut off"]:
            yield "cut off", FAILS, 1, fewer, failed._replace(contact=IS_CUT_OFF)

    def _effects(self, kind: str) -> Iterator[tuple[str, int]]:
        if self._may[kind]:
            yield kind, REACHES
            if self._may["pauses"]:
                yield f"{kind}, and asks no more", PAUSES

    def _sent(
        self, state: State, process: Process, question: tuple[Any, ...]
    ) -> Iterator[tuple[str, Any, int, State, Process]]:
        """Take what is sent without waiting for an answer, as :meth:`_at_cache`."""
        if process.contact == IS_CUT_OFF:
            yield "not sent", FAILS, 0, state, process._replace(is_mute=True)
            return
        message = Message(process.name, question)
        yield "", None, 0, state._replace(messages=(*state.messages, message)), process
        if state.faults:
            fewer = state._replace(faults=state.faults - 1)
            if self._may["cut off"]:
                yield "not sent", FAILS, 0, fewer, process._replace(is_mute=True)
            if self._may["sent in vain"]:
                yield "lost", None, 0, fewer, process

    def _at_record(
        self, state: State, process: Process, question: tuple[Any, ...]
    ) -> Iterator[tuple[str, Any, int, State, Process]]:
        """Answer a question to the record's store, as :meth:`_at_cache`."""
        answer, record = _of_record(state.record, question)
        writes = question[0] in ("put", "erase")
        version = record.version if writes else process.version
        done = state._replace(record=record)
        yield "", answer, 0, done, process._replace(version=version)
        if not state.faults:
            return
        fewer = state._replace(faults=state.faults - 1)
        for error in (FAILS, BREAKS) if question[0] == "put" else (FAILS,):
            if self._may["record lost"]:
                yield "lost", error, 0, fewer, process
            if writes and self._may["record unanswered"]:
                changed = fewer._replace(record=record)
                version = record.version if record != state.record else process.version
                yield "unanswered", error, 0, changed, process._replace(version=version)
            if writes and self._may["record late"]:
                message = Message(process.name, question)
                late = fewer._replace(messages=(*state.messages, message))
                yield "late", error, 0, late, process

    def _after(self, state: State, number: int, process: Process) -> State:
        """Return the state after a process has got an answer; one that has finished goes."""
        before, after = state.processes[:number], state.processes[number + 1 :]
        end = process.point.question
        if not isinstance(end, str):
            return state._replace(processes=(*before, process, *after))
        state = state._replace(processes=(*before, *after))
        if process.point.script in ENDING and end == "returns":
            state = state._replace(is_gone=True)
        elif self._excuses and (process.is_mute or process.point.script == "purger"):
            return _excused(state, process.name)
        return _promised(state, process.name, process.version)

    def _arrivals(self, state: State, message: Message) -> Iterator[tuple[Any, State]]:
        """Let a message arrive."""
        label = message.sender, message.question, "arrives"
        if message.question[0] not in OF_RECORD:
            for answer, entry in _answers(state, message.question):
                promised = max(state.promised, message.version)
                yield (*label, answer), _stored(state._replace(promised=promised), entry)
            return
        answer, record = _of_record(state.record, message.question)
        changed = state._replace(record=record)
        if record != state.record:
            for number, process in enumerate(state.processes):
                if process.name == message.sender:
                    running = [*state.processes]
                    running[number] = process._replace(version=record.version)
                    changed = changed._replace(processes=tuple(running))
                    break
            else:
                if message.version >= 0:
                    changed = _promised(changed, message.sender, record.version)
        yield (*label, answer), changed


def _is_undoing(state: State) -> bool:
    """Return whether one has saved a session that was purged, and has yet to ask for the mark."""
    return any(each.point.script == "saver" for each in state.processes)


def _promised(state: State, name: str, version: int) -> State:
    """Note what a process has told; what it has sent without waiting arrives first."""
    for number, message in enumerate(state.messages):
        if message.sender == name and message.question[0] == "send":
            messages = [*state.messages]
            messages[number] = message._replace(version=max(version, message.version))
            return state._replace(messages=tuple(messages))
    return state._replace(promised=max(state.promised, version))


def _excused(state: State, name: str) -> State:
    """Note that a process could not tell, and that neither can what it has on its way."""
    messages = (
        each._replace(version=-1) if each.sender == name else each for each in state.messages
    )
    return state._replace(messages=tuple(messages))


def _paused(state: State) -> State:
    entry = state.entry
    if entry is not None:
        entry = entry._replace(is_aged=True) if entry.lasts else None
    return state._replace(clock=state.clock + PAUSE, pauses=state.pauses - 1, entry=entry)


def _restarted(state: State, entry: Entry | None) -> State:
    """Nothing that was on its way to the server reaches it; its clients notice when they ask."""
    processes = tuple(
        each._replace(is_connected=False) if each.is_connected else each for each in state.processes
    )
    messages = tuple(each for each in state.messages if each.question[0] in OF_RECORD)
    told = (each.version for each in state.messages if each.question[0] not in OF_RECORD)
    return state._replace(
        processes=processes,
        messages=messages,
        entry=entry,
        is_frozen=False,
        promised=max(state.promised, *told, 0),
        former=tuple(sorted({*_known(state), *state.former})),
    )


def _matters(message: Message, state: State) -> bool:
    """Return whether it makes a difference that a message arrives, now or later."""
    operation, entry = message.question[0], state.entry
    if operation == "cas":
        return entry is not None and entry.cas == message.question[3]
    may_go = entry is None or state.faults or (state.pauses and not entry.lasts)
    if operation in OF_RECORD or entry is None or may_go:
        return True
    return operation != "add" and entry.data != TOMBSTONE


def _stored(state: State, entry: Entry | None) -> State:
    """Return the state with another entry; what a server compares, it does not use twice."""
    former = state.former
    if former and entry is not None and entry is not state.entry:
        former = tuple(number for number in former if number != entry.cas)
    return state._replace(entry=entry, former=former)


def _known(state: State) -> Iterator[int]:
    """Return what somebody might still compare with."""
    for process in state.processes:
        for answer, _ in process.point.answers:
            if type(answer) is tuple and answer[1] is not None:
                yield answer[1]
    for message in state.messages:
        if message.question[0] == "cas":
            yield message.question[3]


def _answers(
    state: State, question: tuple[Any, ...]
) -> tuple[tuple[Any, Entry | None], ...] | list[tuple[Any, Entry | None]]:
    """Return each answer that the cache may give to a question, and what is there then."""
    operation, entry = question[0], state.entry
    if operation == "get":
        return ((None if entry is None else entry.data, entry),)
    if operation == "gets":
        return (((None, None) if entry is None else (entry.data, entry.cas), entry),)
    if operation == "delete":
        return ((None, None),)
    if operation == "add" and entry is not None:
        return ((False, entry),)
    if operation == "cas" and (entry is None or entry.cas != question[3]):
        return ((False, entry),)
    known = {*_known(state), *state.former}
    new = next(number for number in range(1, 99) if number not in known)
    lasts = question[2] > PAUSE
    return [(True, Entry(question[1], cas, lasts)) for cas in (new, *state.former)]


def _of_record(record: Record, question: tuple[Any, ...]) -> tuple[Any, Record]:
    """Return the answer of the record's store, and the record then."""
    version, is_there, is_ended = record
    match question:
        case ("load",):
            return version if is_there else None, record
        case ("end",):
            return None, record._replace(is_ended=True)
        case ("is ended",):
            return is_ended, record
        case ("erase", expected) if expected == ANYTHING:
            return None, record._replace(
                version=version + 1, is_there=False
            ) if is_there else record
        case ("put", expected) if expected == ANYTHING:
            return version + 1, record._replace(version=version + 1, is_there=True)
    if not is_there or question[1] not in (PRESENT, version):
        return REFUSES, record
    return version + 1, record._replace(version=version + 1, is_there=question[0] == "put")
