"""The backends of docs/custom-backend.md keep the contract of the package's own backends."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "custom-backend.md"
CONTRACT = ["tests/conformance/test_backends.py", "tests/conformance/test_invariants.py"]

#: What the package's own backends are tested for, whatever they are.
FEWEST_TESTS = 150


def blocks(language: str) -> list[str]:
    """The page's blocks of code in a language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the page's classes as a module, and its function that configures them."""
    parts = [
        block
        for block in blocks("python")
        if re.search(
            r"^(class \w*SQLite|SCHEMA =|@contextlib|def delete_expired)", block, re.MULTILINE
        )
    ]
    # The examples that use a definition stand below it, after two empty lines.
    backend = [part.partition("\n\n\nwith ")[0] for part in parts]
    (tmp_path / "my_backend.py").write_text("\n\n".join(backend), "utf-8")
    [contract] = [block for block in blocks("py") if "my_contract.py" in block]
    (tmp_path / "my_contract.py").write_text(contract, "utf-8")
    return tmp_path


def run_pytest(folder: Path, arguments: list[str], **variables: str) -> Any:
    """Run pytest in a process of its own, which finds the modules in the folder."""
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [
            str(Path(sys.executable).parent / "pytest"),
            *("-q", "-p", "no:cacheprovider", "--basetemp", str(folder / "temp")),
            *arguments,
        ],
        cwd=ROOT,
        env={**os.environ, **variables, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("line", "factory"), [(0, "MergingSQLiteFactory"), (1, "SQLiteFactory")])
def test_contract_runs_on_it(folder: Path, line: int, factory: str) -> None:
    """The command lines of the page pass: on the backend that merges, and on the one without."""
    lines = [block.replace("\\\n", "") for block in blocks("sh") if "CONTRACT=" in block]
    assert len(lines) == 2
    variables, _, arguments = lines[line].partition(" .venv/bin/pytest ")
    name, _, value = variables.partition("=")
    contract = folder / "my_contract.py"
    contract.write_text(
        contract.read_text("utf-8").replace("MergingSQLiteFactory", factory), "utf-8"
    )
    done = run_pytest(folder, shlex.split(arguments), **{name: value})
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0, done.stdout
    assert passed is not None
    assert int(passed[1]) > FEWEST_TESTS


#: What the page's backend does, a backend without it, and the test that misses it.
BREAKAGES = {
    "reads": (
        "        return loads(row[0])\n",
        "        return None\n",
        "test_what_was_set_comes_back",
    ),
    "keeps the age": (
        "self._note_max_age(row[1])",
        "self._note_max_age(None)",
        "test_own_age_is_kept_with_a_stored_session",
    ),
    "notes new ids": (
        "return None if row is None else row[0]",
        "return None",
        "test_late_request_with_the_former_id_is_not_a_new_visitor",
    ),
    "refuses what has ended": (
        "return done.rowcount == 1  # otherwise",
        "return True  # otherwise",
        "test_destroyed_session_stays_destroyed",
    ),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_contract_finds_what_is_wrong(folder: Path, breakage: str) -> None:
    """A backend that does not keep the contract fails, in the test that is about it."""
    module = folder / "my_backend.py"
    text = module.read_text("utf-8")
    right, wrong, test = BREAKAGES[breakage]
    assert text.count(right) == 1
    module.write_text(text.replace(right, wrong), "utf-8")
    done = run_pytest(
        folder, ["-x", *CONTRACT, "-k", f"{test} and not merge"], CONTRACT="my_contract:config"
    )
    assert (done.returncode, "1 failed" in done.stdout) == (1, True)
