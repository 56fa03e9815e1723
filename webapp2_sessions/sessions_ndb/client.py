"""Access to Datastore by google-cloud-ndb: clients, places, deadlines, retries and errors."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from webapp2_sessions.errors import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    MissingDependency,
    SessionTooLarge,
)
from webapp2_sessions.sessions_ndb.fork_gate import ForkGate
from webapp2_sessions.stored.clients import ClientRegistry, Identity
from webapp2_sessions.stored.namespaces import chosen_namespace

try:
    import grpc
    from google.api_core import exceptions as api_errors
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.datastore_v1.services.datastore.transports import DatastoreGrpcTransport

    if TYPE_CHECKING:
        from webapp2_sessions.sessions_ndb import ndb_types as ndb
    else:
        from google.cloud import ndb

    from webapp2_sessions.sessions_ndb.stub import ANY, EntityVersion, Stub, client_with
except ImportError as _error:
    raise MissingDependency("google-cloud-ndb", "datastore") from _error

__all__ = [
    "REFUSALS",
    "Datastore",
    "Place",
    "VersionConflict",
    "is_transient",
    "ndb",
    "service_address",
]

Result = TypeVar("Result")

_GOOGLES = "datastore.googleapis.com"

#: Looking for credentials in vain can take 12 s, so the failure is remembered for so many seconds.
_RETRY_AFTER = 30.0

_clients: ClientRegistry[Any] = ClientRegistry(_RETRY_AFTER)

_fork_gate = ForkGate()

#: Original, kept to detect clients whose contexts have a namespace of their own.
_open_context = ndb.Client.context

#: Options beyond ndb's. By default, channels to one server share a connection, a forked child's
#: with the one it inherited, and its requests get no answer; and gRPC waits up to two minutes
#: after an outage before it reconnects.
_CHANNEL_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A firewall may forget an idle connection and drop what is sent on it. Close it after a minute
    # without a call; probe it while calls are made.
    ("grpc.client_idle_timeout_ms", 60_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)

#: Transient faults, after which the request is retried once.
_TRANSIENT = (api_errors.ServiceUnavailable, api_errors.Aborted, api_errors.InternalServerError)

#: Temporary refusals: contention and quotas.
_REFUSED_FOR_NOW = (api_errors.Aborted, api_errors.TooManyRequests)

#: Answers if an entity has another version than expected, exists already or is gone.
_OTHER_VERSION = (api_errors.FailedPrecondition, api_errors.AlreadyExists, api_errors.NotFound)

#: Errors of an operation that has certainly written nothing: answers of the service, and ours
#: from before it was asked.
REFUSALS = (*_OTHER_VERSION, *_REFUSED_FOR_NOW, api_errors.BadRequest, SessionTooLarge)

#: What Google's libraries raise.
_FAILURES = (GoogleAuthError, api_errors.GoogleAPIError)


class VersionConflict(Exception):
    """Raised where an entity was not written, because it has another version than expected."""


class Place(NamedTuple):
    """Client and namespace of a session's entity, fixed while the session is open."""

    #: A client of the application; ``None`` for the configured one, which each process makes for
    #: itself, a child that is forked during a request as well.
    client: Any
    #: ``""`` is the default namespace, ``None`` the client's, which is not known yet.
    namespace: str | None


def active_place() -> Place | None:
    """Return the place of the active ndb context, ``None`` if there is none."""
    context = ndb.get_context(raise_context_error=False)
    return None if context is None else Place(context.client, context.get_namespace() or "")


def service_address() -> str:
    """Return the address of the service: the emulator's in the environment, or Google's."""
    return os.environ.get("DATASTORE_EMULATOR_HOST") or _GOOGLES


def is_transient(error: BackendError) -> bool:
    """Return whether the request that failed so may succeed a little later."""
    cause = error.__cause__
    if isinstance(cause, GoogleAuthError):
        return bool(getattr(cause, "retryable", False))
    if isinstance(cause, api_errors.RetryError):
        return False  # ndb has repeated it already, with pauses
    return isinstance(error, BackendUnavailable) or isinstance(cause, _REFUSED_FOR_NOW)


