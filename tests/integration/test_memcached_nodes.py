"""Several memcached servers, TLS, an application's own client, and servers that fall silent."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from pymemcache.client.base import PooledClient
from pymemcache.client.hash import HashClient
from pymemcache.serde import pickle_serde
from support.entries import entries_of
from support.forks import forks, in_child
from support.servers import HOST, Memcached, wait_until
from support.visits import Visitor, make_app

from webapp2_sessions import BackendError, BackendUnavailable, ConfigError

#: Seconds within which something must have happened that takes no time at all.
BOUND = 30.0

TIMEOUT = 0.3

Launch = Callable[[Memcached], Memcached]


@pytest.fixture
def nodes(launch: Launch) -> list[Memcached]:
    """Three servers that the test may harm."""
    return [launch(Memcached()) for _ in range(3)]


def app_of(nodes: list[Memcached], **config: Any) -> Any:
    """An application whose sessions are on these servers."""
    servers = [node.address for node in nodes]
    return make_app(memcache={"servers": servers, "timeout": TIMEOUT}, **config)


def visitors_of(app: Any, count: int = 60) -> list[Visitor]:
    """Visitors with a session each."""
    visitors = [Visitor(app, backend="memcache") for _ in range(count)]
    for number, visitor in enumerate(visitors):
        visitor.write({"number": number})
    return visitors


def held_by(node: Memcached) -> int:
    """How many items a server has."""
    with entries_of(node) as entries:
        return entries.counted("curr_items")


def test_sessions_are_spread_over_the_servers(nodes: list[Memcached]) -> None:
    """Each server has some, and every visitor finds its own."""
    visitors = visitors_of(app_of(nodes))
    assert [visitor.read()["number"] for visitor in visitors] == list(range(60))
    held = [held_by(node) for node in nodes]
    assert sum(held) == 60
    assert min(held) > 0


def outcome(visitor: Visitor) -> Any:
    """What the visitor finds, or the address of the server that failed."""
    try:
        return visitor.read()
    except BackendUnavailable as error:
        return error.address


@pytest.mark.parametrize("harm", ["kill", "freeze"])
def test_dead_server_takes_its_own_sessions_only(nodes: list[Memcached], harm: str) -> None:
    """They are an error that names the server; nothing moves to another one."""
    visitors = visitors_of(app_of(nodes))
    share = held_by(nodes[1])
    getattr(nodes[1], harm)()
    found = [outcome(visitor) for visitor in visitors]
    failed = [number for number, each in enumerate(found) if each == nodes[1].address]
    assert len(failed) == share
    expected = [{"number": number} for number in range(60) if number not in failed]
    assert [each for each in found if each != nodes[1].address] == expected


def test_thawed_server_has_its_sessions(nodes: list[Memcached]) -> None:
    """What was unreachable for a while is not lost."""
    visitors = visitors_of(app_of(nodes), count=20)
    nodes[0].freeze()
    for visitor in visitors:
        outcome(visitor)
    nodes[0].thaw()
    numbers = [{"number": number} for number in range(20)]
    assert wait_until(lambda: [outcome(visitor) for visitor in visitors] == numbers, BOUND)


def test_restarted_server_begins_anew(nodes: list[Memcached]) -> None:
    """Its visitors get new sessions, and the others keep theirs."""
    visitors = visitors_of(app_of(nodes))
    share = held_by(nodes[2])
    nodes[2].kill()
    nodes[2].start()
    found = [visitor.read() for visitor in visitors]
    assert found.count({}) == share
    assert all(each in ({}, {"number": number}) for number, each in enumerate(found))


# Servers that are silent


def test_silent_server_is_not_asked_each_time(nodes: list[Memcached]) -> None:
    """Of many requests at once within the second only the first one waits."""
    [visitor] = visitors_of(app_of(nodes[:1]), count=1)
    nodes[0].freeze()
    with pytest.raises(BackendUnavailable, match="did not answer within"):
        visitor.read()
    messages = set()
    for _ in range(50):
        with pytest.raises(BackendUnavailable) as caught:
            visitor.read()
        messages.add(str(caught.value).partition(": ")[2])
    # Fifty waits of 0.3 s would be 15 s; whoever asks when a second is over waits again.
    assert "the server did not answer, and is not asked again for 1 s" in messages


def test_write_that_the_cache_did_not_hear_of(
    launch: Launch, datastore: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that was silent for many requests does not bring an old session back."""
    server = launch(Memcached())
    app = make_app(
        memcache={"servers": [server.address], "timeout": TIMEOUT}, datastore={"cache": "memcache"}
    )
    visitor = Visitor(app, backend="datastore")
    visitor.write({"n": 0})
    server.freeze()
    for n in range(1, 6):  # the first waits, and the others find the server given up
        visitor.write({"n": n})
    server.thaw()
    assert wait_until(lambda: visitor.read() == {"n": 5}, BOUND)
    # From now on, whatever the cache holds or is filled with.
    assert [visitor.read() for _ in range(5)] == [{"n": 5}] * 5


