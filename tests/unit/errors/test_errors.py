"""Errors have one root, upstream's bases where it matters, and facts as attributes."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import webapp2_sessions
from webapp2_sessions import errors

EXAMPLES: list[errors.SessionError] = [
    errors.SessionError("text"),
    errors.ConfigError("vary", "must be True"),
    errors.UnknownBackend("backend", "'x' is unknown"),
    errors.MissingDependency("pymemcache", "memcache"),
    errors.InvalidCookie("text"),
    errors.MalformedCookie("text"),
    errors.BadSignature("text"),
    errors.ExpiredCookie("text"),
    errors.UndecodableCookie("text"),
    errors.BackendError("memcache", "127.0.0.1:11211", "the server refused"),
    errors.BackendUnavailable("datastore", "localhost:8081", "it failed"),
    errors.StaleCache("memcache", "127.0.0.1:11211", "it could not be told"),
    errors.MissingClass("shop.models.Cart", "AttributeError"),
    errors.RefusedFormat("pickle"),
    errors.SessionConflict("datastore", "localhost:8081", "text"),
    errors.SessionTooLarge("memcache", "127.0.0.1:11211", 2_000_000, 1_048_064, [("a", 5)]),
    errors.UnreadableSession("datastore", "localhost:8081", "no class"),
    errors.UnstorableValue("session['price']", "Money", "store its parts"),
    errors.UnwritableValue("session['a']", "list", "it contains itself"),
    errors.TooDeepValue("session['a'][0]", "list", "it is too deep"),
]
EACH = pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)


def test_each_error_is_tried_here() -> None:
    """The examples of this file are all errors of the module."""
    assert sorted(errors.__all__) == sorted(type(error).__name__ for error in EXAMPLES)


@EACH
def test_all_errors_have_one_root(error: errors.SessionError) -> None:
    """`except SessionError` catches whatever the package raises on purpose."""
    assert isinstance(error, errors.SessionError)


@pytest.mark.parametrize(
    ("error", "base"),
    [
        ("ConfigError", ValueError),
        ("UnknownBackend", errors.ConfigError),
        ("UnknownBackend", KeyError),
        ("MissingDependency", ImportError),
        ("MalformedCookie", errors.InvalidCookie),
        ("BadSignature", errors.InvalidCookie),
        ("ExpiredCookie", errors.InvalidCookie),
        ("UndecodableCookie", errors.InvalidCookie),
        ("BackendUnavailable", errors.BackendError),
        ("SessionTooLarge", errors.BackendError),
        ("UnreadableSession", errors.BackendError),
        ("UnstorableValue", TypeError),
        ("UnwritableValue", ValueError),
        ("TooDeepValue", RecursionError),
    ],
)
def test_bases_that_applications_catch(error: str, base: type[Exception]) -> None:
    """Errors that upstream raises as a class of Python's own are of that class too."""
    assert issubclass(getattr(errors, error), base)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.ConfigError("vary", "must be True"), "vary: must be True"),
        (errors.UnknownBackend("backend", "'x' is unknown"), "backend: 'x' is unknown"),
        (
            errors.MissingDependency("pymemcache", "memcache"),
            "pymemcache is not installed; the memcache backend needs it: "
            "pip install 'webapp2_sessions[memcache]'",
        ),
        (
            errors.MissingDependency("cryptography", "encryption", "encryptedcookie"),
            "cryptography is not installed; the encryptedcookie backend needs it: "
            "pip install 'webapp2_sessions[encryption]'",
        ),
        (
            errors.BackendError("memcache", "127.0.0.1:11211", "the server refused"),
            "memcache backend at 127.0.0.1:11211: the server refused",
        ),
        (
            errors.SessionTooLarge("memcache", "127.0.0.1:11211", 2_000_000, 1_048_064),
            "memcache backend at 127.0.0.1:11211: the session has 2000000 bytes, and the server "
            "takes 1048064 at most",
        ),
        (
            errors.SessionTooLarge("datastore", "here", 9, 8, [("cart", 5), ("log", 2)]),
            "datastore backend at here: the session has 9 bytes, and the server takes 8 at most; "
            "largest keys: 'cart' (5 bytes), 'log' (2 bytes)",
        ),
        (
            errors.RefusedFormat("pickle"),
            "it is pickle, which 'serializer' and 'serializer_fallbacks' do not name",
        ),
        (
            errors.UnstorableValue("session['price']", "Money", "store its parts"),
            "session['price'] (Money): store its parts",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_messages(error: errors.SessionError, text: str) -> None:
    """A message says what is wrong, where, and what to do."""
    assert text == str(error)


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (errors.ConfigError("vary", "must be True"), {"key": "vary"}),
        (errors.UnknownBackend("backend", "text"), {"key": "backend"}),
        (errors.MissingDependency("pymemcache", "memcache"), {"extra": "memcache"}),
        (
            errors.BackendUnavailable("memcache", "127.0.0.1:11211", "text"),
            {"backend": "memcache", "address": "127.0.0.1:11211"},
        ),
        (
            errors.SessionTooLarge("memcache", "127.0.0.1:11211", 9, 8, [("cart", 5)]),
            {
                "backend": "memcache",
                "address": "127.0.0.1:11211",
                "size": 9,
                "limit": 8,
                "largest": (("cart", 5),),
            },
        ),
        (errors.RefusedFormat("pickle"), {"found": "pickle"}),
        (
            errors.UnstorableValue("session['price']", "Money", "text"),
            {"path": "session['price']", "kind": "Money"},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_facts_are_attributes(error: errors.SessionError, facts: dict[str, Any]) -> None:
    """What a handler may want to know need not be read out of the message."""
    assert facts == vars(error)


def seen(error: BaseException) -> tuple[Any, ...]:
    """What there is to see of an error."""
    return type(error), str(error), error.args, vars(error)


@EACH
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_survive_pickling(error: errors.SessionError, protocol: int) -> None:
    """An error that a worker process raises arrives whole in the process that waits for it."""
    assert seen(error) == seen(pickle.loads(pickle.dumps(error, protocol)))


@EACH
def test_errors_survive_copying(error: errors.SessionError) -> None:
    """A copy shows the same."""
    assert seen(error) == seen(copy.copy(error))


@pytest.mark.parametrize(
    "name",
    [
        "BackendError",
        "BackendUnavailable",
        "ConfigError",
        "SessionError",
        "SessionTooLarge",
        "UnstorableValue",
    ],
)
def test_errors_that_handlers_catch_are_at_the_package_root(name: str) -> None:
    """An application's error handler needs one import."""
    assert getattr(errors, name) is getattr(webapp2_sessions, name)
