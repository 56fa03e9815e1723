"""Sockets of memcached: connecting, and waiting that is bounded and costs little.

With a timeout Python asks the kernel before each call whether it would block, which costs what a
call costs. Where the kernel can wait with a timeout of its own it does so, but for a short time
only: each signal that the process handles begins that wait anew, so that it has to end before the
next one comes. (More than some 200 signals a second would let a silent server be waited for until
they stop.) What takes longer raises ``BlockingIOError``, and is waited for in Python's way.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import time
from typing import Any

__all__ = ["connected", "send_and_wait"]

#: How long the kernel waits by itself: 5 ms, as the struct timeval of 64-bit systems.
_SHORTLY = struct.pack("ll", 0, 5000)
#: Whether it is known to take that.
_KERNEL_WAITS = sys.platform == "linux" and len(_SHORTLY) == 16


def connected(
    server: str | tuple[str, int], timeout: float, tls_context: ssl.SSLContext | None
) -> socket.socket:
    """Return a new connection; of a name's addresses the first that can be reached counts.

    :param server: a path, or host and port.
    :param timeout: seconds for connecting, and later for each piece of an answer.
    :param tls_context: for a connection by TLS; one to a path is without.
    :raises OSError: there is none.
    """
    if isinstance(server, str):
        return _reached(socket.AF_UNIX, server, timeout, timeout)
    host, port = server
    deadline = time.monotonic() + timeout
    failure: OSError | None = None
    for family, _, _, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        left = timeout if failure is None else deadline - time.monotonic()
        if left <= 0:
            break
        try:
            return _reached(family, place, left, timeout, tls_context, host)
        except OSError as error:
            failure = error
    raise failure or OSError("no address")


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
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls_context is not None:
            connection = tls_context.wrap_socket(connection, server_hostname=host)
        _set_waiting(connection, timeout)
    except BaseException:
        connection.close()
        raise
    return connection


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
