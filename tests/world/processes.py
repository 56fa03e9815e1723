"""Processes that use the cache as the package does: code that is determined by the answers it gets.

So how far a process has come is told by these, and not by a thread or a stack that waits. To find
out what it asks next, it is run from its beginning with them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterator
from types import FrameType
from typing import Any

from webapp2_sessions.errors import BackendError, BackendUnavailable
from webapp2_sessions.stored.cache import CoherentCache, Token

#: What a write of the record expects, where it is not a version.
ANYTHING, PRESENT = -2, -1

#: Answers that are raised.
FAILS, FULL, BREAKS, REFUSES = "fails", "is full", "breaks off", "refuses"


class RefusedError(Exception):
    """The record was not written, for it has another version or is gone."""


class TransientError(Exception):
    """The record's store has failed, and is asked once more."""


class Pending(BaseException):
    """The code has asked what has no answer yet."""


class Replay:
    """Runs a process from its beginning: the store of its cache, and of its record.

    :param cache: the class of the cache.
    :param answers: pairs of an answer and how many connections were lost over it.
    """

    backend = "memcache"

    def __init__(self, cache: type[CoherentCache], answers: tuple[Any, ...]) -> None:
        self._answers = iter(answers)
        #: How many connections were lost; a token has it, and its server.
        self.lost = 0
        #: The first question without an answer ...
        self.question: tuple[Any, ...] | None = None
        #: ... and where in the code it is asked, with all that the code has in variables there.
        self.place: tuple[Any, ...] = ()
        self.cache = cache(self)
        self.cache._now = lambda: self.ask("now")

    def ask(self, *question: Any) -> Any:
        """Return the answer to a question that the code puts to the world."""
        if self.question is None:
            for answer, losses in self._answers:
                self.lost += losses
                if answer == FAILS:
                    raise BackendUnavailable("memcache", "model", FAILS)
                if answer == FULL:
                    raise BackendError("memcache", "model", FULL)
                if answer == BREAKS:
                    raise TransientError()
                if answer == REFUSES:
                    raise RefusedError()
                return answer
            self.question = question
            self.place = (question, self.lost, *_locals(sys._getframe(1)))
        raise Pending()

    # The store of the cache

    def key(self, name: str) -> bytes:
        return name.encode()

    def address(self, key: bytes) -> str:
        return "model"

    def encode(self, key: bytes, value: int) -> bytes:
        return b"v%d" % value

    def decode(self, key: bytes, data: bytes | None) -> int | None:
        return version_of(data)

    def get(self, key: bytes) -> bytes | None:
        return self.ask("get")  # type: ignore[no-any-return]

    def absent(self, key: bytes) -> Token:
        return Token(None, self, self.lost)

    def gets(self, key: bytes) -> tuple[bytes | None, Token]:
        before = self.lost
        data, cas = self.ask("gets")
        return data, self.absent(key) if data is None else Token(cas, self, before)

    def fill(self, key: bytes, data: bytes, token: Token, lifetime: float) -> bool:
        if token.lost != self.lost:
            return False
        if token.cas is None:
            return self.ask("add", data, lifetime)  # type: ignore[no-any-return]
        return self.ask("cas", data, lifetime, token.cas)  # type: ignore[no-any-return]

    def set(self, key: bytes, data: bytes, lifetime: float) -> None:
        self.ask("set", data, lifetime)

    def set_noreply(self, key: bytes, data: bytes, lifetime: float) -> None:
        self.ask("send", data, lifetime)

    def drop(self, key: bytes) -> None:
        self.ask("delete")

    # The store of the record

    def load(self) -> int | None:
        """Return the record."""
        return self.ask("load")  # type: ignore[no-any-return]

    def put(self, expected: int) -> int:
        """Write the record if it is as expected; return its version."""
        return self.ask("put", expected)  # type: ignore[no-any-return]

    def erase(self, expected: int = ANYTHING) -> None:
        """Delete the record if it is as expected."""
        self.ask("erase", expected)

    def end(self) -> None:
        """Leave the mark of a session that was ended."""
        self.ask("end")

    def is_ended(self) -> bool:
        """Return whether there is that mark."""
        return self.ask("is ended")  # type: ignore[no-any-return]


