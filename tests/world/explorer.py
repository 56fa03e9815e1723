"""Breadth-first search through all states of a model, for a shortest way to one that is wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

State = TypeVar("State")


class Found(NamedTuple):
    """What a search has found."""

    #: How many states were seen.
    states: int
    #: What is wrong with the first wrong state; ``None`` if there is none.
    problem: str | None
    #: The steps that lead there.
    path: tuple[Any, ...] = ()


class Explorer(Generic[State]):
    """Searches the states of a model.

    :param steps: returns each step that is possible in a state, and the state after it.
    :param problem_of: returns what is wrong with a state, ``None`` if nothing is.
    :param key: returns the same for states of which one stands for the other.
    """

    def __init__(
        self,
        steps: Callable[[State], Iterable[tuple[Any, State]]],
        problem_of: Callable[[State], str | None],
        key: Callable[[State], Hashable],
    ) -> None:
        self._steps = steps
        self._problem_of = problem_of
        self._key = key

    def search(self, initial: State) -> Found:
        """Visit every state that can be reached, or stop at the first wrong one."""
        first = self._key(initial)
        #: By the key of a state, the key of the one before it and the step between them.
        before: dict[Hashable, tuple[Hashable, Any]] = {first: (None, None)}
        waiting = deque([(first, initial)])
        while waiting:
            origin, state = waiting.popleft()
            for step, following in self._steps(state):
                key = self._key(following)
                if key in before:
                    continue
                before[key] = origin, step
                problem = self._problem_of(following)
                if problem is not None:
                    return Found(len(before), problem, _path(before, key))
                waiting.append((key, following))
        return Found(len(before), None)


def _path(before: dict[Hashable, tuple[Hashable, Any]], key: Hashable) -> tuple[Any, ...]:
    steps: list[Any] = []
    while True:
        key, step = before[key]
        if key is None:
            return tuple(reversed(steps))
        steps.append(step)
