"""Visitors with cookies of their own, who ask a server as fast as it answers."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from benchmarks.sites import WrongAnswer

__all__ = ["Visitor", "stay_off_the_last_cpu", "visit"]

#: Seconds after which an answer counts as missing.
_PATIENCE = 20.0


def stay_off_the_last_cpu() -> None:
    """Leave this CPU to the server, where there is another one and this can be done."""
    if hasattr(os, "sched_setaffinity") and len(cpus := os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, cpus - {max(cpus)})


def visit(
    port: int, path: str, visitors: Sequence[Visitor], seconds: float
) -> tuple[Sequence[Visitor], int, float]:
    """Let all visitors visit at once, each again and again and at least once.

    :returns: the visitors as they are now, how many requests were answered, and in how many seconds.
    :raises WrongAnswer: a session did not hold what it had to.
    """
    began = time.monotonic()
    with ThreadPoolExecutor(len(visitors)) as pool:
        work = [pool.submit(each.visit, port, path, began + seconds) for each in visitors]
        answers = sum(each.result() for each in work)
    return visitors, answers, time.monotonic() - began


@dataclass
class Visitor:
    """A browser.

    :param site: the first part of the paths of the site that is visited.
    :param counts: False where the site has no sessions: it answers 0 always.
    """

    site: str
    counts: bool
    #: What the session's counter has to be.
    count: int = 0
    cookie: bytes = field(default=b"", repr=False)

    def visit(self, port: int, path: str, until: float) -> int:
        """Visit one path until then; how often it was answered."""
        answers, connection = 0, None
        try:
            while not answers or time.monotonic() < until:
                if connection is None:
                    connection = socket.create_connection(("127.0.0.1", port), _PATIENCE)
                connection.sendall(self._request(path))
                head, body = _answer(connection)
                self._take(path, head, body)
                answers += 1
                if b"\r\nConnection: close" in head:
                    connection.close()
                    connection = None
        finally:
            if connection is not None:
                connection.close()
        return answers

    def _request(self, path: str) -> bytes:
        cookie = b"Cookie: %s\r\n" % self.cookie if self.cookie else b""
        start = f"GET /{self.site}{path} HTTP/1.1\r\nHost: localhost\r\n"
        return start.encode("ascii") + cookie + b"\r\n"

    def _take(self, path: str, head: bytes, body: bytes) -> None:
        """Check an answer, and keep its cookie."""
        if not head.startswith(b"HTTP/1.1 200 "):
            raise WrongAnswer(f"{self.site}: {path} answered {head[:20]!r}.")
        if path == "/modify" and self.counts:
            self.count += 1
        if body != b"%d" % self.count:
            raise WrongAnswer(f"{self.site}: {path} answered {body[:20]!r}, not {self.count}.")
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"set-cookie: "):
                self.cookie = line[len(b"set-cookie: ") :].partition(b";")[0]


def _answer(connection: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of the next answer."""
    received = b""
    while True:
        head, end, body = received.partition(b"\r\n\r\n")
        if end and len(body) >= _length(head):
            return head, body
        more = connection.recv(65536)
        if not more:
            raise WrongAnswer(f"the server closed the connection after {len(received)} bytes.")
        received += more


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
