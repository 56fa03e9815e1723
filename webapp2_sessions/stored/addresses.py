"""Connect to a server by its name: a bounded lookup, and addresses tried in a fixed order."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TimeoutOfFuture
from typing import Any

logger: logging.Logger = logging.getLogger(__name__)

#: A family, and what a socket of that family connects to.
Address = tuple[int, Any]

#: TCP keepalive, where the system allows a choice: the first probe after so many seconds, then one
#: every so many, and how many may stay without an answer. The default would be two hours.
_KEEPALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}

#: Answers of a name server that say for sure that there is no such name.
_NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


def connect(
    server: str | Addresses, timeout: float, tls_context: ssl.SSLContext | None = None
) -> socket.socket:
    """Return a new connection, to the first address that can be reached.

    :param server: a path, or the addresses of a host.
    :param timeout: seconds for finding the addresses and connecting; afterwards the connection's.
    :param tls_context: for a connection by TLS; one to a path is without.
    :raises OSError: there is none.
    """
    if isinstance(server, str):
        return _connect(socket.AF_UNIX, server, timeout, timeout)
    deadline = time.monotonic() + timeout
    failure: OSError | None = None
    for family, address in server.find(timeout):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            return _connect(family, address, left, timeout, tls_context, server.host)
        except OSError as error:
            failure = error
    raise failure or TimeoutError("no address was tried in time")


def _connect(
    family: int,
    address: Any,
    connect_timeout: float,
    timeout: float,
    tls_context: ssl.SSLContext | None = None,
    host: str | None = None,
) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(connect_timeout)
        connection.connect(address)
        if not isinstance(address, str):
            # Send small packets at once, and probe whether an idle peer is still there.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE.items():
                if hasattr(socket, name):
                    connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if tls_context is not None:
            connection = tls_context.wrap_socket(connection, server_hostname=host)
        connection.settimeout(timeout)
    except BaseException:
        connection.close()
        raise
    return connection


class Addresses:
    """The addresses of a host and port.

    The system's lookup cannot be interrupted, and takes 10 s and more if the name server is silent.
    It runs in a thread, one at a time, and callers wait for it as long as they choose. Afterwards
    they get the addresses of the previous lookup, if there are any.

    An object belongs to one process, since a forked child does not have the thread.

    :param host: a name, or an address, which needs no lookup.
    :param port: the port at each address.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self._port = port
        self._known: list[Address] = []
        self._lookup: Future[list[Any]] | None = None
        self._lock = threading.Lock()
        self._has_warned = False

    def find(self, seconds: float) -> list[Address]:
        """Return the addresses in the order in which to try them.

        The system decides which family comes first. Within a family they are sorted: a name server
        may rotate them, which would spread the sessions over all of them at random.

        :param seconds: how long to wait. If addresses are known already, half of it, or nothing
            while another caller's lookup is running.
        :raises OSError: there is no such name, or no answer came in time.
        """
        if _is_numeric(self.host):
            return _in_order(_look_up(self.host, self._port))
        with self._lock:
            lookup = self._lookup
            is_new = lookup is None or lookup.done()
            if lookup is None or is_new:
                lookup = self._lookup = Future()
        if is_new:
            self._begin(lookup)
        patience = seconds
        if self._known:
            patience = seconds / 2 if is_new else 0.0
        try:
            error = lookup.exception(patience)
        except TimeoutOfFuture:
            return self._fall_back(socket.EAI_AGAIN, "the name server did not answer in time")
        if isinstance(error, OSError):
            problem = error.strerror or "the lookup failed"
            return self._fall_back(error.errno or socket.EAI_FAIL, problem)
        if error is not None:  # e.g. UnicodeError: no name server is asked for such a name
            return self._fall_back(socket.EAI_NONAME, "the name is invalid")
        known = self._known = _in_order(lookup.result())
        self._warn_of_several(known)
        return known

    def _begin(self, lookup: Future[list[Any]]) -> None:
        """Look the name up in a thread; where none can be started, as at the end, do without."""

        def ask() -> None:
            try:
                lookup.set_result(_look_up(self.host, self._port))
            except BaseException as error:
                lookup.set_exception(error)

        # A daemon: the interpreter does not wait for it at its end.
        thread = threading.Thread(target=ask, name=f"{__name__}: {self.host}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            ask()

    def _fall_back(self, number: int, problem: str) -> list[Address]:
        """Return the addresses of the previous lookup, unless the name is known to be gone."""
        if self._known and number not in _NO_SUCH_NAME:
            return self._known
        raise socket.gaierror(number, problem)

    def _warn_of_several(self, addresses: list[Address]) -> None:
        """Warn once if a name stands for several servers, of which only one is used."""
        families = [family for family, _ in addresses]
        count = max(map(families.count, families), default=0)
        if count > 1 and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "The server '%s:%d' has %d addresses. All sessions go to the first one "
                "that can be reached; list each server under a name of its own",
                self.host,
                self._port,
                count,
            )


def _look_up(host: str, port: int) -> list[Any]:
    found = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    return found


def _is_numeric(host: str) -> bool:
    return _packed(socket.AF_INET, host) != b"" or _packed(socket.AF_INET6, host) != b""


def _packed(family: int, host: str) -> bytes:
    """Return an address as bytes; empty if it is not one of the family."""
    try:
        return socket.inet_pton(family, host.partition("%")[0])
    except (OSError, ValueError):
        return b""


def _in_order(found: list[Any]) -> list[Address]:
    addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
    families = list(dict.fromkeys(family for family, _ in addresses))
    return sorted(
        addresses, key=lambda each: (families.index(each[0]), _packed(each[0], each[1][0]))
    )
