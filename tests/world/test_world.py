"""The world, for as long as it takes to find what is broken easily; `make world` goes on."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test
from support.fault_injection import OptionalMemcached, Relay
from support.servers import Server

from world.configurations import KINDS
from world.machine import WorldMachine, world_settings

#: Worlds of each kind.
WORLDS = int(os.environ.get("WORLDS", "30"))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_happens_that_must_not(
    launch: Callable[[Server], Server],
    request: pytest.FixtureRequest,
    kind: str,
) -> None:
    """Visitors, attackers and servers do what they want, by fixed seeds."""

    @seed(2026)
    class Machine(WorldMachine):
        memcached = launch(OptionalMemcached())  # type: ignore[assignment]
        relay = launch(Relay(memcached))  # type: ignore[assignment]
        backends = KINDS[kind]

    if "datastore" in Machine.backends:
        request.getfixturevalue("datastore")
    run_state_machine_as_test(Machine, settings=world_settings(WORLDS))
