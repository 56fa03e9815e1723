"""The exceptions: base classes, messages, attributes, pickling."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import webapp2_sessions
from webapp2_sessions import errors

PLACE = ("memcache", "127.0.0.1:11211")
AT = "memcache backend at 127.0.0.1:11211: "
MEMCACHED = dict(zip(("backend", "address"), PLACE, strict=True))

#: One error of each class: with its message, its attributes and the classes that applications
#: may catch besides SessionError.
CASES: list[tuple[errors.SessionError, str, dict[str, Any], tuple[type[Exception], ...]]] = [
    (errors.SessionError("text"), "text", {}, ()),
    (errors.ConfigError("vary", "must be x"), "vary: must be x", {"key": "vary"}, (ValueError,)),
    (
        errors.UnknownBackend("backend", "'x' is unknown"),
        "backend: 'x' is unknown",
        {"key": "backend"},
        (errors.ConfigError, KeyError),
    ),
    (
        errors.MissingDependency("pymemcache", "memcache"),
        "pymemcache is not installed; the memcache backend needs it: "
        "pip install 'webapp2_sessions[memcache]'",
        {"extra": "memcache"},
        (ImportError,),
    ),
    (
        errors.MissingDependency("cryptography", "encryption", "encryptedcookie"),
        "cryptography is not installed; the encryptedcookie backend needs it: "
        "pip install 'webapp2_sessions[encryption]'",
        {"extra": "encryption"},
        (ImportError,),
    ),
    (errors.InvalidCookie("text"), "text", {}, ()),
    (errors.MalformedCookie("text"), "text", {}, (errors.InvalidCookie,)),
    (errors.BadSignature("text"), "text", {}, (errors.InvalidCookie,)),
    (errors.ExpiredCookie("text"), "text", {}, (errors.InvalidCookie,)),
    (errors.UndecodableCookie("text"), "text", {}, (errors.InvalidCookie,)),
    (errors.BackendError(*PLACE, "text"), f"{AT}text", MEMCACHED, ()),
    (errors.BackendUnavailable(*PLACE, "text"), f"{AT}text", MEMCACHED, (errors.BackendError,)),
    (errors.StaleCache(*PLACE, "text"), f"{AT}text", MEMCACHED, (errors.BackendUnavailable,)),
    (errors.SessionConflict(*PLACE, "text"), f"{AT}text", MEMCACHED, (errors.BackendError,)),
    (errors.UnreadableSession(*PLACE, "text"), f"{AT}text", MEMCACHED, (errors.BackendError,)),
    (
        errors.SessionTooLarge(*PLACE, 2_000_000, 1_048_064),
        f"{AT}the session has 2000000 bytes, and the server takes 1048064 at most",
        {**MEMCACHED, "size": 2_000_000, "limit": 1_048_064, "largest": ()},
        (errors.BackendError,),
    ),
    (
        errors.SessionTooLarge(*PLACE, 9, 8, [("cart", 5), ("log", 2)]),
        f"{AT}the session has 9 bytes, and the server takes 8 at most; "
        "largest keys: 'cart' (5 bytes), 'log' (2 bytes)",
        {**MEMCACHED, "size": 9, "limit": 8, "largest": (("cart", 5), ("log", 2))},
        (errors.BackendError,),
    ),
    (
        errors.MissingClass("shop.models.Cart", "AttributeError"),
        "it needs shop.models.Cart, which cannot be imported: AttributeError",
        {"missing": "shop.models.Cart"},
        (LookupError,),
    ),
    (
        errors.RefusedFormat("pickle"),
        "it is pickle, which 'serializer' and 'serializer_fallbacks' do not name",
        {"found": "pickle"},
        (ValueError,),
    ),
    (
        errors.UnstorableValue("session['price']", "Money", "store its parts"),
        "session['price'] (Money): store its parts",
        {"path": "session['price']", "kind": "Money"},
        (TypeError,),
    ),
    (
        errors.UnwritableValue("session['a']", "list", "it contains itself"),
        "session['a'] (list): it contains itself",
        {"path": "session['a']", "kind": "list"},
        (errors.UnstorableValue, ValueError),
    ),
    (
        errors.TooDeepValue("session['a'][0]", "list", "it is too deep"),
        "session['a'][0] (list): it is too deep",
        {"path": "session['a'][0]", "kind": "list"},
        (errors.UnstorableValue, RecursionError),
    ),
]


def test_each_error_has_a_case() -> None:
    assert set(errors.__all__) == {type(error).__name__ for error, *_ in CASES}


@pytest.mark.parametrize(
    ("error", "message", "attributes", "bases"), CASES, ids=[type(e).__name__ for e, *_ in CASES]
)
def test_error_has_message_attributes_and_base_classes(
    error: errors.SessionError,
    message: str,
    attributes: dict[str, Any],
    bases: tuple[type[Exception], ...],
) -> None:
    assert (str(error), vars(error)) == (message, attributes)
    assert all(isinstance(error, base) for base in (errors.SessionError, *bases))


def _details(error: BaseException) -> tuple[Any, ...]:
    return type(error), str(error), error.args, vars(error)


@pytest.mark.parametrize("error", [case[0] for case in CASES], ids=lambda e: type(e).__name__)
def test_errors_can_be_pickled_and_copied(error: errors.SessionError) -> None:
    """An error in a worker process arrives unchanged in the process that waits for it."""
    pickles = [pickle.dumps(error, each) for each in range(pickle.HIGHEST_PROTOCOL + 1)]
    for again in (copy.copy(error), *map(pickle.loads, pickles)):
        assert _details(again) == _details(error)


@pytest.mark.parametrize(
    "name",
    [
        *("BackendError", "BackendUnavailable", "ConfigError", "SessionError"),
        *("SessionTooLarge", "UnstorableValue"),
    ],
)
def test_errors_that_handlers_catch_are_at_the_package_root(name: str) -> None:
    """An application's error handler needs one import."""
    assert getattr(errors, name) is getattr(webapp2_sessions, name)
