"""The package keeps its layers, loads late what it can, and has all of upstream's names.

What may import what is said by the contracts of import-linter in pyproject.toml.
"""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import webapp2_sessions

ROOT = Path(__file__).parents[2]
PACKAGE = Path(webapp2_sessions.__file__).parent

#: "sessions.store" and so on; hooks of PyInstaller are no modules that anybody imports.
MODULES = {
    module.name.partition(".")[2]
    for module in pkgutil.walk_packages([str(PACKAGE)], "webapp2_sessions.")
    if "_pyinstaller" not in module.name
}


def test_imports_keep_the_contracts() -> None:
    """No wing imports from one above it, none has a circle, each library has its users."""
    program = "from importlinter.cli import lint_imports_command as run; run()"
    command = [sys.executable, "-c", program, "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def modules_after(statement: str) -> set[str]:
    """Return the modules of a new process that has run a statement."""
    program = f"import sys\n{statement}\nprint(*sys.modules)"
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(
        command, cwd=PACKAGE.parent, capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


#: The wings of which `import webapp2_sessions` loads everything that cookie sessions need, ...
WINGS_LOADED_AT_ONCE = ("config", "cookies", "errors", "securecookie", "sessions")

#: ... and what they hold for options, failures and type checkers.
LOADED_LATER = {
    *("config.foreign", "config.oversights", "cookies.copying"),
    *("errors.sizes", "errors.unstorable"),
    *("securecookie.guessable_keys", "securecookie.tokens"),
    *("sessions.changes", "sessions.encrypted"),
    *("sessions.interfaces", "sessions.sameness", "sessions.sign_outs", "sessions.unsaved"),
}


def test_the_import_loads_no_more_than_it_must() -> None:
    """Of other modules none beyond those of webapp2: not pickle, nor importlib.resources."""
    before = modules_after("import webapp2")
    after = modules_after("import webapp2, webapp2_sessions")
    candidates = {name for name in MODULES if name.partition(".")[0] in WINGS_LOADED_AT_ONCE}
    assert candidates >= LOADED_LATER
    wanted = {f"webapp2_sessions.{name}" for name in candidates - LOADED_LATER}
    assert after - before == {"webapp2_sessions", *wanted}


@pytest.mark.parametrize(
    ("wing", "others"),
    [
        ("sessions_memcache", ("google", "grpc", "cryptography", "redis")),
        ("sessions_redis", ("google", "grpc", "pymemcache")),
    ],
)
def test_a_backend_loads_no_library_of_another(wing: str, others: tuple[str, ...]) -> None:
    """What is installed for one backend is enough for it."""
    loaded = modules_after(f"import webapp2_sessions.{wing}")
    assert [name for name in loaded if name.partition(".")[0] in others] == []


def test_sessions_need_no_webapp2() -> None:
    """Everything below the handlers works for any framework."""
    wings = ("sessions", "stored", "sessions_memcache", "sessions_redis", "sessions_ndb")
    loaded = modules_after("; ".join(f"import webapp2_sessions.{wing}" for wing in wings))
    assert "webapp2_sessions.stored.merging" in loaded
    assert "webapp2" not in loaded


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("SessionHandler", "handlers"),
        ("SessionMiddleware", "middleware"),
        ("StoredSessionFactory", "stored"),
        ("install_as_webapp2_extras", "dropin"),
    ],
)
def test_other_names_are_loaded_when_they_are_used(name: str, home: str) -> None:
    first = "import webapp2_sessions as w"
    assert f"webapp2_sessions.{home}" not in modules_after(first)
    uses = [f"from webapp2_sessions import {name}", f"from webapp2_sessions import *; {name}"]
    for use in [*uses, f"{first}; assert '{name}' in dir(w); w.{name}"]:
        assert f"webapp2_sessions.{home}" in modules_after(use)


#: What needs a library that no other test has.
ELSEWHERE = {"__main__", "sessions_memcache.appengine"}


@pytest.mark.parametrize("name", ["", *sorted(MODULES - ELSEWHERE)])
def test_public_names_exist(name: str) -> None:
    """What `__all__` names can be imported; ruff sees that it is sorted and described."""
    module = importlib.import_module(f"webapp2_sessions.{name}".rstrip("."))
    assert [each for each in getattr(module, "__all__", ()) if not hasattr(module, each)] == []
