"""The command users, on real servers."""

from __future__ import annotations

import io
import json
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.modules import modules_in
from support.servers import DatastoreEmulator, Redis
from support.visits import Visitor

from webapp2_sessions.cli import main
from webapp2_sessions.cli.target import load_target

Output = pytest.CaptureFixture[str]

KEY = "0123456789abcdef0123456789abcdef"

EACH_BACKEND = pytest.mark.parametrize("backend", ["redis", "datastore"])


class Shop:
    """An application whose users are known, as the command finds it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.app = load_target(name).app

    def visitor(self, backend: str, user: Any, label: str | None = None) -> Visitor:
        """A browser in which a user is signed in."""
        visitor = Visitor(self.app, backend=backend)
        with visitor.visit() as session:
            session["user_id"] = user
            session.set_label(label)
        return visitor

    def run(self, *arguments: str) -> int:
        """Return the exit code of the command."""
        return main(["users", *arguments, "--config", self.name])


@pytest.fixture
def make_shop(
    redis_server: Redis,
    datastore: DatastoreEmulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Shop]]:
    """Makes applications of a module each, with a place of their own on the servers."""
    monkeypatch.chdir(tmp_path)
    namespace = "ns-" + uuid.uuid4().hex
    config = {
        "secret_key": KEY,
        "user_key": "user_id",
        "user_index": True,
        "default_backend": "redis",
        "redis": {"url": redis_server.url, "key_prefix": f"{namespace}:"},
        "datastore": {"namespace": namespace},
    }
    with modules_in(tmp_path) as write:

        def make(**values: Any) -> Shop:
            source = f"CONFIG = {{'webapp2_extras.sessions': { ({**config, **values})!r}}}\n"
            app = "import webapp2\napp = webapp2.WSGIApplication(config=CONFIG)\n"
            return Shop(f"{write(source + app)}:app")

        yield make


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    return make_shop()


@EACH_BACKEND
def test_sessions_are_listed_for_programs_and_for_people(
    shop: Shop, capsys: Output, backend: str
) -> None:
    shop.visitor(backend, 5, "Firefox\x1b[31m")
    shop.visitor(backend, 6)
    assert shop.run("5", "--json", "--backend", backend) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert found["label"] == "Firefox\x1b[31m"
    assert found["saved"] >= found["began"] > 1_700_000_000
    assert shop.run("5", "--backend", backend) == 0
    output = capsys.readouterr().out
    assert f"handle  {found['handle']}" in output
    assert "label   Firefox\\u001b[31m" in output
    assert " ago" in output


@EACH_BACKEND
def test_one_ends_by_its_handle_and_then_all(shop: Shop, capsys: Output, backend: str) -> None:
    phone, laptop, tablet = (shop.visitor(backend, 5, label) for label in ("phone", "laptop", "x"))
    shop.run("5", "--json", "--backend", backend)
    handles = {each["label"]: each["handle"] for each in json.loads(capsys.readouterr().out)}
    end = ("5", "--backend", backend, "--yes")
    assert shop.run(*end, "--end", handles["phone"]) == 0
    assert capsys.readouterr().out == "1 session ended\n"
    assert [bool(each.read()) for each in (phone, laptop, tablet)] == [False, True, True]
    assert shop.run(*end, "--end-all") == 0
    assert capsys.readouterr().out == "2 sessions ended\n"
    assert [bool(each.read()) for each in (laptop, tablet)] == [False, False]
    assert shop.run(*end, "--end", handles["phone"]) == 1


def test_nobody_is_told_of_who_has_no_session(shop: Shop, capsys: Output) -> None:
    assert shop.run("nobody") == 1
    assert "no sessions of that user" in capsys.readouterr().err
    assert shop.run("nobody", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_all_end_that_no_server_keeps(make_shop: Callable[..., Shop], capsys: Output) -> None:
    shop = make_shop(default_backend="securecookie", user_index=False, revocation="redis")
    visitor = shop.visitor("securecookie", 5)
    assert shop.run("5", "--end-all", "--yes") == 0
    assert capsys.readouterr().out == (
        "all sessions of that user ended, those in cookies too; 0 of them were listed\n"
    )
    assert visitor.read() == {}


@pytest.mark.parametrize(("answer", "ended"), [("y\n", True), ("\n", False), ("n\n", False)])
def test_the_command_asks(
    shop: Shop, capsys: Output, monkeypatch: pytest.MonkeyPatch, answer: str, ended: bool
) -> None:
    visitor = shop.visitor("redis", 5)
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert shop.run("5", "--end-all") == (0 if ended else 1)
    assert (visitor.read() == {}) == ended


@pytest.mark.parametrize(
    ("values", "arguments", "problem"),
    [
        ({}, ["5", "--end-all"], "--yes: is needed where nobody can be asked"),
        ({"user_index": False}, ["5"], "user_index: is not configured"),
        ({"user_key": None, "user_index": False}, ["5"], "user_key: does not tell who"),
        ({}, ["5", "--backend", "memcache"], "as redis and datastore, not Memcache"),
        ({}, ["5", "--end", "a", "--end-all"], "not allowed with argument"),
        ({}, ["5", "--limit", "0"], "is no positive whole number"),
    ],
)
def test_what_cannot_be_is_an_error(
    make_shop: Callable[..., Shop],
    capsys: Output,
    values: dict[str, Any],
    arguments: list[str],
    problem: str,
) -> None:
    try:
        code: Any = make_shop(**values).run(*arguments)
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert problem in capsys.readouterr().err


def test_a_server_that_is_not_there_is_an_error(
    make_shop: Callable[..., Shop], capsys: Output
) -> None:
    shop = make_shop(redis={"url": "redis://127.0.0.1:1/0"})
    assert shop.run("5") == 1
    assert "redis" in capsys.readouterr().err
