"""The world sees faults: each is put into a copy of the package, and found within some worlds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from world.mutants import ELSEWHERE, MUTANTS, PACKAGE, WORLDS, Mutant, live, mutate

slow = pytest.mark.skipif(
    os.environ.get("MUTANTS") != "1", reason="takes half an hour; MUTANTS=1 runs it"
)


@pytest.mark.parametrize(
    "mutant",
    [*MUTANTS, *ELSEWHERE.values()],
    ids=[mutant.name for mutant in (*MUTANTS, *ELSEWHERE.values())],
)
def test_a_fault_can_be_put_into_the_package(mutant: Mutant) -> None:
    """The text that it replaces is there once, and what comes of it is Python."""
    compile(mutate(mutant), mutant.file, "exec")


@slow
@pytest.mark.usefixtures("memcached", "datastore")
@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_the_world_finds_a_fault(mutant: Mutant, tmp_path: Path) -> None:
    """It happens within so many worlds that something happens that must not."""
    copy = tmp_path / "webapp2_sessions"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / mutant.file).write_text(mutate(mutant), "utf-8")
    assert live(mutant.kind, tmp_path).violation


@slow
@pytest.mark.parametrize("test", ELSEWHERE)
def test_another_test_finds_a_fault(test: str, tmp_path: Path) -> None:
    """It passes by the package as it is, and fails by the one with the fault."""
    mutant, copy = ELSEWHERE[test], tmp_path / "webapp2_sessions"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    root = PACKAGE.parent
    command = [sys.executable, "-m", "pytest", "-q", "-c", root / "pyproject.toml", root / test]
    found = []
    for text in ((copy / mutant.file).read_text("utf-8"), mutate(mutant)):
        (copy / mutant.file).write_text(text, "utf-8")
        env = {**os.environ, "PYTHONPATH": str(tmp_path)}
        found.append(subprocess.run(command, cwd=tmp_path, env=env, capture_output=True).returncode)
    assert found == [pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED]


@slow
@pytest.mark.usefixtures("memcached", "datastore")
@pytest.mark.parametrize("kind", WORLDS)
def test_nothing_is_found_without_a_fault(kind: str) -> None:
    """The same worlds are as they ought to be by the package as it is."""
    assert live(kind).violation == ""
