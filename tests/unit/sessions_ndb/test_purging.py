"""A purge checks its arguments, keeps to its time and asks again after a passing fault.

The service is scripted here; tests/integration/test_purging.py deletes from real emulators.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core import exceptions as api_errors
from google.auth.exceptions import DefaultCredentialsError, RefreshError
from google.cloud import ndb
from support.entities import kinds_restored

from webapp2_sessions.errors import BackendError, BackendUnavailable, ConfigError
from webapp2_sessions.sessions_ndb import purging
from webapp2_sessions.sessions_ndb import records as datastore_records
from webapp2_sessions.sessions_ndb.client import is_transient
from webapp2_sessions.sessions_ndb.purging import purge_sessions

DAY = datetime.timedelta(days=1)


class Service:
    """Answers as scripted: what it deletes, what it is given for each request, when it fails."""

    def __init__(self) -> None:
        self.now = 1000.0
        #: Sizes of the pages that are left.
        self.pages: list[int] = []
        #: Errors of the next requests; None for a request that succeeds.
        self.faults: list[BaseException | None] = []
        #: The timeout of each request.
        self.timeouts: list[float] = []
        #: Seconds of each pause.
        self.pauses: list[float] = []
        #: Seconds that a request takes.
        self.duration = 0.0

    def request(self, settings: Any, operation: Callable[[], Any]) -> Any:
        """As Datastore.run()."""
        self.timeouts.append(settings["timeout"])
        self.now += self.duration
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        return operation()

    def fetch_page(self, size: int, **options: Any) -> tuple[list[str], None, bool]:
        """As that of an ndb query."""
        found = min(size, self.pages.pop(0)) if self.pages else 0
        return ["key"] * found, None, bool(self.pages)

    def sleep(self, seconds: float) -> None:
        """As time.sleep()."""
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service without sessions, in place of Datastore."""
    service = Service()
    # The tombstones are shown with real services, in tests/integration.
    monkeypatch.setattr(purging._Pages, "delete_tombstones", lambda self: None)
    nothing = {"delete_multi": lambda keys, **options: None}
    ndb_without_service = SimpleNamespace(**{**vars(ndb), **nothing})

    class FakeDatastore:
        def __init__(self, settings: Any) -> None:
            self.settings = settings
            self.options = {"timeout": settings["timeout"], "retries": 0}

        def run(self, operation: Callable[..., Any], *args: Any) -> Any:
            return service.request(self.settings, lambda: operation(*args))

    monkeypatch.setattr(purging, "Datastore", FakeDatastore)
    monkeypatch.setattr(purging.Session, "query", lambda _: service)
    monkeypatch.setattr(purging, "ndb", ndb_without_service)
    monkeypatch.setattr(purging, "_monotonic", lambda: service.now)
    monkeypatch.setattr(purging, "_sleep", service.sleep)
    return service


def unavailable(cause: BaseException | None = None) -> BackendUnavailable:
    """An error as Datastore raises it."""
    error = BackendUnavailable("datastore", "here", "it failed")
    error.__cause__ = cause
    return error


def refused(cause: BaseException) -> BackendError:
    """A refusal as Datastore raises it."""
    error = BackendError("datastore", "here", "it refused")
    error.__cause__ = cause
    return error


# Arguments


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("older_than", [0, 0.5, 10**9, DAY, datetime.timedelta(0)], ids=repr)
def test_ages(older_than: Any) -> None:
    """Numbers of seconds and timedeltas that are not negative are ages."""
    assert purge_sessions(older_than) == 0


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(
    "older_than",
    [-1, -DAY, float("nan"), float("inf"), 10**12, 10**400, datetime.timedelta.max, True, "30d"],
    ids=str,
)
def test_wrong_age(older_than: Any) -> None:
    """What is no age, or reaches back before the calendar, is refused."""
    with pytest.raises(ConfigError, match="older_than: must be "):
        purge_sessions(older_than)


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("limit", value) for value in (0, -1, 1.0, True, "1")),
        *(("batch", value) for value in (0, 501, 1.0, True, None)),
        *(("seconds", value) for value in (0, -1, float("nan"), True, "1")),
        *(("model", value) for value in (None, ndb.Model, dict, "Session")),
        *(("config", value) for value in ("x", [])),
        *(("dry_run", value) for value in (None, 1, "no")),
        ("progress", 1),
    ],
)
def test_wrong_argument(name: str, value: Any) -> None:
    """An argument that is wrong is named, with what is allowed."""
    with pytest.raises(ConfigError, match=f"^{name}: must be .*, not {type(value).__name__}"):
        purge_sessions(DAY, **{name: value})


@pytest.mark.usefixtures("service")
def test_wrong_configuration() -> None:
    """The configuration that a caller gives is checked like an application's."""
    with pytest.raises(ConfigError, match=r"datastore\['timeout'\]"):
        purge_sessions(DAY, config={"datastore": {"timeout": 0}})


