"""CONTRACT section 1: modules, names, signatures and strings are upstream's."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
from support import appengine
from support.implementations import OURS, SIDES, UPSTREAM, Side

import webapp2_sessions

SESSIONS_NAMES = [
    "default_config",
    "SessionStore",
    "SessionDict",
    "BaseSessionFactory",
    "SecureCookieSessionFactory",
    "CustomBackendSessionFactory",
    "get_store",
    "set_store",
]

CALLABLES = [
    "SessionStore.__init__",
    "SessionStore.get_session",
    "SessionStore.get_backend",
    "SessionStore._get_session_container",
    "SessionStore.get_secure_cookie",
    "SessionStore.set_secure_cookie",
    "SessionStore.save_sessions",
    "SessionStore.save_secure_cookie",
    "SessionDict.__init__",
    "SessionDict.pop",
    "SessionDict.on_update",
    "SessionDict.get_flashes",
    "SessionDict.add_flash",
    "BaseSessionFactory.__init__",
    "BaseSessionFactory.get_session",
    "BaseSessionFactory.save_session",
    "SecureCookieSessionFactory.get_session",
    "SecureCookieSessionFactory.save_session",
    "CustomBackendSessionFactory.get_session",
    "CustomBackendSessionFactory._get_by_sid",
    "CustomBackendSessionFactory._is_valid_sid",
    "CustomBackendSessionFactory._get_new_sid",
    "get_store",
    "set_store",
]


def parameters(side: Side, dotted: str) -> list[tuple[str, Any, Any]]:
    """Return names, kinds and defaults of a callable; what belongs to the side is named."""
    target: Any = side.sessions
    for part in dotted.split("."):
        target = getattr(target, part)
    special = {
        id(side.sessions._default_value): "the sentinel",
        id(side.sessions.SessionStore): "SessionStore",
    }
    return [
        (parameter.name, parameter.kind, special.get(id(parameter.default), parameter.default))
        for parameter in inspect.signature(target).parameters.values()
    ]


@pytest.mark.parametrize("dotted", CALLABLES)
def test_signatures_are_upstreams(dotted: str) -> None:
    """Parameters have upstream's names, order, kinds and defaults; ours can only be named."""
    expected = parameters(UPSTREAM, dotted)
    ours = parameters(OURS, dotted)
    assert ours[: len(expected)] == expected
    assert {kind for _, kind, _ in ours[len(expected) :]} <= {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("method", ["__init__", "serialize", "deserialize"])
def test_serializer_signatures_are_upstreams(method: str) -> None:
    """The serializer's parameters begin with upstream's; those that follow have defaults."""
    upstream, ours = (
        [
            (parameter.name, parameter.default)
            for parameter in inspect.signature(
                getattr(side.securecookie.SecureCookieSerializer, method)
            ).parameters.values()
        ]
        for side in SIDES
    )
    assert upstream == ours[: len(upstream)]
    assert inspect.Parameter.empty not in [default for _, default in ours[len(upstream) :]]


@pytest.mark.parametrize("name", SESSIONS_NAMES)
def test_sessions_names_are_also_at_the_root(name: str) -> None:
    """The package's root has the names of the sessions module."""
    assert getattr(webapp2_sessions, name) is getattr(OURS.sessions, name)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("webapp2_sessions.sessions_memcache", ["MemcacheSessionFactory"]),
        ("webapp2_sessions.sessions_ndb", ["DatastoreSessionFactory", "Session"]),
        ("webapp2_sessions.securecookie", ["SecureCookieSerializer"]),
    ],
)
def test_backend_modules_have_upstreams_names(module: str, names: list[str]) -> None:
    """Each module that mirrors one of upstream's has its public names and no others."""
    assert importlib.import_module(module).__all__ == names


@pytest.mark.parametrize(
    ("module", "factory"),
    [
        ("sessions_memcache", "MemcacheSessionFactory"),
        ("sessions_ndb", "DatastoreSessionFactory"),
    ],
)
def test_backend_factories_have_upstreams_attributes(module: str, factory: str) -> None:
    """Whatever attribute upstream's backend factories have, ours have."""
    upstream = appengine.upstream_backend(module)
    ours = importlib.import_module(f"webapp2_sessions.{module}")
    assert set(dir(getattr(upstream, factory))) <= set(dir(getattr(ours, factory)))


@pytest.mark.parametrize(
    "name", ["SessionStore", "SessionDict", "BaseSessionFactory", "CustomBackendSessionFactory"]
)
def test_classes_have_upstreams_attributes(name: str) -> None:
    """Whatever attribute upstream's classes have, ours have."""
    upstream, ours = (set(dir(getattr(side.sessions, name))) for side in SIDES)
    assert upstream - ours == set()


def test_strings_are_upstreams() -> None:
    """Configuration and registry keys are upstream's strings."""
    strings = [
        (side.sessions.SessionStore.config_key, side.sessions._registry_key) for side in SIDES
    ]
    assert strings[0] == strings[1]


def test_default_values_are_upstreams() -> None:
    """Keys that upstream has have upstream's defaults, the backends' classes aside."""
    ours = OURS.sessions.default_config
    expected = {k: v for k, v in UPSTREAM.sessions.default_config.items() if k != "backends"}
    assert expected == {key: ours[key] for key in expected}
    assert set(UPSTREAM.sessions.default_config["backends"]) <= set(ours["backends"])


@pytest.mark.parametrize(
    ("dotted", "expected"),
    [
        ("webapp2_extras.sessions.SecureCookieSessionFactory", "sessions"),
        (
            "webapp2_extras.appengine.sessions_memcache.MemcacheSessionFactory",
            "sessions_memcache",
        ),
        ("webapp2_extras.sessions_memcache.MemcacheSessionFactory", "sessions_memcache"),
        ("webapp2_extras.appengine.sessions_ndb.DatastoreSessionFactory", "sessions_ndb"),
        ("webapp2_extras.sessions_ndb.DatastoreSessionFactory", "sessions_ndb"),
    ],
)
def test_dotted_names_of_upstream_resolve_to_ours(dotted: str, expected: str) -> None:
    """A configuration that names upstream's factories gets ours."""
    store = OURS.store(OURS.app(backends={"mine": dotted}))
    module = importlib.import_module(f"webapp2_sessions.{expected}")
    assert store.get_backend("mine") is getattr(module, dotted.rpartition(".")[2])
