"""What the cases of one run share: time, chance, the contenders and the servers."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from unittest import mock

from support.servers import PROJECT, PROXY_VARIABLES, DatastoreEmulator, Memcached, Redis, Server

from benchmarks.measure import Contender, Figure, Samples, compare, measure
from benchmarks.peers import BASELINE, Peers
from benchmarks.sites import Site

__all__ = ["KEYS", "Bench", "Missing", "on_one_cpu", "stop_servers_when_ended"]

#: The keys of a session where its size is not what matters.
KEYS = 10


class Missing(Exception):
    """A case cannot be run; the message tells what it lacks."""


class OneThread(Memcached):
    """A memcached in which all connections are served by the same thread.

    What an exchange costs the client depends on where the server's thread runs. With several,
    contenders whose connections belong to different ones would differ by a third.
    """

    def command(self, folder: Path) -> list[str]:
        """With the option for the number of threads."""
        return [*super().command(folder), "-t", "1"]


def stop_servers_when_ended() -> None:
    """Let SIGTERM end this process as an exception does, which servers do not survive."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


@contextmanager
def on_one_cpu() -> Iterator[None]:
    """Keep this process, and those that it starts, on one CPU, where this can be done."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    former = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(former)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, former)


class Bench:
    """One run.

    :param seconds: for each column of each table.
    :param seed: of the order in which contenders take their turns.
    :param everybody: False to measure webapp2_extras and this package alone.
    """

    def __init__(self, seconds: float, seed: int = 1, everybody: bool = True) -> None:
        self.seconds = seconds
        self.chance = random.Random(seed)
        self.peers = Peers(everybody)
        self._at_end = ExitStack()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exception: object) -> None:
        self._at_end.close()

    def measure(
        self, contenders: Sequence[Contender], baseline: str = BASELINE
    ) -> dict[str, Figure]:
        """The contenders' figures beside each other."""
        return compare(self.samples(contenders), baseline)

    def samples(self, contenders: Sequence[Contender], columns: int = 1) -> dict[str, Samples]:
        """The contenders' samples, of as much time as so many columns get."""
        with on_one_cpu():
            return measure(contenders, self.seconds * columns, self.chance)

    def measure_sites(
        self,
        sites: Sequence[Site],
        paths: Sequence[str],
        keys: int = KEYS,
        new: bool = False,
        baseline: str = BASELINE,
    ) -> list[dict[str, Figure]]:
        """Return the sites' figures for a request to each of the paths.

        :param new: whether the visitor comes without a cookie.
        :param baseline: the name of the site to which the ratios are.
        """
        cookies = [(site, site.checked(keys)) for site in sites]
        if new:
            cookies = [(site, "") for site in sites]
        return [
            self.measure([site.contender(path, cookie) for site, cookie in cookies], baseline)
            for path in paths
        ]

    def start_memcached(self) -> Memcached:
        """A memcached of the case's own, on the CPU on which measuring is done."""
        server = OneThread()
        with on_one_cpu():
            self.start(server)
        return server

    @cached_property
    def memcached(self) -> Memcached:
        """A memcached that the cases share."""
        return self.start_memcached()

    @cached_property
    def redis(self) -> Redis:
        """A redis-server that the cases share, on the CPU on which measuring is done."""
        server = Redis()
        with on_one_cpu():
            self.start(server)
        return server

    @cached_property
    def emulator(self) -> DatastoreEmulator:
        """The Datastore emulator; clients that are made from here on use it."""
        server = DatastoreEmulator()
        self.start(server)
        values = {"DATASTORE_EMULATOR_HOST": server.address, "GOOGLE_CLOUD_PROJECT": PROJECT}
        self._at_end.enter_context(mock.patch.dict(os.environ, values))
        for variable in PROXY_VARIABLES:
            os.environ.pop(variable, None)
        return server

    def start(self, server: Server) -> None:
        """Start a server, which is stopped at the end of the run.

        :raises Missing: it is not installed.
        """
        if reason := server.missing():
            raise Missing(reason)
        self._at_end.callback(server.stop)
        server.start()
