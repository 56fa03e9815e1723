"""The servers that other tests rely on start, freeze, go on, restart and leave nothing behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from pymemcache.client.base import Client
from support import google_sdk, servers
from support.servers import DatastoreEmulator, FirestoreEmulator, Memcached, Server, ServerError


@pytest.fixture
def server(launch: Callable[[Memcached], Memcached]) -> Memcached:
    """A memcached that the test may freeze and kill."""
    return launch(Memcached(memory_mb=16))


def client(server: Memcached) -> closing[Client]:
    """A client that gives up soon, closed at the end of the block."""
    return closing(Client(server.address, timeout=0.2, default_noreply=False))


def test_started_server_answers(server: Memcached) -> None:
    """A started server stores values and tells its version and address."""
    with client(server) as connection:
        connection.set("key", b"value")
        assert connection.get("key") == b"value"
    assert server.address == f"127.0.0.1:{server.port}"
    assert server.version


def test_second_start_is_refused(server: Memcached) -> None:
    """Starting a running server again is an error."""
    with pytest.raises(ServerError, match="runs already"):
        server.start()


def test_frozen_server_times_out_until_it_is_thawed(server: Memcached) -> None:
    """A frozen server keeps a client waiting; thawed, it answers with what it held."""
    with client(server) as connection:
        connection.set("key", b"value")
        server.freeze()
        with pytest.raises(TimeoutError):
            connection.get("key")
        server.thaw()
        assert connection.get("key") == b"value"


def test_frozen_server_can_be_stopped(server: Memcached) -> None:
    """Stopping does not wait for a thaw."""
    pid = server.pid
    server.freeze()
    server.stop()
    assert servers.group_members(pid or 0) == []


def test_restart_keeps_the_port_and_loses_the_values(server: Memcached) -> None:
    """A restarted server has the same address and is empty."""
    address, pid = server.address, server.pid
    with client(server) as connection:
        connection.set("key", b"value")
    server.restart()
    assert (server.address, server.pid) != (address, pid)
    assert server.address == address
    with client(server) as connection:
        assert connection.get("key") is None


def test_flush_drops_the_values(server: Memcached) -> None:
    """flush() empties a server without restarting it."""
    with client(server) as connection:
        connection.set("key", b"value")
        server.flush()
        assert connection.get("key") is None


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_ended_server_leaves_nothing(server: Memcached, end: str) -> None:
    """After stop() and kill() no process and no folder is left and the port refuses."""
    pid, folder = server.pid, Path(server._folder.name if server._folder else "")
    getattr(server, end)()
    assert servers.group_members(pid or 0) == []
    assert not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_killed_server_can_be_started_again(server: Memcached) -> None:
    """kill() is followed by start() at the same port, as after a crash."""
    server.kill()
    server.start()
    with client(server) as connection:
        assert connection.get("key") is None


def test_start_that_fails_tells_what_was_printed(server: Memcached) -> None:
    """The error of a failed start holds the server's own words and leaves no process."""
    second = Memcached()
    second.port = server.port
    with pytest.raises(ServerError, match=r"(?i)address already in use"):
        second.start()
    assert second.pid is None


def test_signals_need_a_running_server() -> None:
    """A server that does not run cannot be frozen; stopping it is harmless."""
    idle = Memcached()
    idle.stop()
    idle.kill()
    with pytest.raises(ServerError, match="does not run"):
        idle.freeze()


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        (Memcached, "apt-get install memcached"),
        (DatastoreEmulator, "gcloud components install beta cloud-datastore-emulator"),
        (FirestoreEmulator, "gcloud components install beta cloud-firestore-emulator"),
    ],
)
def test_missing_names_the_command_that_installs(
    kind: type[Server], command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without the programs on the path, missing() tells how to get them."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command in (kind.missing() or "")


def test_missing_component_and_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An SDK without the emulator, and an emulator without Java, are told apart."""
    gcloud = tmp_path / "bin" / "gcloud"
    gcloud.parent.mkdir()
    gcloud.touch(mode=0o755)
    (tmp_path / "platform").mkdir()
    monkeypatch.setenv("PATH", str(gcloud.parent))
    assert "cloud-datastore-emulator" in (DatastoreEmulator.missing() or "")
    (tmp_path / "platform" / "cloud-datastore-emulator").mkdir()
    assert "apt-get install default-jre-headless" in (DatastoreEmulator.missing() or "")


@pytest.mark.parametrize(
    ("printed", "expected"),
    [('openjdk version "17.0.15"', 17), ('java version "1.8.0_402"', 8), ('"21-ea"', 21), ("", 0)],
)
def test_java_version_is_read(
    printed: str, expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Old and new version schemes of Java both give the major version."""
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho '{printed}' >&2\n", "utf-8")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert google_sdk.java_version() == expected


def test_datastore_fixture_points_clients_to_the_emulator(datastore: DatastoreEmulator) -> None:
    """The fixture sets what Google's clients read, and no proxy stands in between."""
    assert os.environ["DATASTORE_EMULATOR_HOST"] == datastore.address
    assert os.environ["GOOGLE_CLOUD_PROJECT"] == "test"
    assert not [name for name in servers.PROXY_VARIABLES if name in os.environ]
    assert datastore.answers()
    datastore.reset()


def test_firestore_fixture_points_clients_to_the_emulator(firestore: FirestoreEmulator) -> None:
    """The Firestore emulator is offered in the same way."""
    assert os.environ["DATASTORE_EMULATOR_HOST"] == firestore.address
    assert firestore.answers()
    firestore.reset()
