"""MODULE:CONFIG names a configuration in each of the forms that applications have."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.modules import modules_in

from webapp2_sessions.cli.target import load_target, server_backends
from webapp2_sessions.config import SessionConfig
from webapp2_sessions.errors import ConfigError

Write = Callable[[str], str]

SOURCE = """
import webapp2
from webapp2_sessions import SessionMiddleware

SECTION = {"secret_key": "0123456789abcdef0123", "session_max_age": 60}
CONFIG = {"webapp2_extras.sessions": SECTION, "other": 1}
app = webapp2.WSGIApplication(config=CONFIG, debug=True)
wrapped = SessionMiddleware(app)
make_app = lambda: app
make_section = lambda: SECTION

class settings:
    SESSIONS = SECTION

NUMBER = 5
EMPTY = {}
OTHER = {"webapp2_extras.auth": {}}
MISSPELT = {"webapp2_extras.session": SECTION}
WRONG = {"webapp2_extras.sessions": "SECTION"}
bare = webapp2.WSGIApplication()
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules into the current directory."""
    monkeypatch.chdir(tmp_path)
    with modules_in(tmp_path) as write:
        yield write


FORMS = ("SECTION", "CONFIG", "app", "wrapped", "make_app", "make_section", "settings.SESSIONS")


@pytest.mark.parametrize("form", FORMS)
def test_configuration_is_the_same_whatever_it_is_found_in(write: Write, form: str) -> None:
    target = load_target(f"{write(SOURCE)}:{form}")
    assert target.given["session_max_age"] == 60
    assert target.checked()["session_max_age"] == 60
    assert target.app.config["webapp2_extras.sessions"] is target.given
    assert target.app.debug is (form in ("app", "wrapped", "make_app"))


def test_a_target_shows_no_secret(write: Write) -> None:
    """Tracebacks with local variables have its representation."""
    assert "0123456789" not in repr(load_target(f"{write(SOURCE)}:app"))


WRONG = {
    "NUMBER": "{m}:NUMBER: must be a dictionary, a webapp2.WSGIApplication or a function that "
    "returns one of them, not int",
    "EMPTY": "{m}:EMPTY: has no 'webapp2_extras.sessions'",
    "OTHER": "{m}:OTHER: has no 'webapp2_extras.sessions'",
    "bare": "{m}:bare: has no 'webapp2_extras.sessions'",
    "MISSPELT": "{m}:MISSPELT: has no 'webapp2_extras.sessions'; did you mean "
    "'webapp2_extras.session'?",
    "WRONG": "{m}:WRONG['webapp2_extras.sessions']: must be a dictionary, not str",
    "confg": "{m}:confg: is not there; did you mean 'CONFIG'?",
    "settings.X": "{m}.settings:X: is not there",
}


@pytest.mark.parametrize(("name", "message"), WRONG.items())
def test_error_tells_what_is_wrong_and_what_was_meant(
    write: Write, name: str, message: str
) -> None:
    module = write(SOURCE)
    with pytest.raises(ConfigError) as caught:
        load_target(f"{module}:{name}")
    assert str(caught.value) == message.format(m=module)


FORM = "MODULE:CONFIG: must be a module and a name in it, e.g. shop.config:CONFIG"
#: Here a module "py" in a package "shop" is looked for, which is not there.
NO_SHOP = r"shop\.py:app: importing it failed: ModuleNotFoundError: No module named 'shop'"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *((name, FORM) for name in ["", "shop", "shop:", ":app", "a b:c", "..a:b"]),
        ("shop.py:app", NO_SHOP),
    ],
)
def test_error_tells_the_form_with_an_example(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_target(name)


FAILURES = {
    "import nowhere_to_be_found": "importing it failed: ModuleNotFoundError: No module named "
    "'nowhere_to_be_found', at {m}.py:1",
    "x = 1\nint('s3cret')": "importing it failed: ValueError, at {m}.py:2",
    "import sys\nsys.exit('s3cret')": "importing it failed: SystemExit, at {m}.py:2",
    "def app(): return int('s3cret')": "calling it failed: ValueError, at {m}.py:1",
    "import os\ndef app():\n  return {}['KEY']": "calling it failed: KeyError: 'KEY', at {m}.py:3",
    "def app(): return int(None)": "calling it failed: TypeError, at {m}.py:1",
    # One of which Python cannot tell what it needs.
    "class Odd:\n  __signature__ = 5\n  def __call__(self, x): pass\napp = Odd()": "calling it "
    "failed: TypeError",
}


@pytest.mark.parametrize(("source", "message"), FAILURES.items())
def test_code_that_fails(write: Write, source: str, message: str) -> None:
    """Type and place are shown; the text only of errors that are about names."""
    module = write(source)
    with pytest.raises(ConfigError) as caught:
        load_target(f"{module}:app")
    assert str(caught.value) == f"{module}:app: " + message.format(m=module)


#: As wrap_wsgi_app of App Engine's SDK, and other middleware, return it.
WRAPPED = (
    "def app(environ, start_response): pass",
    "class Wrapper:\n  def __call__(self, environ, start_response): pass\napp = Wrapper()",
    "import functools\ndef wrap(app, environ, start): pass\napp = functools.partial(wrap, None)",
)


@pytest.mark.parametrize("source", WRAPPED)
def test_an_application_that_is_wrapped_is_told_of(write: Write, source: str) -> None:
    """The message says what to name instead, and nothing was called."""
    module = write(source)
    with pytest.raises(ConfigError) as caught:
        load_target(f"{module}:app")
    assert str(caught.value) == (
        f"{module}:app: needs arguments to be called; if it is an application that something else "
        "wraps, name the webapp2.WSGIApplication inside, and otherwise a function without arguments"
    )


def test_syntax_error_has_its_place(write: Write) -> None:
    module = write("def app(:")
    with pytest.raises(ConfigError, match=rf"SyntaxError: .*{module}\.py, line 1"):
        load_target(f"{module}:app")


def test_what_a_module_prints_is_not_in_the_output_of_a_command(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "print('hello')\ndef app():\n  print('you')\n  return {'secret_key': 'k'}"
    load_target(f"{write(source)}:app")
    assert capsys.readouterr() == ("", "hello\nyou\n")


def test_modules_are_found_elsewhere_for_the_import_only(write: Write) -> None:
    before = [*sys.path]
    load_target(f"{write(SOURCE)}:app")
    assert sys.path == before


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ()),
        ({"memcache": {}, "datastore": None}, ()),
        ({"memcache": True, "datastore": "memcache", "on_oversize": {}}, ()),
        ({"memcache": {"timeout": 1}}, ("memcache",)),
        ({"redis": {"timeout": 1}}, ("redis",)),
        ({"on_oversize": "redis"}, ("redis",)),
        ({"datastore": {"project": "p"}}, ("datastore",)),
        ({"datastore": {"cache": "memcache"}}, ("memcache", "datastore")),
        ({"on_oversize": "datastore"}, ("datastore",)),
        ({"on_oversize": "raise"}, ()),
        # As an application has it that has handled requests.
        (SessionConfig({"secret_key": "k"}), ()),
        (SessionConfig({"secret_key": "k", "redis": {"timeout": 2.0}}), ("redis",)),
        (
            SessionConfig({"secret_key": "k", "datastore": {"cache": "memcache"}}),
            ("memcache", "datastore"),
        ),
    ],
)
def test_server_backends_are_those_of_which_the_configuration_says_something(
    values: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert server_backends(values) == expected
