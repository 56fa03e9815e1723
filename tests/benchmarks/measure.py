"""Measuring contenders in one process, in short blocks that take turns in random order."""

from __future__ import annotations

import gc
import itertools
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Contender", "Figure", "Samples", "compare", "measure"]

#: Seconds of CPU time that a block takes, about.
BLOCK_SECONDS = 0.004

#: Each contender is measured so often at least, however little time there is.
LEAST_ROUNDS = 10

#: The run is cut into so many parts, whose ratios show the spread.
PARTS = 5

#: Calls before anything is counted.
WARM_UP = 200

#: Microseconds of CPU time per call, one number for each round.
Samples = list[float]


@dataclass(frozen=True)
class Contender:
    """Something that is measured.

    :param name: how reports call it.
    :param run: one call of it.
    :param bare: the same without the part of interest, whose time is taken off.
    """

    name: str
    run: Callable[[], object]
    bare: Callable[[], object] | None = None


@dataclass(frozen=True)
class Figure:
    """What was measured of a contender.

    :param value: the median, in the unit of its table.
    :param ratio: to the baseline of the same run; None where there is none.
    :param low: the least ratio in parts of the run.
    :param high: the greatest one.
    """

    value: float
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


def measure(
    contenders: Sequence[Contender], seconds: float, chance: random.Random
) -> dict[str, Samples]:
    """Measure for so many seconds; gives the samples of each contender by its name.

    Garbage collection stays enabled. What is alive at the start is exempted from it, and what a
    block leaves behind is collected before the next one, so that nobody pays for the others.
    """
    calls = {contender.name: _warm_up(contender) for contender in contenders}
    samples: dict[str, Samples] = {name: [] for name in calls}
    order, rounds = list(contenders), 0
    gc.collect()
    gc.freeze()
    try:
        deadline = time.monotonic() + seconds
        while rounds < LEAST_ROUNDS or time.monotonic() < deadline:
            chance.shuffle(order)
            for contender in order:
                taken = _sample(contender, calls[contender.name], chance)
                samples[contender.name].append(taken)
            rounds += 1
    finally:
        gc.unfreeze()
    return samples


def compare(samples: Mapping[str, Samples], baseline: str) -> dict[str, Figure]:
    """The figures of each contender, with ratios to one of them."""
    base = samples[baseline]
    return {name: _figure(own, base) for name, own in samples.items()}


def _figure(own: Samples, base: Samples) -> Figure:
    value = statistics.median(own)
    if statistics.median(base) <= 0:
        return Figure(value)  # the difference drowns in the noise
    cuts = [len(base) * part // PARTS for part in range(PARTS + 1)]
    spans = [slice(*pair) for pair in itertools.pairwise(cuts)]
    parts = [_ratio(own[span], base[span]) for span in spans if base[span]]
    return Figure(value, _ratio(own, base), min(parts), max(parts))


def _ratio(own: Samples, base: Samples) -> float:
    below = statistics.median(base)
    return statistics.median(own) / below if below > 0 else float("inf")


def _warm_up(contender: Contender) -> int:
    """Call a contender some times; gives the number of calls that make up a block."""
    for call in (contender.run, contender.bare):
        if call is not None:
            _block(call, WARM_UP)
    per_call = _block(contender.run, WARM_UP) * 1e-6
    return max(10, round(BLOCK_SECONDS / max(per_call, 1e-7)))


def _sample(contender: Contender, calls: int, chance: random.Random) -> float:
    """Microseconds per call, without those of the bare call, which is made right beside."""
    if contender.bare is None:
        return _block(contender.run, calls)
    if chance.random() < 0.5:
        bare = _block(contender.bare, calls)
        return _block(contender.run, calls) - bare
    return _block(contender.run, calls) - _block(contender.bare, calls)


def _block(call: Callable[[], object], calls: int) -> float:
    """Microseconds of CPU time per call, all threads of the process together."""
    gc.collect()
    repeated = range(calls)
    began = time.process_time_ns()
    for _ in repeated:
        call()
    return (time.process_time_ns() - began) / calls / 1000
