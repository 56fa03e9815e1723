"""The backend of docs/custom-backend.md keeps the contract of the package's own backends."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "custom-backend.md"
CONTRACT = ROOT / "tests" / "conformance" / "test_backends.py"

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


def test_contract_runs_on_it(folder: Path) -> None:
    """The command of the page passes, on the backend alone and with all its settings."""
    command = next(block for block in blocks("sh") if "CONTRACT=" in block).splitlines()[-1]
    variables, _, arguments = command.partition(" .venv/bin/pytest ")
    name, _, value = variables.partition("=")
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "pytest"),
            *("-q", "-p", "no:cacheprovider", "--basetemp", str(folder / "temp")),
            *shlex.split(arguments),
        ],
        cwd=ROOT,
        env={**os.environ, name: value, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0, done.stdout
    assert passed is not None
    assert int(passed[1]) > FEWEST_TESTS


def test_contract_finds_what_is_wrong(folder: Path) -> None:
    """A backend that loses its data fails."""
    module = folder / "my_backend.py"
    text = module.read_text("utf-8")
    broken = text.replace("return None if row is None else loads(row[0])", "return None")
    assert broken != text
    module.write_text(broken, "utf-8")
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "pytest"),
            *("-q", "-x", "-p", "no:cacheprovider", "--basetemp", str(folder / "temp")),
            str(CONTRACT.relative_to(ROOT)),
            *("-k", "test_what_was_set_comes_back"),
        ],
        cwd=ROOT,
        env={**os.environ, "CONTRACT": "my_contract:config", "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "1 failed" in done.stdout) == (1, True)
