"""Servers that refuse, die, restart and freeze: the session is stored or the caller hears of it.

Nothing here is imitated: memcached and the Datastore emulator are killed and stopped by signals.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.servers import (
    PROJECT,
    PROXY_VARIABLES,
    DatastoreEmulator,
    Memcached,
    free_port,
    wait_until,
)
from support.visits import SECRET, Visitor, make_app

from webapp2_sessions import BackendError, BackendUnavailable, SecureCookieSerializer

#: Neither this nor a session id nor the secret key may stand in an error or a log.
CARD = "4242424242424242"

SID = "0123456789abcdefghijkl"

#: Seconds within which a server that is silent must have been given up; timeouts are shorter.
BOUND = 10.0

#: Seconds after which a thread that hangs is a failure.
PATIENCE = 60.0


def returning_visitor(app: Any, backend: str) -> Visitor:
    """A visitor whose cookie names a session."""
    visitor = Visitor(app, backend=backend)
    cookie = SecureCookieSerializer(SECRET).serialize("session", {"_sid": SID})
    visitor.cookies["session"] = cookie.decode("ascii")
    return visitor


@pytest.fixture
def fails(caplog: pytest.LogCaptureFixture) -> Callable[..., Any]:
    """A block that must raise BackendUnavailable, in time, and tell nobody's secrets."""

    @contextlib.contextmanager
    def block(backend: str, address: str, *secrets: str) -> Iterator[None]:
        caplog.set_level("DEBUG")
        started = time.monotonic()
        with pytest.raises(BackendUnavailable) as caught:
            yield
        assert time.monotonic() - started < BOUND
        assert str(caught.value).startswith(f"{backend} backend at {address}: ")
        for secret in (CARD, SID, SECRET, *secrets):
            assert not [text for text in texts(caught.value) if secret in text]
            assert secret not in caplog.text

    return block


def texts(error: BaseException | None) -> list[str]:
    """The texts of an error and of all that led to it."""
    if error is None:
        return []
    return [str(error), repr(error), *texts(error.__cause__), *texts(error.__context__)]


# memcached


@pytest.fixture
def server(launch: Callable[[Memcached], Memcached]) -> Memcached:
    """A memcached that the test may harm."""
    return launch(Memcached())


@pytest.fixture
def visitor(server: Memcached) -> Visitor:
    """A visitor of an application whose sessions are in that memcached."""
    settings = {"servers": [server.address], "timeout": 0.3}
    return Visitor(make_app(memcache=settings), backend="memcache")


@pytest.fixture
def closed_port() -> str:
    """An address where nobody listens."""
    return f"127.0.0.1:{free_port()}"


def test_memcached_refuses_at_load(closed_port: str, fails: Callable[..., Any]) -> None:
    """A visitor with a session gets an error, not an empty session."""
    app = make_app(memcache={"servers": [closed_port]})
    with fails("memcache", closed_port):
        returning_visitor(app, "memcache").read()


def test_memcached_refuses_at_save(closed_port: str, fails: Callable[..., Any]) -> None:
    """A first session that cannot be stored is an error."""
    app = make_app(memcache={"servers": [closed_port]})
    with fails("memcache", closed_port):
        Visitor(app, backend="memcache").write({"card": CARD})


def test_memcached_refuses_and_no_cookie_is_set(closed_port: str) -> None:
    """The browser gets no cookie for a session that is stored nowhere."""
    visitor = Visitor(make_app(memcache={"servers": [closed_port]}), backend="memcache")
    with pytest.raises(BackendUnavailable):
        visitor.write({"card": CARD})
    assert (visitor.set_cookies, visitor.cookies) == ([], {})


def test_memcached_is_not_needed_without_a_cookie(closed_port: str) -> None:
    """A visitor without a session who does nothing meets no error."""
    app = make_app(memcache={"servers": [closed_port]})
    assert Visitor(app, backend="memcache").read() == {}


def test_memcached_at_an_unknown_host(fails: Callable[..., Any]) -> None:
    """A host name that leads nowhere is an unavailable server."""
    app = make_app(memcache={"servers": ["memcached.invalid:11211"]})
    with fails("memcache", "memcached.invalid:11211"):
        returning_visitor(app, "memcache").read()


