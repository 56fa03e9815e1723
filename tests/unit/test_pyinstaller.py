"""The hooks for PyInstaller name every module that is imported by its name."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import webapp2_sessions
from webapp2_sessions._pyinstaller import get_hook_dirs
from webapp2_sessions.config import UPSTREAM_MODULES, UPSTREAM_USERS, default_config
from webapp2_sessions.users.revocation import _STORES

PACKAGE = Path(webapp2_sessions.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "operating.md"


def hidden(name: str) -> list[str]:
    """What the hook for a module names."""
    [folder] = get_hook_dirs()
    found: list[str] = runpy.run_path(str(Path(folder) / f"hook-{name}.py"))["hiddenimports"]
    return found


def calls(function: str) -> list[ast.Call]:
    """The calls of a function in all modules."""
    trees = [ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")]
    nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [node for node in nodes if getattr(node.func, "id", None) == function]


def test_backends_and_lazy_names_are_hidden_imports() -> None:
    """The list is complete, and has nothing more."""
    named = (name for name in default_config["backends"].values() if isinstance(name, str))
    backends = {name.rpartition(".")[0] for name in named}
    upstream = {**UPSTREAM_MODULES, **UPSTREAM_USERS}
    parents = {name.rpartition(".")[0] for name in upstream}
    lazy = set(webapp2_sessions._HOMES.values())
    assert {"webapp2_sessions.handlers", "webapp2_sessions.dropin"} < lazy
    # The other one is part of the wing of its backend.
    cache = {"webapp2_sessions.sessions_redis.cache"}
    users = {f"webapp2_sessions.users.{name}" for name in ("following", "accounts")}
    revocation = {store.rpartition(".")[0] for store in _STORES.values()}
    expected = {*backends, *upstream.values(), *parents, *lazy, *cache, *users, *revocation}
    assert sorted(hidden("webapp2_sessions")) == sorted(expected)


def test_commands_are_hidden_imports() -> None:
    commands = {
        f"webapp2_sessions.cli.{ast.literal_eval(call.args[0])}" for call in calls("_lazily")
    }
    assert sorted(hidden("webapp2_sessions.cli.parser")) == sorted(commands)


def test_nothing_else_is_imported_by_name() -> None:
    """Whoever adds such an import has to say here where its names come from."""
    importing = re.compile(r"\b(?:import_object|import_module|__import__)\b")
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if importing.search(path.read_text("utf-8"))
    }
    assert users == {
        "__init__.py",
        "cli/check.py",
        "cli/parser.py",
        "cli/target.py",
        "config/imports.py",
        "dropin.py",
        "sessions/factories.py",
        "sessions/store.py",
        "sessions_memcache/servers.py",
        "sessions_ndb/records.py",
        "users/revocation.py",
    }


def test_the_page_has_the_list() -> None:
    """For other tools that freeze applications."""
    listed = re.findall(r"--hidden-import=(\S+)", PAGE.read_text("utf-8"))
    assert sorted(listed) == sorted(hidden("webapp2_sessions"))
