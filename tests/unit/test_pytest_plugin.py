"""_webapp2_sessions_pytest: the fixtures for pytest, each time in a pytest of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "testing.md"

Run = Callable[..., str]

APP = """
import time
import webapp2
from webapp2_sessions import SessionHandler


class Page(SessionHandler):
    session_backend = "memcache"

    def get(self):
        self.session["visits"] = self.session.get("visits", 0) + 1
        self.response.write(self.session["visits"])


config = {"webapp2_extras.sessions": {
    "secret_key": "a secret that is only used by tests",
    "session_max_age": 60,
    "memcache": {"servers": ["127.0.0.1:1"], "timeout": 0.1},
}}
app = webapp2.WSGIApplication([("/", Page)], config=config)
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run pytest on a file; what it reports, once it is as expected."""

    def run_pytest(
        source: str, *args: str, returns: int = 0, environ: Mapping[str, str] | None = None
    ) -> str:
        (tmp_path / "test_it.py").write_text(source, "utf-8")
        line = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *args]
        done = subprocess.run(
            line,
            cwd=tmp_path,
            env={**os.environ, "PYTEST_ADDOPTS": "", **(environ or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == returns, done.stdout + done.stderr
        return done.stdout

    return run_pytest


def test_fixtures_are_listed_and_documented(run: Run) -> None:
    listed = run("", "--fixtures", returns=0)
    names = re.findall(r"^(webapp2_sessions_\w+) -- .*\n    (\w.*)$", listed, re.MULTILINE)
    rows = re.findall(r"^\| `(webapp2_sessions_\w+)` ", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(name for name, _ in names) == sorted(rows)
    assert len(rows) == 3


def test_memory_is_an_applications_for_one_test(run: Run) -> None:
    done = run(
        APP
        + """
def visit():
    return app.get_response("/").status_int

def test_with(webapp2_sessions_memory):
    memory = webapp2_sessions_memory(app)
    assert (visit(), memory.sessions()) == (200, [{"visits": 1}])
    with memory.unavailable():
        assert visit() == 500

def test_without():
    assert visit() == 500

def test_with_it_again(webapp2_sessions_memory):
    assert len(webapp2_sessions_memory(app, "datastore")) == 0
    assert visit() == 500
    webapp2_sessions_memory(app)
    assert visit() == 200
"""
    )
    assert "3 passed" in done


def test_clock_stands_for_one_test(run: Run) -> None:
    done = run(
        APP
        + """
from webapp2_sessions import securecookie

def test_with(webapp2_sessions_clock, webapp2_sessions_memory, webapp2_sessions_client):
    memory = webapp2_sessions_memory(app)
    client = webapp2_sessions_client(app, base_url="https://example.com")
    assert [client.get("/").text for _ in range(2)] == ["1", "2"]
    webapp2_sessions_clock.advance(61)
    assert client.get("/").text == "1"
    assert securecookie.time.time() == webapp2_sessions_clock.time()

def test_without():
    assert securecookie.time is time
"""
    )
    assert "2 passed" in done


@pytest.mark.parametrize("name", ["clock", "memory", "client"])
def test_nothing_is_loaded_before_a_fixture_is_used(run: Run, name: str) -> None:
    """Neither webapp2 nor the package; a fixture loads them, and no library of a server's."""
    done = run(
        f"""
import sys

HEAVY = ("webapp2", "webob", "webapp2_sessions")
LIBRARIES = ("pymemcache", "google.cloud", "grpc", "cryptography", "webtest")

def test_before():
    assert [name for name in HEAVY if name in sys.modules] == []

def test_use(webapp2_sessions_{name}):
    assert [name for name in LIBRARIES if name in sys.modules] == []
""",
    )
    assert "2 passed" in done


def test_without_the_plugin_pytest_is_as_it_was(run: Run) -> None:
    off = ("-p", "no:webapp2_sessions")
    source = "def test_it():\n    pass\n"
    assert "1 passed" in run(source, *off)
    assert "webapp2_sessions" not in run(source, *off, "--fixtures")
    source = "def test_it(webapp2_sessions_clock):\n    pass\n"
    done = run(source, *off, returns=1)
    assert "fixture 'webapp2_sessions_clock' not found" in done


def test_named_by_the_test_itself(run: Run) -> None:
    """Where pytest loads no plugins by itself."""
    source = (
        'pytest_plugins = ["_webapp2_sessions_pytest"]\n\n'
        "def test_it(webapp2_sessions_clock):\n    webapp2_sessions_clock.advance(1)\n"
    )
    assert "1 passed" in run(source, environ={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})


def test_warnings_as_errors(run: Run) -> None:
    """However strict a suite is, the package warns of nothing; webapp2 does, of what it imports."""
    source = "def test_it(webapp2_sessions_client):\n    pass\n"
    webapp2s = ("ignore:'cgi' is deprecated", "ignore:invalid escape sequence")
    strict = [word for rule in ("error", *webapp2s) for word in ("-W", rule)]
    assert "1 passed" in run(source, *strict)
    assert "1 passed" in run("def test_it():\n    pass\n", "-W", "error")


def test_helpers_need_no_pytest(tmp_path: Path) -> None:
    program = "import sys; sys.modules['pytest'] = None; import webapp2_sessions.testing"
    line = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_page_is_a_module_of_tests(run: Run) -> None:
    """What docs/testing.md shows passes in pytest; that the rest runs is seen in tests/docs."""
    page = PAGE.read_text("utf-8")
    examples = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert "2 passed" in run("\n".join(examples))


def test_example_passes_its_tests(run: Run, tmp_path: Path) -> None:
    """examples/testing, copied as a reader would; without its sessions it fails."""
    shutil.copytree(ROOT / "examples" / "testing", tmp_path / "guests")
    assert re.search(r"\b10 passed", run("", "guests"))
    app = tmp_path / "guests" / "app.py"
    source = app.read_text("utf-8")
    app.write_text(source.replace('self.session["name"] = name', "pass"), "utf-8")
    assert re.search(r"\b1 failed, 9 passed", run("", "guests", returns=1))