def test_memcached_is_killed_before_a_load(
    server: Memcached, visitor: Visitor, fails: Callable[..., Any]
) -> None:
    """A server that died since the last request is an error at load."""
    sid = visitor.write({"card": CARD})
    server.kill()
    with fails("memcache", server.address, sid):
        visitor.read()


def test_memcached_is_killed_before_a_save(
    server: Memcached, visitor: Visitor, fails: Callable[..., Any]
) -> None:
    """A server that dies during the request is an error at save."""
    sid = visitor.write({"card": CARD})
    with fails("memcache", server.address, sid), visitor.visit() as session:
        session["more"] = CARD
        server.kill()
    assert visitor.set_cookies == []


def test_memcached_restarted_is_not_noticed_at_load(server: Memcached, visitor: Visitor) -> None:
    """After a restart the session is gone, as memcached's are, and there is no error."""
    visitor.write({"a": 1})
    server.restart()
    assert visitor.read() == {}


def test_memcached_restarted_is_not_noticed_at_save(server: Memcached, visitor: Visitor) -> None:
    """A session that was loaded before the restart is stored after it."""
    visitor.write({"a": 1})
    with visitor.visit() as session:
        server.restart()
        session["b"] = 2
    assert visitor.read() == {"a": 1, "b": 2}


def test_memcached_restarted_under_many_connections(server: Memcached, visitor: Visitor) -> None:
    """All connections that the restart has closed are replaced without an error."""
    count = 16
    together = threading.Barrier(count)

    def work(_: int) -> dict[Any, Any]:
        mine = Visitor(visitor.app, backend="memcache")
        together.wait(PATIENCE)  # as many connections as threads
        mine.write({"a": 1})
        if together.wait(PATIENCE) == 0:
            server.restart()
        together.wait(PATIENCE)
        mine.write({"b": 2})
        return mine.read()

    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(work, range(count)))
    assert found == [{"b": 2}] * count


def test_memcached_frozen_at_load(
    server: Memcached, visitor: Visitor, fails: Callable[..., Any]
) -> None:
    """A server that is silent is given up after the timeout."""
    sid = visitor.write({"card": CARD})
    server.freeze()
    with fails("memcache", server.address, sid):
        visitor.read()


def test_memcached_frozen_at_first_contact(
    server: Memcached, visitor: Visitor, fails: Callable[..., Any]
) -> None:
    """The same holds where there is no connection yet."""
    server.freeze()
    with fails("memcache", server.address):
        visitor.write({"card": CARD})


def test_memcached_frozen_at_save(
    server: Memcached, visitor: Visitor, fails: Callable[..., Any]
) -> None:
    """A server that falls silent during the request is an error at save."""
    sid = visitor.write({"card": CARD})
    with fails("memcache", server.address, sid), visitor.visit() as session:
        session["more"] = CARD
        server.freeze()
    assert visitor.set_cookies == []


def test_memcached_thawed_has_the_session(server: Memcached, visitor: Visitor) -> None:
    """After the silence the visitor's cookie still leads to the session."""
    visitor.write({"a": 1})
    server.freeze()
    with pytest.raises(BackendUnavailable):
        visitor.read()
    server.thaw()
    assert visitor.read() == {"a": 1}


def test_memcached_thawed_after_a_save(
    server: Memcached, visitor: Visitor, fails: Callable[..., Any]
) -> None:
    """A save that failed did happen or did not; the session is never empty."""
    visitor.write({"a": 1})
    with fails("memcache", server.address), visitor.visit() as session:
        session["b"] = 2
        server.freeze()
    server.thaw()
    assert visitor.read() in ({"a": 1}, {"a": 1, "b": 2})


def test_memcached_killed_and_started_again(server: Memcached, visitor: Visitor) -> None:
    """A server that comes back is used again at once."""
    visitor.write({"a": 1})
    server.kill()
    with pytest.raises(BackendUnavailable):
        visitor.read()
    server.start()
    visitor.write({"b": 2})
    assert visitor.read() == {"b": 2}


# memcached as the cache of Datastore


@pytest.fixture
def cached(server: Memcached, datastore: DatastoreEmulator) -> Visitor:
    """A visitor of an application with that memcached in front of Datastore."""
    app = make_app(
        memcache={"servers": [server.address], "timeout": 0.3}, datastore={"cache": "memcache"}
    )
    return Visitor(app, backend="datastore")


def stored(visitor: Visitor) -> dict[Any, Any]:
    """What stands in Datastore itself."""
    uncached = Visitor(make_app(), backend="datastore")
    uncached.cookies = dict(visitor.cookies)
    return uncached.read()


