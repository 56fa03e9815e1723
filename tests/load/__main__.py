"""Drive the sessions of a webapp on gunicorn, and fail their servers meanwhile: `make load`.

Exit code 1: a change that was reported saved is gone, somebody saw another visitor's session, or
a request failed although no server did. In the table, errors are counted before, during and after
the outage; "new" are sessions that began again because a memcached came back empty, "lost" are
changes that were saved and not found again, "alien" are sessions of another visitor.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from support.servers import DatastoreEmulator

from load.backends import BACKENDS, Backend, servers_of
from load.report import HEADER, details, row
from load.run import Options, run, warm_up_emulator


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit code."""
    parser = _parser()
    wanted = parser.parse_args(arguments)
    values = {name: getattr(wanted, name) for name in Options.__dataclass_fields__}
    chosen = [backend for backend in BACKENDS if backend.name in (wanted.backend or NAMES)]
    if missing := {reason for b in chosen for kind in servers_of(b) if (reason := kind.missing())}:
        parser.error("; ".join(sorted(missing)))
    return 1 if _run_all(chosen, Options(**values)) else 0


NAMES = [backend.name for backend in BACKENDS]


def _parser() -> argparse.ArgumentParser:
    default = Options()
    parser = argparse.ArgumentParser(
        prog="python -m load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--backend",
        action="append",
        choices=NAMES,
        help="one to drive, can be repeated; default: all",
    )
    parser.add_argument("--visitors", type=_count, default=default.visitors)
    parser.add_argument("--seconds", type=float, default=default.seconds, help="for each backend")
    parser.add_argument("--requests", type=_count, help="end a backend earlier, after so many")
    parser.add_argument("--workers", type=_count, default=default.workers, help="processes")
    parser.add_argument("--threads", type=_count, default=default.threads, help="of each worker")
    parser.add_argument("--preload", action="store_true", help="use the session before forking")
    parser.add_argument("--seed", type=int, default=default.seed, help="of the visitors' choices")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _run_all(chosen: Sequence[Backend], options: Options) -> bool:
    """Whether anything failed."""
    began, failed = time.monotonic(), False
    _say(str(options), "", HEADER)
    with _warm_emulator(chosen) as emulator:
        for backend in chosen:
            outcome = run(backend, options, emulator if backend.datastore else None)
            _say(row(outcome), *details(outcome))
            failed = failed or bool(outcome.failures)
    _say("", f"{'FAILED' if failed else 'passed'} after {time.monotonic() - began:.0f} s")
    return failed


@contextmanager
def _warm_emulator(chosen: Sequence[Backend]) -> Iterator[DatastoreEmulator | None]:
    """One emulator for all backends that need it; starting and warming it takes long."""
    caches = [backend for backend in BACKENDS if backend.memcached or backend.redis]
    wanting = [backend for backend in BACKENDS if backend.datastore and backend not in caches]
    if not any(backend.datastore for backend in chosen):
        yield None
        return
    with ExitStack() as at_end:
        emulator = DatastoreEmulator()
        at_end.callback(emulator.stop)
        emulator.start()
        warm_up_emulator(wanting[0], emulator)
        yield emulator


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