@pytest.mark.usefixtures("service")
def test_configuration_is_not_shown() -> None:
    """What was given in place of a configuration may be a secret key."""
    with pytest.raises(ConfigError) as caught:
        purge_sessions(DAY, config="hush-hush")  # type: ignore[arg-type]
    assert "hush" not in str(caught.value)


def test_model_needs_an_index() -> None:
    """A model whose `updated` cannot be asked for is refused."""
    with kinds_restored():

        class Unindexed(ndb.Model):
            updated = ndb.DateTimeProperty(indexed=False)

        with pytest.raises(ConfigError, match=r"model: must be .* indexed"):
            purge_sessions(DAY, model=Unindexed)


# Time


def test_pages_are_counted(service: Service) -> None:
    """Without bounds all pages go, and each is reported with the number so far."""
    service.pages = [500, 500, 7]
    counts: list[int] = []
    assert purge_sessions(DAY, progress=counts.append) == 1007
    assert counts == [500, 1000, 1007]


@pytest.mark.parametrize(("seconds", "expected"), [(7, 1000), (8, 1000), (9, 1500), (99, 2000)])
def test_no_page_begins_after_the_time(service: Service, seconds: float, expected: int) -> None:
    """A page of two requests takes 4 seconds here; the one that was begun is finished."""
    service.pages = [500] * 4
    service.duration = 2.0
    assert purge_sessions(DAY, seconds=seconds) == expected


def test_timeouts_shrink_with_the_time(service: Service) -> None:
    """A request may take what is left of the time, and one second in any case."""
    service.pages = [500] * 4
    service.duration = 2.0
    purge_sessions(DAY, seconds=8.5, config={"datastore": {"timeout": 5}})
    assert service.timeouts == [5, 5, 4.5, 2.5, 1, 1]


def test_timeout_without_a_time(service: Service) -> None:
    """Without `seconds` each request has the configured timeout."""
    service.pages = [500]
    service.duration = 100.0
    purge_sessions(DAY, config={"datastore": {"timeout": 7}})
    assert service.timeouts == [7, 7]


# Faults


def test_passing_fault_is_not_noticed(service: Service) -> None:
    """Query and deletion are tried again, and nothing is counted twice."""
    service.pages = [500, 3]
    service.faults = [unavailable(), None, unavailable(), unavailable(), None]
    assert purge_sessions(DAY) == 503
    assert service.pauses == [1, 1, 2]


def test_lasting_fault_is_raised(service: Service) -> None:
    """After three pauses it is an error."""
    service.faults = [unavailable()] * 10
    with pytest.raises(BackendUnavailable):
        purge_sessions(DAY)
    assert (service.pauses, len(service.timeouts)) == ([1, 2, 4], 4)


def test_fault_in_the_middle_has_told_the_count(service: Service) -> None:
    """The caller knows of the pages before."""
    service.pages = [500, 500]
    service.faults = [None, None, *[unavailable()] * 4]
    counts: list[int] = []
    with pytest.raises(BackendUnavailable):
        purge_sessions(DAY, progress=counts.append)
    assert counts == [500]


def test_pause_does_not_outlast_the_time(service: Service) -> None:
    """Where the time does not suffice for a pause, the fault is an error."""
    service.faults = [unavailable()] * 10
    with pytest.raises(BackendUnavailable):
        purge_sessions(DAY, seconds=3)
    assert service.pauses == [1]


def test_refusal_is_not_repeated(service: Service) -> None:
    """A request that the service refuses would be refused again."""
    service.faults = [refused(api_errors.InvalidArgument("no"))]
    with pytest.raises(BackendError):
        purge_sessions(DAY)
    assert service.pauses == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (unavailable(api_errors.ServiceUnavailable("down")), True),
        (unavailable(api_errors.DeadlineExceeded("late")), True),
        (refused(api_errors.Aborted("contention")), True),
        (refused(api_errors.ResourceExhausted("quota")), True),
        (unavailable(api_errors.RetryError("ndb has tried", cause=None)), False),
        (unavailable(DefaultCredentialsError("none")), False),
        (unavailable(RefreshError("later", retryable=True)), True),
        (refused(api_errors.InvalidArgument("no")), False),
        (refused(api_errors.PermissionDenied("no")), False),
    ],
    ids=lambda value: type(getattr(value, "__cause__", None)).__name__,
)
def test_passing_faults(error: BackendError, expected: bool) -> None:
    """Outages, contention and quotas pass; refusals and missing credentials do not."""
    assert is_transient(error) is expected


# The cache


def test_every_deleted_session_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one of several memcached servers fails: the others work."""
    names: list[str] = []

    def forget(name: str) -> bool:
        names.append(name)
        return len(names) != 2

    monkeypatch.setattr(datastore_records, "_cache", lambda _: SimpleNamespace(forget=forget))
    monkeypatch.setattr(datastore_records, "entry_name_of", str)
    datastore_records.forget_cached({"datastore": {"cache": "memcache"}}, ["a", "b", "c", "d"])
    assert names == ["a", "b", "c", "d"]
