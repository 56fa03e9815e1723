"""The results as text: for the terminal, and for the documentation."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from benchmarks.measure import Figure
from benchmarks.results import Table

__all__ = ["LIBRARIES", "SERVED", "machine", "markdown", "noise", "noise_line", "text"]

#: Distributions whose versions are told: of all libraries that are compared, and of a real server.
LIBRARIES = (
    *("webapp2_sessions", "webapp2", "WebOb", "Flask", "Flask-Session", "Django", "Beaker"),
    *("pyramid", "starlette", "starsessions", "bottle", "pymemcache", "python-memcached"),
    *("redis", "hiredis", "google-cloud-ndb"),  # redis-py is another one where it finds hiredis
)
SERVED = (
    *("webapp2_sessions", "webapp2", "WebOb", "gunicorn"),
    *("cryptography", "pymemcache", "redis", "hiredis", "google-cloud-ndb"),
)


def machine(libraries: Sequence[str] = LIBRARIES) -> dict[str, str]:
    """What the numbers depend on, in general terms, and the versions that were measured."""
    facts = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
    }
    for name in libraries:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            continue
    return facts


def text(table: Table) -> list[str]:
    """A table for the terminal."""
    header = ["", *table.columns, ""]
    lines = [[row.name, *map(_cell, row.figures), row.note] for row in table.rows]
    widths = [max(len(line[place]) for line in [header, *lines]) for place in range(len(header))]
    aligned = [
        "  ".join(
            cell.ljust(width) if place in (0, len(header) - 1) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [header, *lines]
    ]
    has_ratios = any(figure and figure.ratio for row in table.rows for figure in row.figures)
    unit = f"{table.unit}: ratio" if has_ratios else table.unit
    return [f"{table.key}: {table.title} ({unit})", *aligned, *table.notes]


def markdown(table: Table) -> list[str]:
    """A table for the documentation, with its picture."""
    has_notes = any(row.note for row in table.rows)
    header = ["", *table.columns, *([" "] if has_notes else [])]
    lines = [
        f"### {table.title}",
        "",
        f"![{table.title}](benchmarks/{table.key}.svg)",
        "",
        _row(header),
        "|".join(["", "---", *["---:"] * len(table.columns), *(["---"] if has_notes else []), ""]),
    ]
    for row in table.rows:
        note = [row.note] if has_notes else []
        cells = [_plain_cell(figure, table.unit) for figure in row.figures]
        lines.append(_row([row.name, *cells, *note]))
    return [*lines, "", *(f"{note}  " for note in table.notes)]


def noise(tables: Sequence[Table]) -> float | None:
    """The largest distance from 1 of the ratio of something to itself; None without any."""
    ratios = [
        figure.ratio
        for table in tables
        for row in table.controls
        for figure in row.figures
        if figure is not None and figure.ratio is not None
    ]
    return max((abs(ratio - 1) for ratio in ratios), default=None)


def noise_line(tables: Sequence[Table]) -> str:
    """What the controls tell."""
    most = noise(tables)
    if most is None:
        return "Noise: not known, nothing was measured against itself."
    return f"Noise: what was measured against itself was {most:.0%} off at most."


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    if figure.ratio is None:
        return f"{figure.value:.1f}"
    return f"{figure.value:.1f}: {figure.ratio:.2f} ({figure.low:.2f}-{figure.high:.2f})"


def _plain_cell(figure: Figure | None, unit: str) -> str:
    if figure is None:
        return ""
    if figure.ratio is None:
        return f"{figure.value:.0f}"
    return f"**{figure.ratio:.2f}** ({figure.value:.1f} {unit})"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
