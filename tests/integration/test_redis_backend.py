"""Sessions in a real Redis: how it is reached, what a user of it must be allowed, what it keeps."""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from redis.backoff import NoBackoff
from redis.retry import Retry
from support.faults import BOUND, texts
from support.forks import forks, in_child
from support.processes import HOST, wait_until
from support.servers import Redis
from support.visits import SECRET, Visitor, make_app

from webapp2_sessions import BackendError, BackendUnavailable
from webapp2_sessions.config import SessionConfig
from webapp2_sessions.sessions_redis import RedisSessionFactory
from webapp2_sessions.sessions_redis.records import session_redis

Launch = Callable[[Redis], Redis]

#: Seconds for an answer, where none is expected.
TIMEOUT = 0.5

PASSWORD = "open sesame/17@home"
QUOTED = "open%20sesame%2F17%40home"


def visitor_of(url: str, settings: dict[str, Any] | None = None, **config: Any) -> Visitor:
    """A visitor of an application whose sessions are in the Redis of a URL."""
    section = {"url": url, "timeout": TIMEOUT, **(settings or {})}
    return Visitor(make_app(redis=section, **config), backend="redis")


def use(visitor: Visitor) -> None:
    """All that can be done to a session."""
    visitor.write({"a": 1})
    visitor.write({"b": 2})
    assert visitor.read() == {"a": 1, "b": 2}
    with visitor.visit() as session:
        session.regenerate_id()
    former = dict(visitor.cookies)
    with visitor.visit() as session:
        assert session == {"a": 1, "b": 2}
        session.destroy()
    visitor.cookies = former
    assert visitor.read() == {}


# How it is reached


def test_database(launch: Launch) -> None:
    """Sessions are in the database of the URL, and in no other."""
    server = launch(Redis())
    visitor = visitor_of(f"redis://{server.address}/5")
    visitor.write({"a": 1})
    with redis.Redis(port=server.port, db=5) as five, redis.Redis(port=server.port) as zero:
        assert (five.dbsize(), zero.dbsize()) == (1, 0)
    other = visitor_of(f"redis://{server.address}?db=6")
    other.cookies = visitor.cookies
    assert other.read() == {}


def test_database_that_does_not_exist(redis_server: Redis) -> None:
    """It is an error."""
    with pytest.raises(BackendError, match=r"refused \(ResponseError\)"):
        visitor_of(f"redis://{redis_server.address}/999").write({"a": 1})


def test_unix_socket(launch: Launch, tmp_path: Path) -> None:
    """The URL tells its path, and errors as well."""
    path = tmp_path / "redis socket"
    server = launch(Redis("--unixsocket", str(path)))
    visitor = visitor_of(f"unix://{str(path).replace(' ', '%20')}")
    use(visitor)
    visitor.write({"a": 1})
    server.kill()
    with pytest.raises(BackendUnavailable, match="redis socket"):
        visitor.read()


def test_password(launch: Launch) -> None:
    """It may have any characters if they are quoted, and no error tells it."""
    server = launch(Redis())
    server.ask("CONFIG", "SET", "requirepass", PASSWORD)
    use(visitor_of(f"redis://:{QUOTED}@{server.address}/0"))
    for sign_in in "", ":wrong@", f"me:{QUOTED}@":
        with pytest.raises(BackendError, match="refused user name or password") as caught:
            visitor_of(f"redis://{sign_in}{server.address}/0").write({"a": 1})
        assert type(caught.value) is BackendError
        assert not [text for text in texts(caught.value) if PASSWORD in text or QUOTED in text]


