"""What a case gives: a table of figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measure import Figure

__all__ = ["Row", "Table", "from_json", "table_of", "to_json"]


@dataclass(frozen=True)
class Row:
    """One contender.

    :param name: of the contender.
    :param figures: one for each column; None where it was not measured.
    :param note: what is to be known about it.
    """

    name: str
    figures: Sequence[Figure | None]
    note: str = ""


@dataclass(frozen=True)
class Table:
    """One case.

    :param key: the name of the case.
    :param title: what was measured.
    :param unit: of the figures' values.
    :param columns: names of the columns.
    :param rows: the contenders.
    :param notes: lines below the table.
    :param is_growth: whether the columns are points of a curve.
    :param more_is_better: whether the figures are wanted to be large.
    """

    key: str
    title: str
    unit: str
    columns: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=tuple)
    is_growth: bool = False
    more_is_better: bool = False

    @property
    def controls(self) -> list[Row]:
        """What was measured a second time, which shows the noise."""
        return [row for row in self.rows if row.name.endswith(" again")]


def table_of(
    key: str,
    title: str,
    columns: Mapping[str, Mapping[str, Figure]],
    notes_of: Mapping[str, str] | None = None,
    **more: Any,
) -> Table:
    """A table of what was measured for each column, by the contenders' names."""
    names = list(dict.fromkeys(name for figures in columns.values() for name in figures))
    rows = [
        Row(
            name,
            [figures.get(name) for figures in columns.values()],
            (notes_of or {}).get(name, ""),
        )
        for name in names
    ]
    return Table(key, title, more.pop("unit", "µs"), list(columns), rows, **more)


def to_json(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """The tables as JSON knows them, numbers rounded to what they can tell."""
    return [_rounded(dataclasses.asdict(table)) for table in tables]


def from_json(values: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The tables that `to_json` was given."""
    return [Table(**{**value, "rows": [_row(row) for row in value["rows"]]}) for value in values]


def _row(row: Mapping[str, Any]) -> Row:
    figures = [None if figure is None else Figure(**figure) for figure in row["figures"]]
    return Row(row["name"], figures, row["note"])


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value
