"""Sessions on a real WSGI server: any Cookie bytes, redirects, and many visitors at once."""

from __future__ import annotations

import http.client
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import webapp2
import webob.exc
from support.handlers import DocumentedHandler
from support.visits import SECRET
from support.wsgi import served

from webapp2_sessions import SessionHandler, SessionMiddleware, get_store


class Handler(DocumentedHandler):
    """The documented handler, counting visits."""

    def get(self) -> None:
        session = self.session_store.get_session()
        session["visits"] = session.get("visits", 0) + 1
        self.response.write(str(session["visits"]))

    def post(self) -> Any:
        self.session_store.get_session()["visits"] = 100
        return self.redirect("/")


@pytest.fixture
def url() -> Iterator[str]:
    """Where the application is served."""
    config = {"webapp2_extras.sessions": {"secret_key": SECRET}}
    with served(webapp2.WSGIApplication([("/", Handler)], config=config)) as url:
        yield url


def get_with_cookie(url: str, cookie: bytes) -> tuple[int, bytes]:
    """Send a Cookie header of these very bytes; returns status and body."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\nHost: x\r\nCookie: " + cookie + b"\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


def hostile_cookies(count: int) -> Iterator[bytes]:
    """Yield Cookie headers: every byte, known traps, and random ones."""
    # RFC 9110 section 5.5: a server refuses other control characters itself.
    allowed = [0x09, *range(0x20, 0x7F), *range(0x80, 0x100)]
    for byte in allowed:
        yield b"session=" + bytes((byte,))
        yield b'session="' + bytes((byte,)) + b'"'
    yield from (b"\\377", b'session="\\377"', b"session=a|b|\\351", b"=", b"session", b"session=")
    yield b"x" * 60_000
    generator = random.Random(1)
    for _ in range(count):
        noise = bytes(generator.choices(allowed, k=generator.randrange(60)))
        yield b"session=" + noise + generator.choice((b"", b'"', b"|1|", b"; session=" + noise))


def test_no_cookie_bytes_raise(url: str) -> None:
    """Whatever a visitor sends, the answer is a new session and not an error."""
    answers = {get_with_cookie(url, cookie) for cookie in hostile_cookies(500)}
    assert answers == {(200, b"1")}


def test_session_goes_over_a_redirect(url: str) -> None:
    """A cookie that is set with a redirect comes back with the next request."""
    visitor = requests.Session()
    assert visitor.post(url).text == "101"
    assert visitor.get(url).text == "102"


#: Answers that are the same for all visitors.
OK = webapp2.Response(b"ok")
FORBIDDEN = webob.exc.HTTPForbidden()


class SharedHandler(SessionHandler):
    """Remembers who comes, and answers by an object that all requests have."""

    def get(self) -> Any:
        if "who" not in self.request.GET:
            self.response.write(str(self.session.get("who")))
            return None
        self.session["who"] = self.request.GET["who"]
        if "raise" in self.request.GET:
            raise FORBIDDEN
        return OK


class DocumentedSharedHandler(Handler):
    """The same, saved on whatever the handler has as its response."""

    get = SharedHandler.get

    @property
    def session(self) -> Any:
        return self.session_store.get_session()

    def dispatch(self) -> Any:
        self.session_store = get_store(request=self.request)
        try:
            sent = webapp2.RequestHandler.dispatch(self)
            self.response = sent or self.response
            return sent
        finally:
            self.session_store.save_sessions(self.response)


@pytest.mark.parametrize(
    ("handler", "wrap"),
    [
        (SharedHandler, lambda app: app),
        (SharedHandler, SessionMiddleware),
        (DocumentedSharedHandler, SessionMiddleware),
    ],
    ids=["handler", "both", "middleware"],
)
def test_shared_answers_have_the_cookie_of_their_visitor(handler: Any, wrap: Any) -> None:
    """Also while others are answered by the same object in other threads."""
    config = {"webapp2_extras.sessions": {"secret_key": SECRET}}
    app = wrap(webapp2.WSGIApplication([("/", handler)], config=config))
    wrong: list[Any] = []

    def visit(number: int) -> None:
        for turn in range(15):
            with requests.Session() as visitor:
                query = {"who": f"{number}-{turn}", **({"raise": "1"} if turn % 2 else {})}
                answer = visitor.get(url, params=query)
                count = len(answer.raw.headers.getlist("Set-Cookie"))
                seen = visitor.get(url).text
            if (count, seen) != (1, query["who"]):
                wrong.append((count, seen, query))

    with served(app, threads=8) as url:
        threads = [threading.Thread(target=visit, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert "Set-Cookie" not in OK.headers
    assert "Set-Cookie" not in FORBIDDEN.headers


def test_visitors_at_once_do_not_meet(url: str) -> None:
    """Threads of the server keep their requests' sessions apart."""
    wrong = []

    def visit() -> None:
        with requests.Session() as visitor:
            seen = [visitor.get(url).text for _ in range(20)]
        if seen != [str(n) for n in range(1, 21)]:
            wrong.append(seen)

    threads = [threading.Thread(target=visit) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
