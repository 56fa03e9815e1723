"""The cache and the record agree: every order of commands, and every fault at every one of them.

That is 180,000 states. `EXHAUSTIVE=1` explores more processes, and two faults at once: some
millions, in a quarter of an hour.
"""

from __future__ import annotations

import inspect
import itertools
import os
from typing import NamedTuple

import pytest

from webapp2_sessions.stored import cache
from webapp2_sessions.stored.cache import CoherentCache
from world.protocol import FAULTS, Model, Scenario
from world.stories import story

exhaustive = pytest.mark.skipif(
    os.environ.get("EXHAUSTIVE") != "1", reason="takes minutes; EXHAUSTIVE=1 runs it"
)

#: An entry that is lost takes with it what it was to keep away.
LOSSES = frozenset({"restarts", "evicts", "full"})


def check(scenario: Scenario) -> None:
    """No state of a scenario is wrong."""
    found = Model(scenario).explore()
    assert found.problem is None, "\n" + story(found)


@pytest.mark.parametrize("begins", ["cold", "warm", "stale", "old"])
@pytest.mark.parametrize(
    "scripts",
    [
        *("reader", "writer", "merger", "toucher", "writer writer reader deleter"),
        *("merger merger reader", "merger writer deleter", "reader reader writer deleter"),
        *("toucher writer dropper", "writer reader purger", "saver ender purger"),
    ],
)
def test_every_order(scripts: str, begins: str) -> None:
    check(Scenario(scripts, begins))


@pytest.mark.parametrize(
    ("begins", "scripts"),
    [
        *itertools.product(
            ("cold", "warm", "stale", "old"), ("writer reader", "reader deleter", "merger")
        ),
        *itertools.product(
            ("cold", "warm"), ("writer writer", "writer deleter", "toucher", "saver ender")
        ),
    ],
)
def test_every_order_with_a_fault(scripts: str, begins: str) -> None:
    check(Scenario(scripts, begins, FAULTS, 1, 1))


@exhaustive
@pytest.mark.parametrize("begins", ["cold", "warm"])
@pytest.mark.parametrize(
    "scripts",
    [
        *("writer reader deleter", "writer writer reader", "merger writer", "toucher deleter"),
        *("reader reader deleter", "reader deleter deleter", "writer reader purger"),
    ],
)
def test_more_processes_with_a_fault(scripts: str, begins: str) -> None:
    check(Scenario(scripts, begins, FAULTS, 1, 1))


@exhaustive
@pytest.mark.parametrize("begins", ["cold", "warm"])
@pytest.mark.parametrize("scripts", ["writer writer deleter", "writer writer reader deleter"])
def test_two_writers_and_a_deleter_with_a_fault(scripts: str, begins: str) -> None:
    check(Scenario(scripts, begins, FAULTS, 1))


@pytest.mark.parametrize("begins", ["cold", "warm"])
@pytest.mark.parametrize(
    "scripts",
    [
        "reader deleter",
        *(
            pytest.param(scripts, marks=exhaustive)
            for scripts in ("writer reader", "writer deleter", "writer writer")
        ),
    ],
)
def test_two_faults_unless_an_entry_is_lost(scripts: str, begins: str) -> None:
    check(Scenario(scripts, begins, FAULTS - LOSSES, 2, 1))


# What is not promised, and so is no failure above


class Limit(NamedTuple):
    """A way in which readers get what is old."""

    scripts: str
    begins: str
    faults: str
    at_most: int
    excuses: bool = True


