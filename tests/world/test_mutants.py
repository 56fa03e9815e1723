"""The world sees faults: each is put into a copy of the package, and found within some worlds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from world.mutants import MUTANTS, WORLDS, Mutant, live, mutate

pytestmark = [
    pytest.mark.usefixtures("memcached", "datastore"),
    pytest.mark.skipif(
        os.environ.get("MUTANTS") != "1", reason="takes half an hour; MUTANTS=1 runs it"
    ),
]


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(
            mutant,
            marks=pytest.mark.xfail(reason=mutant.missing, strict=False) if mutant.missing else (),
        )
        for mutant in MUTANTS
    ],
    ids=[mutant.name for mutant in MUTANTS],
)
def test_the_world_finds_a_fault(mutant: Mutant, tmp_path: Path) -> None:
    """It happens within so many worlds that something happens that must not."""
    mutate(mutant, tmp_path)
    assert live(mutant.kind, tmp_path).violation


@pytest.mark.parametrize("kind", WORLDS)
def test_nothing_is_found_without_a_fault(kind: str) -> None:
    """The same worlds are as they ought to be by the package as it is."""
    assert live(kind).violation == ""
