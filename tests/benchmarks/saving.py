"""Putting a run's results into the documentation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.pictures import picture
from benchmarks.report import markdown, noise_line
from benchmarks.results import Table, from_json, to_json

__all__ = ["FOLDER", "PAGE", "load", "page_text", "save"]

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "benchmarks"
PAGE = DOCS / "performance.md"

#: What the results stand between, in the page.
_BEGIN, _END = "<!-- results -->", "<!-- end of results -->"


def save(tables: Sequence[Table], machine: Mapping[str, str]) -> None:
    """Write the results, a picture for each table, and the tables into the page."""
    FOLDER.mkdir(exist_ok=True)
    values = {"machine": dict(machine), "tables": to_json(tables)}
    results = json.dumps(values, indent=1, ensure_ascii=False)
    (FOLDER / "results.json").write_text(results + "\n", "utf-8")
    # From what was written, so that page and pictures can be made again from it.
    for table in load()[0]:
        (FOLDER / f"{table.key}.svg").write_text(picture(table), "utf-8")
    PAGE.write_text(page_text(PAGE.read_text("utf-8")), "utf-8")


def load() -> tuple[list[Table], dict[str, str]]:
    """The results that are saved."""
    values = json.loads((FOLDER / "results.json").read_text("utf-8"))
    return from_json(values["tables"]), values["machine"]


def page_text(page: str) -> str:
    """The page with the saved results in their place."""
    tables, machine = load()
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    versions = ", ".join(
        f"{name} {value}" for name, value in machine.items() if name not in ("python", "machine")
    )
    lines = [
        f"Measured on {machine['python']}, {machine['machine']}; {versions}. {noise_line(tables)}",
        *(line for table in tables for line in ["", *markdown(table)]),
    ]
    return f"{before}{_BEGIN}\n" + "\n".join(lines).rstrip() + f"\n\n{_END}{after}"