LIMITS = {
    # Documented: up to an hour
    "a writer dies on the way": Limit("writer", "warm", "dies", 1, excuses=False),
    "a writer cannot reach the cache": Limit("writer", "warm", "cut off", 1, excuses=False),
    "a deleter cannot, and says so": Limit("deleter", "warm", "cut off", 1, excuses=False),
    # Two faults, one of which loses an entry: up to an hour
    "a deleter dies, and its first tombstone went in a restart": Limit(
        "reader deleter", "cold", "restarts, dies", 2
    ),
    "a miss is filled late, when the tombstone has gone": Limit(
        "reader deleter", "cold", "late, evicts", 2
    ),
    "a reader stands still before it fills, until the tombstone has gone": Limit(
        "reader deleter", "cold", "stands still, evicts", 2
    ),
    "the record is written late, when the tombstone has gone": Limit(
        "writer reader", "cold", "record late, restarts", 2
    ),
    # A session that was purged is saved again while it is ended: for the time of some commands,
    # and for good with a fault
    "an ended session is written": Limit("saver ender purger", "warm", "", 0, excuses=False),
    "... and the process dies before it has removed it": Limit(
        "saver ender purger", "warm", "dies", 1
    ),
    "... or its write gets no answer": Limit("saver ender purger", "warm", "record unanswered", 1),
    # Of another kind
    "a tombstone that is sent without waiting is lost": Limit(
        "deleter", "warm", "lost, pauses, sent in vain", 2
    ),
    "a server comes back with old data": Limit("deleter", "warm", "restores", 1),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limit(name: str) -> None:
    scripts, begins, faults, at_most, excuses = LIMITS[name]
    scenario = Scenario(scripts, begins, frozenset(faults.split(", ")), at_most, 1)
    found = Model(scenario, excuses=excuses).explore()
    assert found.problem is not None, "this can be promised now"


# Is a wrong protocol found?


class Mutant(NamedTuple):
    """A change of the protocol that breaks a promise."""

    old: str
    new: str
    #: Where it does.
    scenario: Scenario
    #: Which of the places where the old text stands.
    place: int = 0

    def cache(self) -> type[CoherentCache]:
        """Return the class with the change."""
        source = inspect.getsource(cache)
        pieces = source.split(self.old)
        assert len(pieces) > self.place + 1, f"stored/cache.py has no {self.old!r} any more"
        before = self.old.join(pieces[: self.place + 1])
        after = self.old.join(pieces[self.place + 1 :])
        names = {"__name__": cache.__name__}
        exec(compile(before + self.new + after, cache.__file__, "exec"), names)
        return names["CoherentCache"]  # type: ignore[return-value]


def fault(scripts: str, begins: str, *kinds: str) -> Scenario:
    """Return a scenario in which one fault of these kinds may happen."""
    return Scenario(scripts, begins, frozenset(kinds), 1, 1)


MUTANTS = {
    "a writer does not compare": Mutant(
        "is_stored = self.store.fill(key, data, token, seconds)",
        "is_stored = self.store.set(key, data, seconds) or True",
        Scenario("writer writer", "warm"),
    ),
    "whoever fills compares with what is there then": Mutant(
        "is_stored = self.store.fill(key, data, token, seconds)",
        "is_stored = self.store.fill(key, data, self.store.gets(key)[1], seconds)",
        Scenario("writer reader", "cold"),
    ),
    "an entry is not replaced": Mutant(
        "self.store.fill(key, data, token, seconds)",
        "self.store.fill(key, data, token._replace(cas=None), seconds)",
        Scenario("writer", "warm"),
    ),
    "a writer takes the token after the record": Mutant(
        "value = store()",
        "value = store(); cached, token = self.store.gets(key)",
        Scenario("writer writer", "warm"),
    ),
    "a reader takes the token after the record": Mutant(
        "        value = load()\n        if",
        "        value = load()\n        token = self.store.gets(key)[1]\n        if",
        Scenario("writer reader", "stale"),
    ),
    "a reader replaces whatever has come": Mutant(
        "cached_now in (_STALE, None)",
        "True",
        fault("reader deleter", "stale", "dies"),
    ),
    "an overtaken writer does not mark the entry": Mutant(
        "        if not self._fill(key, value, lifetime, token, started):\n"
        "            self._mark_stale(key)",
        "        self._fill(key, value, lifetime, token, started)",
        Scenario("writer writer", "warm"),
    ),
    "a mark removes the entry": Mutant(
        "self.store.fill(key, _STALE, token, _LONGEST_LIFETIME)",
        "[self.store.drop(key)]",
        Scenario("writer writer reader", "cold"),
    ),
    "a mark replaces a tombstone": Mutant(
        "cached == _TOMBSTONE or",
        "",
        Scenario("writer writer reader", "cold", frozenset({"record late"}), 1),
    ),
    "a mark goes soon": Mutant(
        "_STALE, token, _LONGEST_LIFETIME)",
        "_STALE, token, 3)",
        fault("writer writer reader", "cold", "late"),
    ),
    "nobody tries to mark": Mutant("_TRIES = 5", "_TRIES = 0", Scenario("writer writer", "warm")),
    "a mark that fails is forgotten": Mutant(
        "return\n        self._try_to_bury(key)",
        "return",
        fault("writer", "warm", "lost", "pauses"),
    ),
    "a writer replaces a tombstone": Mutant(
        "if cached == _TOMBSTONE:\n            token = None",
        "if False:\n            token = None",
        fault("writer deleter", "warm", "dies"),
    ),
    "a writer that fails leaves the entry": Mutant(
        "except BaseException:\n            self._try_to_bury(key)",
        "except BaseException:",
        fault("writer", "warm", "record unanswered"),
        place=0,
    ),
    "a writer that fails marks the entry": Mutant(
        "except BaseException:\n            self._try_to_bury(key)",
        "except BaseException:\n            self._mark_stale(key)",
        fault("writer reader", "warm", "record late"),
        place=0,
    ),
    "a refused writer leaves the entry": Mutant(
        "except refusals:\n            self._mark_stale(key)",
        "except refusals:",
        fault("toucher writer", "warm", "dies"),
    ),
    "a refused writer leaves a tombstone": Mutant(
        "except refusals:\n            self._mark_stale(key)",
        "except refusals:\n            self._try_to_bury(key)",
        Scenario("merger writer", "warm"),
    ),
    "nothing before a deletion": Mutant(
        "self.store.set(key, _TOMBSTONE, _LONGEST_LIFETIME)\n        try:\n            delete()",
        "pass\n        try:\n            delete()",
        fault("deleter", "warm", "dies"),
    ),
    "nothing after a deletion": Mutant(
        "        try:\n            self._bury(key)",
        "        try:\n            pass",
        fault("reader deleter", "cold", "restarts"),
    ),
    "a deletion that fails leaves the entry": Mutant(
        "except BaseException:\n            self._try_to_bury(key)",
        "except BaseException:",
        Scenario("reader deleter", "cold", frozenset({"restarts", "record unanswered"}), 2),
        place=1,
    ),
    "a tombstone goes soon": Mutant(
        "self.store.set(key, _TOMBSTONE, _LONGEST_LIFETIME)\n        except",
        "self.store.set(key, _TOMBSTONE, 3)\n        except",
        fault("reader deleter", "cold", "late"),
    ),
    "a silent server is sent nothing": Mutant(
        "self.store.set_noreply(key, _TOMBSTONE, _LONGEST_LIFETIME)",
        "pass",
        fault("writer", "warm", "lost", "pauses"),
    ),
    "a deletion that nobody was told of is no error": Mutant(
        "            raise StaleCache(",
        "            return\n            raise StaleCache(",
        fault("deleter", "warm", "cut off"),
    ),
    "a slow reader fills a miss": Mutant(
        "self._now() - started >= _LONGEST_FILL",
        "False",
        fault("reader deleter", "cold", "evicts"),
    ),
    "a write without an answer was done": Mutant(
        "events.tell_error(self.config, error)\n            return False\n        return is_stored",
        "events.tell_error(self.config, error)\n            return True\n        return is_stored",
        fault("writer", "warm", "lost"),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_protocol_is_found(name: str) -> None:
    mutant = MUTANTS[name]
    found = Model(mutant.scenario, mutant.cache()).explore()
    assert found.problem is not None, f"none of {found.states} states is wrong"
    assert Model(mutant.scenario).explore().problem is None
