"""A network between an application and its server: passes on what one sends to the other.

Run as a program: `run_relay.py PORT TARGET_PORT`, both of 127.0.0.1. After a SIGUSR1 the next
answer of the server is lost, and its connection with it. After a SIGUSR2 memcached's command `add`
is held back until the next SIGUSR2.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import socket
import sys
import threading
from collections.abc import Callable

HOST = "127.0.0.1"

#: Set as long as an answer is to be lost.
lose_answer = threading.Event()


#: Set as long as entries are held back, and as long as they are not.
hold_entries, pass_entries = threading.Event(), threading.Event()


def say(line: str) -> None:
    """Print a line, which whoever has sent a signal waits for."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def prepare(*_: object) -> None:
    """Lose the next answer; the line that is printed confirms it."""
    lose_answer.set()
    say("the next answer will be lost")


def hold_or_pass(*_: object) -> None:
    """Hold entries back from now on, or let go on what is held back."""
    if hold_entries.is_set():
        hold_entries.clear()
        pass_entries.set()
        say("entries go on")
    else:
        pass_entries.clear()
        hold_entries.set()
        say("entries are held back")


def end(*connections: socket.socket) -> None:
    """End connections at both sides of the relay."""
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def pump(source: socket.socket, target: socket.socket, lost: Callable[[bytes], bool]) -> None:
    """Pass on what comes from `source`, until one of the two ends or something is lost."""
    with contextlib.suppress(OSError):
        while (data := source.recv(65536)) and not lost(data):
            target.sendall(data)
    end(source, target)


def is_late(data: bytes, target_port: int) -> bool:
    """Whether a command was an `add` that was held back; the server has it then."""
    if not (hold_entries.is_set() and data.startswith(b"add ")):
        return False
    say("holds an entry")
    pass_entries.wait()
    # Whoever has sent it has given up; and the server has done it when it has answered.
    with socket.create_connection((HOST, target_port)) as server:
        server.sendall(data)
        server.recv(65536)
    say("passed an entry")
    return True


def is_lost(_: bytes) -> bool:
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
    late = functools.partial(is_late, target_port=target_port)
    for arguments in ((client, server, late), (server, client, is_lost)):
        threading.Thread(target=pump, args=arguments, daemon=True).start()


def main(port: int, target_port: int) -> None:
    """Serve until the process is killed."""
    signal.signal(signal.SIGUSR1, prepare)
    signal.signal(signal.SIGUSR2, hold_or_pass)
    with socket.create_server((HOST, port)) as listener:
        while True:
            connect(listener.accept()[0], target_port)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
