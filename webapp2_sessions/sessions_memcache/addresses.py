"""Addresses of a server's name: found in bounded time, and tried in an order that is fixed."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

__all__ = ["Addresses"]

logger: logging.Logger = logging.getLogger(__name__)

#: A family, and what a socket of that family connects to.
Address = tuple[int, Any]

#: Answers of a name server that say for sure that there is no such name.
_NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class Addresses:
    """The addresses of a host and port.

    The system's lookup cannot be interrupted, and takes 10 s and more if the name server is silent.
    It runs in a thread, one at a time, and callers wait for it as long as they are willing to.
    Afterwards the addresses from before count, if there are any.

    An object belongs to one process, since a forked child does not have the thread.

    :param host: a name, or an address, which needs no lookup.
    :param port: the port at each address.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self._port = port
        self._known: list[Address] = []
        self._lookup: _Lookup | None = None
        self._lock = threading.Lock()
        self._has_warned = False

    def find(self, seconds: float) -> list[Address]:
        """Return the addresses in the order in which to try them.

        The system decides which family comes first. Within a family they are sorted: a name server
        may rotate them, which would spread the sessions over all of them at random.

        :param seconds: how long to wait; half of it, or nothing while another caller's lookup is
            running, if there are addresses from before.
        :raises OSError: there is no such name, or no answer came in time.
        """
        if _is_numeric(self.host):
            return _in_order(_look_up(self.host, self._port))
        lookup, is_new = self._current_lookup()
        if is_new:
            lookup.begin()
        patience = seconds
        if self._known:
            patience = seconds / 2 if is_new else 0.0
        if not lookup.done.wait(patience):
            return self._from_before(socket.EAI_AGAIN, "the name server did not answer in time")
        if lookup.error is not None:
            return self._from_before(*lookup.error)
        known = self._known = _in_order(lookup.found)
        self._warn_of_several(known)
        return known

    def _current_lookup(self) -> tuple[_Lookup, bool]:
        """The lookup that is running, or a new one, and whether it is new."""
        with self._lock:
            lookup = self._lookup
            if lookup is not None and not lookup.done.is_set():
                return lookup, False
            self._lookup = lookup = _Lookup(self.host, self._port)
            return lookup, True

    def _from_before(self, number: int, problem: str) -> list[Address]:
        if self._known and number not in _NO_SUCH_NAME:
            return self._known
        raise socket.gaierror(number, problem)

    def _warn_of_several(self, addresses: list[Address]) -> None:
        """Warn once if a name stands for several servers, which look like a single one."""
        families = [family for family, _ in addresses]
        count = max(map(families.count, families), default=0)
        if count > 1 and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "The memcached server '%s:%d' has %d addresses. All sessions go to the first one "
                "that can be reached; list each server under a name of its own",
                self.host,
                self._port,
                count,
            )


class _Lookup(threading.Thread):
    """One question to the name server."""

    def __init__(self, host: str, port: int) -> None:
        # A daemon: the interpreter does not wait for it at its end.
        super().__init__(name=f"{__name__}: {host}", daemon=True)
        self._host = host
        self._port = port
        self.found: list[Any] = []
        self.error: tuple[int, str] | None = None
        self.done = threading.Event()

    def begin(self) -> None:
        """Start the thread; without one, as at the end of the interpreter, look up here."""
        try:
            self.start()
        except RuntimeError:
            self.run()

    def run(self) -> None:
        """Ask, and keep the answer."""
        try:
            self.found = _look_up(self._host, self._port)
        except OSError as error:
            self.error = (error.errno or socket.EAI_FAIL, error.strerror or "the lookup failed")
        except Exception:  # e.g. UnicodeError: no name server is asked for such a name
            self.error = (socket.EAI_NONAME, "the name is invalid")
        finally:
            self.done.set()


def _look_up(host: str, port: int) -> list[Any]:
    found = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    return found


def _is_numeric(host: str) -> bool:
    return _packed(socket.AF_INET, host) != b"" or _packed(socket.AF_INET6, host) != b""


def _packed(family: int, host: str) -> bytes:
    """An address as its bytes; empty if it is none of the family."""
    try:
        return socket.inet_pton(family, host.partition("%")[0])
    except (OSError, ValueError):
        return b""


def _in_order(found: list[Any]) -> list[Address]:
    places = dict.fromkeys((family, place) for family, _, _, _, place in found)
    families = list(dict.fromkeys(family for family, _ in places))
    return sorted(places, key=lambda each: (families.index(each[0]), _packed(each[0], each[1][0])))