class Datastore:
    """Run operations on Datastore in an ndb context, with a deadline, a retry and our errors.

    :param settings: ``project``, ``namespace`` and ``database`` (``None`` for the environment's),
        or a ``client`` or a function that makes one; ``timeout`` in seconds for each request.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._timeout: float = settings["timeout"]
        #: Options of each ndb call; by default it waits without a limit and retries with sleeps.
        self.options: dict[str, Any] = {"timeout": self._timeout, "retries": 0}

    def here(self) -> Place:
        """Return the place of a session that is opened now; no client is made for it.

        The configured namespace holds everywhere; without it the namespace of the active ndb
        context, or of App Engine's SDK, or of the client.
        """
        context = ndb.get_context(raise_context_error=False)
        namespace = self._settings.get("namespace")
        if namespace is None:
            namespace = chosen_namespace(context)
        if context is not None:
            own = context.get_namespace() or ""
            return Place(context.client, own if namespace is None else namespace)
        place, client = Place(None, namespace), self._settings.get("client")
        if namespace is not None or client is None:
            return place
        is_made = not callable(client) or Identity(client) in _clients.built
        return Place(None, self.partition(place)[2]) if is_made else place

    def partition(self, place: Place | None = None) -> tuple[str, str | None, str]:
        """Return project, database and namespace of the keys that :meth:`run` would work on.

        Finding them takes less than entering a context and making a key.

        :raises BackendUnavailable: there are no credentials.
        """
        place = place or active_place() or self.here()
        try:
            client, namespace = self._client(place), place.namespace
            if namespace is None and getattr(client.context, "__func__", None) is _open_context:
                namespace = client.namespace or ""
            elif namespace is None:
                # A method of the application may choose a namespace for each context.
                namespace = contextvars.Context().run(_opened_namespace, client)
        except _FAILURES as error:
            raise self._error_of(error) from error
        # ndb takes what follows App Engine's "s~" for the project.
        return client.project.split("~", 1)[-1], client.database, namespace

    def run(
        self,
        operation: Callable[..., Result],
        *args: Any,
        place: Place | None = None,
        entity: EntityVersion | None = None,
    ) -> Result:
        """Call ``operation(*args)`` in an ndb context; retry once after a transient fault.

        In a transaction of the application the operation runs outside of it: a session is not
        part of what the transaction may roll back.

        :param place: ``None`` for the active context, and where a session would be opened if there
            is none.
        :param entity: learns its version, and is written only if it has the expected one. The
            operation has a context of its own then.
        :raises VersionConflict: the entity has another version; nothing was written.
        :raises BackendUnavailable: Datastore was not reached or did not answer in time.
        :raises BackendError: Datastore refused.
        """
        result: Result
        request = self._run, place, entity, operation
        try:
            try:
                result = _fork_gate.run(*request, *args)
            except _TRANSIENT:
                result = _fork_gate.run(*request, *args)
        except _FAILURES as error:
            expects = entity is not None and entity.expected is not ANY
            if expects and isinstance(error, _OTHER_VERSION):
                raise VersionConflict() from error
            raise self._error_of(error) from error
        return result

    def _run(
        self,
        place: Place | None,
        entity: EntityVersion | None,
        operation: Callable[..., Result],
        *args: Any,
    ) -> Result:
        """Call ``operation(*args)`` in an ndb context of a place.

        The active context is used if it matches. A transaction of the application is left alone.
        """
        context = ndb.get_context(raise_context_error=False)
        place = place or active_place() or self.here()
        client, namespace = self._client(place), place.namespace
        if entity is not None:
            client = client_with(client, Stub(client.stub, entity))
        if context is not None:
            if active_place() == (client, namespace) and not context.in_transaction():
                return operation(*args)
            outside: Any = contextvars.Context()
            result: Result = outside.run(self._run, place, entity, operation, *args)
            return result
        with client.context():  # a method of the application may accept no arguments
            context = ndb.get_context()
            own = context.get_namespace() or ""
            namespace = own if namespace is None else namespace
            if context.client == client and own == namespace:
                return operation(*args)
            with context.new(client=client, namespace=namespace).use():
                return operation(*args)

    def _error_of(self, error: Exception) -> BackendError:
        """Return our error for one of Google's libraries."""
        if isinstance(error, GoogleAuthError):
            return self._unavailable("there are no credentials for it")
        if isinstance(error, (api_errors.DeadlineExceeded, api_errors.GatewayTimeout)):
            return self._unavailable(f"it did not answer within {self._timeout} s")
        if isinstance(error, (api_errors.ServerError, api_errors.RetryError)):
            return self._unavailable(f"it failed ({type(error).__name__})")
        problem = f"it refused ({type(error).__name__})"
        return BackendError("datastore", service_address(), problem)

    def _client(self, place: Place) -> Any:
        """Return the ndb client of a place, making the configured one on first use."""
        if place.client is not None:
            return place.client
        settings = self._settings
        client = settings.get("client")
        if client is not None:
            return _clients.get(Identity(client), client) if callable(client) else client
        names = (settings.get("project"), settings.get("namespace"), settings.get("database"))
        address = os.environ.get("DATASTORE_EMULATOR_HOST")
        return _clients.get((address, names), lambda: self._connect(*names))

    def _connect(self, project: str | None, namespace: str | None, database: str | None) -> Any:
        try:
            client = ndb.Client(project=project, namespace=namespace, database=database)
        except (OSError, GoogleAuthError) as error:
            if _is_about_credentials(error):
                raise self._unavailable("there are no credentials for it") from error
            raise ConfigError(
                "datastore['project']",
                "is not set and not found in the environment; set it, or GOOGLE_CLOUD_PROJECT",
            ) from error
        channel = _channel(client)
        if channel is not None:
            client.stub.close()
            client.stub = DatastoreGrpcTransport(host=client.host, channel=channel)
        client.stub = Stub(client.stub)
        return client

    def _unavailable(self, problem: str) -> BackendUnavailable:
        return BackendUnavailable("datastore", service_address(), problem)


def _is_about_credentials(error: Exception) -> bool:
    """Return whether a client lacks credentials, and not a project."""
    if isinstance(error, OSError):
        return error.errno is not None  # unreadable file; an OSError of ndb's own has no number
    # An emulator needs no credentials: it was the project that was looked for in them.
    return service_address() == _GOOGLES


def _channel(client: Any) -> Any:
    """Make a channel as ndb's clients do, with our options; return ``None`` if that fails."""
    if not client.secure:
        return grpc.insecure_channel(client.host, _CHANNEL_OPTIONS)
    # Private; where a version of ndb lacks it, the client keeps the channel it has made itself.
    credentials = getattr(client, "_credentials", None)
    if credentials is None:
        return None
    user_agent = ("grpc.primary_user_agent", client.client_info.to_user_agent())
    return DatastoreGrpcTransport.create_channel(
        f"{client.host}:443",
        credentials=credentials,
        options=(user_agent, *_CHANNEL_OPTIONS),
    )


def _opened_namespace(client: Any) -> str:
    with client.context():
        return ndb.get_context().get_namespace() or ""