class TlsRedis(Redis):
    """A redis-server that speaks TLS only."""

    def __init__(self, authority: trustme.CA, folder: Path, *options: str) -> None:
        certificate = authority.issue_cert(HOST)
        chain, key = folder / "chain.pem", folder / "key.pem"
        certificate.cert_chain_pems[0].write_to_path(chain)
        certificate.private_key_pem.write_to_path(key)
        authority.cert_pem.write_to_path(folder / "ca.pem")
        files = ("--tls-cert-file", str(chain), "--tls-key-file", str(key))
        authorities = ("--tls-ca-cert-file", str(folder / "ca.pem"))
        super().__init__(*files, *authorities, *options)
        #: A file with the certificate and the key that it asks for, if any.
        self.client: str | None = None

    def command(self, folder: Path) -> list[str]:
        """By TLS at its port."""
        return [*super().command(folder), "--port", "0", "--tls-port", str(self.port)]

    def ask(self, *command: Any) -> Any:
        """Ask without checking the certificate."""
        options: dict[str, Any] = {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
        if self.client is not None:
            options.update(ssl_certfile=self.client, ssl_keyfile=self.client)
        with redis.Redis(port=self.port, socket_timeout=5.0, ssl=True, **options) as client:
            return client.execute_command(*command)


@pytest.fixture
def authority() -> trustme.CA:
    """Signs the server's certificate."""
    return trustme.CA()


@pytest.fixture
def tls_server(launch: Any, authority: trustme.CA, tmp_path: Path) -> TlsRedis:
    """A server with a certificate of that authority, which asks for none of its clients."""
    return launch(TlsRedis(authority, tmp_path, "--tls-auth-clients", "no"))  # type: ignore[no-any-return]


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Settings that accept the authority's certificates."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_tls(tls_server: TlsRedis, authority: trustme.CA) -> None:
    """Sessions go to a server with the right certificate."""
    use(visitor_of(f"rediss://{tls_server.address}/0", {"tls_context": trusting(authority)}))


def test_tls_with_large_session(tls_server: TlsRedis, authority: trustme.CA) -> None:
    """More than one record of TLS, and connections that are used again."""
    url, settings = f"rediss://{tls_server.address}/0", {"tls_context": trusting(authority)}
    visitor = visitor_of(url, settings, on_conflict="merge")
    for number in range(3):
        visitor.write({"text": "x" * 200_000, "number": number})
        assert visitor.read() == {"text": "x" * 200_000, "number": number}


def test_tls_restart(tls_server: TlsRedis, authority: trustme.CA) -> None:
    """A kept connection that the server has closed is seen, also by TLS."""
    url = f"rediss://{tls_server.address}/0"
    visitor = visitor_of(url, {"tls_context": trusting(authority)}, on_conflict="merge")
    visitor.write({"a": 1})
    tls_server.restart()
    with visitor.visit() as session:
        assert session == {}
        session["b"] = 2
    assert visitor.read() == {"b": 2}


@pytest.mark.parametrize("settings", [{}, {"tls_context": ssl.create_default_context()}], ids=bool)
def test_certificate_of_another_authority(tls_server: TlsRedis, settings: dict[str, Any]) -> None:
    """Nothing is sent to a server that cannot show who it is, by default as well."""
    visitor = visitor_of(f"rediss://{tls_server.address}/0", settings)
    with pytest.raises(BackendUnavailable, match="SSLCertVerificationError"):
        visitor.write({"a": 1})


def test_certificate_of_another_name(launch: Any, authority: trustme.CA, tmp_path: Path) -> None:
    """A certificate is for one address."""
    server = launch(TlsRedis(authority, tmp_path, "--tls-auth-clients", "no"))
    url = f"rediss://localhost:{server.port}/0"
    with pytest.raises(BackendUnavailable, match="SSLCertVerificationError"):
        visitor_of(url, {"tls_context": trusting(authority)}).write({"a": 1})


def test_certificate_of_the_client(launch: Any, authority: trustme.CA, tmp_path: Path) -> None:
    """A server may ask for one, and the context has it."""
    server = TlsRedis(authority, tmp_path, "--tls-auth-clients", "yes")
    certificate = authority.issue_cert("shop.test")
    server.client = str(tmp_path / "client.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(server.client)
    launch(server)
    with_one, without = trusting(authority), trusting(authority)
    certificate.configure_cert(with_one)
    url = f"rediss://{server.address}/0"
    use(visitor_of(url, {"tls_context": with_one}))
    with pytest.raises(BackendUnavailable):
        visitor_of(url, {"tls_context": without}).write({"a": 1})


@pytest.mark.parametrize("is_tls", [True, False])
def test_tls_at_one_end_only(tls_server: TlsRedis, redis_server: Redis, is_tls: bool) -> None:
    """It is an error, in time."""
    server = redis_server if is_tls else tls_server
    visitor = visitor_of(f"redis{'s' * is_tls}://{server.address}/0")
    started = time.monotonic()
    with pytest.raises(BackendUnavailable):
        visitor.write({"a": 1})
    assert time.monotonic() - started < BOUND


def test_frozen_tls_server(tls_server: TlsRedis, authority: trustme.CA) -> None:
    """The handshake is waited for as long as anything else."""
    url = f"rediss://{tls_server.address}/0"
    visitor = visitor_of(url, {"tls_context": trusting(authority)})
    tls_server.freeze()
    with pytest.raises(BackendUnavailable, match="did not answer within"):
        visitor.write({"a": 1})


# A client of the application's own

CLIENTS: dict[str, Callable[[Redis], Any]] = {
    "pool": lambda server: redis.Redis(port=server.port),
    "RESP2": lambda server: redis.Redis(port=server.port, protocol=2),
    "RESP3": lambda server: redis.Redis(port=server.port, protocol=3),
    "from_url": lambda server: redis.Redis.from_url(server.url),
    "blocking pool": lambda server: redis.Redis(
        connection_pool=redis.BlockingConnectionPool(port=server.port, max_connections=2)
    ),
}


@pytest.mark.parametrize("on_conflict", ["overwrite", "merge"])
@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("as_function", [False, True], ids=["object", "function"])
def test_own_client(redis_server: Redis, name: str, as_function: bool, on_conflict: str) -> None:
    """It takes the place of ours, for all that is done to sessions."""
    make = CLIENTS[name]
    client = (lambda: make(redis_server)) if as_function else make(redis_server)
    config = {"on_conflict": on_conflict, "refresh_after": 1e-9}
    for max_age in 600, None:
        app = make_app(redis={"client": client}, session_max_age=max_age, **config)
        use(Visitor(app, backend="redis"))
    assert list(RedisSessionFactory._ping({"redis": {"client": client}})) == []


def test_own_client_that_fails(launch: Launch) -> None:
    """A dead server is an error that names the setting."""
    server = launch(Redis())
    client = redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0))
    visitor = Visitor(make_app(redis={"client": client}), backend="redis")
    sid = visitor.write({"a": 1})
    server.kill()
    with pytest.raises(BackendUnavailable, match=r"redis backend at config\['redis'\]") as caught:
        visitor.read()
    assert not [text for text in texts(caught.value) if str(sid) in text]


