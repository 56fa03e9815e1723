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


def unavailable(cause: BaseException | None = None, kind: Any = BackendUnavailable) -> BackendError:
    """An error as Datastore raises it."""
    error: BackendError = kind("datastore", "here", "it failed")
    error.__cause__ = cause
    return error


def refused(cause: BaseException) -> BackendError:
    """A refusal as Datastore raises it."""
    return unavailable(cause, BackendError)


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("older_than", [0, 0.5, 10**9, DAY, datetime.timedelta(0)], ids=repr)
def test_ages_are_numbers_of_seconds_and_timedeltas(older_than: Any) -> None:
    assert purge_sessions(older_than) == 0


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(
    "older_than",
    [-1, -DAY, float("nan"), float("inf"), 10**12, 10**400, datetime.timedelta.max, True, "30d"],
    ids=str,
)
def test_what_is_no_age_or_reaches_back_before_the_calendar_is_refused(older_than: Any) -> None:
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
def test_wrong_argument_is_named_with_what_is_allowed(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: must be .*, not {type(value).__name__}"):
        purge_sessions(DAY, **{name: value})


@pytest.mark.usefixtures("service")
def test_configuration_is_checked_like_an_applications() -> None:
    with pytest.raises(ConfigError, match=r"datastore\['timeout'\]"):
        purge_sessions(DAY, config={"datastore": {"timeout": 0}})


@pytest.mark.usefixtures("service")
def test_what_was_given_in_place_of_a_configuration_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        purge_sessions(DAY, config="hush-hush")  # type: ignore[arg-type]
    assert "hush" not in str(caught.value)  # it may be a secret key


def test_model_needs_an_index() -> None:
    with kinds_restored():

        class Unindexed(ndb.Model):
            updated = ndb.DateTimeProperty(indexed=False)

        with pytest.raises(ConfigError, match=r"model: must be .* indexed"):
            purge_sessions(DAY, model=Unindexed)


def test_each_page_is_reported_with_the_number_so_far(service: Service) -> None:
    service.pages = [500, 500, 7]
    counts: list[int] = []
    assert purge_sessions(DAY, progress=counts.append) == 1007
    assert counts == [500, 1000, 1007]


@pytest.mark.parametrize(("seconds", "expected"), [(7, 1000), (8, 1000), (9, 1500), (99, 2000)])
def test_no_page_begins_after_the_time(service: Service, seconds: float, expected: int) -> None:
    service.pages = [500] * 4
    service.duration = 2.0
    assert purge_sessions(DAY, seconds=seconds) == expected


@pytest.mark.parametrize(("seconds", "timeouts"), [(8.5, [5, 5, 4.5, 2.5, 1, 1]), (None, [5] * 8)])
def test_request_may_take_what_is_left_of_the_time_and_a_second_in_any_case(
    service: Service, seconds: float | None, timeouts: list[float]
) -> None:
    service.pages = [500] * 4
    service.duration = 2.0
    purge_sessions(DAY, seconds=seconds, config={"datastore": {"timeout": 5}})
    assert service.timeouts == timeouts


def test_requests_are_made_again_after_a_passing_fault(service: Service) -> None:
    service.pages = [500, 3]
    service.faults = [unavailable(), None, unavailable(), unavailable(), None]
    assert purge_sessions(DAY) == 503
    assert service.pauses == [1, 1, 2]


@pytest.mark.parametrize(("seconds", "pauses"), [(None, [1, 2, 4]), (3, [1])])
def test_fault_is_raised_after_three_pauses_or_when_the_time_does_not_suffice(
    service: Service, seconds: int | None, pauses: list[int]
) -> None:
    service.faults = [unavailable()] * 10
    with pytest.raises(BackendUnavailable):
        purge_sessions(DAY, seconds=seconds)
    assert (service.pauses, len(service.timeouts)) == (pauses, len(pauses) + 1)


def test_fault_in_the_middle_has_told_the_count(service: Service) -> None:
    service.pages = [500, 500]
    service.faults = [None, None, *[unavailable()] * 4]
    counts: list[int] = []
    with pytest.raises(BackendUnavailable):
        purge_sessions(DAY, progress=counts.append)
    assert counts == [500]


def test_refusal_is_not_repeated(service: Service) -> None:
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
def test_outages_contention_and_quotas_pass(error: BackendError, expected: bool) -> None:
    assert is_transient(error) is expected


def test_all_deleted_sessions_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    cache = SimpleNamespace(forget=names.append)
    monkeypatch.setattr(datastore_records.SessionRepository, "_opened_cache", lambda _: cache)
    monkeypatch.setattr(datastore_records, "entry_name_of", str)
    datastore_records.forget_cached({"datastore": {"cache": "memcache"}}, ["a", "b", "c", "d"])
    assert names == ["a", "b", "c", "d"]
