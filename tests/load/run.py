"""One backend under load: its servers, the visitors, the outage in the middle."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from dataclasses import dataclass, field

from support.gunicorn import Gunicorn
from support.servers import PROJECT, DatastoreEmulator, Memcached, Redis

from load.backends import Backend, Servers
from load.checker import Findings, Outage, check
from load.crowd import Crowd, Plan
from load.visitors import Visit

__all__ = ["Options", "Outcome", "run", "warm_up_emulator"]

#: Requests that warm up gunicorn's workers.
WARM_UP = 500
#: Requests that warm up the emulator: most load a session and store it, two operations.
EMULATOR_WARM_UP = 2500
#: At most so many seconds are spent on that.
WARM_UP_SECONDS = 30.0


@dataclass(frozen=True)
class Options:
    """How hard a backend is driven."""

    visitors: int = 2000
    seconds: float = 20.0
    requests: int | None = None
    workers: int = 2
    threads: int = 4
    preload: bool = False
    seed: int = 1


@dataclass
class Outcome:
    """What came of a run."""

    backend: Backend
    findings: Findings
    #: The visits under load, without the last look at each session.
    loaded: list[Visit]
    outage: Outage
    #: Resident bytes of all workers after the warm-up and at the end.
    memory: tuple[int | None, int | None]
    #: What gunicorn printed; warnings and errors only.
    printed: str = ""
    failures: list[str] = field(init=False)

    def __post_init__(self) -> None:
        """Find out whether the run was a good one."""
        found = self.findings
        self.failures = [
            *(f"lost: {line}" for line in found.lost),
            *(f"another visitor's data: {line}" for line in found.foreign),
        ]
        forbidden = {"before", "after"} | ({"during"} if self.backend.hides else set())
        for (period, kind), number in sorted(found.errors.items()):
            if period in forbidden:
                self.failures.append(f"{number} x {kind} {period} the outage")
        if found.new_sessions and not self.backend.forgets:
            self.failures.append(f"{found.new_sessions} sessions began again")
        if not any(v.write and v.found and self.outage.period(v) == "after" for v in self.loaded):
            self.failures.append("no session was found and saved after the outage")


def run(backend: Backend, options: Options, emulator: DatastoreEmulator | None = None) -> Outcome:
    """Start what the backend needs, and drive it.

    :param backend: what is driven.
    :param options: how hard.
    :param emulator: the running and warm Datastore emulator, if the backend needs one.
    """
    with ExitStack() as at_end:
        memcached = [Memcached() for _ in range(backend.memcached)]
        redis = Redis() if backend.redis else None
        for server in (*memcached, *filter(None, [redis])):
            at_end.callback(server.stop)
            server.start()
        gunicorn = _gunicorn(backend, options, memcached, redis, emulator)
        at_end.callback(gunicorn.stop)
        gunicorn.start()
        _warm_up(gunicorn, backend, WARM_UP)
        return _drive(backend, options, Servers(memcached, redis, emulator, gunicorn))


def _drive(backend: Backend, options: Options, servers: Servers) -> Outcome:
    outages: list[Outage] = []
    gunicorn, at_start = servers.gunicorn, servers.gunicorn.resident_bytes()
    plan = Plan(
        gunicorn.address,
        backend.name,
        options.visitors,
        options.seed,
        options.seconds,
        options.requests,
        pairs=backend.merges,
    )
    visits = Crowd(plan).visit(lambda: outages.append(backend.outage(servers)))
    [outage] = outages
    outage = dataclasses.replace(
        outage,
        ended=outage.ended + backend.recovery,
        gone=outage.gone if backend.forgets else None,
        degrades=backend.degrades,
    )
    memory = at_start, gunicorn.resident_bytes()
    loaded = [visit for visit in visits if not visit.final]
    return Outcome(backend, check(visits, outage), loaded, outage, memory, gunicorn.output())


def _gunicorn(
    backend: Backend,
    options: Options,
    memcached: list[Memcached],
    redis: Redis | None,
    emulator: DatastoreEmulator | None,
) -> Gunicorn:
    config = backend.session_config(
        [server.address for server in memcached], redis.url if redis else None
    )
    variables = {"GOOGLE_CLOUD_PROJECT": PROJECT}
    if emulator is not None:
        variables["DATASTORE_EMULATOR_HOST"] = emulator.address
    return Gunicorn(
        {backend.name: {"backend": backend.keyword, "config": config}},
        workers=options.workers,
        threads=options.threads,
        preload=options.preload,
        in_master="read" if options.preload else "",
        variables=variables,
    )


def warm_up_emulator(backend: Backend, emulator: DatastoreEmulator) -> None:
    """Let a just started emulator, which is slow at first, do some thousand operations."""
    gunicorn = _gunicorn(backend, Options(), [], None, emulator)
    try:
        gunicorn.start()
        _warm_up(gunicorn, backend, EMULATOR_WARM_UP)
    finally:
        gunicorn.stop()


def _warm_up(gunicorn: Gunicorn, backend: Backend, requests: int) -> None:
    plan = Plan(gunicorn.address, backend.name, 100, 0, WARM_UP_SECONDS, requests)
    failed = [visit.error for visit in Crowd(plan).visit() if visit.error]
    if failed:
        raise RuntimeError(f"{backend.name}: {len(failed)} errors in the warm-up: {set(failed)}")
