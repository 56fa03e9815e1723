"""Datastore runs operations in the right context, once per fault, and names what failed."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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
    """A Datastore; the project has a default."""
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


def test_result_is_returned() -> None:
    """run() gives what the operation gives."""
    assert store().run(lambda: 42) == 42


def test_context_is_opened() -> None:
    """Outside of ndb's contexts the operation has one with the configured settings."""
    settings = {"project": "shop", "namespace": "de", "database": "sessions"}

    def place() -> tuple[Any, ...]:
        key = ndb.Key("Session", "id")
        return key.project(), key.namespace(), key.database()

    assert store(**settings).run(place) == ("shop", "de", "sessions")


@pytest.mark.parametrize("error", [None, KeyError(), SystemExit()], ids=repr)
def test_context_is_closed(error: BaseException | None) -> None:
    """Afterwards the thread has no context, whatever happened."""

    def operation() -> None:
        if error is not None:
            raise error

    if error is None:
        store().run(operation)
    else:
        with pytest.raises(type(error)):
            store().run(operation)
    assert ndb.get_context(raise_context_error=False) is None


def test_context_of_the_application_is_used() -> None:
    """Where the application is in a context, the operation runs in just that one."""
    with ndb.Client(project="theirs").context(namespace="ns") as context:
        assert store().run(ndb.get_context) is context


def test_context_of_the_application_needs_no_client(no_credentials: list[int]) -> None:
    """In a context of the application we make no client, and miss no project."""
    with ndb.Client(project="theirs").context():
        assert store(project=None).run(Operation()) == "result"


@pytest.fixture
def transaction() -> Callable[[Callable[[], Any]], Any]:
    """Runs a function in a context that is in a transaction."""

    def run(function: Callable[[], Any]) -> Any:
        client = ndb.Client(project="theirs", database="db")
        with (
            client.context(namespace="ns") as context,
            context.new(transaction=b"id", retry=None).use(),
        ):
            return function()

    return run


def test_operation_runs_beside_a_transaction(transaction: Callable[..., Any]) -> None:
    """A session is not part of what the application's transaction may roll back."""
    inside = transaction(lambda: store().run(lambda: ndb.get_context().in_transaction()))
    assert inside is False


def test_operation_beside_a_transaction_keeps_the_place(transaction: Callable[..., Any]) -> None:
    """It goes to the application's project, database and namespace all the same."""

    def place() -> tuple[Any, ...]:
        key = ndb.Key("Session", "id")
        return key.project(), key.database(), key.namespace()

    assert transaction(lambda: store().run(place)) == ("theirs", "db", "ns")


def test_transaction_goes_on(transaction: Callable[..., Any]) -> None:
    """After the operation the application is in its transaction as before."""

    def after() -> bool:
        store().run(Operation())
        return bool(ndb.get_context().in_transaction())

    assert transaction(after) is True


def test_error_beside_a_transaction_is_ours(transaction: Callable[..., Any]) -> None:
    """A failure there is a BackendError as elsewhere."""
    with pytest.raises(BackendUnavailable):
        transaction(lambda: store().run(Operation(api_errors.DeadlineExceeded("late"))))


# Places


def test_place_needs_no_client(no_credentials: list[int]) -> None:
    """A new session is opened without a project, and nobody asks for credentials."""
    assert store(project=None).here() == Place(None, None)
    assert no_credentials == []


def test_place_is_completed_by_the_client() -> None:
    """The namespace is the client's where nothing else has decided on it."""
    assert store(client=ndb.Client(project="p", namespace="n")).here() == Place(None, "n")
    made = store(client=lambda: ndb.Client(project="p", namespace="n"))
    assert made.here() == Place(None, None)
    assert made.complete(made.here()) == made.here() == Place(None, "n")


