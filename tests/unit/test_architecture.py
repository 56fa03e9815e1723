"""The package keeps its floors: imports go strictly down, and heavy ones stay where they belong."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import webapp2_extras.securecookie
import webapp2_extras.sessions

import webapp2_sessions

PACKAGE = Path(webapp2_sessions.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"

#: The floor of each module. A module imports only from floors below its own.
FLOORS = {
    "cookie_data": 0,
    "config_kinds": 0,
    "guessable_keys": 0,
    "cookie_attributes": 0,
    "cli_values": 0,
    "datastore_calls": 0,
    "errors": 0,
    "fork_gate": 0,
    "json_tags": 0,
    "lazy": 0,
    "memcached_addresses": 0,
    "memcached_pool": 0,
    "locks": 0,
    "memcached_sockets": 0,
    "namespaces": 0,
    "memcached_words": 0,
    "ndb_types": 0,
    "sameness": 0,
    "keys": 1,
    "value_checks": 1,
    "python2_pickles": 0,
    "unstorable": 0,
    "plain_json": 1,
    "session_dict": 1,
    "clients": 1,
    "memcached_answers": 1,
    "memcached_serdes": 1,
    "cli_output": 1,
    "sizes": 1,
    "cookie_rules": 1,
    "merging": 1,
    "tagged_json": 1,
    "datastore_places": 1,
    "datastore_versions": 1,
    "cookies": 2,
    "cookie_texts": 2,
    "changes": 2,
    "interfaces": 2,
    "signed_codec": 2,
    "serializers": 2,
    "memcached_connections": 2,
    "config_checks": 3,
    "datastore": 3,
    "endings": 3,
    "sign_outs": 3,
    "unsaved": 3,
    "securecookie": 3,
    "signed_values": 3,
    "memcached_servers": 3,
    "config": 4,
    "datastore_entities": 4,
    "memcached_nodes": 4,
    "received_cookies": 4,
    "factories": 5,
    "config_oversights": 5,
    "imports": 5,
    "signed_cookies": 5,
    "config_targets": 5,
    "memcached": 5,
    "app_config": 6,
    "stored_sessions": 6,
    "server_checks": 6,
    "cli_arguments": 6,
    "testing_apps": 6,
    "coherent_cache": 6,
    "cookie_sessions": 7,
    "datastore_records": 7,
    "sessions_memcache": 7,
    "config_advice": 7,
    "testing_clock": 7,
    "encryption": 8,
    "sessions": 8,
    "sessions_ndb": 8,
    "testing_memory": 8,
    "handlers": 9,
    "middleware": 9,
    "dropin": 9,
    "purging": 9,
    "cookie_inspection": 9,
    "cli_configs": 9,
    "testing_backend": 9,
    "testing_client": 9,
    "testing_cookies": 9,
    "stored_inspection": 10,
    "cli_purge": 10,
    "cli_cookies": 10,
    "testing": 10,
    "__init__": 10,
    "cli_stored": 11,
    "cli": 11,
    "__main__": 12,
}

#: The only modules that may import a library other than Python's own.
USERS_OF = {
    "webapp2": {
        *("app_config", "config_targets", "handlers", "imports", "sessions"),
        *("stored_inspection", "testing_apps", "testing_client", "testing_cookies"),
    },
    "webob": {"config", "cookie_rules", "cookies", "endings", "middleware", "testing_clock"},
    "pymemcache": {
        *("memcached_answers", "memcached_connections", "memcached_serdes", "memcached_servers"),
    },
    "cryptography": {"encryption"},
    "google": {"datastore", "datastore_places", "datastore_versions"},
    "grpc": {"datastore", "datastore_calls"},
    "tqdm": {"cli_purge"},
}

EACH_MODULE = pytest.mark.parametrize("module", sorted(FLOORS))


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports anywhere, in functions as well: full names of modules."""
    source = (PACKAGE / f"{module}.py").read_text("utf-8")
    return frozenset(_imports(ast.parse(source)))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used"
            for alias in node.names:
                # "from package import module" is an import of the module.
                submodule = node.module == "webapp2_sessions" and alias.name in FLOORS
                yield f"{node.module}.{alias.name}" if submodule else str(node.module)


