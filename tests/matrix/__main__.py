"""Run the tests on every Python, with the newest and the lowest libraries: `make test-all`.

The wheel is built once and installed into a virtual environment for each Python that setup.py
names; on the oldest also with the lowest version of each library that setup.py allows. A Python
that is not on this machine is listed; with REQUIRE_PYTHONS=1 it is a failure. Logs are beside the
environments, in .venv-all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from matrix import metadata, pythons
from matrix.environments import ROOT, Environment, Outcome, try_out, wanted

FOLDER = ROOT / ".venv-all"

#: What may differ from one Python or library to another, in little time. Left out are faults,
#: races, load and real servers of HTTP, which ask what our own code does when others fail, and
#: the checks of documentation, types and packaging, which are the same everywhere.
QUICK = ("tests/unit", "tests/property", "tests/conformance")

#: Random programs beside upstream; `make test` runs ten times as many on one Python.
_QUICK_PROGRAMS = "1000"

#: Lines of a log that are shown where the tests failed.
_SHOWN = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit code."""
    options = _parser().parse_args(arguments)
    FOLDER.mkdir(exist_ok=True)
    wheel = _build()
    found = metadata.read(wheel)
    chosen = [each for each in wanted(found) if options.only in (None, each.name)]
    if options.others:
        chosen = [each for each in chosen if each.is_lowest or each.minor != _own_minor()]
    minors = sorted({each.minor for each in chosen}, key=found.pythons.index)
    places = {minor: pythons.find(minor) for minor in minors}
    missing = [minor for minor, place in places.items() if place is None]
    if missing and options.download:
        pythons.download(missing)
        places.update({minor: pythons.find(minor) for minor in missing})
        missing = [minor for minor in missing if places[minor] is None]
    for minor, place in places.items():
        _tell(f"Python {minor:<5} {place or 'not found: neither pyenv, PATH nor uv has it'}")
    if not chosen or (missing and os.environ.get("REQUIRE_PYTHONS") == "1"):
        _tell("REQUIRE_PYTHONS=1, but some are missing" if missing else "nothing to run")
        return 1
    tests = QUICK if options.quick else ()
    if options.quick:
        os.environ.setdefault("PROGRAMS", _QUICK_PROGRAMS)
    run = partial(_try_out, places=places, wheel=wheel, found=found, tests=tests)
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(run, chosen))
    return _report([each for each in outcomes if each is not None], missing)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m matrix",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}")
    parser.add_argument("--others", action="store_true", help="not on the Python that runs this")
    parser.add_argument("--only", help="one environment, e.g. 3.12 or 3.10-lowest")
    parser.add_argument("--jobs", type=int, default=1, help="environments at once")
    parser.add_argument("--download", action="store_true", help="have uv download what is missing")
    return parser


def _own_minor() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _build() -> Path:
    """Build the wheel from the source distribution, as for a release."""
    target = FOLDER / "dist"
    shutil.rmtree(target, ignore_errors=True)
    build = [sys.executable, "-m", "build", "--no-isolation", f"--outdir={target}", str(ROOT)]
    # Not from our own folder: "-m" would find tests/packaging instead of the library.
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)
    [wheel] = target.glob("*.whl")
    return wheel


def _try_out(
    environment: Environment,
    *,
    places: dict[str, Path | None],
    wheel: Path,
    found: metadata.Metadata,
    tests: Sequence[str],
) -> Outcome | None:
    python = places[environment.minor]
    if python is None:
        return None
    outcome = try_out(environment, python, wheel, found, FOLDER, tests)
    _tell(f"{outcome.name:<12} {outcome.line} ({outcome.seconds:.0f} s with installing)")
    return outcome


def _report(outcomes: list[Outcome], missing: list[str]) -> int:
    failed = [each.name for each in outcomes if not each.passed]
    for name in failed:
        log = FOLDER / f"{name}.log"
        _tell(f"\n--- {name}: the end of {log}")
        _tell("\n".join(log.read_text("utf-8").splitlines()[-_SHOWN:]))
    if missing:
        _tell(f"not tried, because they are not on this machine: {', '.join(missing)}")
    _tell(f"failed: {', '.join(failed)}" if failed else f"{len(outcomes)} environments passed")
    return 1 if failed or not outcomes else 0


def _tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201 # its output is for people


if __name__ == "__main__":
    sys.exit(main())
