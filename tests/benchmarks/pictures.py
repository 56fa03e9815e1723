"""The results as pictures: SVG that is readable on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from benchmarks.measure import Figure
from benchmarks.peers import OURS
from benchmarks.results import Row, Table

__all__ = ["LONGEST", "picture"]

WIDTH = 760
_LINE = 22

#: Where the bars of a panel begin, and how long the longest is.
_BARS, LONGEST = 250, 400

#: The area of a curve: left, top, width, height.
_AREA = (60, 50, 660, 240)

#: The largest number of a growth may be so many times the least; beyond, its axis is logarithmic.
_LINEAR = 1000

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.bar { fill: #afb8c1; }
.curve { fill: none; stroke: #8c959f; stroke-width: 2; }
.dot { fill: #8c959f; }
.ours.bar, .ours.dot { fill: #0969da; }
.ours.curve { stroke: #0969da; }
.axis { stroke: #8c959f; stroke-width: 1; }
.base { stroke: #bc4c00; stroke-width: 1; stroke-dasharray: 4 3; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .bar { fill: #57606a; }
  .ours.bar, .ours.dot { fill: #58a6ff; }
  .ours.curve { stroke: #58a6ff; }
  .base { stroke: #f0883e; }
}
"""


def picture(table: Table) -> str:
    """One picture of a table: a bar for each figure, or a curve for each row of a growth."""
    if table.is_growth:
        return _svg(table, _AREA[1] + _AREA[3] + 40 + _LINE * len(table.rows), _curves(table))
    body, top = [], 40
    for place, column in enumerate(table.columns):
        rows = [(row, row.figures[place]) for row in table.rows if row.figures[place] is not None]
        body += _panel(table, column, rows, top)
        top += _LINE * (len(rows) + 1) + 16
    return _svg(table, top, body)


def _svg(table: Table, height: int, body: Sequence[str]) -> str:
    better = "more" if table.more_is_better else "less"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{escape(table.title)}</title>",
            f"<style>{_STYLE}</style>",
            _text(0, 16, f"{table.title} ({table.unit}, {better} is better)", "title"),
            *body,
            "</svg>",
            "",
        ]
    )


def _panel(
    table: Table, column: str, rows: Sequence[tuple[Row, Figure | None]], top: int
) -> list[str]:
    figures = [figure for _, figure in rows if figure is not None]
    longest = max([figure.value for figure in figures], default=0.0)
    scale = LONGEST / longest if longest > 0 else 0.0
    lines, y = [_text(0, top + 12, column, "title")], top + _LINE
    for row, figure in rows:
        if figure is None:
            continue
        length = max(0.0, figure.value * scale)
        lines += [
            _text(_BARS - 8, y + 14, row.name, "end"),
            f'<rect class="{_classes("bar", row)}" x="{_BARS}" y="{y + 2}" '
            f'width="{length:.1f}" height="{_LINE - 6}"/>',
            _text(WIDTH, y + 14, _label(figure), "end"),
        ]
        y += _LINE
    bases = [figure.value for figure in figures if figure.ratio == 1]
    return [*lines, *(_base_line(_BARS + base * scale, top + _LINE, y) for base in bases[:1])]


def _base_line(x: float, top: int, bottom: int) -> str:
    return f'<line class="base" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>'


def _label(figure: Figure) -> str:
    ratio = "" if figure.ratio is None else f" ({figure.ratio:.2f})"
    return f"{figure.value:.1f}{ratio}"


def _curves(table: Table) -> list[str]:
    left, top, width, height = _AREA
    xs = _places(table.columns)
    most = max(figure.value for row in table.rows for figure in row.figures if figure)
    bottom = top + height
    lines = [
        f'<path class="axis" fill="none" d="M{left} {top}V{bottom}H{left + width}"/>',
        _text(left - 6, top + 5, f"{most:.0f}", "end"),
        _text(left - 6, bottom + 5, "0", "end"),
        *(_text(x, bottom + 20, name, "middle") for x, name in zip(xs, table.columns, strict=True)),
    ]
    for number, row in enumerate(table.rows):
        points = [
            (x, bottom - height * max(0.0, figure.value) / most)
            for x, figure in zip(xs, row.figures, strict=True)
            if figure
        ]
        lines += _curve(row, points, bottom + 44 + _LINE * number)
    return lines


def _curve(row: Row, points: Sequence[tuple[float, float]], legend: int) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dot = _classes("dot", row)
    return [
        f'<polyline class="{_classes("curve", row)}" points="{path}"/>',
        *(f'<circle class="{dot}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points),
        f'<circle class="{dot}" cx="{_AREA[0]}" cy="{legend - 5}" r="5"/>',
        _text(_AREA[0] + 12, legend, row.name),
    ]


def _places(columns: Sequence[str]) -> list[float]:
    """Where the columns stand on the axis, by the numbers that their names begin with."""
    numbers = [float(name.split()[0].replace(",", "")) for name in columns]
    if numbers[-1] > _LINEAR * numbers[0]:
        numbers = [math.log(number) for number in numbers]
    first, last = numbers[0], numbers[-1]
    left, width = _AREA[0] + 30, _AREA[2] - 60
    return [left + width * (number - first) / (last - first) for number in numbers]


def _classes(kind: str, row: Row) -> str:
    return f"ours {kind}" if row.name.startswith(OURS) else kind


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text{attribute} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