def test_operation_runs_at_its_place() -> None:
    """Whatever context is active, and that is the active one again afterwards."""
    theirs = ndb.Client(project="theirs", database="db")
    place = Place(theirs, "ns")

    def names() -> tuple[Any, ...]:
        key = ndb.Key("Session", "id")
        return key.project(), key.database(), key.namespace()

    for active in (contextlib.nullcontext, theirs.context, ndb.Client(project="other").context):
        with active():
            before = ndb.get_context(raise_context_error=False)
            assert store().run(names, place=place) == ("theirs", "db", "ns")
            assert store().partition(place) == ("theirs", "db", "ns")
            assert ndb.get_context(raise_context_error=False) is before


@forks
def test_configured_client_of_a_place_is_that_of_the_process() -> None:
    """A process that is forked amid a request does not use its parent's."""
    place = store().complete(store().here())
    (parents,) = clients_of(store())

    def has_its_own() -> bool:
        client = store().run(lambda: ndb.get_context().client, place=place)
        return client is not parents

    assert in_child(has_its_own)
    assert store().run(lambda: ndb.get_context().client, place=place) is parents


# Deadlines


def test_options_bound_each_call() -> None:
    """ndb would wait without end by default, and repeat by sleeping."""
    assert store(timeout=2.5).options == {"timeout": 2.5, "retries": 0}


# Clients


def clients_of(*stores: Datastore) -> list[Any]:
    """The ndb client that each of them uses."""
    return [each.run(lambda: ndb.get_context().client) for each in stores]


def test_same_settings_share_a_client() -> None:
    """All requests of an application use one client."""
    first, second = clients_of(store(), store())
    assert first is second


@pytest.mark.parametrize(
    "other", [{"project": "other"}, {"namespace": "ns"}, {"database": "db"}], ids=str
)
def test_other_settings_have_another_client(other: dict[str, str]) -> None:
    """A client belongs to one place."""
    first, second = clients_of(store(), store(**other))
    assert first is not second


def test_timeout_does_not_divide_clients() -> None:
    """Two applications with other timeouts share the connections."""
    first, second = clients_of(store(timeout=1.0), store(timeout=2.0))
    assert first is second


def test_other_address_has_another_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that moved is found by those who come later."""
    (first,) = clients_of(store())
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:2")
    (second,) = clients_of(store())
    assert (first.host, second.host) == (EMULATOR, "127.0.0.1:2")


def test_project_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a configured project the environment's is used."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "from-environment")
    (client,) = clients_of(store(project=None))
    assert client.project == "from-environment"


@pytest.mark.usefixtures("no_credentials")
def test_missing_project_of_an_emulator() -> None:
    """With an emulator and no project the error asks for the project, not for credentials."""
    with pytest.raises(ConfigError, match=r"datastore\['project'\]: is not set .*GOOGLE_CLOUD"):
        store(project=None).run(Operation())


def test_missing_project_beside_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that belong to no project lead to the same error."""
    monkeypatch.setattr(google.auth, "default", lambda *args, **options: (None, None))
    with pytest.raises(ConfigError, match=r"datastore\['project'\]: is not set"):
        store(project=None).run(Operation())


def test_credentials_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that must not be opened is about credentials, and not about the project."""

    def unreadable(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(google.auth, "default", unreadable)
    with pytest.raises(BackendUnavailable, match="there are no credentials for it"):
        store(project=None).run(Operation())


@pytest.fixture
def real_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without an emulator."""
    monkeypatch.delenv("DATASTORE_EMULATOR_HOST")


@pytest.mark.usefixtures("real_service", "no_credentials")
@pytest.mark.parametrize("project", ["test", None])
def test_missing_credentials(project: str | None) -> None:
    """Without credentials Google's service is unavailable, and the error says why."""
    with pytest.raises(BackendUnavailable) as caught:
        store(project=project).run(Operation())
    assert str(caught.value) == (
        "datastore backend at datastore.googleapis.com: there are no credentials for it"
    )


@pytest.mark.usefixtures("real_service")
def test_missing_credentials_are_remembered(no_credentials: list[int]) -> None:
    """The search, which may take many seconds, is not repeated for each request."""
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            store().run(Operation())
    assert len(no_credentials) == 1