def loaded(module: str) -> ModuleType:
    """A module of the package, imported."""
    name = "" if module == "__init__" else f".{module}"
    return importlib.import_module(f"webapp2_sessions{name}")


def test_each_module_has_a_floor() -> None:
    """A new module has to find its place."""
    assert sorted(FLOORS) == sorted(path.stem for path in PACKAGE.glob("*.py"))


@EACH_MODULE
def test_imports_go_down(module: str) -> None:
    """A module imports from lower floors only, never from its own."""
    ours = (name for name in imports(module) if name.partition(".")[0] == "webapp2_sessions")
    floors = {name: FLOORS[name.partition(".")[2] or "__init__"] for name in ours}
    assert {name: floor for name, floor in floors.items() if floor >= FLOORS[module]} == {}


@pytest.mark.parametrize(("library", "users"), USERS_OF.items())
def test_a_library_is_imported_where_it_belongs(library: str, users: set[str]) -> None:
    """Everybody else goes through these modules."""
    found = {
        module
        for module in FLOORS
        if any(name.partition(".")[0] == library for name in imports(module))
    }
    assert users == found


def test_there_are_no_other_libraries() -> None:
    """Python's own, the package's own, and those of the table."""
    found = {name.partition(".")[0] for module in FLOORS for name in imports(module)}
    # _typeshed comes with type checkers, and is there for them alone.
    assert set(USERS_OF) == found - sys.stdlib_module_names - {"webapp2_sessions", "_typeshed"}


def test_the_architecture_is_documented() -> None:
    """docs/architecture.md has each module on its floor."""
    rows = re.findall(r"^\| `(\w+)`[^|]*\| (\d+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert {module: int(floor) for module, floor in rows} == FLOORS


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import webapp2_sessions", ("pymemcache", "google.", "grpc", "cryptography")),
        ("import webapp2_sessions.sessions_memcache", ("google.", "grpc", "cryptography")),
    ],
)
def test_libraries_are_loaded_when_they_are_needed(
    statement: str, unwanted: tuple[str, ...]
) -> None:
    """Importing the package loads no backend, and a backend not the other's library."""
    modules = modules_after(statement)
    assert "webapp2_sessions.sessions" in modules
    assert [name for name in modules if name.startswith(unwanted)] == []


def modules_after(statement: str) -> set[str]:
    """The modules of a new process that has run a statement."""
    program = f"import sys\n{statement}\nprint(*sys.modules)"
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(finished.stdout.split())


#: What `import webapp2_sessions` loads: what an application with sessions in cookies needs.
LOADED_AT_ONCE = {
    *("app_config", "config", "config_checks", "cookie_attributes", "cookie_data", "cookie_rules"),
    *("cookie_sessions", "cookies"),
    *("errors", "factories", "imports", "keys", "lazy", "plain_json"),
    *("app_config", "config", "config_checks", "cookie_rules", "cookie_sessions", "cookies"),
    *("errors", "factories", "imports", "keys", "lazy", "locks", "plain_json"),
    *("received_cookies", "securecookie", "session_dict", "sessions", "signed_codec"),
    *("signed_cookies", "value_checks"),
}


def test_the_import_loads_no_more_than_it_must() -> None:
    """Of Python's modules none beyond those of webapp2: not pickle, nor importlib.resources."""
    loaded_by_it = modules_after("import webapp2, webapp2_sessions") - modules_after(
        "import webapp2"
    )
    ours = {f"webapp2_sessions.{module}" for module in LOADED_AT_ONCE}
    assert loaded_by_it == {"webapp2_sessions", *ours}


