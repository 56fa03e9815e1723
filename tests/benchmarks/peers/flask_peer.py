"""Flask's own sessions, and Flask-Session's in memcached and Redis."""

from __future__ import annotations

from typing import Any

import flask
import redis
from flask.sessions import SecureCookieSessionInterface

from benchmarks.data import SECRET
from benchmarks.peers import Codec
from benchmarks.peers.clients import client
from benchmarks.sites import PATHS, Site, act

__all__ = ["codecs", "cookie_sites", "memcached_sites", "redis_sites"]


def _with_session() -> str:
    path = flask.request.environ["PATH_INFO"]
    keys = int(flask.request.args["keys"]) if path == "/fill" else 0
    return act(flask.session, path, keys)


def _app(view: Any, **config: Any) -> flask.Flask:
    app = flask.Flask("benchmarks")
    app.config.update(config)
    for path in PATHS:
        app.add_url_rule(path, path, view)
    return app


def cookie_sites() -> list[Site]:
    """JSON by itsdangerous; without a secret key there are no sessions."""
    return [Site("Flask", _app(_with_session, SECRET_KEY=SECRET), _app(lambda: "0"))]


def memcached_sites(address: str) -> list[Site]:
    """Flask-Session with its defaults."""
    return [_flask_session(SESSION_TYPE="memcached", SESSION_MEMCACHED=client(address))]


def redis_sites(url: str) -> list[Site]:
    """Flask-Session with its defaults, and with those of redis-py."""
    return [_flask_session(SESSION_TYPE="redis", SESSION_REDIS=redis.Redis.from_url(url))]


def _flask_session(**config: Any) -> Site:
    from flask_session import Session  # not needed by the other functions

    app = _app(_with_session, SECRET_KEY=SECRET, **config)
    Session(app)
    return Site("Flask-Session", app, _app(lambda: "0"))


def codecs() -> list[Codec]:
    """The serializer of its sessions, made once."""
    app = _app(_with_session, SECRET_KEY=SECRET)
    serializer: Any = SecureCookieSessionInterface().get_signing_serializer(app)
    return [Codec("Flask (itsdangerous)", serializer.dumps, serializer.loads)]
