"""Sockets of memcached: connecting, and waiting that is bounded and costs little.

With a timeout Python asks the kernel before each call whether it would block, which costs what a
call costs. Where the kernel can wait with a timeout of its own it does so, but for a short time
only: each signal that the process handles begins that wait again, so that it has to end before the
next one comes. (More than some 200 signals a second would let a silent server be waited for until
they stop.) What takes longer raises ``BlockingIOError``, and is waited for in Python's way.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import time
from typing import Any, Protocol

__all__ = ["connected", "is_closed", "send_and_wait"]

#: How long the kernel waits by itself: 5 ms, as the struct timeval of 64-bit systems.
_SHORTLY = struct.pack("ll", 0, 5000)
#: Whether it is known to take that.
_KERNEL_WAITS = sys.platform == "linux" and len(_SHORTLY) == 16

#: Probes of an idle connection, where the system lets one choose: after so many seconds, then
#: every so many, and how many may stay without an answer. The default would be two hours.
_KEEPALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


class Host(Protocol):
    """A host that may have several addresses."""

    #: Its name, which a certificate has to show.
    host: str

    def find(self, seconds: float) -> list[tuple[int, Any]]:
        """Return families and addresses, the first of them first."""
        ...


def connected(
    server: str | Host, timeout: float, tls_context: ssl.SSLContext | None
) -> socket.socket:
    """Return a new connection; of a name's addresses the first that can be reached counts.

    :param server: a path, or the addresses of a host.
    :param timeout: seconds for finding the addresses and connecting, and later for each piece of
        an answer.
    :param tls_context: for a connection by TLS; one to a path is without.
    :raises OSError: there is none.
    """
    if isinstance(server, str):
        return _reached(socket.AF_UNIX, server, timeout, timeout)
    deadline = time.monotonic() + timeout
    failure: OSError | None = None
    for family, place in server.find(timeout):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            return _reached(family, place, left, timeout, tls_context, server.host)
        except OSError as error:
            failure = error
    raise failure or TimeoutError("no address was tried in time")


def _reached(
    family: int,
    place: Any,
    within: float,
    timeout: float,
    tls_context: ssl.SSLContext | None = None,
    host: str | None = None,
) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(within)
        connection.connect(place)
        if not isinstance(place, str):
            _set_tcp_options(connection)
        if tls_context is not None:
            connection = tls_context.wrap_socket(connection, server_hostname=host)
        _set_waiting(connection, timeout)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_tcp_options(connection: socket.socket) -> None:
    """Send small packets at once, and find out by probes whether an idle peer is still there."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _set_waiting(connection: socket.socket, timeout: float) -> None:
    """Let a connection wait for so long, or for _SHORTLY in the kernel where that can be done."""
    connection.settimeout(timeout)
    if _KERNEL_WAITS and type(connection) is socket.socket and _is_pythons_own():
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, option, _SHORTLY)
            if not any(connection.getsockopt(socket.SOL_SOCKET, option, len(_SHORTLY))):
                return
        connection.settimeout(None)


def _is_pythons_own() -> bool:
    """Whether the class of sockets is Python's, and not one that was put in its place."""
    return socket.socket.__module__ == "socket"


def send_and_wait(connection: socket.socket, unsent: bytes, size: int, timeout: float) -> bytes:
    """Send what is left of a command, and receive, in calls that may take as long as they may.

    :param unsent: empty if all was sent.
    :param size: bytes to receive at most.
    :raises OSError: it took longer, or the connection broke.
    """
    former = connection.gettimeout()
    connection.settimeout(timeout)
    if unsent:
        connection.sendall(unsent)
    piece = connection.recv(size)
    connection.settimeout(former)
    return piece


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed an idle connection, as far as that is known here.

    Of a connection by TLS it cannot be told.
    """
    if isinstance(connection, ssl.SSLSocket):
        return False
    former = connection.gettimeout()
    try:
        connection.settimeout(0)
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        connection.settimeout(former)
        return False
    except OSError:
        pass
    return True  # what came is the end, or an answer to nothing