@pytest.mark.parametrize(
    ("module", "name", "home"),
    [
        ("webapp2_sessions", "SessionHandler", "handlers"),
        ("webapp2_sessions", "SessionMiddleware", "middleware"),
        ("webapp2_sessions", "StoredSessionFactory", "stored_sessions"),
        ("webapp2_sessions", "install_as_webapp2_extras", "dropin"),
        ("webapp2_sessions.sessions", "StoredSessionFactory", "stored_sessions"),
    ],
)
def test_other_names_are_loaded_when_they_are_used(module: str, name: str, home: str) -> None:
    """However an application asks for them."""
    home = f"webapp2_sessions.{home}"
    assert home not in modules_after(f"import {module}")
    uses = [f"from {module} import {name}", f"from {module} import *; {name}"]
    for use in [*uses, f"import {module}; assert '{name}' in dir({module}); {module}.{name}"]:
        assert home in modules_after(use)


# Public names


def kind_and_name(name: str) -> tuple[bool, bool, str]:
    """A key that sorts constants before classes before functions, as ruff does."""
    return not name.isupper(), not name[0].isupper(), name


@EACH_MODULE
def test_public_names_are_sorted(module: str) -> None:
    """`__all__` exists, is sorted, and holds no name twice."""
    names = loaded(module).__all__
    assert sorted(set(names), key=kind_and_name) == list(names)


@EACH_MODULE
def test_public_names_exist(module: str) -> None:
    """What `__all__` names can be imported."""
    assert [name for name in loaded(module).__all__ if not hasattr(loaded(module), name)] == []


UPSTREAM_NAMES = [
    "default_config",
    "SessionStore",
    "SessionDict",
    "BaseSessionFactory",
    "SecureCookieSessionFactory",
    "CustomBackendSessionFactory",
    "get_store",
    "set_store",
]


def defined_in(module: ModuleType) -> list[str]:
    """Public names that a module defines itself."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and getattr(value, "__module__", module.__name__) == module.__name__
    ]


def test_upstreams_names_are_known() -> None:
    """The list above is what upstream defines."""
    assert sorted(UPSTREAM_NAMES) == sorted(defined_in(webapp2_extras.sessions))


@pytest.mark.parametrize("name", UPSTREAM_NAMES)
def test_upstreams_names_are_at_both_places(name: str) -> None:
    """In the module that mirrors upstream's and at the package root they are the same."""
    assert name in webapp2_sessions.__all__
    assert name in loaded("sessions").__all__
    assert getattr(webapp2_sessions, name) is getattr(loaded("sessions"), name)


def test_upstreams_serializer_is_at_both_places() -> None:
    """The other module without dependencies."""
    assert defined_in(webapp2_extras.securecookie) == ["SecureCookieSerializer"]
    assert loaded("securecookie").__all__ == ["SecureCookieSerializer"]
    assert webapp2_sessions.SecureCookieSerializer is loaded("securecookie").SecureCookieSerializer


def public_things(module: str) -> Iterator[tuple[str, Any]]:
    """Public functions and classes of a module, and the public methods of these classes."""
    for name in loaded(module).__all__:
        value = getattr(loaded(module), name)
        if inspect.isclass(value) or inspect.isfunction(value):
            yield name, value
        if inspect.isclass(value):
            for attribute, member in vars(value).items():
                if callable(member) and not attribute.startswith("_"):
                    yield f"{name}.{attribute}", member


@EACH_MODULE
def test_public_names_are_described(module: str) -> None:
    """Modules, classes, functions and methods have a docstring of their own."""
    undescribed = [name for name, thing in public_things(module) if not thing.__doc__]
    assert (bool(loaded(module).__doc__), undescribed) == (True, [])


def test_the_package_says_that_it_has_types() -> None:
    """Type checkers look for py.typed."""
    assert (PACKAGE / "py.typed").is_file()