@pytest.mark.parametrize("harm", ["kill", "freeze"])
def test_harmed_cache_is_no_error_at_load(server: Memcached, cached: Visitor, harm: str) -> None:
    """Without its cache the session is read from Datastore."""
    cached.write({"a": 1})
    getattr(server, harm)()
    assert cached.read() == {"a": 1}


@pytest.mark.parametrize("harm", ["kill", "freeze"])
def test_harmed_cache_is_no_error_at_save(server: Memcached, cached: Visitor, harm: str) -> None:
    """Without its cache the session is stored in Datastore."""
    cached.write({"a": 1})
    with cached.visit() as session:
        getattr(server, harm)()
        session["b"] = 2
    assert stored(cached) == {"a": 1, "b": 2}


@pytest.mark.parametrize("harm", ["kill", "freeze"])
def test_harmed_cache_at_first_contact(server: Memcached, cached: Visitor, harm: str) -> None:
    """An application that starts without its cache works."""
    getattr(server, harm)()
    cached.write({"a": 1})
    assert cached.read() == {"a": 1}


def test_frozen_cache_delays_by_its_timeouts_only(server: Memcached, cached: Visitor) -> None:
    """A request that loads and saves waits for the silent cache a few times, not without end."""
    server.freeze()
    started = time.monotonic()
    cached.write({"a": 1})
    assert time.monotonic() - started < BOUND


def test_cache_restarted_between_requests(server: Memcached, cached: Visitor) -> None:
    """A cache that lost everything is filled anew."""
    cached.write({"a": 1})
    server.restart()
    assert [cached.read(), cached.read()] == [{"a": 1}] * 2


def test_thawed_cache_does_not_bring_the_old_session_back(
    server: Memcached, cached: Visitor, monkeypatch: pytest.MonkeyPatch, closed_port: str
) -> None:
    """What was written while the cache was silent is seen by readers once it goes on."""
    cached.write({"a": 1})
    server.freeze()
    cached.write({"a": 2})
    server.thaw()
    # What the cache was told before it fell silent is done now, beside the reader's question.
    assert wait_until(lambda: cached.read() == {"a": 2}, BOUND)
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", closed_port)  # only the cache can answer now
    with contextlib.suppress(BackendUnavailable):  # it holds nothing, which is as good
        assert cached.read() == {"a": 2}


def test_datastore_refuses_behind_a_warm_cache(
    cached: Visitor,
    monkeypatch: pytest.MonkeyPatch,
    closed_port: str,
    fails: Callable[..., Any],
) -> None:
    """A cached session can be read without Datastore, but a change of it is an error."""
    sid = cached.write({"card": CARD})
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", closed_port)
    assert cached.read() == {"card": CARD}
    with fails("datastore", closed_port, sid):
        cached.write({"more": CARD})


def test_failed_change_is_not_in_the_cache(
    cached: Visitor,
    datastore: DatastoreEmulator,
    monkeypatch: pytest.MonkeyPatch,
    closed_port: str,
) -> None:
    """A change that Datastore did not get is seen by nobody."""
    cached.write({"a": 1})
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", closed_port)
    with pytest.raises(BackendUnavailable):
        cached.write({"a": 2})
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", datastore.address)
    assert cached.read() == {"a": 1}


# Datastore


