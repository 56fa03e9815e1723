"""Datastore runs operations in the right context, once per fault, and names what failed."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import google.auth
import pytest
from google.api_core import exceptions as api_errors
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, RefreshError
from google.cloud import ndb
from google.cloud.datastore_v1.services.datastore.transports import DatastoreGrpcTransport
from support.forks import Stop, forks, goes_on, in_child
from support.servers import PROXY_VARIABLES

from webapp2_sessions.config import DATASTORE_DEFAULTS
from webapp2_sessions.errors import BackendError, BackendUnavailable, ConfigError
from webapp2_sessions.sessions_ndb import client as datastore
from webapp2_sessions.sessions_ndb.client import Datastore, Place, service_address
from webapp2_sessions.sessions_ndb.stub import EntityVersion
from webapp2_sessions.stored.clients import ClientRegistry

#: Nothing is sent to it.
EMULATOR = "127.0.0.1:1"

#: Seconds after which a thread that hangs is a failure.
PATIENCE = 30.0

PROJECT_VARIABLES = ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "DATASTORE_DATASET")


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> ClientRegistry[Any]:
    """An environment without a project and with an emulator, and no clients yet."""
    for variable in (*PROXY_VARIABLES, *PROJECT_VARIABLES):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", EMULATOR)
    registry: ClientRegistry[Any] = ClientRegistry(30)
    monkeypatch.setattr(datastore, "_clients", registry)
    return registry


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Nobody has credentials; one item for each time they were looked for."""
    searches: list[int] = []

    def default(*args: object, **options: object) -> None:
        searches.append(1)
        raise DefaultCredentialsError("none were found")

    monkeypatch.setattr(google.auth, "default", default)
    return searches


def store(**settings: Any) -> Datastore:
    return Datastore({**DATASTORE_DEFAULTS, "project": "test", **settings})


