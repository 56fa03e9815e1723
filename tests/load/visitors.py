"""Visitors who keep their cookies, change their sessions, and write down what they saw."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

__all__ = ["State", "Visit", "Visitor", "Write", "visit_all"]

#: What a session holds.
State = dict[str, Any]

#: Seconds after which a request without an answer counts as hanging.
PATIENCE = 20.0
#: Seconds after an error until the next request, so that an outage does not fill the record.
PAUSE = 0.1
#: The names of the values that visitors set; few, so that a session fits in a cookie.
NAMES = tuple(f"k{number}" for number in range(8))
#: The share of visits that change the session.
WRITES = 0.75
#: The share of visits that come over a connection of their own, so that they reach all workers.
RECONNECTS = 0.05


@dataclass(frozen=True, slots=True)
class Write:
    """A change of a session: one value, and the counter raised by one or not."""

    visitor: int
    key: str
    value: str
    count: bool = True

    def apply(self, state: State) -> State:
        """Return what a session that held `state` holds after this change."""
        counter = {"counter": state.get("counter", 0) + 1} if self.count else {}
        return {**state, "visitor": self.visitor, self.key: self.value, **counter}


@dataclass(frozen=True, slots=True)
class Visit:
    """A request and what came of it; visits of one visitor and one turn happened at once."""

    visitor: int
    turn: int
    started: float
    ended: float
    #: The change that was asked for; None for a visit that only reads.
    write: Write | None
    #: What the session held before; None without a response of status 200.
    found: State | None
    #: The kind of error; None with a response of status 200.
    error: str | None = None
    #: Whether the visit was made after the load, to see what was left.
    final: bool = False
    #: The process that answered; None without a response of status 200.
    worker: int | None = None


@dataclass(slots=True)
class Visitor:
    """A browser with its cookies."""

    number: int
    random: random.Random
    cookies: dict[str, str] = field(default_factory=dict)
    turns: int = 0

    def wish(self, pairs: bool) -> list[Write | None]:
        """What to do next; in pairs two changes at once, once there is a session."""
        if self.random.random() >= WRITES:
            return [None]
        both = pairs and bool(self.cookies) and self.random.random() < 0.5
        keys = self.random.sample(NAMES, 2 if both else 1)
        return [Write(self.number, key, self._value(), count=not both) for key in keys]

    def _value(self) -> str:
        return f"{self.number}:{self.random.getrandbits(32):08x}"

    def headers(self) -> dict[str, str]:
        """The Cookie header of the next request."""
        pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Cookie": pairs} if pairs else {}

    def take(self, headers: Iterable[str]) -> None:
        """Keep the cookies of a response, as they were written."""
        for header in headers:
            self.cookies.update((n, m.coded_value) for n, m in SimpleCookie(header).items())


class Request:
    """A request on a connection that is kept. Nothing is sent a second time by itself."""

    def __init__(self, connection: http.client.HTTPConnection, path: str) -> None:
        self.connection, self.path = connection, path
        self.started = time.monotonic()
        self.error: str | None = None
        self.worker: int | None = None

    def send(self, visitor: Visitor, write: Write | None) -> None:
        """Send it, without waiting for the answer."""
        method, path = ("GET", self.path) if write is None else ("POST", self._changing(write))
        self._guarded(lambda: self.connection.request(method, path, headers=visitor.headers()))

    def _changing(self, write: Write) -> str:
        values = {"visitor": write.visitor, "key": write.key, "value": write.value}
        return f"{self.path}?{urlencode({**values, 'count': int(write.count)})}"

    def receive(self, visitor: Visitor) -> State | None:
        """Wait for the answer: what the session held; None with `error` set."""
        found: list[State] = []

        def read() -> None:
            response = self.connection.getresponse()
            body = response.read()
            visitor.take(response.headers.get_all("Set-Cookie", []))
            if response.status == 200:
                found.append(json.loads(body))
                self.worker = int(response.headers["X-Worker"])
            else:
                self.error = response.getheader("X-Error") or f"status {response.status}"

        if self.error is None:
            self._guarded(read)
        return found[0] if found else None

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()  # the next request opens it again
            self.error = type(error).__name__


class Browsing:
    """Visits over connections of one thread: one connection for each request at once."""

    def __init__(self, address: str, name: str) -> None:
        self._path = f"/{name}"
        self._connections = [http.client.HTTPConnection(address, timeout=PATIENCE) for _ in "12"]

    def visit(
        self, visitor: Visitor, writes: Sequence[Write | None], *, final: bool = False
    ) -> list[Visit]:
        """Make the visits of one turn, all at once."""
        visitor.turns += 1
        pairs = list(zip(self._connections, writes, strict=False))
        requests = [Request(connection, self._path) for connection, _ in pairs]
        for request, write in zip(requests, writes, strict=True):
            request.send(visitor, write)
        visits = []
        for request, write in zip(requests, writes, strict=True):
            found = request.receive(visitor)
            made = Visit(
                visitor.number,
                visitor.turns,
                request.started,
                time.monotonic(),
                write,
                found,
                request.error,
                final,
                request.worker,
            )
            visits.append(made)
        return visits

    def close(self) -> None:
        """Close the connections; the next visit opens them again."""
        for connection in self._connections:
            connection.close()


def visit_all(
    address: str,
    name: str,
    groups: Sequence[Sequence[Visitor]],
    go_on: Callable[[int, int], bool],
    *,
    pairs: bool = False,
) -> list[Visit]:
    """Let each group of visitors visit in a thread of its own, then each visitor look once more.

    :param address: `host:port` of the server.
    :param name: the application's name there.
    :param groups: the visitors; nobody is in two groups.
    :param go_on: asked with the group's index and how many visits it has made.
    :param pairs: whether visitors sometimes change their session twice at once.
    """

    def visit(index: int) -> list[Visit]:
        browsing, visits = Browsing(address, name), list[Visit]()
        choose = random.Random(groups[index][0].number)
        while go_on(index, len(visits)):
            visitor = choose.choice(groups[index])
            if choose.random() < RECONNECTS:
                browsing.close()
            visits += (turn := browsing.visit(visitor, visitor.wish(pairs)))
            if any(visit.error for visit in turn):
                time.sleep(PAUSE)
        for visitor in groups[index]:
            visits += browsing.visit(visitor, [None], final=True)
        browsing.close()
        return visits

    with ThreadPoolExecutor(len(groups)) as pool:
        return [made for of_group in pool.map(visit, range(len(groups))) for made in of_group]
