"""Pyramid's SignedCookieSessionFactory."""

from __future__ import annotations

from typing import Any

from pyramid.config import Configurator
from pyramid.response import Response
from pyramid.session import SignedCookieSessionFactory

from benchmarks.data import NAME, SECRET
from benchmarks.sites import PATHS, Site, act

__all__ = ["cookie_sites"]


def _with_session(request: Any) -> Any:
    path = request.environ["PATH_INFO"]
    keys = int(request.GET["keys"]) if path == "/fill" else 0
    return Response(act(request.session, path, keys))


def _bare(request: Any) -> Any:
    return Response("0")


def _app(view: Any, session_factory: Any = None) -> Any:
    with Configurator(session_factory=session_factory) as config:
        for path in PATHS:
            config.add_route(path, path)
            config.add_view(view, route_name=path)
        return config.make_wsgi_app()


def cookie_sites() -> list[Site]:
    """JSON, signed with SHA-512; with its defaults it sets the cookie on reads too."""
    app = _app(_with_session, SignedCookieSessionFactory(SECRET, NAME))
    return [Site("Pyramid SignedCookieSession", app, _app(_bare), "sets the cookie on reads too")]
