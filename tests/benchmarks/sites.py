"""Webapps that do the same with their sessions, and calling them without a server."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any

from benchmarks.data import COUNTER, session_data
from benchmarks.measure import Contender

__all__ = ["PATHS", "Answer", "Site", "WrongAnswer", "act", "call", "environ"]

#: What a site does at its paths: fill a session of the wanted size, modify it, read it, or only
#: make it available.
PATHS = ("/fill", "/modify", "/read", "/idle")

#: Status, headers and body.
Answer = tuple[str, list[tuple[str, str]], bytes]


class WrongAnswer(Exception):
    """A site does not do what is to be measured."""


@dataclass(frozen=True)
class Site:
    """A webapp with sessions, and the same without.

    Beyond the session both do the same: even a framework's way of telling the request's path can
    take as long as a session, so that it comes from the environ in all.

    :param name: how reports call it.
    :param app: the WSGI application that does at each of PATHS what it stands for.
    :param bare: one with the same paths, framework and answers that has no sessions.
    :param note: what is to be known about it.
    """

    name: str
    app: Callable[..., Iterable[bytes]]
    bare: Callable[..., Iterable[bytes]]
    note: str = ""

    def contender(self, path: str, cookie: str) -> Contender:
        """The request to a path, from which the bare site's is taken off."""
        values = environ(path, cookie)
        run = functools.partial(call, self.app, values)
        return Contender(self.name, run, functools.partial(call, self.bare, values))

    def filled(self, keys: int) -> str:
        """The Cookie header of a visitor with a new session of so many keys."""
        return self._cookie_of(self._visit("/fill", "", f"keys={keys}"))

    def checked(self, keys: int) -> str:
        """As `filled`, after making sure that the site reads and modifies."""
        cookie = self.filled(keys)
        for path, body in (("/modify", "1"), ("/read", "1"), ("/modify", "2")):
            answer = self._visit(path, cookie)
            if answer[2].decode() != body:
                raise WrongAnswer(f"{self.name}: {path} answered {answer[2]!r}, not {body!r}.")
            if any(name.lower() == "set-cookie" for name, _ in answer[1]):
                cookie = self._cookie_of(answer)
        if self._visit("/modify", cookie, app=self.bare)[2] != b"0":
            raise WrongAnswer(f"{self.name}: without sessions it does not answer 0.")
        return cookie

    def _visit(self, path: str, cookie: str, query: str = "", app: Any = None) -> Answer:
        answer = call(app or self.app, environ(path, cookie, query))
        if not answer[0].startswith("200"):
            raise WrongAnswer(f"{self.name}: {path} answered {answer[0]}.")
        return answer

    def _cookie_of(self, answer: Answer) -> str:
        jar: SimpleCookie = SimpleCookie()
        for name, value in answer[1]:
            if name.lower() == "set-cookie":
                jar.load(value)
        if not jar:
            raise WrongAnswer(f"{self.name}: no cookie was set.")
        return "; ".join(f"{morsel.key}={morsel.coded_value}" for morsel in jar.values())


def act(session: Any, path: str, keys: int = 0) -> str:
    """Do with a session what a path stands for; gives the body of the answer."""
    if path == "/read":
        return str(session.get(COUNTER, 0))
    if path == "/modify":
        count: int = session.get(COUNTER, 0) + 1
        session[COUNTER] = count
        return str(count)
    if path == "/fill":
        session.update(session_data(keys))
    return "0"


def environ(path: str, cookie: str, query: str = "") -> dict[str, Any]:
    """What a WSGI server gives for a GET request."""
    values = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    return {**values, "HTTP_COOKIE": cookie} if cookie else values


def call(app: Callable[..., Iterable[bytes]], values: dict[str, Any]) -> Answer:
    """One request to a WSGI application, as a server makes it."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: Any, exc_info: object = None) -> None:
        started.append((status, headers))

    chunks = app(dict(values), start_response)
    try:
        body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    return (*started[-1], body)