class Operation:
    """An operation that meets one fault after the other and then gives a result."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.faults:
            raise self.faults.pop(0)
        return "result"


# Contexts


def test_run_gives_what_the_operation_gives() -> None:
    assert store().run(lambda: 42) == 42


def place() -> tuple[Any, ...]:
    """Where an entity goes in the active context."""
    key = ndb.Key("Session", "id")
    return key.project(), key.namespace(), key.database()


def test_context_has_the_configured_settings() -> None:
    settings = {"project": "shop", "namespace": "de", "database": "sessions"}
    assert store(**settings).run(place) == ("shop", "de", "sessions")


@pytest.mark.parametrize("error", [None, KeyError(), SystemExit()], ids=repr)
def test_context_is_closed_whatever_happens(error: BaseException | None) -> None:
    with contextlib.nullcontext() if error is None else pytest.raises(type(error)):
        store().run(mock.Mock(side_effect=error))
    assert ndb.get_context(raise_context_error=False) is None


def test_context_of_the_application_is_used_and_needs_no_client(no_credentials: list[int]) -> None:
    with ndb.Client(project="theirs").context(namespace="ns") as context:
        assert store(project=None).run(ndb.get_context) is context


@pytest.fixture
def transaction() -> Iterator[None]:
    """A context that is in a transaction."""
    client = ndb.Client(project="theirs", database="db")
    with (
        client.context(namespace="ns") as context,
        context.new(transaction=b"id", retry=None).use(),
    ):
        yield


@pytest.mark.usefixtures("transaction")
def test_operation_runs_beside_a_transaction_in_its_place() -> None:
    # A session is not part of what the application's transaction may roll back.
    assert store().run(lambda: ndb.get_context().in_transaction()) is False
    assert store().run(place) == ("theirs", "ns", "db")
    assert ndb.get_context().in_transaction()


@pytest.mark.usefixtures("transaction")
def test_error_beside_a_transaction_is_ours() -> None:
    with pytest.raises(BackendUnavailable):
        store().run(Operation(api_errors.DeadlineExceeded("late")))


# Places


def test_place_needs_neither_client_nor_credentials(no_credentials: list[int]) -> None:
    assert store(project=None).here() == Place(None, None)
    assert no_credentials == []


def test_namespace_of_a_place_is_completed_by_the_client() -> None:
    assert store(client=ndb.Client(project="p", namespace="n")).here() == Place(None, "n")
    made = store(client=lambda: ndb.Client(project="p", namespace="n"))
    assert made.here() == Place(None, None)
    assert made.partition(made.here()) == ("p", None, "n")
    assert made.here() == Place(None, "n")


@pytest.mark.parametrize("active", ["none", "theirs", "other"])
def test_operation_runs_at_its_place_whatever_context_is_active(active: str) -> None:
    theirs = ndb.Client(project="theirs", database="db")
    contexts = {"theirs": theirs.context, "other": ndb.Client(project="other").context}
    there = Place(theirs, "ns")
    with contexts.get(active, contextlib.nullcontext)():
        before = ndb.get_context(raise_context_error=False)
        assert store().run(place, place=there) == ("theirs", "ns", "db")
        assert store().partition(there) == ("theirs", "db", "ns")
        assert ndb.get_context(raise_context_error=False) is before


@forks
def test_configured_client_of_a_place_is_that_of_the_process() -> None:
    place = Place(None, store().partition(store().here())[2])
    (parents,) = clients_of(store())

    def has_its_own() -> bool:
        client = store().run(lambda: ndb.get_context().client, place=place)
        return client is not parents

    assert in_child(has_its_own)
    assert store().run(lambda: ndb.get_context().client, place=place) is parents


# Deadlines


def test_options_bound_each_call_and_repeat_none() -> None:
    assert store(timeout=2.5).options == {"timeout": 2.5, "retries": 0}


# Clients


def clients_of(*stores: Datastore) -> list[Any]:
    return [each.run(lambda: ndb.get_context().client) for each in stores]


@pytest.mark.parametrize(
    ("other", "is_shared"),
    [
        ({}, True),
        ({"timeout": 2.0}, True),
        ({"project": "other"}, False),
        ({"namespace": "ns"}, False),
        ({"database": "db"}, False),
    ],
    ids=str,
)
def test_stores_of_one_place_share_a_client(other: dict[str, Any], is_shared: bool) -> None:
    first, second = clients_of(store(), store(**other))
    assert (first is second) is is_shared


def test_emulator_that_moved_has_another_client(monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = clients_of(store())
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:2")
    (second,) = clients_of(store())
    assert (first.host, second.host) == (EMULATOR, "127.0.0.1:2")


def test_project_of_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "from-environment")
    (client,) = clients_of(store(project=None))
    assert client.project == "from-environment"


@pytest.mark.usefixtures("no_credentials")
def test_missing_project_of_an_emulator_is_no_matter_of_credentials() -> None:
    with pytest.raises(ConfigError, match=r"datastore\['project'\]: is not set .*GOOGLE_CLOUD"):
        store(project=None).run(Operation())


def test_credentials_without_a_project_lead_to_that_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google.auth, "default", lambda *args, **options: (None, None))
    with pytest.raises(ConfigError, match=r"datastore\['project'\]: is not set"):
        store(project=None).run(Operation())


def test_credentials_that_cannot_be_read_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    unreadable = mock.Mock(side_effect=PermissionError(13, "Permission denied"))
    monkeypatch.setattr(google.auth, "default", unreadable)
    with pytest.raises(BackendUnavailable, match="there are no credentials for it"):
        store(project=None).run(Operation())


@pytest.fixture
def real_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATASTORE_EMULATOR_HOST")


@pytest.mark.usefixtures("real_service", "no_credentials")
@pytest.mark.parametrize("project", ["test", None])
def test_missing_credentials_are_named(project: str | None) -> None:
    with pytest.raises(BackendUnavailable) as caught:
        store(project=project).run(Operation())
    assert str(caught.value) == (
        "datastore backend at datastore.googleapis.com: there are no credentials for it"
    )


@pytest.mark.usefixtures("real_service")
@pytest.mark.parametrize(("seconds", "searches"), [(0, 1), (31, 3)])
def test_missing_credentials_are_looked_for_again_after_half_a_minute(
    no_credentials: list[int],
    registry: ClientRegistry[Any],
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    searches: int,
) -> None:
    # The search may take many seconds.
    monkeypatch.setattr(registry, "_now", itertools.count(step=seconds).__next__)
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            store().run(Operation())
    assert len(no_credentials) == searches


@pytest.fixture
def channel_to_google(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the channel to Google's service is made with; the credentials are anonymous."""
    made: dict[str, Any] = {}
    credentials = AnonymousCredentials()
    monkeypatch.setattr(google.auth, "default", lambda *args, **options: (credentials, None))
    make = DatastoreGrpcTransport.create_channel

    def remember(target: str, **options: Any) -> Any:
        made.update(options, target=target, options=dict(options["options"]))
        return make(target, **options)

    monkeypatch.setattr(DatastoreGrpcTransport, "create_channel", remember)
    return made


