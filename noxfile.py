"""Run the tests on each Python, with the newest libraries and the lowest: `make test-pythons`.

Pythons are pyenv's, those on the path, or downloaded by uv. One that is missing is skipped; with
REQUIRE_PYTHONS=1 it fails.
"""

import os
import shutil
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = os.environ.get("REQUIRE_PYTHONS") == "1"

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14", "3.15"]

#: Those that a system of 2025 cannot install. With REQUIRE_PYTHONS=1 they are run where they are.
NEW = PYTHONS[-2:]

#: What may differ from one Python or library to another. Left out is what asks how our own code
#: behaves when others fail, and what is the same everywhere: documentation, types, packaging.
QUICK = ["tests/unit", "tests/property", "tests/conformance"]

# Before pyenv's shims, which are on the path for each version and run only the chosen one.
_PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
os.environ["PATH"] = os.pathsep.join(
    [*map(str, _PYENV.glob("versions/3.1*/bin")), os.environ["PATH"]]
)

if nox.options.error_on_missing_interpreters:
    missing = [version for version in NEW if shutil.which(f"python{version}") is None]
    PYTHONS = [version for version in PYTHONS if version not in missing]
    print(f"Pythons that are not here, and not tested: {', '.join(missing) or 'none'}")  # noqa: T201


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """Run the tests with the newest libraries."""
    _test(session)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest libraries that setup.py and pyproject.toml allow."""
    _test(session, "--resolution=lowest-direct")


def _test(session: nox.Session, *options: str) -> None:
    """Install the package as a user does and run the tests, QUICK or the ones that are named."""
    shutil.rmtree("build", ignore_errors=True)  # it would bring back modules that are gone
    # uv keeps what it has built of a directory; "." and not a wheel, whose libraries uv does not
    # count as direct.
    fresh = "--reinstall-package=webapp2_sessions"
    # A test downloads webapp2's own tests with pip, which uv does not install by itself.
    session.install(fresh, "pip>=25.1", ".[all,examples]", "--group=test", *options)
    # Random programs beside upstream; `make test-full` runs ten times as many on one Python.
    env = {"PROGRAMS": "1000", **os.environ, "PYTHONPATH": ""}
    command = ("pytest", "-q", "-p", "no:cacheprovider", "--numprocesses=2", "--dist=loadfile")
    session.run(*command, *(session.posargs or QUICK), env=env)


@nox.session(python="3.12")
def appengine(session: nox.Session) -> None:
    """Run the contract on App Engine's bundled memcache, which wants libraries of its own."""
    fresh = "--reinstall-package=webapp2_sessions"
    session.install(fresh, ".[all,appengine]", "pytest>=8.0")
    command = ("pytest", "-q", "-p", "no:cacheprovider", "--override-ini=filterwarnings=default")
    session.run(*command, "--confcutdir=tests/appengine", "tests/appengine")
    # Left out are forks: the testbed is in the memory of its process.
    contract = ("--confcutdir=tests/conformance", "-k", "not fork", "tests/conformance")
    files = ("test_backends.py", "test_invariants.py", "test_late_requests.py")
    places = [f"{contract[-1]}/{name}" for name in files]
    env = {"CONTRACT": "support.bundled_memcache:config"}
    session.run(*command, *contract[:-1], *places, env=env)
