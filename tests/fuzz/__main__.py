"""Try hostile Cookie headers on every kind of session, and print what came of it.

Exit code 1: a cookie was accepted that should not be, or the other way round, or there was an
exception. Valid cookies are among them, and "rightly" are those that opened a session.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tqdm import tqdm

from fuzz.minting import BACKENDS
from fuzz.run import PROBLEMS, Outcome, run

#: Cookies that are tried at once; each such part has a seed of its own.
PART = 10_000


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--count", type=int, default=2_000_000, help="cookies (default: %(default)s)")
    add("--seed", default=str(int(time.time())), help="makes the same cookies again")
    add("--jobs", type=int, default=os.cpu_count(), help="processes (default: all cores)")
    options = parser.parse_args()
    counts = [PART] * (options.count // PART) + [options.count % PART]
    started = time.monotonic()
    total = Outcome()
    with ProcessPoolExecutor(options.jobs) as pool:
        seeds = [f"{options.seed}.{number}" for number in range(len(counts))]
        for outcome in tqdm(pool.map(run, seeds, counts), total=len(counts), file=sys.stderr):
            total.add(outcome)
    _report(total, options.seed, time.monotonic() - started)
    return 1 if total.problems else 0


def _report(total: Outcome, seed: str, seconds: float) -> None:
    write = sys.stdout.write
    write(f"{total.kinds.total():,} cookies in {seconds:.0f} s, seed {seed}\n\n")
    write(f"{'kind':<16}{'cookies':>12}\n")
    for kind, count in sorted(total.kinds.items()):
        write(f"{kind:<16}{count:>12,}\n")
    write(f"\n{'backend':<18}{'opened':>12}{'rightly':>12}")
    write("".join(f"{what:>20}" for what in PROBLEMS) + "\n")
    for backend in BACKENDS:
        write(f"{backend:<18}{total.opened[backend]:>12,}{total.accepted[backend]:>12,}")
        write("".join(f"{total.count(what, backend):>20,}" for what in PROBLEMS) + "\n")
    for problem in total.problems[:10]:
        write(f"\n{problem}\n")


if __name__ == "__main__":
    sys.exit(main())