def _locals(frame: FrameType | None) -> Iterator[Hashable]:
    """Return where each calling function is, and the values that it has."""
    while frame is not None and frame.f_code is not Point.__init__.__code__:
        values = (
            (name, (value.cas, value.lost) if isinstance(value, Token) else value)
            for name, value in frame.f_locals.items()
            if isinstance(value, (int, float, str, bytes, tuple, type(None)))
        )
        yield frame.f_code, frame.f_lasti, *values
        frame = frame.f_back


def version_of(data: bytes | None) -> int | None:
    """Return the version of an entry's data; ``None`` for a mark, a tombstone and nothing."""
    return int(data[1:]) if data is not None and data.startswith(b"v") else None


def reader(world: Replay) -> None:
    """Load a session, as `SessionRepository.load()`."""
    world.cache.read("name", world.load)


def writer(world: Replay) -> None:
    """Save a session whatever others have saved, as `SessionRepository.write()`."""
    _write(world, PRESENT)


def merger(world: Replay) -> None:
    """Save a session by compare-and-set, as `Merger.save()`."""
    version = world.cache.read("name", world.load)
    while version is not None:
        try:
            _write(world, version)
        except RefusedError:
            version = world.load()
        else:
            return


def toucher(world: Replay) -> None:
    """Refresh a session unless others save it meanwhile, as `SessionRepository.touch()`."""
    version = world.load()
    if version is not None:
        _write(world, version)


def _write(world: Replay, expected: int) -> None:
    """Do as `Datastore.run()`, which tries again after a transient fault."""

    def write() -> None:
        world.cache.write("name", lambda: world.put(expected), None, (RefusedError,))

    try:
        write()
    except TransientError:
        write()


def saver(world: Replay) -> None:
    """Save a session, also if it was purged, as `DatastoreSessionFactory._write()`."""
    try:
        _write(world, PRESENT)
    except RefusedError:
        if not world.is_ended():
            _write(world, ANYTHING)
            if world.is_ended():
                dropper(world)


def ender(world: Replay) -> None:
    """End a session for good, as `SessionRepository.revoke()`."""
    world.end()
    deleter(world)


def deleter(world: Replay) -> None:
    """End a session that nobody saves again after a purge, so that it needs no mark."""

    def delete() -> None:
        while (version := world.load()) is not None:
            try:
                world.erase(version)
            except RefusedError:
                continue
            return

    world.cache.delete("name", delete)


def dropper(world: Replay) -> None:
    """Delete a record whatever it is, as `SessionRepository.drop()`."""
    world.cache.delete("name", world.erase)


def purger(world: Replay) -> None:
    """Delete a record, and forget its entry then, as a purge."""
    world.erase()
    world.cache.forget("name")


SCRIPTS: dict[str, Callable[[Replay], None]] = {
    each.__name__: each
    for each in (
        *(reader, writer, merger, toucher, saver),
        *(ender, deleter, dropper, purger),
    )
}

#: Those that tell the cache before they delete the record, so that they may die on the way ...
ENDING = frozenset({"ender", "deleter", "dropper"})
#: ... and all after which the record is gone.
DELETING = ENDING | {"purger"}


class Point:
    """How far a process has come: it asks something, or has ended.

    :param cache: the class of the cache.
    :param script: what runs.
    :param answers: pairs of an answer and how many connections were lost over it.
    :param known: all points by their places in the code. Processes share one if it makes no
        difference what answers have led there.
    """

    def __init__(
        self,
        cache: type[CoherentCache],
        script: str,
        answers: tuple[Any, ...],
        known: dict[Hashable, Point],
    ) -> None:
        self._cache = cache
        self._known = known
        self.script = script
        self.answers = answers
        #: What it asks next, or how it ended.
        self.question: tuple[Any, ...] | str = "returns"
        self._next: dict[Any, Point] = {}
        replay = Replay(cache, answers)
        try:
            SCRIPTS[script](replay)
        except Pending:
            assert replay.question is not None
            self.question = replay.question
        except (BackendError, RefusedError, TransientError) as error:
            self.question = f"raises {type(error).__name__}"
        self.place = script, self.question, replay.place

    def after(self, answer: Any, losses: int = 0) -> Point:
        """Return the point that an answer leads to."""
        point = self._next.get((answer, losses))
        if point is None:
            answers = (*self.answers, (answer, losses))
            point = Point(self._cache, self.script, answers, self._known)
            point = self._next[answer, losses] = self._known.setdefault(point.place, point)
        return point