@pytest.fixture
def no_datastore(closed_port: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An environment that names an emulator where there is none."""
    for variable in PROXY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", closed_port)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    return closed_port


def test_datastore_refuses_at_load(no_datastore: str, fails: Callable[..., Any]) -> None:
    """A visitor with a session gets an error, not an empty session."""
    with fails("datastore", no_datastore):
        returning_visitor(make_app(), "datastore").read()


def test_datastore_refuses_at_save(no_datastore: str, fails: Callable[..., Any]) -> None:
    """A first session that cannot be stored is an error, and sets no cookie."""
    visitor = Visitor(make_app(), backend="datastore")
    with fails("datastore", no_datastore):
        visitor.write({"card": CARD})
    assert (visitor.set_cookies, visitor.cookies) == ([], {})


@pytest.mark.usefixtures("no_datastore")
def test_datastore_is_not_needed_without_a_cookie() -> None:
    """A visitor without a session who does nothing meets no error."""
    assert Visitor(make_app(), backend="datastore").read() == {}


def test_oversize_session_shows_nothing_of_it(
    datastore: DatastoreEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    """The error and its causes tell the problem without the session."""
    caplog.set_level("DEBUG")
    visitor = Visitor(make_app(), backend="datastore")
    with pytest.raises(BackendError) as caught, visitor.visit() as session:
        session["card"] = CARD * 70_000
    secrets = (CARD, SECRET, session.container.sid)
    assert not [text for text in texts(caught.value) for secret in secrets if secret in text]
    assert not [secret for secret in secrets if secret in caplog.text]


@pytest.fixture(scope="module")
def own_emulator(datastore_emulator: DatastoreEmulator) -> Iterator[DatastoreEmulator]:
    """A Datastore emulator that the tests of this module may harm."""
    emulator = DatastoreEmulator()  # the shared one has shown that it can be started
    emulator.start()
    yield emulator
    emulator.stop()


@pytest.fixture
def emulator(
    own_emulator: DatastoreEmulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DatastoreEmulator]:
    """That emulator, with the environment pointing to it; made well after the test."""
    for variable in PROXY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", own_emulator.address)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    yield own_emulator
    if own_emulator.pid is None:
        own_emulator.start()
    own_emulator.thaw()
    assert wait_until(lambda: works(slow_visitor()), PATIENCE)


def slow_visitor() -> Visitor:
    """A visitor of an application whose sessions are in Datastore, with a short timeout."""
    return Visitor(make_app(datastore={"timeout": 1.0}), backend="datastore")


def works(visitor: Visitor) -> bool:
    """Whether a session can be stored."""
    try:
        visitor.write({"works": True})
    except BackendUnavailable:
        return False
    return True


@pytest.fixture
def guest(emulator: DatastoreEmulator) -> Visitor:
    """A visitor with a session in that emulator."""
    visitor = slow_visitor()
    visitor.write({"card": CARD})
    return visitor


def test_datastore_frozen_at_load(
    emulator: DatastoreEmulator, guest: Visitor, fails: Callable[..., Any]
) -> None:
    """A service that is silent is given up after the timeout."""
    emulator.freeze()
    with fails("datastore", emulator.address):
        guest.read()


def test_datastore_frozen_at_save(
    emulator: DatastoreEmulator, guest: Visitor, fails: Callable[..., Any]
) -> None:
    """A service that falls silent during the request is an error at save, without a cookie."""
    with fails("datastore", emulator.address), guest.visit() as session:
        session["more"] = CARD
        emulator.freeze()
    assert guest.set_cookies == []


def test_datastore_thawed_has_the_session(emulator: DatastoreEmulator, guest: Visitor) -> None:
    """After the silence the visitor's cookie still leads to the session."""
    emulator.freeze()
    with pytest.raises(BackendUnavailable):
        guest.read()
    emulator.thaw()
    assert guest.read() == {"card": CARD}


def test_datastore_thawed_after_a_save(
    emulator: DatastoreEmulator, guest: Visitor, fails: Callable[..., Any]
) -> None:
    """A save that failed did happen or did not; the session is never empty."""
    with fails("datastore", emulator.address), guest.visit() as session:
        session["b"] = 2
        emulator.freeze()
    emulator.thaw()
    assert guest.read() in ({"card": CARD}, {"card": CARD, "b": 2})


def test_datastore_is_killed_before_a_load(
    emulator: DatastoreEmulator, guest: Visitor, fails: Callable[..., Any]
) -> None:
    """A service that died since the last request is an error at load."""
    emulator.kill()
    with fails("datastore", emulator.address):
        guest.read()


def test_datastore_is_killed_before_a_save(
    emulator: DatastoreEmulator, guest: Visitor, fails: Callable[..., Any]
) -> None:
    """A service that dies during the request is an error at save, without a cookie."""
    with fails("datastore", emulator.address), guest.visit() as session:
        session["more"] = CARD
        emulator.kill()
    assert guest.set_cookies == []


def test_datastore_comes_back(emulator: DatastoreEmulator, guest: Visitor) -> None:
    """After an outage that the application has seen, it stores sessions again."""
    emulator.kill()
    for _ in range(5):
        with pytest.raises(BackendUnavailable):
            guest.read()
    emulator.start()
    assert wait_until(lambda: works(guest), PATIENCE)
    assert guest.read() == {"works": True}


# Libraries, credentials and projects that are missing


def run(program: str, **environment: str | None) -> str:
    """Run a program on a new interpreter; what it prints, without the last line break.

    Args:
        environment: variables to set; None removes one.
    """
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={name: value for name, value in variables.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


#: Opens a session without some libraries, and prints what comes of it.
WITHOUT_LIBRARIES = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
from support.visits import Visitor, make_app
try:
    visitor = Visitor(make_app(), backend={backend!r})
    visitor.write({{"a": 1}})
    print(visitor.read() if visitor.cookies else "no cookie")
except ImportError as error:
    print(type(error).__name__, error.extra, error)
"""

PYMEMCACHE, NDB = "pymemcache", "google.cloud.ndb"


@pytest.mark.parametrize(
    ("backend", "missing", "library"),
    [("memcache", [PYMEMCACHE], "pymemcache"), ("datastore", [NDB], "google-cloud-ndb")],
)
def test_missing_library_is_named(backend: str, missing: list[str], library: str) -> None:
    """A backend without its library tells what to install."""
    assert run(WITHOUT_LIBRARIES.format(backend=backend, missing=missing)) == (
        f"MissingDependency {backend} {library} is not installed; the {backend} backend needs it: "
        f"pip install 'webapp2_sessions[{backend}]'"
    )


def test_cookies_need_no_library() -> None:
    """Sessions in cookies work without the libraries of the other backends."""
    program = """
import sys
for name in ("pymemcache", "google", "google.cloud", "google.cloud.ndb", "grpc"):
    sys.modules[name] = None
from support.visits import Visitor, make_app
visitor = Visitor(make_app())
with visitor.visit() as session:
    session["a"] = 1
print(visitor.read())
"""
    assert run(program) == "{'a': 1}"


@pytest.mark.usefixtures("memcached")
def test_memcache_needs_no_ndb(memcached: Memcached) -> None:
    """Sessions in memcached work without the library of Datastore."""
    program = f"""
import sys
for name in ("google.cloud.ndb", "grpc"):
    sys.modules[name] = None
from support.visits import Visitor, make_app
visitor = Visitor(make_app(memcache={{"servers": [{memcached.address!r}]}}), backend="memcache")
visitor.write({{"a": 1}})
print(visitor.read())
"""
    assert run(program) == "{'a': 1}"


@pytest.mark.parametrize("library", ["pymemcache", "google.cloud.ndb", "grpc"])
def test_library_is_imported_only_when_used(library: str) -> None:
    """An application with cookies does not pay for the libraries of the other backends."""
    program = f"""
import sys
from support.visits import Visitor, make_app
with Visitor(make_app()).visit() as session:
    session["a"] = 1
print({library!r} in sys.modules)
"""
    assert run(program) == "False"


#: Reads a session of Datastore, and prints the error.
WITHOUT_ACCESS = """
from support.visits import Visitor, make_app
try:
    Visitor(make_app(), backend="datastore").write({"a": 1})
except Exception as error:
    print(type(error).__name__, error)
"""

#: An environment in which Google's libraries find nothing, and do not search for long.
NOTHING = {
    "DATASTORE_EMULATOR_HOST": None,
    "GOOGLE_CLOUD_PROJECT": None,
    "GCLOUD_PROJECT": None,
    "DATASTORE_DATASET": None,
    "GOOGLE_APPLICATION_CREDENTIALS": None,
    "NO_GCE_CHECK": "true",
}


def test_no_credentials(tmp_path: Any) -> None:
    """Without credentials the error says so and names the service."""
    settings = {**NOTHING, "CLOUDSDK_CONFIG": str(tmp_path), "GOOGLE_CLOUD_PROJECT": PROJECT}
    assert run(WITHOUT_ACCESS, **settings) == (
        "BackendUnavailable datastore backend at datastore.googleapis.com: "
        "there are no credentials for it"
    )


def test_no_project(tmp_path: Any) -> None:
    """With an emulator and no project the error names what to set."""
    settings = {**NOTHING, "CLOUDSDK_CONFIG": str(tmp_path)}
    assert run(WITHOUT_ACCESS, **{**settings, "DATASTORE_EMULATOR_HOST": "127.0.0.1:1"}) == (
        "ConfigError datastore['project']: is not set and not found in the environment; "
        "set it, or GOOGLE_CLOUD_PROJECT"
    )
