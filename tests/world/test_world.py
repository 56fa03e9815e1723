"""The world, for as long as it takes to find what is broken easily; `make world` goes on."""

from __future__ import annotations

import os

import pytest
from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test

from world.configurations import KINDS, SETTLED
from world.machine import machine_of, world_settings

#: Worlds of each kind.
WORLDS = int(os.environ.get("WORLDS", "30"))


@pytest.mark.parametrize("kind", SETTLED)
def test_nothing_happens_that_must_not(request: pytest.FixtureRequest, kind: str) -> None:
    """Visitors, attackers and servers do what they want, by fixed seeds."""
    # Skips it where the server is not installed; the worlds have one of their own.
    request.getfixturevalue("redis_server" if "redis" in KINDS[kind] else "memcached")
    if "datastore" in KINDS[kind]:
        request.getfixturevalue("datastore")
    with machine_of(kind) as machine:
        run_state_machine_as_test(seed(2026)(machine), settings=world_settings(WORLDS))
