"""What an import costs a process that has webapp2 already."""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import webapp2_sessions
from benchmarks.bench import Bench
from benchmarks.cases.cookie import BACKEND_LIBRARIES
from benchmarks.measure import PARTS, compare
from benchmarks.peers import BASELINE, CONTROL, OURS
from benchmarks.results import Table, table_of

__all__ = ["run"]

_STATEMENTS = {
    BASELINE: "from webapp2_extras import sessions",
    CONTROL: "from webapp2_extras import sessions",
    OURS: "from webapp2_sessions import sessions",
}

_PROGRAM = """
import json, sys, time, webapp2
began = time.process_time_ns()
{statement}
print(json.dumps([(time.process_time_ns() - began) / 1e6, sorted(sys.modules)]))
"""

#: Each is imported so often at least, and at most.
_LEAST, _MOST = PARTS, 25


def run(bench: Bench) -> Table:
    """Milliseconds of CPU time in fresh processes, in random order."""
    # Users have bytecode, which pip makes; in a checkout it may be missing or old.
    compileall.compile_dir(Path(webapp2_sessions.__file__).parent, quiet=1)
    samples: dict[str, list[float]] = {name: [] for name in _STATEMENTS}
    modules: dict[str, list[str]] = {}
    order, deadline = list(_STATEMENTS), time.monotonic() + bench.seconds
    for number in range(_MOST):
        if number >= _LEAST and time.monotonic() > deadline:
            break
        bench.chance.shuffle(order)
        for name in order:
            taken, modules[name] = _import(_STATEMENTS[name])
            samples[name].append(taken)
    loaded = [name for name in modules[OURS] if name.startswith(BACKEND_LIBRARIES)]
    notes = [f"{OURS} has imported {', '.join(loaded) or 'no library of a backend'}."]
    title = "Importing the sessions where webapp2 is imported already"
    return table_of("import", title, {"import": compare(samples, BASELINE)}, unit="ms", notes=notes)


def _import(statement: str) -> tuple[float, list[str]]:
    """Import from a plain path, as users do, whatever an editable install has for it."""
    path = str(Path(webapp2_sessions.__file__).parents[1])
    line = [sys.executable, "-W", "ignore", "-c", _PROGRAM.format(statement=statement)]
    done = subprocess.run(
        line,
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        check=True,
    )
    taken, modules = json.loads(done.stdout)
    return taken, modules