@forks
@pytest.mark.parametrize("as_function", [False, True], ids=["object", "function"])
def test_own_client_in_forked_children(redis_server: Redis, as_function: bool) -> None:
    """Parent and child use it at once."""
    client: Any = redis.Redis(port=redis_server.port)
    if as_function:
        client = functools.partial(CLIENTS["pool"], redis_server)
    app = make_app(redis={"client": client})
    visitors = [Visitor(app, backend="redis") for _ in range(20)]
    for number, visitor in enumerate(visitors):
        visitor.write({"number": number})

    def all_read() -> bool:
        return [each.read() for each in visitors] == [{"number": n} for n in range(20)]

    assert in_child(all_read)
    assert all_read()


# What a user must be allowed

#: What a session needs; the documentation of the backend has this list.
COMMANDS = ("get", "set", "del", "pexpire", "eval", "evalsha", "getrange")
#: Beyond it, what a session needs that lives for ever (`session_max_age` None and `refresh_after`).
FOR_EVER = ("persist", "exists")
#: Beyond it, what `webapp2-sessions show` needs.
SHOW = ("pttl", "object|idletime")


@pytest.fixture(scope="module")
def guarded(redis_server: Redis) -> Any:
    """A server with users of its own; the shared one shows that it can be started."""
    server = Redis()
    server.start()
    yield server
    server.stop()


