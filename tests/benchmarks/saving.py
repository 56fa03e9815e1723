"""Putting a run's results into the documentation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pictures import picture
from benchmarks.report import markdown, noise_line
from benchmarks.results import Table, from_json, to_json

__all__ = ["FOLDER", "MAIN", "PAGE", "THROUGHPUT", "Section", "load", "page_text", "save"]

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "benchmarks"
PAGE = DOCS / "performance.md"


@dataclass(frozen=True)
class Section:
    """Results of one run: a file, and a place in the page."""

    name: str

    @property
    def file(self) -> Path:
        """Where they are kept."""
        return FOLDER / f"{self.name}.json"

    @property
    def marks(self) -> tuple[str, str]:
        """What they stand between, in the page."""
        return f"<!-- {self.name} -->", f"<!-- end of {self.name} -->"


#: The cases of `make bench`, and that of `make bench-throughput`.
MAIN, THROUGHPUT = Section("results"), Section("throughput")


def save(tables: Sequence[Table], machine: Mapping[str, str], section: Section = MAIN) -> None:
    """Write the results, a picture for each table, and the tables into the page."""
    FOLDER.mkdir(exist_ok=True)
    values = {"machine": dict(machine), "tables": to_json(tables)}
    results = json.dumps(values, indent=1, ensure_ascii=False)
    section.file.write_text(results + "\n", "utf-8")
    # From what was written, so that page and pictures can be made again from it.
    for table in load(section)[0]:
        (FOLDER / f"{table.key}.svg").write_text(picture(table), "utf-8")
    PAGE.write_text(page_text(PAGE.read_text("utf-8"), section), "utf-8")


def load(section: Section = MAIN) -> tuple[list[Table], dict[str, str]]:
    """The results that are saved."""
    values = json.loads(section.file.read_text("utf-8"))
    return from_json(values["tables"]), values["machine"]


def page_text(page: str, section: Section = MAIN) -> str:
    """The page with the saved results in their place."""
    tables, machine = load(section)
    begin, end = section.marks
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    versions = ", ".join(
        f"{name} {value}" for name, value in machine.items() if name not in ("python", "machine")
    )
    lines = [
        f"Measured on {machine['python']}, {machine['machine']}; {versions}. {noise_line(tables)}",
        *(line for table in tables for line in ["", *markdown(table)]),
    ]
    return f"{before}{begin}\n" + "\n".join(lines).rstrip() + f"\n\n{end}{after}"
