"""Loading of an application's configuration, and the warnings about it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import webapp2
from support.stores import make_request, make_store
from support.visits import SECRET, make_app

import webapp2_sessions
from webapp2_sessions import ConfigError, default_config
from webapp2_sessions.cli import main
from webapp2_sessions.config import CONFIG_KEY, SessionConfig
from webapp2_sessions.config.loading import (
    active_config,
    backend_config,
    load_config,
    response_class_of,
)
from webapp2_sessions.securecookie.keys import weakness


@contextmanager
def active(app: webapp2.WSGIApplication) -> Iterator[None]:
    """Make the application the active one, as in a request."""
    app.set_globals(app=app, request=make_request(app))
    try:
        yield
    finally:
        app.clear_globals()


def test_without_an_application_with_sessions_the_defaults_are_the_configuration() -> None:
    """As in a script that uses the models, or an application that needs no secret key."""
    assert active_config() is default_config
    with active(webapp2.WSGIApplication()):
        assert active_config() is default_config


def test_the_configuration_of_the_active_application_is_checked() -> None:
    """As in a cron handler, which has no store."""
    with active(make_app(cookie_name="active")):
        found = active_config()
    assert isinstance(found, SessionConfig)
    assert found["cookie_name"] == "active"
    with active(make_app(vary="no")), pytest.raises(ConfigError, match="vary"):
        active_config()


def test_backends_work_by_the_configuration_of_the_store_if_it_has_a_secret() -> None:
    """A custom store may have little configuration."""
    store, bare = make_store(cookie_name="store"), SimpleNamespace(config={"cookie_args": {}})
    with active(make_app(cookie_name="active")):
        assert backend_config(store) is store.config
        assert backend_config(bare)["cookie_name"] == "active"


def test_response_class_is_the_applications_or_webapp2s() -> None:
    """It may accept other cookie arguments than WebOb's."""
    app = webapp2.WSGIApplication()
    app.response_class = type("Response", (webapp2.Response,), {})
    assert response_class_of(app) is app.response_class
    assert response_class_of(None) is webapp2.Response


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the logged problems, without the parts that all warnings have."""
    assert all(record.name == "webapp2_sessions.config.loading" for record in caplog.records)
    beginning = r"(config\['webapp2_extras.sessions'\]|SessionStore\(request, config=...\)): "
    return [re.sub(beginning, "", each).partition("; who guesses")[0] for each in caplog.messages]


WORDS = "is made of words that stand in for a key"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"secret_key": "s"}, "secret_key has fewer than 16 bytes"),
        ({"secret_key": b"ab" * 16}, "secret_key has fewer than 5 different characters"),
        ({"secret_key": "my-super-secret-key"}, f"secret_key {WORDS}"),
        (
            {"secret_key": "s", "secret_key_fallbacks": [SECRET[::-1], "changeme"]},
            f"secret_key has fewer than 16 bytes, secret_key_fallbacks[1] {WORDS}",
        ),
    ],
)
def test_weak_keys_are_logged_once(
    values: dict[str, object], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(**values)
    for _ in range(3):
        load_config(app, CONFIG_KEY, None)
    assert warnings_of(caplog) == [text]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_warning_says_how_to_make_a_good_key(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    load_config(make_app(secret_key="s"), CONFIG_KEY, None)
    line = caplog.messages[0].partition("Make a good one with ")[2]
    [command] = re.findall(r"^'webapp2-sessions (.*)'$", line)
    assert main([command]) == 0
    key = capsys.readouterr().out.strip()
    assert (len(key), weakness(key)) == (64, None)


def test_a_weak_key_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    load_config(make_app(secret_key="qwzx", secret_key_fallbacks=["vkjq"]), CONFIG_KEY, None)
    assert len(caplog.messages) == 1
    assert [key for key in ("qwzx", "vkjq") if key in caplog.text] == []


@pytest.mark.parametrize(
    ("key", "values", "place"),
    [
        ("s", {"cookie_name": "own"}, "config['webapp2_extras.sessions']: "),
        (SECRET, {"secret_key": "s"}, "SessionStore(request, config=...): "),
    ],
    ids=["application", "store"],
)
def test_a_weak_key_is_logged_once_for_a_store_with_values_of_its_own(
    key: str, values: dict[str, str], place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Which are validated for each request."""
    app = make_app(secret_key=key)
    for _ in range(3):
        load_config(app, CONFIG_KEY, values)
    assert warnings_of(caplog) == ["secret_key has fewer than 16 bytes"]
    assert caplog.messages[0].startswith(place)