def allow(server: Redis, *commands: str) -> str:
    """Allow a user these commands on sessions, and nothing else; the URL for the user."""
    rights = ["reset", "on", ">pw", "~session:*", *(f"+{command}" for command in commands)]
    server.ask("ACL", "SETUSER", "shop", *rights)
    server.ask("ACL", "LOG", "RESET")
    server.ask("SCRIPT", "FLUSH")
    return f"redis://shop:pw@{server.address}/0"


def all_that_sessions_do(url: str) -> None:
    """Load, save, merge, renew and end sessions."""
    for conflict in "overwrite", "merge":
        use(visitor_of(url, on_conflict=conflict, session_max_age=600))
    visitor = visitor_of(url, session_max_age=600, refresh_after=1e-9)
    visitor.write({"a": 1})
    assert visitor.read() == {"a": 1}


def live_for_ever(url: str) -> None:
    """Renew a session that has no end."""
    visitor = visitor_of(url, session_max_age=None, refresh_after=1e-9)
    visitor.write({"a": 1})
    assert visitor.read() == {"a": 1}


def test_user_with_the_fewest_rights(guarded: Redis) -> None:
    """Sessions work, and nothing beyond the list is tried."""
    url = allow(guarded, *COMMANDS)
    all_that_sessions_do(url)
    assert list(RedisSessionFactory._ping({"redis": {"url": url}})) == []
    assert guarded.ask("ACL", "LOG") == []


@pytest.mark.parametrize("missing", COMMANDS)
def test_each_right_is_needed(guarded: Redis, missing: str) -> None:
    """Without it an error tells where to look."""
    url = allow(guarded, *(each for each in COMMANDS if each != missing))
    with pytest.raises(BackendError, match=r"refused \((NoPermission|Response)Error\)") as caught:
        all_that_sessions_do(url)
    assert not [text for text in texts(caught.value) if "session:" in text]


@pytest.mark.parametrize("missing", [None, *FOR_EVER])
def test_rights_for_sessions_without_an_end(guarded: Redis, missing: str | None) -> None:
    """They need two commands more."""
    url = allow(guarded, *(each for each in (*COMMANDS, *FOR_EVER) if each != missing))
    if missing is None:
        live_for_ever(url)
        assert guarded.ask("ACL", "LOG") == []
    else:
        with pytest.raises(BackendError, match="may not do this"):
            live_for_ever(url)


@pytest.mark.parametrize("missing", [None, *SHOW])
def test_rights_for_show(guarded: Redis, missing: str | None) -> None:
    """Without them the table has no times."""
    url = allow(guarded, *(each for each in (*COMMANDS, *SHOW) if each != missing))
    visitor = visitor_of(url)
    sid = visitor.write({"a": 1})
    records = session_redis(SessionConfig({"secret_key": SECRET, "redis": {"url": url}}))
    found = records.times(records.key(str(sid))).keys()
    told = {None: {"expires_in", "idle"}, "pttl": set()}
    assert found == told.get(missing, {"expires_in"})


def test_keys_of_others(guarded: Redis) -> None:
    """A user whose keys begin otherwise is refused."""
    url = allow(guarded, *COMMANDS)
    with pytest.raises(BackendError, match="may not do this"):
        visitor_of(url, {"key_prefix": "other:"}).write({"a": 1})
    [problem] = RedisSessionFactory._ping({"redis": {"url": url, "key_prefix": "other:"}})
    assert "may not do this" in problem


# What it keeps


