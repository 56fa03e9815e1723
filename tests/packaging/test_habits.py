"""What is written twice agrees: versions of tools, of the package, and the Pythons."""

from __future__ import annotations

import importlib.metadata
import re

import pytest
from packaging.requirements import Requirement
from support.project import ROOT, requirements, settings

import webapp2_sessions

#: Tools of the hooks that setup.py or pyproject.toml names as well, and those that only hooks use.
TOOLS = {"ruff", "mypy", "cryptography", "jinja2"}
HOOKS_ONLY = {"pre-commit-hooks"}


def text(name: str) -> str:
    """A file of the source tree."""
    return (ROOT / name).read_text("utf-8")


def hooked() -> list[Requirement]:
    """What the hooks install."""
    lines = re.findall(r"additional_dependencies: \[(.*)\]", text(".pre-commit-config.yaml"))
    return [Requirement(each.strip(' "')) for line in lines for each in line.split(",")]


def test_every_tool_of_the_hooks_is_known() -> None:
    """A hook with another tool asks for a look at setup.py."""
    assert {each.name for each in hooked()} == TOOLS | HOOKS_ONLY


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_hooks_and_setup_agree(tool: str) -> None:
    """A commit is checked by what `make lint` uses."""
    ours = next(each.specifier for each in requirements() if each.name == tool)
    theirs = [each.specifier for each in hooked() if each.name == tool]
    assert theirs
    for bound in theirs:
        pinned = str(bound).removeprefix("==")
        assert bound == ours or ours.contains(pinned)


def test_the_changelog_begins_with_this_version() -> None:
    """Whoever changes the version writes what is in it."""
    found = re.findall(
        r"^## (\S+) \((unreleased|\d{4}-\d\d-\d\d)\)$", text("CHANGELOG.md"), re.MULTILINE
    )
    assert found[0][0] == webapp2_sessions.__version__


def test_pythons_agree() -> None:
    """Classifiers and nox name the same; the lower bound, ruff and mypy begin with the same."""
    metadata = importlib.metadata.metadata("webapp2_sessions")
    classifiers = metadata.get_all("Classifier") or []
    minors = [line.rpartition(" ")[2] for line in classifiers if re.search(r":: 3\.\d+$", line)]
    assert f"PYTHONS = {minors}".replace("'", '"') in text("noxfile.py")
    assert metadata["Requires-Python"] == f">={minors[0]}"
    tools = settings()["tool"]
    assert tools["mypy"]["python_version"] == minors[0]
    assert tools["ruff"]["target-version"] == f"py{minors[0].replace('.', '')}"


def test_what_builds_is_what_is_tested() -> None:
    """The build and the tests want the same setuptools."""
    [wanted] = map(Requirement, settings()["build-system"]["requires"])
    assert wanted in requirements()
