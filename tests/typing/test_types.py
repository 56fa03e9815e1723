"""mypy and pyright know every public type, accept what is right, and refuse what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
RIGHT, WRONG = HERE / "right_uses.py", HERE / "wrong_uses.py"

#: Seconds after which a checker that hangs is a failure; pyright may have to unpack itself first.
PATIENCE = 300.0

#: webapp2, webob and Google's libraries have no types, of which the checkers would tell.
MYPY_CONFIG = """
[mypy]
strict = true
[mypy-webapp2.*]
ignore_missing_imports = true
"""


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a checker outside of the checkout, so that it reads the installed package."""
    bin_first = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PATH": bin_first, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def mypy(file: Path, folder: Path) -> dict[int, list[str]]:
    """Return what mypy finds wrong, by line."""
    (folder / "mypy.ini").write_text(MYPY_CONFIG, "utf-8")
    shutil.copy(file, folder)
    done = run(["mypy", "--config-file=mypy.ini", "--output=json", file.name], folder)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return by_line((each["line"], each["message"]) for each in found)


def pyright(file: Path, folder: Path) -> dict[int, list[str]]:
    """Return what pyright finds wrong, by line."""
    shutil.copy(file, folder)
    done = run(["pyright", "--pythonpath", sys.executable, "--outputjson", file.name], folder)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["summary"]["filesAnalyzed"] == 1
    return by_line(
        (each["range"]["start"]["line"] + 1, each["message"])
        for each in found["generalDiagnostics"]
        if each["severity"] == "error"
    )


def by_line(found: Any) -> dict[int, list[str]]:
    """Gather messages that belong to one line."""
    lines: dict[int, list[str]] = {}
    for line, message in found:
        lines.setdefault(line, []).append(message)
    return lines


EACH_CHECKER = pytest.mark.parametrize("checker", [mypy, pyright])


@EACH_CHECKER
def test_right_uses_are_accepted(checker: Any, tmp_path: Path) -> None:
    """And the types are those that the file states."""
    assert checker(RIGHT, tmp_path) == {}


@EACH_CHECKER
def test_wrong_uses_are_refused(checker: Any, tmp_path: Path) -> None:
    """Each line that is marked, and no other."""
    lines = WRONG.read_text("utf-8").splitlines()
    marked = [number for number, line in enumerate(lines, 1) if line.endswith("# wrong")]
    assert len(marked) > 30
    assert sorted(checker(WRONG, tmp_path)) == marked


def test_every_public_type_is_known(tmp_path: Path) -> None:
    """pyright counts the names whose types are unknown, or left to each checker to infer."""
    command = ["pyright", "--verifytypes", "webapp2_sessions", "--ignoreexternal", "--outputjson"]
    done = run(command, tmp_path)
    report = json.loads(done.stdout)["typeCompleteness"]
    unknown = [each["name"] for each in report["symbols"] if not each["isTypeKnown"]]
    ambiguous = [each["name"] for each in report["symbols"] if each["isTypeAmbiguous"]]
    counts = report["exportedSymbolCounts"]
    assert (unknown, ambiguous, counts["withKnownType"] > 300) == ([], [], True)
    assert (done.returncode, report["completenessScore"]) == (0, 1)
