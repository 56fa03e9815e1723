"""Wheel and source distribution: what is in them, what they say, and that they can be used.

Both are built once, from a copy of the source tree, as for a release.
"""

from __future__ import annotations

import email
import email.message
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

import webapp2_sessions

ROOT = Path(__file__).parents[2]
VERSION = webapp2_sessions.__version__

#: Seconds after which a command that hangs is a failure.
PATIENCE = 300.0


class Distributions(NamedTuple):
    """What was built, and of what."""

    source: Path
    wheel: Path
    sdist: Path


def run(*command: str | Path, folder: Path) -> str:
    """Run a command; what it prints. One that fails is a failure of the test."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """The wheel, built from the source distribution, and that one from a copy of the tree."""
    folder = tmp_path_factory.mktemp("distribution")
    source, target = folder / "source", folder / "dist"
    ignored = (ROOT / ".gitignore").read_text("utf-8").replace("/\n", "\n").split()
    # A source distribution has some files more than the checkout that it was made of.
    made = ("PKG-INFO", "setup.cfg")
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", *ignored, *made))
    run(sys.executable, "-m", "build", "--no-isolation", f"--outdir={target}", folder=source)
    [wheel], [sdist] = target.glob("*.whl"), target.glob("*.tar.gz")
    return Distributions(source, wheel, sdist)


def files_of(folder: Path) -> set[str]:
    """Every file below a folder, but for what the build has left there."""
    files = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return {file.as_posix() for file in files if not file.parts[0].endswith(".egg-info")}


def metadata_of(wheel: Path) -> email.message.Message:
    """The wheel's metadata; its payload is the long description."""
    with zipfile.ZipFile(wheel) as archive:
        name = f"webapp2_sessions-{VERSION}.dist-info/METADATA"
        return email.message_from_string(archive.read(name).decode("utf-8"))


def test_names_are_those_of_the_version(built: Distributions) -> None:
    """One pure wheel for all Pythons, and the sources."""
    assert built.wheel.name == f"webapp2_sessions-{VERSION}-py3-none-any.whl"
    assert built.sdist.name == f"webapp2_sessions-{VERSION}.tar.gz"


def test_the_index_will_take_them(built: Distributions) -> None:
    """Twine finds nothing to warn of."""
    check = (sys.executable, "-m", "twine", "--no-color", "check", "--strict")
    told = run(*check, built.wheel, built.sdist, folder=built.source)
    assert told.count("PASSED") == 2, told


def test_the_wheel_has_the_package_and_no_more(built: Distributions) -> None:
    """Every module, the fixtures for pytest, py.typed and the license; no tests, no examples."""
    with zipfile.ZipFile(built.wheel) as archive:
        found = {name for name in archive.namelist() if not name.endswith("/")}
    package = {f"webapp2_sessions/{name}" for name in files_of(built.source / "webapp2_sessions")}
    assert "webapp2_sessions/py.typed" in package
    information = f"webapp2_sessions-{VERSION}.dist-info/"
    others = {name for name in found if not name.startswith(information)}
    assert others == package | {"_webapp2_sessions_pytest.py"}
    assert f"{information}licenses/LICENSE" in found


def test_the_sources_are_complete(built: Distributions) -> None:
    """Every file of the checkout, tests, documentation and examples among them."""
    with tarfile.open(built.sdist) as archive:
        names = [member.name.partition("/")[2] for member in archive if member.isfile()]
    found = {name for name in names if not name.startswith("webapp2_sessions.egg-info/")}
    assert found == files_of(built.source) | {"PKG-INFO", "setup.cfg"}
    assert {".ci/run", "tests/conftest.py", "docs/architecture.md"} <= found


def test_metadata(built: Distributions) -> None:
    """What an index shows, and what pip goes by."""
    metadata = metadata_of(built.wheel)
    assert (metadata["Name"], metadata["Version"]) == ("webapp2_sessions", VERSION)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["Description-Content-Type"] == "text/markdown"
    extras = metadata.get_all("Provides-Extra", [])
    assert set(extras) == {
        *("memcache", "redis", "appengine", "datastore", "encryption", "all", "examples")
    }
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {re.split(r"[^\w-]", line)[0] for line in required} == {"webapp2", "WebOb"}
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


