"""Five ways to keep a user, with `user_key` and without: the applications of examples/users.

They run as they are, and once more without their line, each in a process of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.examples import EXAMPLES, TIMEOUT, Browser, sid_in
from support.processes import HOST
from support.servers import PROJECT, PROXY_VARIABLES, free_port, wait_until

import webapp2_sessions

USERS = EXAMPLES / "users"
PATTERNS = sorted(path.stem for path in USERS.glob("by_*.py"))
BACKENDS = ["memcache", "redis"]
#: Where one of them is run besides: its key may be kept in Datastore; nothing at all is installed.
MORE_BACKENDS = {"by_key": ["datastore"], "by_number": ["memory"]}

ADA = {"name": "Ada", "password": "engine"}
MALLORY = {"name": "Mallory", "password": "loom"}


def environment_of(backend: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """The variables by which an application finds a backend."""
    package = Path(webapp2_sessions.__file__).parents[1]
    env = {name: value for name, value in os.environ.items() if name not in PROXY_VARIABLES}
    env["PYTHONPATH"] = str(package)
    if backend == "memory":  # without any variable
        return env
    env["BACKEND"] = backend
    if backend == "memcache":
        env["MEMCACHED"] = request.getfixturevalue("memcached").address
    elif backend == "redis":
        env["REDIS_URL"] = request.getfixturevalue("redis_server").url
    else:
        env["DATASTORE_EMULATOR_HOST"] = request.getfixturevalue("datastore_emulator").address
        env["GOOGLE_CLOUD_PROJECT"] = PROJECT
    return env


@contextmanager
def running(program: Path, env: dict[str, str]) -> Iterator[str]:
    """Run an application until the block ends; its address."""
    port = free_port()
    log = program.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", program],
            env={**env, "PORT": str(port)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        assert wait_until(lambda: process.poll() is not None or log.read_text(), TIMEOUT)
        site = f"http://{HOST}:{port}"
        assert log.read_text() == f"Serving on {site}\n"
        yield site
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT)


class Site:
    """An application that runs."""

    def __init__(self, address: str, follows: bool, at_end: ExitStack) -> None:
        self.address = address
        #: Whether it has the line.
        self.follows = follows
        self._at_end = at_end

    def visitor(self, cookies: Any = ()) -> Browser:
        """A browser that has these cookies."""
        browser = self._at_end.enter_context(Browser(self.address))
        browser.cookies.update(cookies)
        return browser


@pytest.fixture(
    scope="module",
    params=[
        (pattern, backend, follows)
        for pattern in PATTERNS
        for backend in [*BACKENDS, *MORE_BACKENDS.get(pattern, ())]
        for follows in (True, False)
    ],
    ids=lambda param: f"{param[0]}-{param[1]}-{'with' if param[2] else 'without'}",
)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Each application on each backend, with and without its line."""
    pattern, backend, follows = request.param
    env = environment_of(backend, request)
    folder = tmp_path_factory.mktemp("users") / "app"
    shutil.copytree(USERS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    program = folder / f"{pattern}.py"
    if not follows:
        source, lines = re.subn(
            r'^ *"user_key": .*\n', "", program.read_text("utf-8"), flags=re.MULTILINE
        )
        assert lines == 1
        program.write_text(source, "utf-8")
    with ExitStack() as at_end:
        yield Site(at_end.enter_context(running(program, env)), follows, at_end)


def sign_in(browser: Browser, who: dict[str, str]) -> str:
    """Sign in; who is greeted."""
    browser.post("/login", data=who)
    return who_is(browser)


def who_is(browser: Browser) -> str:
    """Who is greeted."""
    [name] = re.findall(r"Hello, (\w+)!", browser.get("/").text)
    return str(name)


def ids_of(browser: Browser) -> list[str]:
    """The ids of a browser's sessions."""
    return [sid_in(value) for value in browser.cookies.values()]


def test_a_member_is_known_until_the_sign_out(site: Site) -> None:
    browser = site.visitor()
    assert who_is(browser) == "stranger"
    assert sign_in(browser, {**ADA, "password": "wrong"}) == "stranger"
    assert sign_in(browser, ADA) == who_is(browser) == "Ada"
    browser.post("/logout")
    assert who_is(browser) == "stranger"


def test_a_planted_cookie_opens_nothing_of_the_user(site: Site) -> None:
    """The attacker has an account too, and Ada signs in over the attacker's session."""
    attacker = site.visitor()
    assert sign_in(attacker, MALLORY) == "Mallory"
    ada = site.visitor(attacker.cookies)
    assert sign_in(ada, ADA) == "Ada"
    assert (ids_of(ada) == ids_of(attacker)) is not site.follows
    assert who_is(attacker) == ("stranger" if site.follows else "Ada")


def test_a_sign_out_ends_the_record(site: Site) -> None:
    """A copy of the cookie is worth nothing, not even when the user signs in again."""
    ada = site.visitor()
    sign_in(ada, ADA)
    thief = site.visitor(ada.cookies)
    assert who_is(thief) == "Ada"
    ada.post("/logout")
    assert who_is(thief) == "stranger"
    assert sign_in(ada, ADA) == "Ada"
    assert who_is(thief) == ("stranger" if site.follows else "Ada")
