"""Libraries, credentials and projects that are missing: the error says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from support.servers import PROJECT, Memcached

#: Seconds after which a program that hangs is a failure.
PATIENCE = 60.0


def run(program: str, **environment: str | None) -> str:
    """Run a program on a new interpreter; what it prints, without the last line break.

    :param environment: variables to set; None removes one.
    """
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={name: value for name, value in variables.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


#: Opens a session without some libraries, and prints what comes of it.
WITHOUT_LIBRARIES = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
from support.visits import Visitor, make_app
try:
    visitor = Visitor(make_app(), backend={backend!r})
    visitor.write({{"a": 1}})
    print(visitor.read() if visitor.cookies else "no cookie")
except ImportError as error:
    print(type(error).__name__, error.extra, error)
"""

PYMEMCACHE, NDB = "pymemcache", "google.cloud.ndb"


@pytest.mark.parametrize(
    ("backend", "missing", "library"),
    [("memcache", [PYMEMCACHE], "pymemcache"), ("datastore", [NDB], "google-cloud-ndb")],
)
def test_missing_library_is_named(backend: str, missing: list[str], library: str) -> None:
    """A backend without its library tells what to install."""
    assert run(WITHOUT_LIBRARIES.format(backend=backend, missing=missing)) == (
        f"MissingDependency {backend} {library} is not installed; the {backend} backend needs it: "
        f"pip install 'webapp2_sessions[{backend}]'"
    )


def test_cookies_need_no_library() -> None:
    """Sessions in cookies work without the libraries of the other backends."""
    program = """
import sys
for name in ("pymemcache", "google", "google.cloud", "google.cloud.ndb", "grpc"):
    sys.modules[name] = None
from support.visits import Visitor, make_app
visitor = Visitor(make_app())
with visitor.visit() as session:
    session["a"] = 1
print(visitor.read())
"""
    assert run(program) == "{'a': 1}"


@pytest.mark.usefixtures("memcached")
def test_memcache_needs_no_ndb(memcached: Memcached) -> None:
    """Sessions in memcached work without the library of Datastore."""
    program = f"""
import sys
for name in ("google.cloud.ndb", "grpc"):
    sys.modules[name] = None
from support.visits import Visitor, make_app
visitor = Visitor(make_app(memcache={{"servers": [{memcached.address!r}]}}), backend="memcache")
visitor.write({{"a": 1}})
print(visitor.read())
"""
    assert run(program) == "{'a': 1}"


@pytest.mark.parametrize("library", ["pymemcache", "google.cloud.ndb", "grpc"])
def test_library_is_imported_only_when_used(library: str) -> None:
    """An application with cookies does not pay for the libraries of the other backends."""
    program = f"""
import sys
from support.visits import Visitor, make_app
with Visitor(make_app()).visit() as session:
    session["a"] = 1
print({library!r} in sys.modules)
"""
    assert run(program) == "False"


#: Reads a session of Datastore, and prints the error.
WITHOUT_ACCESS = """
from support.visits import Visitor, make_app
try:
    Visitor(make_app(), backend="datastore").write({"a": 1})
except Exception as error:
    print(type(error).__name__, error)
"""

#: An environment in which Google's libraries find nothing, and do not search for long.
NOTHING = {
    "DATASTORE_EMULATOR_HOST": None,
    "GOOGLE_CLOUD_PROJECT": None,
    "GCLOUD_PROJECT": None,
    "DATASTORE_DATASET": None,
    "GOOGLE_APPLICATION_CREDENTIALS": None,
    "NO_GCE_CHECK": "true",
}


def test_no_credentials(tmp_path: Any) -> None:
    """Without credentials the error says so and names the service."""
    settings = {**NOTHING, "CLOUDSDK_CONFIG": str(tmp_path), "GOOGLE_CLOUD_PROJECT": PROJECT}
    assert run(WITHOUT_ACCESS, **settings) == (
        "BackendUnavailable datastore backend at datastore.googleapis.com: "
        "there are no credentials for it"
    )


def test_no_project(tmp_path: Any) -> None:
    """With an emulator and no project the error names what to set."""
    settings = {**NOTHING, "CLOUDSDK_CONFIG": str(tmp_path)}
    assert run(WITHOUT_ACCESS, **{**settings, "DATASTORE_EMULATOR_HOST": "127.0.0.1:1"}) == (
        "ConfigError datastore['project']: is not set and not found in the environment; "
        "set it, or GOOGLE_CLOUD_PROJECT"
    )
