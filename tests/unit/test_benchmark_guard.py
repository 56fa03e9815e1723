"""When the guard of the speed fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from benchmarks import guard
from benchmarks.bench import Missing
from benchmarks.cases import CASES
from benchmarks.cases.codec import SIZES, column
from benchmarks.cases.redis import BASELINE as OURS_IN_MEMCACHED
from benchmarks.cases.redis import CONTROL as OURS_IN_MEMCACHED_AGAIN
from benchmarks.measure import Figure
from benchmarks.peers import CONTROL, OURS
from benchmarks.results import Row, Table


def tables_with(*attempts: dict[tuple[str, str], float]) -> Callable[[str], Table]:
    """Gives tables in which all is well but for some ratios, attempt by attempt."""
    calls: dict[str, int] = {}

    def measured(case: str) -> Table:
        ratios = attempts[min(calls.get(case, 0), len(attempts) - 1)]
        calls[case] = calls.get(case, 0) + 1
        columns = [name for key, name in guard.TARGETS if key == case]
        ours = [Figure(1.0, ratios.get((case, name), 0.1)) for name in columns]
        control = [Figure(1.0, 1.01) for _ in columns]
        return Table(case, "", "µs", columns, [Row(CONTROL, control), Row(OURS, ours)])

    return measured


EACH_TARGET = pytest.mark.parametrize("place", guard.TARGETS, ids=": ".join)


@EACH_TARGET
def test_the_guard_lets_the_allowance_pass_and_fails_above_it(place: tuple[str, str]) -> None:
    """It names the figure, after three attempts at its case alone."""
    limit = guard.TARGETS[place] * (1 + guard.ALLOWANCE)
    lines: list[str] = []
    assert guard.guard(tables_with({place: limit}), lines.append)
    assert sum(line.startswith("attempt") for line in lines) == 1
    lines.clear()
    assert not guard.guard(tables_with({place: limit + 0.001}), lines.append)
    assert lines[-1] == f"too slow in 3 attempts: {': '.join(place)}"
    columns = sum(case == place[0] for case, _ in guard.TARGETS)
    assert sum("control" in line for line in lines) == len(guard.TARGETS) + 2 * columns


def test_one_good_attempt_is_enough() -> None:
    """The machine was busy in the others."""
    place = ("cookie", "read only")
    slow = {place: 2.0}
    assert guard.guard(tables_with(slow, slow, {}), lambda _: None)


def test_different_figures_may_hold_in_different_attempts() -> None:
    one, other = ("codec", "1 key"), ("codec", "10 keys")
    assert guard.guard(tables_with({one: 2.0}, {other: 2.0}), lambda _: None)


def test_a_ratio_that_drowned_in_noise_does_not_hold() -> None:
    place = ("idle", "idle")
    unknown: dict[tuple[str, str], Any] = {place: None}
    assert not guard.guard(tables_with(unknown), lambda _: None)


def test_the_guard_goes_on_without_memcached() -> None:
    well = tables_with({})

    def measured(case: str) -> Table:
        if case == "memcached":
            raise Missing("memcached is not installed")
        return well(case)

    lines: list[str] = []
    assert guard.guard(measured, lines.append)
    assert "memcached is left out: memcached is not installed" in lines


def test_redis_is_compared_with_memcached() -> None:
    """The control is the second one of what the ratios are to, whoever that is."""
    rows = [
        Row(OURS_IN_MEMCACHED, [Figure(1.0, 1.0)] * 2),
        Row(OURS_IN_MEMCACHED_AGAIN, [Figure(1.0, 1.02), Figure(1.0, 0.99)]),
        Row(OURS, [Figure(1.3, 1.3), Figure(1.5, 1.5)]),
    ]
    columns = ["read + modify", "read only"]
    modify, read = guard.findings_of(Table("redis", "", "µs", columns, rows))
    assert (modify.ratio, modify.control, modify.holds) == (1.3, 1.02, True)
    assert (read.ratio, read.control, read.holds) == (1.5, 0.99, False)


def test_each_target_is_of_a_case() -> None:
    """And the columns are those that the case has."""
    columns = {
        "cookie": ["read + modify", "read only", "new visitor", "new visitor, read only"],
        "redis": ["read + modify", "read only"],
        "codec": [column(n) for n in SIZES],
        "import": ["import"],
    }
    assert {case for case, _ in guard.TARGETS} <= set(CASES)
    for case, names in columns.items():
        assert [name for key, name in guard.TARGETS if key == case] == names
