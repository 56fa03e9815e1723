"""Run test files of webapp2's source distribution, unmodified, on upstream or on ours.

A program for a process of its own, since both implementations want to be `webapp2_extras.sessions`:

    python run_upstream_tests.py CONFIGURATION

CONFIGURATION is a JSON object: `side` ("upstream" or "ours"), `tests` (the folder that holds
the distribution's `tests` package), `modules` (dotted names of test modules) and `defaults`
(what ours adds to its `default_config`: the apps in upstream's tests configure a secret key and
nothing else). It prints one JSON object with the counts, the tracebacks and the files from which
`webapp2_extras.sessions` and, where it was imported, upstream's model of users came.
"""

from __future__ import annotations

import importlib
import json
import sys
import unittest
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).parent


#: Upstream's model of users.
USERS = "webapp2_extras.appengine.auth.models"


def use_ours(defaults: dict[str, Any], has_users: bool) -> None:
    """Put webapp2_sessions in upstream's place, with more defaults."""
    importlib.import_module("webapp2_sessions").install_as_webapp2_extras()
    importlib.import_module("webapp2_sessions.sessions").default_config.update(defaults)
    if has_users:
        importlib.import_module(USERS)  # ours, as long as there is nothing like App Engine's SDK


class Python2Config(dict[str, Any]):
    """A configuration that gives None as -inf: in Python 2 None is less than any number."""

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        return float("-inf") if value is None else value


def compare_none_as_python2() -> None:
    """Let webapp2_extras.auth compare ages that upstream's tests set to None."""
    store = importlib.import_module("webapp2_extras.auth").AuthStore
    initialise = store.__init__

    def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807
        initialise(self, *args, **options)
        self.config = Python2Config(self.config)

    store.__init__ = __init__


def run(modules: list[str]) -> unittest.TestResult:
    """Import the test modules and run every test in them."""
    suite = unittest.defaultTestLoader.loadTestsFromNames(modules)
    result = unittest.TestResult()
    suite.run(result)
    return result


def report(result: unittest.TestResult) -> dict[str, Any]:
    """Return what the calling test looks at."""
    return {
        "ran": result.testsRun,
        "skipped": [str(test) for test, _reason in result.skipped],
        "failed": [
            f"{test}\n{traceback}" for test, traceback in [*result.failures, *result.errors]
        ],
        "sessions": importlib.import_module("webapp2_extras.sessions").__file__,
        "users": getattr(sys.modules.get(USERS), "__file__", None),
    }


def main(configuration: dict[str, Any]) -> None:
    """Prepare one side, run the tests, print the report."""
    # First on the path: the "tests" package is the distribution's, whatever else has one.
    sys.path[:0] = [configuration["tests"], str(SUPPORT.parent)]
    has_backends = any(name.startswith("tests.gae.") for name in configuration["modules"])
    if configuration["side"] == "ours":
        use_ours(configuration["defaults"], has_users=has_backends)
    if has_backends:
        importlib.import_module("support.appengine").install()
    if "tests.gae.extras_auth_test" in configuration["modules"]:
        compare_none_as_python2()
    sys.stdout.write(json.dumps(report(run(configuration["modules"]))) + "\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