def test_full_server_refuses_and_loses_nothing(launch: Launch) -> None:
    """Without eviction the stored session stays; there is an error."""
    server = launch(Redis())
    visitor = visitor_of(server.url)
    visitor.write({"a": 1})
    server.ask("CONFIG", "SET", "maxmemory", "1")
    for conflict in "overwrite", "merge":
        late = visitor_of(server.url, on_conflict=conflict)
        late.cookies = visitor.cookies
        with pytest.raises(BackendError, match="it is full, and evicts nothing"):
            late.write({"a": 2})
        assert late.read() == {"a": 1}
    with visitor.visit() as session:
        session.destroy()  # which frees memory
    server.ask("CONFIG", "SET", "maxmemory", "0")
    assert visitor.read() == {}


def test_redis_in_place_of_memcached(redis_server: Redis) -> None:
    """By configuration alone: the handlers still name memcached."""
    backends = {"memcache": "webapp2_sessions.sessions_redis.RedisSessionFactory"}
    app = make_app(backends=backends, redis={"url": redis_server.url}, on_oversize="memcache")
    visitor = Visitor(app, backend="memcache")
    sid = visitor.write({"a": 1})
    assert visitor.read() == {"a": 1}
    assert redis_server.ask("EXISTS", f"session:{sid}") == 1


def test_full_server_lets_sessions_be_renewed(launch: Launch, caplog: Any) -> None:
    """What an older key has signed stays as it is, and the log says so."""
    server = launch(Redis())
    visitor = visitor_of(server.url)
    visitor.write({"a": 1})
    server.ask("CONFIG", "SET", "maxmemory", "1")
    app = {"secret_key": "a" + SECRET, "secret_key_fallbacks": [SECRET], "refresh_after": 1e-9}
    later = visitor_of(server.url, **app)
    later.cookies = visitor.cookies
    assert later.read() == {"a": 1}
    assert len(later.set_cookies) == 1
    assert "'session' keeps its older signature" in caplog.text


def test_replica_is_told_of(launch: Launch) -> None:
    """It gives sessions and takes none."""
    server, replica = launch(Redis()), launch(Redis())
    visitor = visitor_of(server.url)
    visitor.write({"a": 1})
    server.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    replica.ask("REPLICAOF", HOST, server.port)
    assert wait_until(lambda: replica.ask("DBSIZE") == 1, BOUND)
    reader = visitor_of(replica.url)
    reader.cookies = dict(visitor.cookies)
    assert reader.read() == {"a": 1}
    with pytest.raises(BackendError, match="it is a replica, which takes no writes"):
        reader.write({"a": 2})


def test_restart_from_a_snapshot_undoes_what_came_after_it(launch: Launch, tmp_path: Path) -> None:
    """A session that was destroyed after the snapshot opens again, as it was then."""
    server = launch(Redis("--dir", str(tmp_path)))
    destroyed, changed, later = (visitor_of(server.url) for _ in range(3))
    for visitor in destroyed, changed:
        visitor.write({"n": 1})
    server.ask("SAVE")
    former = dict(destroyed.cookies)
    with destroyed.visit() as session:
        session.destroy()
    destroyed.cookies = former
    assert destroyed.read() == {}
    changed.write({"n": 2})
    destroyed.cookies = former
    later.write({"n": 3})
    server.kill()
    server.start()
    assert [each.read() for each in (destroyed, changed, later)] == [{"n": 1}, {"n": 1}, {}]


def test_file_of_every_write_keeps_all(launch: Launch, tmp_path: Path) -> None:
    """With `appendfsync always` a restart undoes nothing that was answered."""
    options = ("--appendonly", "yes", "--appendfsync", "always")
    server = launch(Redis("--dir", str(tmp_path), *options))
    destroyed, changed = (visitor_of(server.url) for _ in range(2))
    for visitor in destroyed, changed:
        visitor.write({"n": 1})
    former = dict(destroyed.cookies)
    with destroyed.visit() as session:
        session.destroy()
    changed.write({"n": 2})
    server.kill()
    server.start()
    destroyed.cookies = former
    assert [each.read() for each in (destroyed, changed)] == [{}, {"n": 2}]
