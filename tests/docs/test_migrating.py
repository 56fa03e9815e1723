"""An application of webapp2_extras.sessions is moved over by docs/migrating.md alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.examples import without_key_warnings
from support.servers import PROJECT, DatastoreEmulator, Memcached

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "migrating.md"
STEPS = PAGE.read_text("utf-8").split("\n## From webapp2_extras.sessions\n")[1].split("\n## ")[0]
OLD = (HERE / "apps" / "documented.py").read_text("utf-8")

_IMPORT = "from webapp2_extras import auth, sessions\n"

#: The application, as people import the modules.
APPLICATIONS = {
    "one line": OLD,
    "two lines": OLD.replace(
        _IMPORT, "from webapp2_extras import auth\nfrom webapp2_extras import sessions\n"
    ),
    "whole module": OLD.replace(
        _IMPORT, "import webapp2_extras.sessions\nfrom webapp2_extras import auth\n"
    ).replace(" sessions.get_store(", " webapp2_extras.sessions.get_store("),
    "one name": OLD.replace(
        _IMPORT, "from webapp2_extras import auth\nfrom webapp2_extras.sessions import get_store\n"
    ).replace(" sessions.get_store(", " get_store("),
}

SIGN_IN = ["POST", "/sign-in", {"password": "engine"}]
SIGN_OUT = ["POST", "/sign-out", {}]
HOME = ["GET", "/", None]
WHICH = ["GET", "/which", None]
SPEAK_GERMAN = ["GET", "/language?to=de", None]
LANGUAGE = ["GET", "/language", None]
CART = ["GET", "/cart", None]

Drive = Callable[..., tuple[dict[str, str], list[str]]]


def blocks(language: str) -> list[str]:
    """The steps' blocks of code in a language."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", STEPS, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in found]


def imports_changed(source: str) -> str:
    """The first way of step 3: every replacement whose lines are there is made."""
    for diff in blocks("diff"):
        lines = diff.splitlines()
        before = "\n".join(line[1:] for line in lines if line.startswith("-"))
        after = "\n".join(line[1:] for line in lines if line.startswith("+"))
        end = "" if before.endswith("(") else r"$"
        begin = "" if before.endswith("(") else "^"
        source = re.sub(f"{begin}{re.escape(before)}{end}", after, source, flags=re.MULTILINE)
    return source


def installed(source: str) -> str:
    """The second way of step 3: two lines before everything else."""
    [lines] = [code for code in blocks("py") if "install_as_webapp2_extras" in code]
    return lines + source


WAYS = {"imports changed": imports_changed, "installed": installed}


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    """Send requests to an application in a process of its own, with a visitor's cookies."""

    def run(source: str, cookies: dict[str, str], *requests: Any) -> tuple[dict[str, str], Any]:
        (tmp_path / "app.py").write_text(source, "utf-8")
        done = subprocess.run(
            [sys.executable, "-B", "-W", "ignore", str(HERE / "apps" / "drive.py")],
            input=json.dumps([cookies, requests]),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, without_key_warnings(done.stderr)) == (0, "")
        found, answers = json.loads(done.stdout)
        return found, answers

    return run


@pytest.mark.parametrize("application", APPLICATIONS)
@pytest.mark.parametrize("way", WAYS)
def test_moved_by_the_steps(application: str, way: str, drive: Drive) -> None:
    """Visitors stay signed in, keep their messages and settings, and can be taken back."""
    old = APPLICATIONS[application]
    new = WAYS[way](old)
    cookies, answers = drive(old, {}, WHICH, SIGN_IN, SPEAK_GERMAN)
    assert answers == ["webapp2_extras.sessions", "302 Moved Temporarily", "de"]

    cookies, answers = drive(new, cookies, WHICH, HOME, HOME, LANGUAGE)
    assert answers == ["webapp2_sessions.sessions.store", "5 ['Welcome']", "5 []", "de"]

    cookies, answers = drive(old, cookies, HOME, LANGUAGE, SIGN_IN)
    assert answers == ["5 []", "de", "302 Moved Temporarily"]

    _, answers = drive(new, cookies, HOME, SIGN_OUT, HOME)
    assert answers == ["5 ['Welcome']", "302 Moved Temporarily", "nobody []"]


@pytest.mark.parametrize("way", WAYS)
def test_memcached_is_named(way: str, drive: Drive, memcached: Memcached) -> None:
    """With the line of step 4 in its configuration a session that was in memcache works."""
    [lines] = [code for code in blocks("py") if code.startswith('"memcache"')]
    setting = lines.splitlines()[0].replace("127.0.0.1:11211", memcached.address)
    new = WAYS[way](OLD).replace('"secret_key":', f'{setting}\n            "secret_key":')
    assert setting in new
    _, answers = drive(new, {}, CART, CART)
    assert answers == ["1 pens", "2 pens"]


def test_users_are_in_datastore(drive: Drive, datastore: DatastoreEmulator) -> None:
    """The page's application signs users up and in."""
    section = PAGE.read_text("utf-8").split("\n## Users in Datastore\n")[1].split("\n## ")[0]
    [code] = re.findall(r"^```py\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    name = uuid.uuid4().hex
    ada = {"name": name, "nickname": f"countess {name}", "password": "engine"}
    sign_up, sign_in = ["POST", "/sign-up"], ["POST", "/sign-in"]
    _, answers = drive(
        code.replace("my-project", PROJECT),
        {},
        HOME,
        [*sign_up, ada],
        [*sign_up, {**ada, "name": f"{name}-2"}],
        [*sign_in, {**ada, "password": "loom"}],
        [*sign_in, ada],
        HOME,
    )
    assert answers == ["nobody", "welcome", "taken: ['nickname']", "no", "yes", ada["nickname"]]


def test_each_replacement_can_be_imported() -> None:
    """Modules that the page names after the change are there, with upstream's public names."""
    for diff in blocks("diff"):
        lines = [line[1:] for line in diff.splitlines() if line.startswith("+")]
        for line in lines:
            if "import" in line:
                exec(line, {})
