"""A TCP proxy between an application and its server, which injects network faults.

Run as a program: `run_relay.py PORT TARGET_PORT[,OTHER_PORT] [STATISTICS]`, all ports of 127.0.0.1.
After a SIGUSR1 the next answer of the server is lost, and its connection with it. After a SIGUSR2
the connections that there are are forgotten, as by a firewall: whatever is sent on them vanishes,
and nobody is told. After a SIGHUP memcached's command `add` is held back until the next SIGHUP.
After a SIGALRM the next answer is held back until the next SIGALRM, and after a SIGVTALRM the
connections that there are are closed. After a SIGPROF new connections lead to the other server.
With STATISTICS the relay is a proxy that does not know memcached's `stats`: it "refuses" the
command, "closes" the connection or leaves it without an answer ("drops").
"""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading

HOST = "127.0.0.1"

#: Ports of servers; new connections lead to the first one.
targets: list[int] = []

#: Set while an answer has to be lost.
lose_answer = threading.Event()

#: Connections that were made before the last time of forgetting; and those of now.
forgotten: set[Connection] = set()
remembered: set[Connection] = set()

#: Set while an answer has to come late; and those that are held back, each with its connection.
delay_answer = threading.Event()
late: list[tuple[Connection, bytes]] = []

#: Set as long as entries are held back, and as long as they are not.
hold_entries, pass_entries = threading.Event(), threading.Event()


def confirm(what: str) -> None:
    """Print a line, for which the test waits."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def prepare() -> None:
    """Lose the next answer."""
    lose_answer.set()
    confirm("the next answer will be lost")


def forget() -> None:
    """Forget all connections that there are."""
    forgotten.update([*remembered])  # other threads take some out
    remembered.clear()
    confirm("the connections are forgotten")


def delay_or_deliver() -> None:
    """Hold the next answer back, or deliver it."""
    if not late and not delay_answer.is_set():
        delay_answer.set()
        confirm("the next answer will be late")
        return
    delay_answer.clear()
    while late:
        connection, answer = late.pop()
        with contextlib.suppress(OSError):  # the client may have gone
            connection.client.sendall(answer)
    confirm("late answers are delivered")


def close() -> None:
    """Close all connections that there are."""
    for connection in [*remembered]:
        connection.end()
    confirm("the connections are closed")


def fail_over() -> None:
    """Lead new connections to the other server."""
    targets.reverse()
    confirm("another server is the target")


class Connection:
    """A connection of a client, and the one to the server that belongs to it.

    :param statistics: what is done to a `stats`; nothing if it is empty.
    """

    def __init__(self, client: socket.socket, server: socket.socket, statistics: str) -> None:
        self.client = client
        self.server = server
        self.statistics = statistics
        remembered.add(self)
        for each in (client, server):  # else what is sent in two parts waits for 40 ms
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def serve(self) -> None:
        """Pass on in both directions."""
        for pump in (self.ask, self.answer):
            threading.Thread(target=pump, daemon=True).start()

    def ask(self) -> None:
        """Pass on what the client sends."""
        with contextlib.suppress(OSError):
            while data := self.client.recv(65536):
                if self in forgotten or not self.is_to_be_sent(data):
                    continue
                if self.is_late(data):
                    break
                self.server.sendall(data)
        self.end()

    def is_late(self, command: bytes) -> bool:
        """Return whether a command was an `add` that was held back; the server has it then."""
        if not (hold_entries.is_set() and command.startswith(b"add ")):
            return False
        confirm("holds an entry")
        pass_entries.wait()
        # The client has timed out. Once the server has answered, it has executed the command.
        with socket.create_connection(self.server.getpeername()) as server:
            server.sendall(command)
            server.recv(65536)
        confirm("passed an entry")
        return True

    def is_to_be_sent(self, command: bytes) -> bool:
        """Return whether a command goes to the server."""
        if not self.statistics or not command.startswith(b"stats"):
            return True
        if self.statistics == "closes":
            self.end()
        elif self.statistics == "refuses":
            self.client.sendall(b"ERROR\r\n")
        return False

    def answer(self) -> None:
        """Pass on what the server answers."""
        with contextlib.suppress(OSError):
            while data := self.server.recv(65536):
                if self in forgotten:
                    continue
                if lose_answer.is_set():
                    lose_answer.clear()
                    break
                if delay_answer.is_set():
                    late.append((self, data))
                    delay_answer.clear()
                    continue
                self.client.sendall(data)
        self.end()

    def end(self) -> None:
        """End the connections at both sides of the relay."""
        remembered.discard(self)
        forgotten.discard(self)
        for connection in (self.client, self.server):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def hold_or_pass() -> None:
    """Hold entries back from now on, or let go on what is held back."""
    if hold_entries.is_set():
        hold_entries.clear()
        pass_entries.set()
        confirm("entries go on")
    else:
        pass_entries.clear()
        hold_entries.set()
        confirm("entries are held back")


#: What is done at each signal.
ORDERS = {
    signal.SIGUSR1: prepare,
    signal.SIGUSR2: forget,
    signal.SIGHUP: hold_or_pass,
    signal.SIGALRM: delay_or_deliver,
    signal.SIGVTALRM: close,
    signal.SIGPROF: fail_over,
}


def accept(listener: socket.socket, statistics: str) -> None:
    """Take connections until the process is killed."""
    while True:
        client = listener.accept()[0]
        try:
            server = socket.create_connection((HOST, targets[0]))
        except OSError:
            client.close()
            continue
        Connection(client, server, statistics).serve()


def main(port: int, target_ports: str, statistics: str = "") -> None:
    """Serve until the process is killed.

    Signals are waited for. A handler would run late where the signal comes just before a call that
    blocks.
    """
    targets.extend(map(int, target_ports.split(",")))
    signal.pthread_sigmask(signal.SIG_BLOCK, ORDERS)
    with socket.create_server((HOST, port)) as listener:
        threading.Thread(target=accept, args=(listener, statistics), daemon=True).start()
        while True:
            ORDERS[signal.sigwait(ORDERS)]()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