@pytest.mark.usefixtures("real_service")
def test_channel_is_secure_and_connects_again_soon(channel_to_google: dict[str, Any]) -> None:
    (client,) = clients_of(store())
    assert channel_to_google["target"] == "datastore.googleapis.com:443"
    assert channel_to_google["credentials"] is client._credentials
    options = channel_to_google["options"]
    assert "google-cloud-ndb" in options["grpc.primary_user_agent"]
    assert options["grpc.max_reconnect_backoff_ms"] == 1000
    assert options["grpc.use_local_subchannel_pool"] == 1


@pytest.mark.usefixtures("real_service")
def test_client_that_does_not_show_its_credentials_keeps_its_channel(
    channel_to_google: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Hiding(ndb.Client):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            del self._credentials
            made.append(self.stub.grpc_channel)

    monkeypatch.setattr(ndb, "Client", Hiding)
    (client,) = clients_of(store())
    assert [client.stub.grpc_channel] == made
    assert channel_to_google == {}


def test_address_is_that_of_the_emulator_or_googles(monkeypatch: pytest.MonkeyPatch) -> None:
    assert service_address() == EMULATOR
    monkeypatch.delenv("DATASTORE_EMULATOR_HOST")
    assert service_address() == "datastore.googleapis.com"


# Errors


FAILURES = [
    (api_errors.DeadlineExceeded("late"), BackendUnavailable, "it did not answer within 5.0 s"),
    (api_errors.GatewayTimeout("late"), BackendUnavailable, "it did not answer within 5.0 s"),
    (api_errors.InternalServerError("x"), BackendUnavailable, "it failed (InternalServerError)"),
    (api_errors.ServiceUnavailable("down"), BackendUnavailable, "it failed (ServiceUnavailable)"),
    (api_errors.RetryError("x", None), BackendUnavailable, "it failed (RetryError)"),
    (RefreshError("expired"), BackendUnavailable, "there are no credentials for it"),
    (api_errors.InvalidArgument("too long"), BackendError, "it refused (InvalidArgument)"),
    (api_errors.PermissionDenied("no"), BackendError, "it refused (PermissionDenied)"),
    (api_errors.Aborted("contention"), BackendError, "it refused (Aborted)"),
]


@pytest.mark.parametrize(
    ("fault", "kind", "problem"), FAILURES, ids=lambda value: type(value).__name__
)
def test_failure_is_a_backend_error(fault: Exception, kind: type, problem: str) -> None:
    with pytest.raises(BackendError) as caught:
        store().run(Operation(fault, fault))
    error = caught.value
    assert str(error) == f"datastore backend at {EMULATOR}: {problem}"
    assert (error.backend, error.address) == ("datastore", EMULATOR)
    assert (type(error), error.__cause__) == (kind, fault)


@pytest.mark.parametrize("fault", [KeyError("a"), TypeError("b"), ConfigError("c", "d")], ids=repr)
def test_error_of_the_program_passes(fault: Exception) -> None:
    with pytest.raises(type(fault)) as caught:
        store().run(Operation(fault))
    assert caught.value is fault


TRANSIENT = [
    api_errors.ServiceUnavailable("x"),
    api_errors.Aborted("x"),
    api_errors.InternalServerError("x"),
]


@pytest.mark.parametrize("fault", TRANSIENT, ids=lambda fault: type(fault).__name__)
def test_operation_is_done_again_once_after_a_fault_that_may_pass(fault: Exception) -> None:
    passing, lasting = Operation(fault), Operation(fault, fault)
    assert (store().run(passing), passing.calls) == ("result", 2)
    with pytest.raises(BackendError):
        store().run(lasting)
    assert lasting.calls == 2


@pytest.mark.parametrize(
    "fault",
    [api_errors.DeadlineExceeded("x"), api_errors.InvalidArgument("x"), KeyError("x")],
    ids=lambda fault: type(fault).__name__,
)
def test_operation_is_not_done_again_after_other_faults(fault: Exception) -> None:
    # What took its time already, or will not change.
    operation = Operation(fault)
    with pytest.raises((BackendError, KeyError)):
        store().run(operation)
    assert operation.calls == 1


ENTITIES = {"any": None, "with a version": EntityVersion("Session", "a name")}


@forks
@pytest.mark.parametrize("entity", ENTITIES.values(), ids=ENTITIES)
def test_fork_waits_for_an_operation(
    entity: EntityVersion | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC may lose a call that a fork meets, so it does not meet any."""
    monkeypatch.setattr(datastore._fork_gate, "longest_wait", PATIENCE)
    operation = Stop()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(store().run, operation, entity=entity)
        assert operation.reached.wait(PATIENCE)
        forked = pool.submit(in_child, lambda: True)
        assert not goes_on(forked)
        operation.left.set()
        assert answer.result(PATIENCE)
        assert forked.result(PATIENCE)