def test_all_has_every_backend(built: Distributions) -> None:
    """``[all]`` is what the extras of the backends are together."""
    lines = metadata_of(built.wheel).get_all("Requires-Dist", [])

    def of(extra: str) -> set[str]:
        return {line.partition(";")[0] for line in lines if f'extra == "{extra}"' in line}

    assert of("all") == of("memcache") | of("redis") | of("datastore") | of("encryption") != set()


def test_the_description_has_no_links_that_lead_nowhere(built: Distributions) -> None:
    """An index shows it without the files that README.md links to; they are named instead."""
    shown = metadata_of(built.wheel).get_payload()
    assert isinstance(shown, str)
    assert "`docs/backends.md`" in shown
    programs = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
    assert re.findall(r"\]\((?!https?:)[^)]*\)", programs.sub("", shown)) == []
    assert programs.findall(shown) == programs.findall((ROOT / "README.md").read_text("utf-8"))


#: Two requests, by an application that has installed nothing but the package.
SMOKE = """
import importlib.util, secrets, webapp2
from webapp2_sessions import SessionHandler, __version__, errors

class Home(SessionHandler):
    def get(self):
        self.session["visits"] = self.session.get("visits", 0) + 1
        self.response.write(self.session["visits"])

config = {"webapp2_extras.sessions": {"secret_key": secrets.token_hex(32)}}
app = webapp2.WSGIApplication([("/", Home)], config=config)
first = app.get_response("/")
second = app.get_response("/", headers={"Cookie": first.headers["Set-Cookie"]})
assert (first.text, second.text) == ("1", "2")
for library in ("pymemcache", "google.cloud", "cryptography", "pytest"):
    try:
        assert importlib.util.find_spec(library) is None, library
    except ModuleNotFoundError:
        pass

class Stored(SessionHandler):
    session_backend = "memcache"

    def get(self):
        try:
            self.session
        except errors.MissingDependency as error:
            self.response.write(error.extra)

app.router.add(("/stored", Stored))
assert app.get_response("/stored").text == "memcache"
print(__version__)
"""


def index_is_missing(folder: Path) -> bool:
    """Whether pip cannot get anything, whatever the reason."""
    command = ["pip", "download", "--quiet", "--no-deps", f"--dest={folder}", "WebOb"]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, check=False)
    return done.returncode != 0


def test_a_clean_environment(built: Distributions, tmp_path: Path) -> None:
    """The wheel and what it requires are enough; pip finds nothing wrong with them."""
    if index_is_missing(tmp_path / "downloaded"):
        reason = "pip cannot download WebOb, which the wheel requires"
        if os.environ.get("REQUIRE_BACKENDS") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    venv.create(tmp_path / "clean", with_pip=True)
    python = tmp_path / "clean" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", built.wheel, folder=tmp_path)
    run(python, "-m", "pip", "check", folder=tmp_path)
    smoke = tmp_path / "smoke.py"
    smoke.write_text(SMOKE, "utf-8")
    assert run(python, "-W", "ignore", smoke, folder=tmp_path).strip() == VERSION
    told = run(python, "-W", "ignore", "-m", "webapp2_sessions", "--help", folder=tmp_path)
    assert "purge" in told


def test_the_tests_run_from_the_sources(built: Distributions, tmp_path: Path) -> None:
    """All of them can be collected there; some that read other files of the tree are run."""
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [unpacked] = tmp_path.iterdir()
    pytest_here = (sys.executable, "-c", "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))")
    run(*pytest_here, "-q", "--collect-only", folder=unpacked)
    told = run(
        *(*pytest_here, "-q", "-p", "no:cacheprovider"),
        *("tests/unit/test_architecture.py", "tests/unit/stored/test_serializers.py"),
        folder=unpacked,
    )
    assert re.search(r"^\d+ passed in ", told, re.MULTILINE), told
