"""The world sees faults: each is put into a copy of the package, and found within some worlds."""

from __future__ import annotations

from pathlib import Path

import pytest

from world.mutants import MUTANTS, Mutant, live, mutate

_KINDS = {
    kind: max(mutant.worlds for mutant in MUTANTS if mutant.kind == kind)
    for kind in sorted({mutant.kind for mutant in MUTANTS})
}

pytestmark = pytest.mark.usefixtures("memcached", "datastore")


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(
            mutant,
            marks=pytest.mark.xfail(reason=mutant.missing, strict=True) if mutant.missing else (),
        )
        for mutant in MUTANTS
    ],
    ids=[mutant.name for mutant in MUTANTS],
)
def test_the_world_finds_a_fault(mutant: Mutant, tmp_path: Path) -> None:
    """It happens within so many worlds that something happens that must not."""
    mutate(mutant, tmp_path)
    assert live(mutant.kind, mutant.worlds, tmp_path).violation


@pytest.mark.parametrize(("kind", "worlds"), _KINDS.items(), ids=_KINDS)
def test_nothing_is_found_without_a_fault(kind: str, worlds: int) -> None:
    """The same worlds are as they ought to be by the package as it is."""
    assert live(kind, worlds).violation == ""
