"""Starlette's SessionMiddleware, and sessions of starsessions in Redis.

The former is called without an event loop: nothing in it waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import redis.asyncio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks.data import NAME, SECRET
from benchmarks.sites import PATHS, Site, act

__all__ = ["cookie_sites", "redis_sites"]


async def _with_session(request: Request) -> PlainTextResponse:
    path = request.scope["path"]
    keys = int(request.query_params["keys"]) if path == "/fill" else 0
    return PlainTextResponse(act(request.session, path, keys))


async def _bare(request: Request) -> PlainTextResponse:
    return PlainTextResponse("0")


def _run_at_once(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run what waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise RuntimeError("the application waits for something")


class _AsWsgi:
    """An ASGI application as a WSGI one.

    :param run: runs a coroutine to its end.
    """

    def __init__(
        self, app: Any, run: Callable[[Coroutine[Any, Any, None]], object] = _run_at_once
    ) -> None:
        self._app = app
        self._run = run

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        self._run(self._app(_scope(environ), receive, send))
        headers = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
        start_response(f"{sent[0]['status']} OK", headers)
        return [message["body"] for message in sent[1:]]


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


def _app(view: Any, middleware: Any = ()) -> Starlette:
    routes = [Route(path, view) for path in PATHS]
    return Starlette(routes=routes, middleware=list(middleware))


def cookie_sites() -> list[Site]:
    """JSON by itsdangerous."""
    sessions = Middleware(SessionMiddleware, secret_key=SECRET, session_cookie=NAME)
    app, bare = _AsWsgi(_app(_with_session, [sessions])), _AsWsgi(_app(_bare))
    return [Site("Starlette SessionMiddleware", app, bare)]


def redis_sites(url: str) -> list[Site]:
    """starsessions with its defaults, in an event loop, as is the same without."""
    from starsessions import SessionMiddleware, load_session  # not needed otherwise
    from starsessions.stores.redis import RedisStore

    async def with_session(request: Request) -> PlainTextResponse:
        await load_session(request)
        return await _with_session(request)

    store = RedisStore(connection=redis.asyncio.Redis.from_url(url))
    sessions = Middleware(SessionMiddleware, store=store, cookie_name=NAME)
    run = asyncio.new_event_loop().run_until_complete
    app, bare = _AsWsgi(_app(with_session, [sessions]), run), _AsWsgi(_app(_bare), run)
    return [Site("starsessions", app, bare)]