@forks
def test_forked_child_has_connections_of_its_own(nodes: list[Memcached]) -> None:
    """Parent and child use all servers at once."""
    visitors = visitors_of(app_of(nodes), count=20)

    def all_read() -> bool:
        return [visitor.read() for visitor in visitors] == [{"number": n} for n in range(20)]

    assert in_child(all_read)
    assert all_read()


# Other connections


class TlsMemcached(Memcached):
    """A memcached that speaks TLS only."""

    def __init__(self, authority: trustme.CA, folder: Path) -> None:
        super().__init__()
        certificate = authority.issue_cert(HOST)
        self.chain, self.key = folder / "chain.pem", folder / "key.pem"
        certificate.cert_chain_pems[0].write_to_path(self.chain)
        certificate.private_key_pem.write_to_path(self.key)
        for path in (folder, self.chain, self.key):
            path.chmod(0o755)  # memcached gives up the rights of root before it reads them

    def command(self, folder: Path) -> list[str]:
        """With the certificate."""
        tls = ["-Z", "-o", f"ssl_chain_cert={self.chain},ssl_key={self.key}"]
        return [*super().command(folder), *tls]

    def answers(self) -> bool:
        """Whether something listens that speaks TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with (
                socket.create_connection((HOST, self.port), timeout=1.0) as connection,
                context.wrap_socket(connection) as secure,
            ):
                return secure.version() is not None
        except OSError:
            return False


@pytest.fixture
def authority() -> trustme.CA:
    """Signs the server's certificate."""
    return trustme.CA()


@pytest.fixture
def tls_server(launch: Any, authority: trustme.CA) -> Iterator[TlsMemcached]:
    """A memcached with a certificate of that authority."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own may be read by nobody else
        yield launch(TlsMemcached(authority, Path(folder)))


def tls_visitor(server: Memcached, context: ssl.SSLContext | None, **config: Any) -> Visitor:
    """A visitor of an application whose memcached is reached by TLS."""
    settings = {"servers": [server.address], "timeout": 1.0, "tls_context": context}
    return Visitor(make_app(memcache=settings, **config), backend="memcache")


def test_tls(tls_server: TlsMemcached, authority: trustme.CA) -> None:
    """A session goes to a server with the right certificate."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    visitor = tls_visitor(tls_server, context)
    visitor.write({"a": 1})
    assert visitor.read() == {"a": 1}


def test_certificate_of_another_authority(tls_server: TlsMemcached) -> None:
    """Nothing is sent to a server that cannot show who it is."""
    visitor = tls_visitor(tls_server, ssl.create_default_context())
    with pytest.raises(BackendUnavailable, match="SSLCertVerificationError"):
        visitor.write({"a": 1})


