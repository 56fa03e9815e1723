"""The table of a load run."""

from __future__ import annotations

from collections.abc import Sequence

from load.run import Outcome

__all__ = ["HEADER", "details", "percentile", "row"]

#: The periods in which errors are counted.
PERIODS = ("before", "during", "after")
#: At most so many failures of one backend are printed.
SHOWN = 10

COLUMNS = (
    ("backend", 26),
    ("requests", 9),
    ("req/s", 7),
    ("errors b/d/a", 14),
    ("new", 6),
    ("lost", 6),
    ("alien", 6),
    ("p50 ms", 8),
    ("p99 ms", 8),
    ("RSS MB", 13),
)


def _line(cells: Sequence[str]) -> str:
    first, *others = zip(cells, COLUMNS, strict=True)
    aligned = [first[0].ljust(first[1][1]), *(cell.rjust(width) for cell, (_, width) in others)]
    return "".join(aligned)


HEADER = _line([name for name, _ in COLUMNS])


def row(outcome: Outcome) -> str:
    """One backend's line of the table."""
    loaded, found = outcome.loaded, outcome.findings
    times = [1000 * (visit.ended - visit.started) for visit in loaded]
    seconds = max(v.ended for v in loaded) - min(v.started for v in loaded) if loaded else 0.0
    memory = [f"{size / 1e6:.0f}" if size is not None else "-" for size in outcome.memory]
    cells = [
        outcome.backend.name,
        str(len(loaded)),
        f"{len(loaded) / seconds:.0f}" if seconds else "-",
        "/".join(str(found.errors_in(period)) for period in PERIODS),
        str(found.new_sessions),
        str(len(found.lost)),
        str(len(found.foreign)),
        f"{percentile(times, 0.50):.1f}" if times else "-",
        f"{percentile(times, 0.99):.1f}" if times else "-",
        " -> ".join(memory),
    ]
    return _line(cells)


def details(outcome: Outcome) -> list[str]:
    """The kinds of errors, and what was wrong."""
    errors = sorted(outcome.findings.errors.items())
    lines = [f"{number} x {kind} {period} the outage" for (period, kind), number in errors]
    failures = outcome.failures[:SHOWN]
    lines += [f"FAILED: {failure}" for failure in failures]
    if hidden := len(outcome.failures) - len(failures):
        lines.append(f"FAILED: and {hidden} more")
    if outcome.failures and outcome.printed.strip():
        lines += ["gunicorn printed:", *outcome.printed.strip().splitlines()[-20:]]
    return [f"    {line}" for line in lines]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
