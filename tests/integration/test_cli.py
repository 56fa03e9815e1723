"""The purge command in a process of its own, on real emulators, by pipe and on a terminal."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import uuid
from pathlib import Path

import pytest
from support import entities
from support.servers import Emulator

import webapp2_sessions

#: Seconds after which a command that hangs is a failure.
PATIENCE = 60.0

#: Processes start here, and so use the installed package and not the checkout.
HOME = Path(webapp2_sessions.__file__).parents[1]

NOW = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
DAY = datetime.timedelta(days=1)


@pytest.fixture(params=["datastore", "firestore"])
def emulator(request: pytest.FixtureRequest) -> Emulator:
    """Each of the two emulators; the environment points to it."""
    emulator: Emulator = request.getfixturevalue(request.param)
    return emulator


@pytest.fixture
def namespace(emulator: Emulator) -> str:
    """A namespace with 620 old sessions and a young one."""
    namespace = "ns-" + uuid.uuid4().hex
    times = {f"old{number}": NOW - 40 * DAY for number in range(620)}
    entities.put_aged({**times, "young": NOW - 20 * DAY}, namespace=namespace)
    return namespace


#: Without the warnings with which Google's libraries greet some versions of Python.
PURGE = (
    sys.executable,
    *["-W", "ignore", "-m", "webapp2_sessions", "purge", "--older-than", "30d"],
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A purge whose output goes to pipes."""
    return subprocess.run(
        [*PURGE, *arguments],
        cwd=HOME,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_by_pipe(namespace: str) -> None:
    """Without a terminal progress is in plain lines, and the result alone on standard output."""
    done = run("--namespace", namespace)
    assert (done.returncode, done.stdout) == (0, "620 sessions deleted\n")
    assert done.stderr.splitlines()[0] == "500 sessions deleted so far"
    assert "\r" not in done.stderr
    assert entities.names_of(namespace=namespace) == {"young"}


def test_on_a_terminal(namespace: str) -> None:
    """On a terminal there is a bar, which goes to the end."""
    ours, theirs = pty.openpty()
    # A bar needs room: 24 lines of 80 characters.
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        [*PURGE, "--namespace", namespace], cwd=HOME, stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = read_all(ours)
        out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, b"620 sessions deleted\n")
    bars = shown.split("\r")
    assert [bar for bar in bars if bar.startswith("deleted: 620 sessions")] != []
    assert "so far" not in shown


def read_all(terminal: int) -> str:
    """What is shown on a terminal until nobody has it open any more."""
    parts: list[bytes] = []
    with open(terminal, "rb", buffering=0) as stream, contextlib.suppress(OSError):
        # Linux tells the end by an error.
        while part := stream.read(4096):
            parts.append(part)
    return b"".join(parts).decode("utf-8")


def test_dry_run_and_limit(namespace: str) -> None:
    """A dry run deletes nothing; a limit is kept."""
    dry = run("--namespace", namespace, "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, "620 sessions would be deleted\n")
    limited = run("--namespace", namespace, "--limit", "600")
    assert (limited.returncode, limited.stdout) == (0, "600 sessions deleted\n")
    assert len(entities.names_of(namespace=namespace)) == 21


@pytest.mark.usefixtures("emulator")
def test_kind_and_place() -> None:
    """Kind, project and namespace are those of the arguments."""
    namespace = "ns-" + uuid.uuid4().hex
    for kind in ("Session", "ShopSession"):
        entities.put_aged({"old": NOW - 40 * DAY}, kind=kind, namespace=namespace)
    for arguments in (["--project", "other"], ["--namespace", "other"]):
        place = ["--kind", "ShopSession", "--namespace", namespace, *arguments]
        assert run(*place).stdout == "0 sessions deleted\n"
    assert run("--kind", "ShopSession", "--namespace", namespace).stdout == "1 session deleted\n"
    assert entities.names_of("Session", namespace) == {"old"}


@pytest.mark.usefixtures("firestore")  # a query of the other emulator finds all databases
def test_database() -> None:
    """The database is that of the arguments."""
    namespace = "ns-" + uuid.uuid4().hex
    entities.put_aged({"old": NOW - 40 * DAY}, namespace=namespace)
    done = run("--namespace", namespace, "--database", "other")
    assert (done.returncode, done.stdout) == (0, "0 sessions deleted\n")
    assert entities.names_of(namespace=namespace) == {"old"}


def test_namespace_that_is_refused(emulator: Emulator) -> None:
    """What the service refuses is one line and exit code 1."""
    done = run("--namespace", "a b")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: datastore backend at {emulator.address}: it refused (InvalidArgument); "
        "0 sessions deleted so far\n"
    )
