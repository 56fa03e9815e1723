"""Let worlds happen for as long as one likes: `make world SECONDS=3600 SEED=1`."""

from __future__ import annotations

import argparse
import itertools
import logging
import multiprocessing
import os
import queue
import sys
import time
import traceback
from typing import Any

from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test
from support.servers import PROJECT, DatastoreEmulator

from world.configurations import KINDS, SETTLED
from world.machine import machine_of, world_settings
from world.totals import Totals

__all__ = ["main"]

#: Worlds from one seed; a process asks for the time in between.
_WORLDS = 20


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m world", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="default: 600")
    parser.add_argument("--seed", type=int, default=1, help="default: 1")
    parser.add_argument("--processes", type=int, default=2, help="default: 2")
    parser.add_argument("--kinds", nargs="*", default=SETTLED, choices=list(KINDS))
    parser.add_argument("--only", type=int, help="the seed of a failure, to repeat it")
    return parser.parse_args()


def _live(number: int, arguments: argparse.Namespace, reports: Any) -> None:
    """Live through worlds by one seed after the other, and report each."""
    logging.disable(logging.NOTSET)
    logging.getLogger().addHandler(logging.NullHandler())
    ends = time.monotonic() + arguments.seconds
    kinds = itertools.cycle(arguments.kinds)
    seeds = itertools.count(arguments.seed * 1_000_000 + number, arguments.processes)
    for seed_ in seeds if arguments.only is None else [arguments.only][number:]:
        if time.monotonic() > ends:
            break
        kind = next(kinds)
        with machine_of(kind) as machine:
            failure = None
            try:
                run_state_machine_as_test(seed(seed_)(machine), settings=world_settings(_WORLDS))
            except BaseException as error:
                text = "".join(traceback.format_exception(error))
                again = f"python -m world --only {seed_} --kinds {kind!r}"
                failure = f"seed {seed_}, {kind}; {again} repeats it:\n{text}"
            reports.put((machine.totals, failure))
            if failure:
                break
    reports.put(None)


def main() -> int:
    """Run the worlds; returns 1 if something happened that must not."""
    arguments = _arguments()
    emulator = DatastoreEmulator()
    if any("datastore" in KINDS[kind] for kind in arguments.kinds):
        emulator.start()
        os.environ.update(DATASTORE_EMULATOR_HOST=emulator.address, GOOGLE_CLOUD_PROJECT=PROJECT)
    context = multiprocessing.get_context("spawn")
    reports: Any = context.Queue()
    processes = [
        context.Process(target=_live, args=(number, arguments, reports))
        for number in range(arguments.processes)
    ]
    for process in processes:
        process.start()
    started, totals, failures, running = time.monotonic(), Totals(), [], len(processes)
    try:
        while running:
            try:
                report = reports.get(timeout=5)
            except queue.Empty:
                running = sum(process.is_alive() for process in processes)
                continue
            if report is None:
                running -= 1
                continue
            totals.update(report[0])
            failures += [report[1]] if report[1] else []
            _show(time.monotonic() - started, arguments.seconds, totals)
    finally:
        for process in processes:
            process.join(60)
            process.kill()
        emulator.stop()
    died = [process.exitcode for process in processes if process.exitcode]
    failures += [f"a process ended with exit code {code}" for code in died]
    seconds = time.monotonic() - started
    _print(f"\n{totals.table()}")
    _print(f"{totals.requests / seconds:.0f} requests a second in {len(processes)} processes")
    for failure in failures:
        _print(f"\n{failure}")
    _print("nothing happened that must not" if not failures else "SOMETHING HAPPENED THAT MUST NOT")
    return 1 if failures else 0


def _print(text: str, **options: Any) -> None:
    print(text, **options)  # noqa: T201 # this is a command


def _show(seconds: float, all_seconds: float, totals: Totals) -> None:
    """Show how far it is, on one line."""
    done = min(seconds / all_seconds, 1)
    bar = "#" * int(30 * done)
    text = f"[{bar:30}] {seconds:5.0f} s, {totals.worlds} worlds, {totals.requests} requests"
    _print(f"\r{text}", end="", flush=True, file=sys.stderr)
