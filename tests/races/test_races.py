"""Requests of several threads and processes at once on one session: merging loses nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from support.racing import PATIENCE, Outcome, Racers, Step, Task
from support.stores_under_test import StoreUnderTest
from support.visits import Visitor

#: Rounds of a race. A round takes as long in memcached as a request in Datastore.
ROUNDS = {"memcache": 48, "redis": 48, "datastore": 12}

#: Rounds in each of which a session is destroyed.
ENDS = {"memcache": 200, "redis": 200, "datastore": 6}

#: Threads of one process that save one session without a pause, and how often each of them does.
THREADS = 20
SAVES = {"memcache": 25, "redis": 25, "datastore": 2}

#: Keys of the flash messages that are added in a race.
FLASH_KEYS = ("_flash", "notices")


class Ledger:
    """What the participants of a race do in each round, and what has to come of it."""

    def __init__(self, participants: int) -> None:
        self._participants = participants
        #: What the session has to hold, besides flash messages.
        self.values: dict[str, Any] = {}
        #: Messages that were added, and those that a saved request has shown.
        self.added: Counter[str] = Counter()
        self.shown: Counter[str] = Counter()

    def round(self, number: int) -> list[list[Step]]:
        """The steps of each request of a round."""
        return [self._steps(racer, number) for racer in range(self._participants)]

    def _steps(self, racer: int, number: int) -> list[Step]:
        if (racer + number) % 5 == 4:
            return []  # it only reads
        steps: list[Step] = [("count", f"count {racer}"), ("set", f"last {racer}", [number, racer])]
        self.values[f"last {racer}"] = [number, racer]
        self.values[f"count {racer}"] = self.values.get(f"count {racer}", 0) + 1
        own = f"own {racer}"
        if own in self.values:
            steps.append(("delete", own))
            del self.values[own]
        else:
            steps.append(("set", own, number))
            self.values[own] = number
        if racer == number % self._participants:
            steps += [("show", key) for key in FLASH_KEYS]
        for key, each in zip(FLASH_KEYS, (3, 4), strict=True):
            if (racer + number) % each == 0:
                steps.append(("flash", f"{key} {racer} {number}", key))
                self.added[f"{key} {racer} {number}"] += 1
        return steps

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Note what requests have shown."""
        for outcome in outcomes:
            self.shown.update(outcome.shown)

    def difference(self, data: Mapping[str, Any]) -> list[object]:
        """What is stored and ought not to be, or the other way round; each with its values."""
        values = {key: value for key, value in data.items() if key not in FLASH_KEYS}
        wrong: list[object] = [
            (key, values.get(key), self.values.get(key))
            for key in values.keys() | self.values.keys()
            if values.get(key) != self.values.get(key)
        ]
        left = Counter(message for key in FLASH_KEYS for message, _ in data.get(key, []))
        seen = left + self.shown
        return wrong + list(((seen - self.added) + (self.added - seen)).items())


def race(
    target: StoreUnderTest,
    racers: Racers,
    visitor: Visitor,
    requests: Sequence[Sequence[Step]],
    number: int,
) -> list[Outcome]:
    """The outcomes of requests on a visitor's session; in each second round all load it first."""
    task = Task(
        target.config,
        target.backend,
        visitor.cookies,
        requests,
        number % 2 == 1,
        target.environment,
    )
    return racers.run(task)


def errors(outcomes: Sequence[Outcome]) -> list[str]:
    """What went wrong in requests; a save that gives up is among it."""
    return [outcome.error for outcome in outcomes if outcome.error is not None]


