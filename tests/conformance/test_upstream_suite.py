"""webapp2's own test files pass, unmodified, on webapp2_sessions.

They come from webapp2's source distribution, downloaded once into `.cache`. Each runs twice:
on upstream, which shows that the stand-in for App Engine carries it, and on ours. Two of the
tests of auth set ages to None, which Python 3 does not compare with numbers; for them the
runner lets auth's configuration order None as Python 2 did, on both sides.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
import webapp2_extras
from support import run_upstream_tests
from support.servers import PROJECT, DatastoreEmulator, Memcached

import webapp2_sessions.sessions

VERSION = "3.0.0b1"
SHA256 = "4215a2ab407f0e0ad1c1ec134ff5bebcdfd7995b0ce99c1cc9cc9ba28a6814ce"

#: Test modules that need nothing but Python, with the number of tests in each.
PLAIN = {
    "tests.extras_securecookie_test": 1,
    "tests.extras_security_test": 2,
    "tests.extras_sessions_test": 7,
}

#: Test modules that need memcached and Datastore, with the number of tests in each.
BACKENDS = {
    "tests.gae.extras_appengine_auth_models_test": 8,
    "tests.gae.extras_appengine_sessions_memcache_test": 2,
    "tests.gae.extras_appengine_sessions_ndb_test": 3,
    "tests.gae.extras_auth_test": 9,
}

SIDES = ("upstream", "ours")


@pytest.fixture(scope="session")
def upstream_tests(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the `tests` package of webapp2's source distribution."""
    cache = pytestconfig.rootpath / ".cache"
    archive = cache / f"webapp2-{VERSION}.tar.gz"
    if not archive.exists() and (reason := download(cache)):
        if os.environ.get("REQUIRE_BACKENDS") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert found == SHA256, f"{archive} is not the distribution of webapp2 {VERSION}; delete it"
    return unpack(archive, tmp_path_factory.mktemp("upstream"))


def download(cache: Path) -> str | None:
    """Fetch the source distribution with pip; None, or why that did not work."""
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        options = ["--no-deps", "--no-binary=webapp2", "--quiet", f"--dest={folder}"]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, f"webapp2=={VERSION}"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            last = (done.stderr.strip() or "no output").splitlines()[-1]
            return f"webapp2 {VERSION}'s source distribution cannot be downloaded: {last}"
        (archive,) = Path(folder).iterdir()
        archive.rename(cache / archive.name)
    return None


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack the distribution's tests alone: webapp2 itself is the installed one."""
    with tarfile.open(archive) as tar:
        wanted = [member for member in tar if member.name.split("/")[1:2] == ["tests"]]
        tar.extractall(folder, members=wanted, filter="data")
    return folder / f"webapp2-{VERSION}"


def run_module(
    module: str, tests: int, side: str, folder: Path, defaults: dict[str, Any] | None = None
) -> None:
    """Run one of upstream's test modules on one side in a process of its own; all must pass."""
    configuration = {
        "side": side,
        "tests": str(folder),
        "modules": [module],
        "defaults": defaults or {},
    }
    done = subprocess.run(
        [sys.executable, run_upstream_tests.__file__, json.dumps(configuration)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert report["failed"] == [], "\n".join(report["failed"])
    assert (report["ran"], report["skipped"]) == (tests, [])
    assert side_of(report["sessions"]) == side
    if "auth" in module:
        ours = Path(webapp2_sessions.__file__).parent / "users" / "auth_models.py"
        assert (Path(report["users"]) == ours) == (side == "ours")


def side_of(sessions: str) -> str:
    """Whose `webapp2_extras.sessions` the subprocess tested, by the file it came from."""
    folder = Path(sessions).parent
    if folder == Path(webapp2_extras.__path__[0]):
        return "upstream"
    return "ours" if folder == Path(webapp2_sessions.sessions.__file__).parent else str(folder)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("module", PLAIN)
def test_plain_modules(module: str, side: str, upstream_tests: Path) -> None:
    """Upstream's tests of cookie sessions, signing and hashes of passwords pass."""
    run_module(module, PLAIN[module], side, upstream_tests)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("module", BACKENDS)
def test_backend_modules(
    module: str,
    side: str,
    upstream_tests: Path,
    memcached: Memcached,
    datastore: DatastoreEmulator,
) -> None:
    """Upstream's tests of the memcache and ndb backends, of auth and of its users pass."""
    defaults = {"memcache": {"servers": [memcached.address]}, "datastore": {"project": PROJECT}}
    run_module(module, BACKENDS[module], side, upstream_tests, defaults)
