"""Starlette's SessionMiddleware, called without an event loop: nothing here waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks.data import NAME, SECRET
from benchmarks.sites import PATHS, Site, act

__all__ = ["cookie_sites"]


async def _with_session(request: Request) -> PlainTextResponse:
    path = request.scope["path"]
    keys = int(request.query_params["keys"]) if path == "/fill" else 0
    return PlainTextResponse(act(request.session, path, keys))


async def _bare(request: Request) -> PlainTextResponse:
    return PlainTextResponse("0")


class _AsWsgi:
    """An ASGI application as a WSGI one."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        try:
            self._app(_scope(environ), receive, send).send(None)
        except StopIteration:
            headers = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
            start_response(f"{sent[0]['status']} OK", headers)
            return [message["body"] for message in sent[1:]]
        raise RuntimeError("the application waits for something")


def _scope(environ: dict[str, Any]) -> dict[str, Any]:
    headers = [(b"host", b"localhost")]
    if cookie := environ.get("HTTP_COOKIE"):
        headers.append((b"cookie", cookie.encode("latin-1")))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": environ["PATH_INFO"],
        "raw_path": environ["PATH_INFO"].encode(),
        "root_path": "",
        "query_string": environ["QUERY_STRING"].encode(),
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }


def _app(view: Any, middleware: Any = ()) -> _AsWsgi:
    routes = [Route(path, view) for path in PATHS]
    return _AsWsgi(Starlette(routes=routes, middleware=list(middleware)))


def cookie_sites() -> list[Site]:
    """JSON by itsdangerous."""
    sessions = Middleware(SessionMiddleware, secret_key=SECRET, session_cookie=NAME)
    return [Site("Starlette SessionMiddleware", _app(_with_session, [sessions]), _app(_bare))]