def test_nothing_is_lost(target: StoreUnderTest, racers: Racers) -> None:
    """Each value, deletion and message of each request is there after each round, once."""
    visitor, ledger = target.visitor(), Ledger(racers.count)
    sid = str(visitor.write({"kept": 1}))
    ledger.values["kept"] = 1
    for number in range(ROUNDS[target.backend]):
        target.prepare(visitor, sid, number // 2)
        outcomes = race(target, racers, visitor, ledger.round(number), number)
        ledger.take(outcomes)
        data = visitor.read()
        assert (errors(outcomes), ledger.difference(data)) == ([], []), f"round {number}"
        assert target.disagreement(sid, data) is None, f"round {number}"
    assert ledger.shown, "no message was read while others were added"


def test_counters_are_exact(target: StoreUnderTest, racers: Racers) -> None:
    """Requests without a pause, each of which counts under a key of its own."""
    visitor = target.visitor()
    sid = str(visitor.write({}))
    names = [f"count {racer}" for racer in range(racers.count)]
    rounds = ROUNDS[target.backend] // 2
    for number in range(rounds):
        outcomes = race(target, racers, visitor, [[("count", name)] for name in names], number)
        assert errors(outcomes) == []
    data = visitor.read()
    assert data == dict.fromkeys(names, rounds)
    assert target.disagreement(sid, data) is None


def test_many_threads_lose_nothing(target: StoreUnderTest) -> None:
    """Each save of each thread of a process is there: with twenty threads, none gives up."""
    visitor = target.visitor()
    sid = str(visitor.write({}))
    saves, together = SAVES[target.backend], Barrier(THREADS)

    def save(thread: int) -> None:
        own = Visitor(visitor.app, backend=target.backend)
        own.cookies.update(visitor.cookies)
        together.wait(PATIENCE)
        for number in range(saves):
            own.write({f"{thread} {number}": number})

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(save, range(THREADS)))
    data = visitor.read()
    assert data == {f"{thread} {n}": n for thread in range(THREADS) for n in range(saves)}
    assert target.disagreement(sid, data) is None


def test_destroyed_session_stays_destroyed(target: StoreUnderTest, racers: Racers) -> None:
    """One request destroys the session among others that change it: nothing brings it back."""
    requests: list[list[Step]] = [[("set", f"own {racer}", 1)] for racer in range(racers.count)]
    requests[racers.count // 2] = [("destroy",)]
    for number in range(ENDS[target.backend]):
        visitor = target.visitor()
        sid = str(visitor.write({"user": "alice"}))
        target.prepare(visitor, sid, number // 2)
        last = Visitor(visitor.app, backend=target.backend)
        last.cookies.update(visitor.cookies)
        # Whoever wins the race, one more request has loaded the session and saves it afterwards.
        with last.visit() as session:
            session["late"] = 1
            outcomes = race(target, racers, visitor, requests, 1)
        assert errors(outcomes) == []
        with visitor.visit() as session:
            assert (session.new, dict(session)) == (True, {}), f"round {number}"
        assert target.disagreement(sid, None) is None


def test_race_can_be_lost(in_memcached: StoreUnderTest, racers: Racers) -> None:
    """Without merging, requests that have all loaded the session leave the last one's changes."""
    in_memcached.config["on_conflict"] = "overwrite"
    visitor, ledger = in_memcached.visitor(), Ledger(racers.count)
    visitor.write({"kept": 1})
    race(in_memcached, racers, visitor, ledger.round(1), 1)
    racers_left = [key for key in visitor.read() if key.startswith("count ")]
    assert (len(racers_left), ledger.difference(visitor.read()) != []) == (1, True)


@pytest.mark.parametrize("number", [0, 1], ids=["started at once", "saved at once"])
def test_request_that_fails_is_told(
    in_memcached: StoreUnderTest, racers: Racers, number: int
) -> None:
    """An error in one of the processes does not pass for a request that went well."""
    requests: list[list[Step]] = [[("count",)] for _ in range(racers.count)]
    visitor = in_memcached.visitor()
    visitor.write({"kept": 1})
    outcomes = race(in_memcached, racers, visitor, requests, number)
    assert errors(outcomes) == ["TypeError"] * racers.count
