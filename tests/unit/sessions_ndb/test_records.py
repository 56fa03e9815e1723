"""records: the name in the cache is the same without an ndb context and by a key."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import pytest
from google.cloud import ndb
from support.servers import PROXY_VARIABLES

from webapp2_sessions.sessions_ndb import Session
from webapp2_sessions.sessions_ndb import client as datastore
from webapp2_sessions.sessions_ndb import records as datastore_records
from webapp2_sessions.sessions_ndb.records import SessionRepository
from webapp2_sessions.stored.clients import ClientRegistry

SID = "0123456789abcdefghijkl"

Context = Callable[[], AbstractContextManager[Any]]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that is not there, and no clients yet."""
    for variable in PROXY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:1")
    monkeypatch.setattr(datastore, "_clients", ClientRegistry(30))


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that the cache is asked for; it holds nothing."""
    names: list[str] = []
    cache = SimpleNamespace(read=lambda name, *others: names.append(name))
    monkeypatch.setattr(SessionRepository, "_opened_cache", lambda repository: cache)
    return names


def repository_of(**settings: Any) -> SessionRepository:
    return SessionRepository({"datastore": {"project": "shop", "cache": "memcache", **settings}})


def name_by_key(repository: SessionRepository, model: Any) -> str:
    return repository.run(lambda: datastore_records.entry_name_of(ndb.Key(model, SID)))


class OtherKind(Session):
    """A model of another kind."""

    @classmethod
    def _get_kind(cls) -> str:
        return "Other kind/of session"


class Tenant(ndb.Client):  # type: ignore[misc] # ndb has no types
    def context(self, *args: Any, **options: Any) -> Any:
        """As the parent's."""
        return super().context(*args, **{"namespace": "of a tenant", **options})


def patched_client() -> ndb.Client:
    client = ndb.Client(project="own")
    context = client.context
    client.context = lambda **options: context(**{"namespace": "patched", **options})
    return client


SETTINGS: dict[str, Callable[[], dict[str, Any]]] = {
    "default": dict,
    "place": lambda: {"project": "p", "namespace": "ns", "database": "db"},
    "empty texts": lambda: {"namespace": "", "database": ""},
    "project of App Engine": lambda: {"project": "s~shop~b"},
    "own client": lambda: {"client": ndb.Client(project="own", namespace="n", database="d")},
    "maker of a client": lambda: {"client": lambda: ndb.Client(project="own", namespace="n")},
    "client with contexts of its own": lambda: {"client": Tenant(project="own")},
    "maker of such a client": lambda: {"client": lambda: Tenant(project="own", namespace="n")},
    "client with another method": lambda: {"client": patched_client()},
}


@contextlib.contextmanager
def in_transaction() -> Any:
    client = ndb.Client(project="theirs", database="db")
    with (
        client.context(namespace="ns") as context,
        context.new(transaction=b"id", retry=None).use(),
    ):
        yield


CONTEXTS: dict[str, Context] = {
    "no context": contextlib.nullcontext,
    "context": lambda: ndb.Client(project="theirs", namespace="n", database="db").context(),
    "context with a namespace": lambda: ndb.Client(project="theirs").context(namespace="ns"),
    "context with the empty namespace": (
        lambda: ndb.Client(project="theirs", namespace="n").context(namespace="")
    ),
    "context of such a client": lambda: Tenant(project="theirs").context(),
    "transaction": in_transaction,
}


@pytest.mark.parametrize("model", [Session, OtherKind])
@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_reader_asks_without_a_key_for_the_name_that_a_writer_gives(
    names: list[str], settings: Callable[[], dict[str, Any]], context: Context, model: Any
) -> None:
    repository = repository_of(**settings())
    with context():
        repository.load(model, SID)
        assert names == [name_by_key(repository, model)]


def test_name_is_by_a_method_that_was_replaced_in_the_class_of_all_clients(
    names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ndb.Client.context

    def of_a_tenant(client: Any, **options: Any) -> Any:
        return context(client, **{"namespace": "of a tenant", **options})

    monkeypatch.setattr(ndb.Client, "context", of_a_tenant)
    repository = repository_of()
    repository.load(Session, SID)
    assert names == [name_by_key(repository, Session)]
    assert "of a tenant" in names[0]


def test_project_database_namespace_kind_and_id_are_in_the_name(names: list[str]) -> None:
    for settings in ({}, {"project": "p"}, {"database": "x"}, {"namespace": "x"}):
        for model in (Session, OtherKind):
            for sid in (SID, SID[::-1]):
                repository_of(**settings).load(model, sid)
    assert len(set(names)) == len(names) == 16


def test_reader_in_the_context_of_its_repository_asks_for_that_name(names: list[str]) -> None:
    repository = repository_of(namespace="ns")
    repository.run(lambda: repository.load(Session, SID))
    assert names == [name_by_key(repository, Session)]
