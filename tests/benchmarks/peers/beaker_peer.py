"""Beaker's middleware around a WSGI function."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from beaker.middleware import SessionMiddleware

from benchmarks.data import NAME, SECRET
from benchmarks.sites import Site, act

__all__ = ["cookie_sites", "memcached_sites"]

_HEADERS = [("Content-Type", "text/plain")]


def _app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    session, path = environ["beaker.session"], environ["PATH_INFO"]
    keys = int(parse_qs(environ["QUERY_STRING"])["keys"][0]) if path == "/fill" else 0
    body = act(session, path, keys)
    if path in ("/fill", "/modify"):
        session.save()
    start_response("200 OK", list(_HEADERS))
    return [body.encode()]


def _bare(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", list(_HEADERS))
    return [b"0"]


def cookie_sites() -> list[Site]:
    """Its cookie sessions as JSON; it saves the time of access, on reads too."""
    options = {
        "session.type": "cookie",
        "session.key": NAME,
        "session.validate_key": SECRET,
        "session.data_serializer": "json",
    }
    app = SessionMiddleware(_app, options)
    return [Site("Beaker cookie", app, _bare, "sets the cookie on reads too")]


def memcached_sites(address: str) -> list[Site]:
    """Its memcached sessions, by python-memcached, with a signed id."""
    import memcache  # noqa: F401 # Beaker imports it by name, at the first request

    options = {
        "session.type": "ext:memcached",
        "session.url": address,
        "session.memcache_module": "memcache",
        "session.lock_dir": tempfile.mkdtemp(prefix="beaker-"),
        "session.key": NAME,
        "session.secret": SECRET,
    }
    return [Site("Beaker memcached", SessionMiddleware(_app, options), _bare)]
