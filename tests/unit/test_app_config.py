"""An application's configuration is found by whoever needs it, with or without a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import webapp2
from support.stores import make_request, make_store
from support.visits import make_app

from webapp2_sessions import ConfigError, default_config
from webapp2_sessions.app_config import active_config, backend_config, response_class_of
from webapp2_sessions.config import SessionConfig


@contextmanager
def active(app: webapp2.WSGIApplication) -> Iterator[None]:
    """The application is the active one, as in a request."""
    app.set_globals(app=app, request=make_request(app))
    try:
        yield
    finally:
        app.clear_globals()


def test_without_an_active_application_the_defaults_are_the_configuration() -> None:
    """A script that uses the models has no other."""
    assert active_config() is default_config


def test_without_sessions_of_its_own_the_defaults_are_the_configuration() -> None:
    """An application may use the models without sessions, and needs no secret for that."""
    with active(webapp2.WSGIApplication()):
        assert active_config() is default_config


def test_the_configuration_of_the_active_application() -> None:
    """A cron handler's, for instance."""
    with active(make_app(cookie_name="active")):
        found = active_config()
    assert isinstance(found, SessionConfig)
    assert found["cookie_name"] == "active"


def test_the_configuration_of_the_active_application_is_checked() -> None:
    """Whoever asks for it first."""
    with active(make_app(vary="no")), pytest.raises(ConfigError, match="vary"):
        active_config()


def test_backends_work_by_the_configuration_of_the_store() -> None:
    """It goes before the active application's."""
    store = make_store(cookie_name="store")
    with active(make_app(cookie_name="active")):
        assert backend_config(store) is store.config


def test_backends_of_a_store_without_a_secret_work_by_the_active_application() -> None:
    """A store of the application's own may have little configuration."""
    store = SimpleNamespace(config={"cookie_args": {}})
    with active(make_app(cookie_name="active")):
        assert backend_config(store)["cookie_name"] == "active"


def test_response_class_is_the_applications() -> None:
    """Its responses may take other cookie arguments than WebOb's."""
    app = webapp2.WSGIApplication()
    app.response_class = type("Response", (webapp2.Response,), {})
    assert response_class_of(app) is app.response_class


def test_response_class_of_a_request_without_an_application() -> None:
    """Then it is webapp2's."""
    assert response_class_of(None) is webapp2.Response
