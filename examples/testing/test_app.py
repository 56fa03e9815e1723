"""Tests of the guest book: without memcached, without waiting."""

from __future__ import annotations

import pytest
import webtest
from app import IDLE, make_app

from webapp2_sessions.testing import make_cookie, read_cookie, session_transaction

SECRET = "a secret that is only used by these tests"


@pytest.fixture
def app():
    return make_app(SECRET)


@pytest.fixture
def memory(app, webapp2_sessions_memory):
    """Where the application keeps its sessions, instead of memcached."""
    return webapp2_sessions_memory(app)


@pytest.fixture
def client(app, memory):
    """A visitor."""
    return webtest.TestApp(app)


@pytest.fixture
def member(client):
    """A visitor who has signed in, without going through the form."""
    with session_transaction(client, backend="memcache") as session:
        session["name"] = "Ada"
    return client


def test_stranger_is_asked_for_a_name(client, memory):
    client.get("/").mustcontain("Who are you?")
    assert len(memory) == 0, "reading a page begins no session"


def test_signing_in(client):
    client.post("/", {"name": "Ada"}).follow().mustcontain("Hello, Ada!")
    with session_transaction(client, backend="memcache") as session:
        assert session == {"name": "Ada"}


def test_signing_in_changes_the_id(client, app, memory):
    with session_transaction(client, backend="memcache") as session:
        session["language"] = "en"
    planted = client.cookies["session"]
    response = client.post("/", {"name": "Ada"})
    assert read_cookie(app, response).attributes["httponly"]
    client.reset()  # as the browser of whoever planted the id
    client.set_cookie("session", planted)
    client.get("/").mustcontain("Who are you?")


def test_member_writes(member):
    member.post("/", {"entry": "It was nice <here>."}).follow().mustcontain(
        "<li>Ada: It was nice &lt;here&gt;.</li>"
    )


def test_stranger_writes_nothing(client):
    client.post("/", {"entry": "Buy!"}, status=403)
    assert "Buy!" not in client.get("/")


def test_forged_cookie_is_no_member(client):
    forged = make_cookie({"secret_key": "what somebody guessed"}, {"name": "Ada"})
    client.get("/", headers={"Cookie": forged}).mustcontain("Who are you?")


def test_idle_member_is_signed_out(member, webapp2_sessions_clock):
    for _ in range(3):  # who comes back in time stays
        webapp2_sessions_clock.advance(IDLE - 1)
        member.get("/").mustcontain("Hello, Ada!")
    webapp2_sessions_clock.advance(IDLE + 1)
    member.get("/").mustcontain("Who are you?")


def test_memcached_is_down(member, memory):
    with memory.unavailable():
        member.get("/", status=503).mustcontain("closed for a moment")
    member.get("/").mustcontain("Hello, Ada!")


def test_memcached_goes_away_before_the_session_is_saved(client, memory):
    with memory.unavailable(reads=False):
        response = client.post("/", {"name": "Ada"}, status=503)
    assert "Set-Cookie" not in response.headers


def test_memcached_was_restarted(member, memory):
    memory.clear()
    member.get("/").mustcontain("Who are you?")
