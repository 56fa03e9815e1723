"""Measure the package beside webapp2_extras and other libraries: `make bench`.

All take turns in one process, in short blocks in random order; what counts are the ratios to
webapp2_extras, which is measured twice to show the noise. Times are CPU time of the process.
In the table: the median, its ratio, and the least and the greatest ratio in fifths of the run.

The case "throughput" counts requests a second of a real server instead, and is run by itself:
`make bench-throughput`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.bench import Bench, Missing, stop_servers_when_ended
from benchmarks.cases import CASES, SEPARATE_CASES
from benchmarks.report import LIBRARIES, SERVED, machine, noise_line, text
from benchmarks.results import Table
from benchmarks.saving import MAIN, THROUGHPUT, save


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit code."""
    parser = _parser()
    wanted = parser.parse_args(arguments)
    separate = wanted.case == ["throughput"]
    if wanted.save and (wanted.alone or (wanted.case and not separate)):
        parser.error("--save needs all cases and all libraries")
    stop_servers_when_ended()
    facts = machine(SERVED if separate else LIBRARIES)
    _say(", ".join(f"{name} {value}" for name, value in facts.items()))
    everybody = not (wanted.alone or separate)
    with Bench(wanted.seconds, wanted.seed, everybody) as bench:
        tables, left_out = _run(bench, wanted.case or list(CASES))
        left_out += bench.peers.missing
    _say("", noise_line(tables), *left_out)
    if wanted.save and not left_out:
        save(tables, facts, THROUGHPUT if separate else MAIN)
    return 1 if wanted.save and left_out else 0


def _run(bench: Bench, names: Sequence[str]) -> tuple[list[Table], list[str]]:
    """The tables, printed as they come, and a line for each case that could not be run."""
    tables, left_out = [], []
    for name in names:
        try:
            table = {**CASES, **SEPARATE_CASES}[name](bench)
        except Missing as reason:
            left_out.append(f"left out: {name} ({reason})")
            continue
        _say("", *text(table))
        tables.append(table)
    return tables, left_out


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--case",
        action="append",
        choices=[*CASES, *SEPARATE_CASES],
        help=f"one to run, can be repeated; default: all but {', '.join(SEPARATE_CASES)}",
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="for each column")
    parser.add_argument("--alone", action="store_true", help="without the other libraries")
    parser.add_argument("--seed", type=int, default=1, help="of the order of turns")
    parser.add_argument(
        "--save", action="store_true", help="put the results into docs/, if nothing is left out"
    )
    return parser


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
