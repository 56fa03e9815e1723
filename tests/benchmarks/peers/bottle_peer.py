"""Bottle's signed cookies, with the session as JSON."""

from __future__ import annotations

import json
from typing import Any

import bottle

from benchmarks.data import NAME, SECRET
from benchmarks.sites import PATHS, Site, act

__all__ = ["cookie_sites"]


def _with_session() -> str:
    path = bottle.request.environ["PATH_INFO"]
    value = bottle.request.get_cookie(NAME, secret=SECRET)
    session = json.loads(value) if value else {}
    keys = int(bottle.request.query["keys"]) if path == "/fill" else 0
    body = act(session, path, keys)
    if path in ("/fill", "/modify"):
        text = json.dumps(session, separators=(",", ":"))
        bottle.response.set_cookie(NAME, text, secret=SECRET)
    return body


def _app(view: Any) -> bottle.Bottle:
    app = bottle.Bottle()
    for path in PATHS:
        app.route(path, callback=view)
    return app


def cookie_sites() -> list[Site]:
    """The cookie's text is a pickle of the JSON, signed with SHA-256."""
    return [Site("Bottle signed cookie", _app(_with_session), _app(lambda: "0"))]
