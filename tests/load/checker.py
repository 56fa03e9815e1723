"""What visitors wrote down, compared with what their sessions had to hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from load.visitors import State, Visit, Write

__all__ = ["Findings", "Outage", "check"]

NEVER = float("inf")


@dataclass(frozen=True)
class Outage:
    """When a server failed, by `time.monotonic()`."""

    began: float = NEVER
    #: From here on errors have no excuse.
    ended: float = NEVER
    #: What was saved by a request that began earlier may be gone, where the server keeps nothing.
    gone: float | None = None
    #: While it lasts a session may be empty and not saved although the response tells no error.
    degrades: bool = False

    def period(self, visit: Visit) -> str:
        """Whether a visit was before, during or after the outage."""
        if visit.ended < self.began:
            return "before"
        return "after" if visit.started > self.ended else "during"


@dataclass
class Findings:
    """What was found out of a record of visits."""

    #: How many errors of which kind there were, by period and kind.
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: How many sessions began again, because a restart had emptied the server.
    new_sessions: int = 0
    #: Each session that did not hold what had been saved.
    lost: list[str] = field(default_factory=list)
    #: Each session that held what another visitor had saved.
    foreign: list[str] = field(default_factory=list)

    def errors_in(self, period: str) -> int:
        """How many errors there were in a period."""
        return sum(number for (when, _), number in self.errors.items() if when == period)


def check(visits: Iterable[Visit], outage: Outage | None = None) -> Findings:
    """Follow each visitor's session through the record."""
    outage, findings = outage or Outage(), Findings()
    in_order = sorted(visits, key=lambda visit: (visit.visitor, visit.turn, visit.started))
    for visit in in_order:
        if visit.error is not None:
            findings.errors[outage.period(visit), visit.error] += 1
    for _, own in groupby(in_order, key=lambda visit: visit.visitor):
        expected = Expectation(outage, findings)
        for _, turn in groupby(own, key=lambda visit: visit.turn):
            expected.follow(list(turn))
    return findings


class Expectation:
    """What one visitor's session may hold.

    That is a state out of `_states`, changed by any of the writes in `_unsure`, in their order:
    of those it is not known whether they were saved. Without errors there is one state.
    """

    def __init__(self, outage: Outage, findings: Findings) -> None:
        self._outage, self._findings = outage, findings
        self._states: list[State] = [{}]
        self._unsure: list[Write] = []
        #: Whether it certainly held something when that was last seen.
        self._is_known = False
        #: Whether it may have been saved before the restart of a server that keeps nothing.
        self._is_of_old = True

    def follow(self, turn: Sequence[Visit]) -> None:
        """Compare the visits of one turn with what was expected, and go on from there."""
        amid = any(self._outage.period(visit) == "during" for visit in turn)
        degraded = self._outage.degrades and amid
        found = [visit for visit in turn if visit.found is not None]
        empty: list[State] = [{}] if degraded or self._may_be_emptied(turn) else []
        states = [*self._states, *empty]
        if not all(self._explains(visit, turn, states) for visit in found) or not _agree(found):
            self._report(found)
        elif found and not found[0].found and self._is_known and not degraded:
            self._findings.new_sessions += 1
            self._is_of_old = False
        self._go_on(turn, [] if degraded else found, empty)

    def _may_be_emptied(self, turn: Sequence[Visit]) -> bool:
        emptied = self._outage.gone is not None and turn[-1].ended > self._outage.began
        return emptied and self._is_of_old

    def _explains(self, visit: Visit, turn: Sequence[Visit], states: Sequence[State]) -> bool:
        """Whether one of the states may have come to what a visit found."""
        others = [other.write for other in turn if other is not visit and other.write]
        unsure = [*self._unsure, *others]
        return any(_leads_to(visit.found or {}, state, unsure) for state in states)

    def _go_on(self, turn: Sequence[Visit], sure: Sequence[Visit], empty: list[State]) -> None:
        """Set what is expected after the turn; `sure` are its visits that tell what is stored."""
        saved = [visit.write for visit in sure if visit.write]
        unsaved = [visit.write for visit in turn if visit.write and visit not in sure]
        if not sure:
            self._states = _distinct([*self._states, *empty])
            self._unsure += unsaved
            return
        states = [_applied(saved, sure[0].found or {})]
        if not sure[0].found:  # each of the visits began a session, and the last cookie stands
            states += [write.apply({}) for write in saved]
        self._states = _distinct(states)
        self._unsure = unsaved
        self._is_known = bool(self._states[0])
        gone = self._outage.gone
        if gone is not None and any(visit.started >= gone for visit in sure):
            self._is_of_old = False

    def _report(self, found: Sequence[Visit]) -> None:
        visit = found[0]
        line = f"visitor {visit.visitor}, turn {visit.turn}, {self._outage.period(visit)}: "
        owners = set().union(*(_owners(visit.found or {}) for visit in found))
        if owners - {visit.visitor}:
            self._findings.foreign.append(line + f"found data of visitors {sorted(owners)}")
            return
        wanted = " or ".join(_shown(state) for state in self._states)
        if self._unsure:
            wanted += f", with or without {len(self._unsure)} unsure changes"
        seen = " and ".join(_shown(visit.found or {}) for visit in found)
        self._findings.lost.append(line + f"expected {wanted}; found {seen}")


def _leads_to(found: State, state: State, unsure: Sequence[Write]) -> bool:
    """Whether some of the writes, in their order, make `found` out of `state`.

    Values are not used twice, so that a value tells which write was the last of its key.
    """
    if found == state:
        return True
    needed: list[Write] = []
    allowed: list[Write] = []
    for key in (found.keys() | state.keys()) - {"visitor", "counter"}:
        if found.get(key) != state.get(key):
            of_key = [write for write in unsure if write.key == key]
            values = [write.value for write in of_key]
            if found.get(key) not in values:
                return False
            last = values.index(found[key])
            needed.append(of_key[last])
            allowed += of_key[:last]
    if not needed or found.get("visitor") != needed[0].visitor:
        return False
    raised = found.get("counter", 0) - state.get("counter", 0)
    least = sum(write.count for write in needed)
    return bool(least <= raised <= least + sum(write.count for write in allowed))


def _agree(found: Sequence[Visit]) -> bool:
    """Whether visits at once saw the same state, or one of them what the other had saved."""
    if len(found) < 2:
        return True
    one, other = found
    return _sees(one, other) or _sees(other, one)


def _sees(later: Visit, earlier: Visit) -> bool:
    unsure = [earlier.write] if earlier.write else []
    return _leads_to(later.found or {}, earlier.found or {}, unsure)


def _owners(state: State) -> set[int]:
    """The numbers of the visitors whose data this is."""
    values = [value for value in state.values() if isinstance(value, str)]
    return {int(value.partition(":")[0]) for value in values} | {
        *filter(None, [state.get("visitor")])
    }


def _applied(writes: Iterable[Write], state: State) -> State:
    for write in writes:
        state = write.apply(state)
    return state


def _distinct(states: Iterable[State]) -> list[State]:
    result: list[State] = []
    for state in states:
        if state not in result:
            result.append(state)
    return result


def _shown(state: State) -> str:
    return str({key: value for key, value in sorted(state.items()) if key != "visitor"})