@pytest.mark.usefixtures("real_service")
def test_missing_credentials_are_looked_for_again(
    no_credentials: list[int], registry: ClientRegistry[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After half a minute they may be there."""
    clock = itertools.count(step=31)
    monkeypatch.setattr(registry, "_now", lambda: next(clock))
    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            store().run(Operation())
    assert len(no_credentials) == 2


@pytest.fixture
def channel_to_google(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the channel to Google's service is made with; the credentials are nobody's."""
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
def test_channel_to_google_is_secure(channel_to_google: dict[str, Any]) -> None:
    """The connection to Google's service has TLS, the client's credentials and its name."""
    (client,) = clients_of(store())
    assert channel_to_google["target"] == "datastore.googleapis.com:443"
    assert channel_to_google["credentials"] is client._credentials
    assert "google-cloud-ndb" in channel_to_google["options"]["grpc.primary_user_agent"]


@pytest.mark.usefixtures("real_service")
def test_client_that_does_not_show_its_credentials(
    channel_to_google: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should a version of ndb hide them, its clients keep the channel that they make themselves."""
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


@pytest.mark.usefixtures("real_service")
def test_channel_to_google_connects_again_soon(channel_to_google: dict[str, Any]) -> None:
    """After an outage the service is tried each second, and no connection is inherited."""
    clients_of(store())
    assert channel_to_google["options"]["grpc.max_reconnect_backoff_ms"] == 1000
    assert channel_to_google["options"]["grpc.use_local_subchannel_pool"] == 1


def test_address_is_the_emulators() -> None:
    """Errors name the emulator where there is one."""
    assert service_address() == EMULATOR


@pytest.mark.usefixtures("real_service")
def test_address_is_googles() -> None:
    """Errors name Google's service otherwise."""
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
    """Whatever fails is a BackendError that tells what, with the cause attached."""
    with pytest.raises(BackendError) as caught:
        store().run(Operation(fault, fault))
    assert str(caught.value) == f"datastore backend at {EMULATOR}: {problem}"
    assert (type(caught.value), caught.value.__cause__) == (kind, fault)


def test_error_has_backend_and_address() -> None:
    """The facts are attributes as well."""
    with pytest.raises(BackendError) as caught:
        store().run(Operation(api_errors.InvalidArgument("x")))
    assert (caught.value.backend, caught.value.address) == ("datastore", EMULATOR)


@pytest.mark.parametrize("fault", [KeyError("a"), TypeError("b"), ConfigError("c", "d")], ids=repr)
def test_other_error_passes(fault: Exception) -> None:
    """An error of the program is no failure of Datastore."""
    with pytest.raises(type(fault)) as caught:
        store().run(Operation(fault))
    assert caught.value is fault


TRANSIENT = [
    api_errors.ServiceUnavailable("x"),
    api_errors.Aborted("x"),
    api_errors.InternalServerError("x"),
]


@pytest.mark.parametrize("fault", TRANSIENT, ids=lambda fault: type(fault).__name__)
def test_transient_fault_is_not_noticed(fault: Exception) -> None:
    """After a fault that passes the operation is done again."""
    operation = Operation(fault)
    assert (store().run(operation), operation.calls) == ("result", 2)


@pytest.mark.parametrize("fault", TRANSIENT, ids=lambda fault: type(fault).__name__)
def test_lasting_fault_is_given_up(fault: Exception) -> None:
    """There is one more attempt, and not another."""
    operation = Operation(fault, fault)
    with pytest.raises(BackendError):
        store().run(operation)
    assert operation.calls == 2


@pytest.mark.parametrize(
    "fault",
    [api_errors.DeadlineExceeded("x"), api_errors.InvalidArgument("x"), KeyError("x")],
    ids=lambda fault: type(fault).__name__,
)
def test_other_faults_are_not_repeated(fault: Exception) -> None:
    """What took its time already, or will not change, is not tried again."""
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
