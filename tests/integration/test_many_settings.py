"""A process that meets one setting after the other keeps no connections to those it has left."""

from __future__ import annotations

import contextlib
import gc
from typing import Any

import pytest
import webapp2
from pymemcache.client.base import Client
from support.servers import Memcached, Redis
from support.visits import SECRET

from webapp2_sessions import get_store

#: More settings than are kept at once.
COUNT = 100

#: How many are kept, and a connection with which the test asks; memcached has some of its own.
MOST = 64 + 5


@pytest.fixture(params=["memcache", "redis"])
def server(request: pytest.FixtureRequest) -> Memcached | Redis:
    """A server on which each setting opens a connection."""
    name = {"memcache": "memcached", "redis": "redis_server"}[request.param]
    server: Memcached | Redis = request.getfixturevalue(name)
    return server


def settings_of(server: Memcached | Redis, number: int) -> dict[str, Any]:
    """Settings that differ in how long is waited."""
    timeout = {"timeout": 5.0 + number / 1000}
    if isinstance(server, Memcached):
        return {"memcache": {"servers": [server.address], **timeout}}
    return {"redis": {"url": server.url, **timeout}}


def connections_to(server: Memcached | Redis) -> int:
    """How many connections a server has."""
    if isinstance(server, Memcached):
        with contextlib.closing(Client(server.address)) as client:
            return int(client.stats()[b"curr_connections"])
    return int(server.ask("INFO", "clients")["connected_clients"])


def test_connections_of_settings_that_are_used_no_more_are_closed(
    server: Memcached | Redis,
) -> None:
    backend = "memcache" if isinstance(server, Memcached) else "redis"
    before = connections_to(server)
    for number in range(COUNT):
        config = {"secret_key": SECRET, **settings_of(server, number)}
        app = webapp2.WSGIApplication(config={"webapp2_extras.sessions": config})
        request = webapp2.Request.blank("/", app=app)
        response = webapp2.Response()
        store = get_store(request=request)
        store.get_session(backend=backend)["number"] = number
        store.save_sessions(response)
        assert response.headers.getall("Set-Cookie")
        del app, request, response, store
    gc.collect()
    assert connections_to(server) - before <= MOST
