"""The load run of `make load` works, and notices what it is there to notice."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from load.backends import BACKENDS, Backend
from load.checker import Findings, Outage, check
from load.report import details
from load.run import Options, Outcome, run
from load.visitors import State, Visit, Write

TESTS = Path(__file__).resolve().parents[1]

OPTIONS = Options(visitors=40, seconds=20.0, requests=400)


def backend_named(name: str) -> Backend:
    """An entry of the table."""
    [backend] = [backend for backend in BACKENDS if backend.name == name]
    return backend


@pytest.mark.usefixtures("memcached")
def test_short_run() -> None:
    """The command drives a backend, restarts its server, and finds nothing wrong."""
    options = ["--backend=memcache", "--visitors=40", "--requests=400", "--preload"]
    done = subprocess.run(
        [sys.executable, "-m", "load", *options],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "\nmemcache  " in done.stdout
    assert "x BackendUnavailable during the outage" in done.stdout


@pytest.mark.usefixtures("memcached")
def test_run_notices_lost_updates() -> None:
    """Where the last writer wins, changes of one session at once are found to be lost."""
    racing = dataclasses.replace(backend_named("memcache"), config={}, merges=True)
    outcome = run(racing, OPTIONS)
    assert outcome.findings.lost
    assert outcome.findings.foreign == []
    assert any(line.strip().startswith("FAILED: lost") for line in details(outcome))


# The checker on records that are written by hand; times are seconds


OUTAGE = Outage(began=10.0, ended=12.0, gone=10.5)
FIRST, SECOND = Write(1, "k0", "1:a"), Write(1, "k1", "1:b")
ONE = FIRST.apply({})
TWO = SECOND.apply(ONE)


def record(*visits: tuple[float, Write | None, State | str]) -> list[Visit]:
    """Visits of one visitor, one a turn: when, what was asked for, what was found or the error."""
    made = []
    for turn, (when, write, seen) in enumerate(visits):
        found, error = (None, seen) if isinstance(seen, str) else (seen, None)
        made.append(Visit(1, turn, when, when + 0.1, write, found, error))
    return made


def at_once(when: float, *visits: tuple[Write, State | str]) -> list[Visit]:
    """Visits of one visitor at the same time."""
    made = record(*((when, *visit) for visit in visits))
    return [dataclasses.replace(visit, turn=99) for visit in made]


SAVED: tuple[float, Write | None, State | str] = (1.0, FIRST, {})


@pytest.mark.parametrize(
    "visits",
    [
        pytest.param([SAVED, (2.0, None, {})], id="gone"),
        pytest.param([SAVED, (2.0, SECOND, ONE), (3.0, None, ONE)], id="second change gone"),
        pytest.param(
            [SAVED, (2.0, SECOND, ONE), (3.0, None, {**TWO, "counter": 1})], id="count lost"
        ),
        pytest.param([SAVED, (2.0, None, {**ONE, "counter": 2})], id="counted twice"),
        pytest.param([(11.0, FIRST, {}), (13.0, None, {})], id="saved after the restart"),
        pytest.param(
            [SAVED, (11.0, FIRST, {}), (13.0, None, {})], id="new after the restart and gone"
        ),
        pytest.param([SAVED, (11.0, SECOND, ONE), (13.0, None, {})], id="survived and gone"),
        pytest.param([SAVED, (11.0, SECOND, "E"), (13.0, None, SECOND.apply(TWO))], id="twice"),
        pytest.param([SAVED, (13.0, None, ONE), (14.0, None, {})], id="gone long after"),
    ],
)
def test_lost_update_is_found(visits: Sequence[tuple[float, Write | None, State | str]]) -> None:
    """A session that does not hold what was reported saved is told once."""
    assert len(check(record(*visits), OUTAGE).lost) == 1


@pytest.mark.parametrize(
    "visits",
    [
        pytest.param([SAVED, (2.0, SECOND, ONE), (3.0, None, TWO)], id="all is well"),
        pytest.param([SAVED, (11.0, SECOND, "E"), (13.0, None, ONE)], id="error, not saved"),
        pytest.param([SAVED, (11.0, SECOND, "E"), (13.0, None, TWO)], id="error, saved"),
        pytest.param(
            [SAVED, *[(11.0, Write(1, "k1", f"1:{n}"), "E") for n in range(40)], (13.0, None, ONE)],
            id="many errors",
        ),
    ],
)
def test_what_an_error_explains_is_not_lost(
    visits: Sequence[tuple[float, Write | None, State | str]],
) -> None:
    """After an error a change may be there or not."""
    findings = check(record(*visits), OUTAGE)
    assert (findings.lost, findings.foreign, findings.new_sessions) == ([], [], 0)


@pytest.mark.parametrize(
    "visits",
    [
        pytest.param([SAVED, (13.0, None, {})], id="read"),
        pytest.param([SAVED, (11.0, SECOND, "E"), (13.0, None, {})], id="after an error"),
        pytest.param([SAVED, (13.0, FIRST, {}), (14.0, None, ONE)], id="saved again"),
        pytest.param([(10.4, FIRST, {}), (13.0, None, {})], id="saved amid the kill"),
    ],
)
def test_what_a_restart_explains_is_a_new_session(
    visits: Sequence[tuple[float, Write | None, State | str]],
) -> None:
    """A session that was saved before its server was emptied begins again, which is counted."""
    findings = check(record(*visits), OUTAGE)
    assert (findings.lost, findings.new_sessions) == ([], 1)


def test_restart_explains_nothing_where_data_is_kept() -> None:
    """Where nothing may be gone, a session that begins again is a loss."""
    kept = dataclasses.replace(OUTAGE, gone=None)
    assert len(check(record(SAVED, (13.0, None, {})), kept).lost) == 1


def test_data_of_others_is_found() -> None:
    """A session that holds another visitor's data is told as such."""
    findings = check(record(SAVED, (2.0, None, Write(2, "k0", "2:a").apply({}))))
    assert (len(findings.foreign), findings.lost) == (1, [])


