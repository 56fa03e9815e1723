"""Which Pythons `make test-all` finds, and which versions of libraries it takes."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import zipfile
from pathlib import Path

import pytest
from matrix import __main__ as command
from matrix import environments, metadata, pythons
from matrix.environments import Environment, Outcome

OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"


def program(path: Path, prints: str) -> Path:
    """Make a program that prints something, whatever it is asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{prints}'\n", "utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any Python; the folder that is its path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    return folder


# Pythons


def test_no_python(bare: Path) -> None:
    """Neither pyenv nor uv nor the path has it."""
    assert pythons.find("3.10") is None


def test_python_on_the_path(bare: Path) -> None:
    """As Debian has it."""
    python = program(bare / "python3.10", "3.10")
    assert pythons.find("3.10") == python


def test_a_name_may_lie(bare: Path) -> None:
    """As the programs of pyenv do that stand for a version which is not installed."""
    program(bare / "python3.10", "3.12")
    assert pythons.find("3.10") is None


def test_the_newest_of_pyenv(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number: 13 is more than 9."""
    program(tmp_path / "versions" / "3.10.9" / "bin" / "python", "3.10")
    newest = program(tmp_path / "versions" / "3.10.13" / "bin" / "python", "3.10")
    program(tmp_path / "versions" / "3.10.13rc1" / "bin" / "python", "3.10")
    program(bare / "python3.10", "3.10")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert pythons.find("3.10") == newest


def test_pyenv_tells_where_it_is(bare: Path, tmp_path: Path) -> None:
    """Without PYENV_ROOT."""
    python = program(tmp_path / "versions" / "3.11.2" / "bin" / "python", "3.11")
    program(bare / "pyenv", str(tmp_path))
    assert pythons.find("3.11") == python


def test_a_broken_one_is_passed_over(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as Debian's without venv."""
    broken = program(tmp_path / "versions" / "3.10.9" / "bin" / "python", "")
    broken.write_text("#!/bin/sh\nexit 1\n", "utf-8")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert pythons.find("3.10") is None
    python = program(bare / "python3.10", "3.10")
    assert pythons.find("3.10") == python


def test_uv_knows_some(bare: Path, tmp_path: Path) -> None:
    """Those that it has downloaded."""
    python = program(tmp_path / "elsewhere" / "python", "3.13")
    program(bare / "uv", str(python))
    assert pythons.find("3.13") == python


def test_a_real_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This very interpreter answers the question that the others were asked."""
    (tmp_path / f"python{OWN}").symlink_to(sys.executable)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pythons.find(OWN) == tmp_path / f"python{OWN}"


# Versions


def test_lower_bounds_become_exact() -> None:
    """Names in one spelling, as pip compares them."""
    lines = ["webapp2>=3.0.0b1", "ruff<0.18,>=0.17.5; extra == 'test'", "Typing_X~=1.2"]
    assert metadata.lowest(lines, "3.10", "test") == [
        "ruff==0.17.5",
        "typing-x==1.2",
        "webapp2==3.0.0b1",
    ]


def test_markers_decide() -> None:
    """Of bounds that apply together the highest counts; those of other extras do not."""
    lines = [
        "WebOb>=1.8.7",
        "WebOb>=1.8.9; python_version >= '3.13'",
        "Flask>=3.0; extra == 'bench'",
    ]
    assert metadata.lowest(lines, "3.10", "test") == ["webob==1.8.7"]
    assert metadata.lowest(lines, "3.13", "test") == ["webob==1.8.9"]


def test_a_bound_is_needed() -> None:
    """A library without one would be tried in its newest version, whatever setup.py says."""
    with pytest.raises(ValueError, match="pymemcache has no lower bound"):
        metadata.lowest(["pymemcache<5"], "3.10", "test")


def test_every_library_of_setup_has_a_bound() -> None:
    """Those of the installed package, on each Python that it names."""
    lines = importlib.metadata.requires("webapp2_sessions") or []
    for minor in ("3.10", "3.13"):
        assert len(metadata.lowest(lines, minor, "test")) > 10
    assert metadata.lowest(lines, "3.10", "bench")


def test_a_wheel_tells_its_pythons(tmp_path: Path) -> None:
    """In the order of setup.py, without the entries that name no minor version."""
    wheel = tmp_path / "x.whl"
    lines = ["3", "3 :: Only", "3.10", "3.11"]
    text = "".join(f"Classifier: Programming Language :: Python :: {line}\n" for line in lines)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("x-1.dist-info/METADATA", f"Name: x\n{text}Requires-Dist: a>=1\n")
    assert metadata.read(wheel) == (["3.10", "3.11"], ["a>=1"])


# The command


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[str, ...]]]:
    """Environments are not made, but noted, each with the tests that would run."""
    calls: list[tuple[str, tuple[str, ...]]] = []

    def try_out(environment: Environment, *others: object) -> Outcome:
        calls.append((environment.name, tuple(others[-1])))  # type: ignore[arg-type]
        return Outcome(environment.name, environment.name != "3.11", "1 passed", 1.0)

    described = metadata.Metadata(["3.10", "3.11", "3.12"], [])
    monkeypatch.setattr(command, "_own_minor", lambda: "3.10")
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    monkeypatch.setattr(command, "_build", lambda: tmp_path / "x.whl")
    monkeypatch.setattr(metadata, "read", lambda wheel: described)
    monkeypatch.setattr(pythons, "find", lambda minor: Path(minor))
    monkeypatch.setattr(command, "try_out", try_out)
    monkeypatch.delenv("REQUIRE_PYTHONS", raising=False)
    monkeypatch.setenv("PROGRAMS", "10")  # which the command may set
    (tmp_path / "3.11.log").write_text("the cause\n", "utf-8")
    return calls


def names(tried: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    """The environments."""
    return [name for name, _ in tried]


def test_own_python_may_be_left_out(tried: list[tuple[str, tuple[str, ...]]]) -> None:
    """Where `make test` has run all of the tests already."""
    command.main(["--others"])
    assert names(tried) == ["3.10-lowest", "3.11", "3.12"]


def test_a_failure_is_shown(
    tried: list[tuple[str, tuple[str, ...]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The end of its log, and the exit code."""
    assert command.main([]) == 1
    assert names(tried) == ["3.10-lowest", "3.10", "3.11", "3.12"]
    told = capsys.readouterr().out
    assert "the cause" in told
    assert "failed: 3.11" in told


def test_one_alone(tried: list[tuple[str, tuple[str, ...]]]) -> None:
    """With all tests, or with those that are quick and there."""
    assert command.main(["--only", "3.10-lowest"]) == 0
    assert command.main(["--only", "3.10-lowest", "--quick"]) == 0
    assert tried == [("3.10-lowest", ()), ("3.10-lowest", command.QUICK)]
    assert all((environments.ROOT / path).is_dir() for path in command.QUICK)
    assert command.main(["--only", "3.9"]) == 1


def test_what_is_missing_is_listed(
    tried: list[tuple[str, tuple[str, ...]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And is a failure where all are required."""
    monkeypatch.setattr(pythons, "find", lambda minor: None if minor == "3.11" else Path(minor))
    assert command.main([]) == 0
    assert "not tried, because they are not on this machine: 3.11" in capsys.readouterr().out
    assert "3.11" not in names(tried)
    tried.clear()
    monkeypatch.setenv("REQUIRE_PYTHONS", "1")
    assert command.main([]) == 1
    assert tried == []


def test_the_missing_may_be_downloaded(
    tried: list[tuple[str, tuple[str, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those alone, and then they are there."""
    downloaded: list[str] = []
    there = {"3.10"}
    monkeypatch.setattr(pythons, "find", lambda m: Path(m) if {m} & {*there, *downloaded} else None)
    monkeypatch.setattr(pythons, "download", downloaded.extend)
    command.main(["--download"])
    assert downloaded == ["3.11", "3.12"]
    assert names(tried) == ["3.10-lowest", "3.10", "3.11", "3.12"]


def test_settings_of_this_python_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PYTHONPATH would give the tests another package than the one that is installed."""
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("REQUIRE_BACKENDS", "1")
    with (tmp_path / "log").open("w+") as log:
        assert environments._run(["env"], log)
        log.seek(0)
        told = log.read()
    assert "PYTHONPATH" not in told
    assert f"REQUIRE_BACKENDS={os.environ['REQUIRE_BACKENDS']}" in told