def test_each_application_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        load_config(make_app(secret_key="s"), CONFIG_KEY, None)
    assert len(caplog.messages) == 2


def test_a_wrong_configuration_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match="vary"):
        load_config(make_app(secret_key="s", vary="no"), CONFIG_KEY, None)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"session_maxage": 5}, "session_maxage is no key of this package and has no effect; did "),
        ({"httponly": True}, "httponly has no effect here; it belongs into 'cookie_args'"),
        ({"datastore": "Factory"}, "datastore holds str, which cannot be meant for this package"),
        ({"vary": "User-Agent"}, "vary holds str, which cannot be meant for this package"),
        ({"secret_key": f"{SECRET}\n"}, "secret_key has white space around it, as from"),
        (
            {"secret_key_fallbacks": [f"'{SECRET}'"]},
            "secret_key_fallbacks[0] has quotes around it, as from a file",
        ),
        ({"session_max_age": 0.5}, "session_max_age is less than a second: sessions are over"),
        (
            {"session_max_age": 60, "refresh_after": 60},
            "refresh_after is not less than session_max_age: sessions are over before they are",
        ),
        ({"on_sign_in": len}, "on_sign_in has no effect without 'user_key'"),
    ],
)
def test_oversights_are_logged_once(
    values: dict[str, object], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        app = make_app(**values)
        for _ in range(2):
            load_config(app, CONFIG_KEY, None)
            load_config(app, CONFIG_KEY, {"cookie_name": "own"})
    assert len(caplog.records) == 2
    assert all(warning.startswith(text) for warning in warnings_of(caplog))
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_each_oversight_is_logged_also_for_one_store(caplog: pytest.LogCaptureFixture) -> None:
    """One line each, in the order of the keys."""
    load_config(make_app(secretkey="s", servers=[], cookie_arg={}), CONFIG_KEY, None)
    load_config(make_app(), CONFIG_KEY, {"cookie-name": "own"})
    keys = [warning.partition(" ")[0] for warning in warnings_of(caplog)]
    assert keys == ["secretkey", "servers", "cookie_arg", "cookie-name"]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"secret_key_fallbacks": [SECRET[::-1]]},
        {"session_max_age": 3600, "cookie_args": {"path": "/", "max_age": 3600}},
        {"backends": {"own": "shop.sessions.Factory"}, "shop": 5, "user_model": "shop.User"},
    ],
)
def test_an_application_from_upstream_has_nothing_in_its_log(
    values: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """Advice is left to the command `check`, and unknown keys may be the application's."""
    load_config(make_app(**values), CONFIG_KEY, None)
    assert caplog.messages == []


def test_difflib_is_not_loaded_without_need() -> None:
    """Its import takes longer than that of the package; known keys do not need it."""
    program = """
import sys, webapp2
from webapp2_sessions.config.loading import load_config
app = webapp2.WSGIApplication(config={"webapp2_extras.sessions": {"secret_key": "s", **%r}})
load_config(app, "webapp2_extras.sessions", None)
print("difflib" in sys.modules)
"""
    loaded = []
    for values in ({"vary": True}, {"sekret_key": "s"}):
        done = subprocess.run(
            [sys.executable, "-c", program % values],
            cwd=Path(webapp2_sessions.__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        loaded.append(done.stdout.strip())
    assert loaded == ["False", "True"]