@pytest.mark.parametrize(
    ("found", "lost"), [(TWO, 0), (ONE, 1), (SECOND.apply({}), 1)], ids=["both", "one", "other"]
)
def test_changes_at_once_are_both_kept(found: State, lost: int) -> None:
    """Of two changes at once that were both reported saved none may be missing."""
    changes = [Write(1, "k2", "1:c", count=False), Write(1, "k3", "1:d", count=False)]
    after = [write.apply(found) for write in changes]
    both = {**found, "k2": "1:c", "k3": "1:d"}
    first = record(SAVED, (2.0, SECOND, ONE))
    pair = at_once(3.0, *((write, TWO) for write in changes))
    for end, missing in ((both, 0), (after[0], 1), (after[1], 1)):
        last = dataclasses.replace(record((4.0, None, end))[0], turn=100)
        assert len(check([*first, *pair, last]).lost) == max(lost, missing)


def test_degraded_session_is_empty_and_comes_back() -> None:
    """Where an empty session may stand in, it does so during the outage only."""
    degraded = dataclasses.replace(OUTAGE, gone=None, degrades=True)
    fine = record(SAVED, (11.0, SECOND, {}), (13.0, None, ONE))
    assert check(fine, degraded) == Findings()
    assert len(check(record(SAVED, (13.0, SECOND, {})), degraded).lost) == 1


@pytest.mark.parametrize(
    ("when", "hides", "failures"),
    [(1.0, False, 1), (11.0, False, 0), (11.0, True, 1), (13.0, False, 1)],
)
def test_error_without_an_outage_fails_the_run(when: float, hides: bool, failures: int) -> None:
    """Errors are forgiven during the outage only, and where it is not to be noticed not at all."""
    visits = record((0.0, FIRST, {}), (when, None, "E"), (14.0, SECOND, ONE))
    backend = dataclasses.replace(backend_named("memcache"), hides=hides)
    outcome = Outcome(backend, check(visits, OUTAGE), visits, OUTAGE, (None, None))
    assert len(outcome.failures) == failures, outcome.failures
