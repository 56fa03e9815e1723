"""A network between an application and its server: passes on what one sends to the other.

Run as a program: `run_relay.py PORT TARGET_PORT`, both of 127.0.0.1. After a SIGUSR1 the next
answer of the server is lost, and its connection with it.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Callable

HOST = "127.0.0.1"

#: Set as long as an answer is to be lost.
lose_answer = threading.Event()


def prepare(*_: object) -> None:
    """Lose the next answer; the line that is printed confirms it."""
    lose_answer.set()
    sys.stdout.write("the next answer will be lost\n")
    sys.stdout.flush()


def end(*connections: socket.socket) -> None:
    """End connections at both sides of the relay."""
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def pump(source: socket.socket, target: socket.socket, lost: Callable[[], bool]) -> None:
    """Pass on what comes from `source`, until one of the two ends or something is lost."""
    with contextlib.suppress(OSError):
        while (data := source.recv(65536)) and not lost():
            target.sendall(data)
    end(source, target)


def is_lost() -> bool:
    """Whether the answer that has just come is the one to be lost."""
    lost = lose_answer.is_set()
    lose_answer.clear()
    return lost


def connect(client: socket.socket, target_port: int) -> None:
    """Connect a client with the server."""
    try:
        server = socket.create_connection((HOST, target_port))
    except OSError:
        client.close()
        return
    for arguments in ((client, server, lambda: False), (server, client, is_lost)):
        threading.Thread(target=pump, args=arguments, daemon=True).start()


def main(port: int, target_port: int) -> None:
    """Serve until the process is killed."""
    signal.signal(signal.SIGUSR1, prepare)
    with socket.create_server((HOST, port)) as listener:
        while True:
            connect(listener.accept()[0], target_port)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
