"""The current namespace of an ndb context, the App Engine SDK or a client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from google.cloud import ndb
from support.appengine_namespaces import in_namespace
from support.servers import PROXY_VARIABLES

from webapp2_sessions.stored.namespaces import chosen_namespace, current_namespace

UNDEFINED: Any = object()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that is not there."""
    for variable in PROXY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:1")


def ndb_context(of_client: str | None, own: Any = UNDEFINED) -> AbstractContextManager[Any]:
    """Return an ndb context, with an explicit namespace if given."""
    client = ndb.Client(project="shop", namespace=of_client)
    context: AbstractContextManager[Any] = (
        client.context() if own is UNDEFINED else client.context(namespace=own)
    )
    return context


Enter = Callable[[], AbstractContextManager[Any]]

#: The contexts to enter, and then the chosen and the current namespace.
CASES: dict[str, tuple[list[Enter], str | None, str]] = {
    "nothing": ([], None, ""),
    "context": ([lambda: ndb_context(None, "a")], "a", "a"),
    "context with the default namespace": ([lambda: ndb_context("c", "")], "", ""),
    "context without a namespace": ([lambda: ndb_context(None)], None, ""),
    "context whose namespace is None": ([lambda: ndb_context("c", None)], None, "c"),
    "client's": ([lambda: ndb_context("c")], None, "c"),
    "SDK": ([lambda: in_namespace("s")], "s", "s"),
    "SDK without a namespace": ([lambda: in_namespace("")], None, ""),
    "context in the SDK's": ([lambda: in_namespace("s"), lambda: ndb_context("c", "a")], "a", "a"),
    "SDK's before the client's": ([lambda: in_namespace("s"), lambda: ndb_context("c")], "s", "s"),
    "default one in the SDK's": ([lambda: in_namespace("s"), lambda: ndb_context("c", "")], "", ""),
}


@pytest.mark.parametrize(("entered", "chosen", "current"), CASES.values(), ids=CASES)
def test_innermost_explicit_namespace_counts(
    entered: list[Enter], chosen: str | None, current: str
) -> None:
    """The client's is the fallback."""
    with ExitStack() as stack:
        for enter in entered:
            stack.enter_context(enter())
        context = ndb.get_context(raise_context_error=False)
        assert (chosen_namespace(context), current_namespace()) == (chosen, current)
    assert (chosen_namespace(None), current_namespace()) == (None, "")


@pytest.mark.parametrize("name", ["google.cloud.ndb", "google.appengine.api.namespace_manager"])
@pytest.mark.parametrize("found", [None, ModuleType("half loaded")], ids=["blocked", "half"])
def test_module_that_is_not_loaded_says_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str, found: Any
) -> None:
    """Its import may be blocked, or in progress in another thread."""
    monkeypatch.setitem(sys.modules, name, found)
    assert (chosen_namespace(None), current_namespace()) == (None, "")


def test_none_of_the_sdk_is_no_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = SimpleNamespace(get_namespace=lambda: None)
    monkeypatch.setitem(sys.modules, "google.appengine.api.namespace_manager", manager)
    assert current_namespace() == ""


def test_neither_ndb_nor_the_sdk_is_imported() -> None:
    program = (
        "import sys; from webapp2_sessions.stored.namespaces import current_namespace as ask; "
        "assert ask() == ''; print([n for n in sys.modules if n.startswith('google')])"
    )
    line = [sys.executable, "-c", program]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "google.cloud.ndb" not in done.stdout
    assert "google.appengine" not in done.stdout