def test_tls_to_a_server_without(memcached: Memcached) -> None:
    """A server that does not speak TLS is an error."""
    visitor = tls_visitor(memcached, ssl.create_default_context())
    with pytest.raises(BackendUnavailable):
        visitor.write({"a": 1})


def test_frozen_tls_server(tls_server: TlsMemcached, authority: trustme.CA) -> None:
    """The handshake is waited for as long as anything else."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    visitor = tls_visitor(tls_server, context)
    tls_server.freeze()
    started = time.monotonic()
    with pytest.raises(BackendUnavailable, match="did not answer within"):
        visitor.write({"a": 1})
    assert time.monotonic() - started < BOUND


def pooled(server: Memcached) -> PooledClient:
    """A client that an application may have."""
    return PooledClient(server.address, timeout=TIMEOUT, connect_timeout=TIMEOUT)


def hashed(server: Memcached) -> HashClient:
    """Another one."""
    return HashClient([server.address], use_pooling=True, timeout=TIMEOUT, connect_timeout=TIMEOUT)


@pytest.mark.parametrize("on_conflict", ["overwrite", "merge"])
@pytest.mark.parametrize("made", [pooled, hashed])
@pytest.mark.parametrize("as_function", [False, True], ids=["object", "function"])
def test_own_client(
    memcached: Memcached, made: Callable[[Memcached], Any], as_function: bool, on_conflict: str
) -> None:
    """It takes the place of ours, for reading, writing and destroying."""
    client = (lambda: made(memcached)) if as_function else made(memcached)
    app = make_app(memcache={"client": client}, on_conflict=on_conflict)
    visitor = Visitor(app, backend="memcache")
    visitor.write({"a": 1, "long": "x" * 3000})
    visitor.write({"b": 2})
    assert visitor.read() == {"a": 1, "b": 2, "long": "x" * 3000}
    former = dict(visitor.cookies)
    with visitor.visit() as session:
        session.destroy()
    visitor.cookies = former
    assert visitor.read() == {}


@pytest.mark.parametrize("made", [pooled, hashed])
def test_own_client_that_fails(launch: Launch, made: Callable[[Memcached], Any]) -> None:
    """A dead server is an error that names the setting."""
    server = launch(Memcached())
    app = make_app(memcache={"client": made(server)})
    visitor = Visitor(app, backend="memcache")
    visitor.write({"a": 1})
    server.kill()
    with pytest.raises(BackendError, match=r"memcache backend at config\['memcache'\]\['client'\]"):
        visitor.read()


class Malicious:
    """A value that notes that it was unpickled."""

    ran = False

    @staticmethod
    def run() -> dict[str, bool]:
        Malicious.ran = True
        return {}

    def __reduce__(self) -> Any:
        return Malicious.run, ()


@pytest.mark.parametrize("made", [PooledClient, HashClient])
def test_own_client_that_unpickles(
    memcached: Memcached, made: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody else has stored under a session's id is not run."""
    monkeypatch.setattr(Malicious, "ran", False)
    visitor = Visitor(make_app(memcache={"servers": [memcached.address]}), backend="memcache")
    sid = visitor.write({"a": 1})
    servers = memcached.address if made is PooledClient else [memcached.address]
    client = made(servers, serde=pickle_serde, timeout=TIMEOUT, default_noreply=False)
    client.set(f"session:{sid}", Malicious())
    visitor.app = make_app(memcache={"client": client})
    with pytest.raises(ConfigError, match=r"memcache\['client'\]: must be a client without serde"):
        visitor.read()
    assert not Malicious.ran


@forks
def test_own_client_of_each_process(memcached: Memcached) -> None:
    """A function is called again in a forked child."""
    made: list[int] = []

    def make() -> Any:
        made.append(os.getpid())
        return pooled(memcached)

    visitor = Visitor(make_app(memcache={"client": make}), backend="memcache")
    visitor.write({"a": 1})
    assert in_child(lambda: visitor.read() == {"a": 1} and made == [os.getppid(), os.getpid()])
