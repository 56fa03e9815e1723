"""Commands check their arguments, show how far they are, and end with the right code."""

from __future__ import annotations

import contextlib
import datetime
import io
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import entities
from support.servers import PROJECT, PROXY_VARIABLES

import webapp2_sessions
from webapp2_sessions.cli import main
from webapp2_sessions.cli import purge as cli_purge
from webapp2_sessions.errors import BackendUnavailable, ConfigError
from webapp2_sessions.sessions_ndb import purging

#: Seconds after which a command that hangs is a failure.
PATIENCE = 60.0

#: Processes start here, and so use the installed package and not the checkout.
HOME = Path(webapp2_sessions.__file__).parents[1]

OLD = ("purge", "--older-than", "31d")


class Purge:
    """Stands in for purge_sessions(): goes through pages and may end with an error."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.counts: list[int] = []
        self.error: BaseException | None = None

    def __call__(self, older_than: datetime.timedelta, **options: Any) -> int:
        self.calls.append({"older_than": older_than, **options})
        for count in self.counts:
            options["progress"](count)
        if self.error is not None:
            raise self.error
        return self.counts[-1] if self.counts else 0


@pytest.fixture
def purge(monkeypatch: pytest.MonkeyPatch) -> Purge:
    """In place of the real one."""
    purge = Purge()
    monkeypatch.setattr(purging, "purge_sessions", purge)
    return purge


class Terminal(io.StringIO):
    """A standard stream that is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


Output = pytest.CaptureFixture[str]

# Arguments


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45s", 45),
        ("90m", 5400),
        ("12h", 43_200),
        ("30d", 2_592_000),
        ("2w", 1_209_600),
        ("86400", 86_400),
        ("1.5h", 5400),
        ("0", 0),
    ],
)
def test_duration(purge: Purge, text: str, seconds: float) -> None:
    """A duration is a number and a unit; without a unit it is seconds."""
    assert main(["purge", "--yes", "--older-than", text]) == 0
    assert purge.calls[0]["older_than"] == datetime.timedelta(seconds=seconds)


WRONG = [
    *(["--older-than", text] for text in ("", "d", "1y", "-1d", "1 d", "1d2h", "inf", "1e9", "٣d")),
    ["--older-than", "999999999w"],
    *(["--limit", text] for text in ("0", "-1", "1.5", "all", "")),
    *(["--timeout", text] for text in ("0", "-1", "nan", "")),
    ["--kind", ""],
    ["--unknown"],
    ["--older", "1d"],
]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_argument(purge: Purge, capsys: Output, arguments: list[str]) -> None:
    """A wrong argument is named, with exit code 2, and nothing is done."""
    with pytest.raises(SystemExit) as caught:
        main([*OLD, *arguments])
    assert (caught.value.code, purge.calls) == (2, [])
    assert arguments[0] in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("arguments", [[], ["purge"], ["sweep"]], ids=str)
def test_missing_argument(purge: Purge, capsys: Output, arguments: list[str]) -> None:
    """A command, and how old is old, have to be given."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert (caught.value.code, purge.calls) == (2, [])
    assert "usage: webapp2-sessions" in capsys.readouterr().err


def test_defaults_are_the_environments(purge: Purge) -> None:
    """A place that is not given is not in the configuration, so that the environment decides."""
    main(OLD)
    (call,) = purge.calls
    assert call["config"] == {"datastore": {"timeout": 30}}
    assert (call["model"], call["limit"], call["dry_run"]) == (purging.Session, None, False)


def test_all_arguments(purge: Purge) -> None:
    """Each argument arrives."""
    places = ["--project", "p", "--namespace", "n", "--database", "d", "--timeout", "2.5"]
    main([*OLD, *places, "--limit", "7", "--dry-run"])
    (call,) = purge.calls
    assert call["config"]["datastore"] == {
        "project": "p",
        "namespace": "n",
        "database": "d",
        "timeout": 2.5,
    }
    assert (call["limit"], call["dry_run"]) == (7, True)


def test_kind(purge: Purge) -> None:
    """Another kind needs no model of the application."""
    with entities.kinds_restored():
        main([*OLD, "--kind", "ShopSession"])
        model = purge.calls[0]["model"]
        assert (model._get_kind(), issubclass(model, purging.Session)) == ("ShopSession", True)


@pytest.mark.parametrize("arguments", [["--help"], ["purge", "--help"]], ids=" ".join)
def test_help(capsys: Output, arguments: list[str]) -> None:
    """Help is printed, with an example."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    assert "webapp2-sessions " in capsys.readouterr().out


def test_examples_of_the_help(purge: Purge, capsys: Output) -> None:
    """The examples are commands that work."""
    with pytest.raises(SystemExit):
        main(["purge", "--help"])
    lines = re.findall(r"^  webapp2-sessions (.*)", capsys.readouterr().out, re.MULTILINE)
    assert [main(command.split()) for command in lines] == [0, 0, 0]


# Short durations

SHORT = ["0", "1", "3600", "31m", "23h", "0.9d"]


@pytest.mark.parametrize("text", SHORT)
def test_short_duration_is_asked_about(
    purge: Purge, capsys: Output, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """On a terminal; anything but yes means no."""
    for answer, code in (("y\n", 0), ("n\n", 1), ("", 1), ("31d\n", 1)):
        purge.calls.clear()
        terminal = Terminal(answer)
        monkeypatch.setattr(sys, "stdin", terminal)
        assert main(["purge", "--older-than", text]) == code
        assert len(purge.calls) == (code == 0)
        assert "ends sessions that are in use" in capsys.readouterr().err


@pytest.mark.parametrize("text", SHORT)
def test_short_duration_where_nobody_can_be_asked(
    purge: Purge, capsys: Output, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """It has to be said that it is meant, or it is only a look."""
    for stdin in (io.StringIO("y\n"), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        assert main(["purge", "--older-than", text]) == 2
        assert capsys.readouterr().err.startswith("error: --older-than: is less than a day")
        assert purge.calls == []
    assert main(["purge", "--older-than", text, "--dry-run"]) == 0
    assert main(["purge", "--older-than", text, "--yes"]) == 0
    assert [call["dry_run"] for call in purge.calls] == [True, False]


@pytest.mark.parametrize("text", ["1d", "24h", "86400", "31d"])
def test_longer_duration_is_not_asked_about(purge: Purge, capsys: Output, text: str) -> None:
    """Nor does it need --yes, as before."""
    assert main(["purge", "--older-than", text]) == 0
    assert (len(purge.calls), capsys.readouterr().err) == (1, "")


# Ends


@pytest.mark.parametrize(
    ("counts", "options", "expected"),
    [
        ([], [], "0 sessions deleted"),
        ([1], [], "1 session deleted"),
        ([500, 620], [], "620 sessions deleted"),
        ([500, 620], ["--dry-run"], "620 sessions would be deleted"),
    ],
)
def test_result(
    purge: Purge, capsys: Output, counts: list[int], options: list[str], expected: str
) -> None:
    """The standard output has one line, with the number."""
    purge.counts = counts
    assert main([*OLD, *options]) == 0
    assert capsys.readouterr().out == f"{expected}\n"


ENDS = [
    (
        BackendUnavailable("datastore", "here", "it failed"),
        1,
        "error: datastore backend at here: it failed; 500 sessions deleted so far",
    ),
    (ConfigError("key", "is wrong"), 2, "error: key: is wrong; 500 sessions deleted so far"),
    (
        KeyboardInterrupt(),
        130,
        "interrupted: 500 sessions deleted so far; run the command again to go on",
    ),
]


@pytest.mark.parametrize(("error", "code", "line"), ENDS, ids=["backend", "usage", "interrupt"])
def test_end_in_the_middle(
    purge: Purge, capsys: Output, error: BaseException, code: int, line: str
) -> None:
    """The last line on the standard error tells what happened and the number so far."""
    purge.counts, purge.error = [500], error
    assert main(OLD) == code
    output = capsys.readouterr()
    assert (output.out, output.err.splitlines()[-1]) == ("", line)


def test_error_of_ours_is_not_hidden(purge: Purge) -> None:
    """What is no error of a backend has its traceback."""
    purge.error = AssertionError()
    with pytest.raises(AssertionError):
        main(OLD)


# Progress


def test_lines_come_every_few_seconds(
    purge: Purge, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal the first page and then one page in five seconds has a line."""
    times = iter([100.0, 100.0, 103.0, 105.0, 105.0, 109.0, 110.5, 110.5])
    monkeypatch.setattr(cli_purge, "_monotonic", lambda: next(times))
    purge.counts = [1, 2, 3, 4, 5]
    main(OLD)
    assert capsys.readouterr().err.splitlines() == [
        "1 session deleted so far",
        "3 sessions deleted so far",
        "5 sessions deleted so far",
    ]


def on_terminal(*arguments: str) -> str:
    """What a command shows on a terminal."""
    with contextlib.redirect_stderr(Terminal()) as terminal:
        main(arguments)
    return terminal.getvalue()


def test_bar(purge: Purge, capsys: Output) -> None:
    """On a terminal there is a bar, which ends at the number."""
    purge.counts = [500, 620]
    last = on_terminal(*OLD).rstrip().rpartition("\r")[2]
    assert last.startswith("deleted: 620 sessions")
    assert capsys.readouterr().out == "620 sessions deleted\n"


def test_bar_has_the_limit(purge: Purge) -> None:
    """With a limit it is known how long the bar can get."""
    purge.counts = [500]
    assert "500/1000" in on_terminal(*OLD, "--limit", "1000")


def test_bar_is_closed_before_an_error(purge: Purge) -> None:
    """The message has a line of its own below the bar."""
    purge.counts, purge.error = [500], BackendUnavailable("datastore", "here", "it failed")
    assert on_terminal(*OLD).splitlines()[-1].startswith("error: datastore backend")


def test_terminal_without_tqdm(purge: Purge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library for bars there are lines."""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    purge.counts = [500]
    assert on_terminal(*OLD) == "500 sessions deleted so far\n"


# Processes


def command(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """A Python process in which the command runs, with pipes."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": HOME}
    # Without the warnings with which Google's libraries greet some versions of Python.
    return subprocess.Popen([sys.executable, "-W", "ignore", *arguments], **{**pipes, **options})


PURGE = ("-m", "webapp2_sessions", *OLD)


#: Runs Python with the arguments that follow. Whoever started the tests may ignore Ctrl-C, which
#: is inherited. A preexec_fn would fork, and gRPC ends some children of a process that used it.
HEEDS_CTRL_C = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-W", "ignore", *sys.argv[1:]])
"""


def without(*libraries: str, arguments: tuple[str, ...]) -> tuple[int, str]:
    """Exit code and standard error of the command where these libraries are not installed."""
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({libraries!r}));"
        f"from webapp2_sessions.cli import main; sys.exit(main({arguments!r}))"
    )
    with command("-c", program) as process:
        _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, err


def test_help_needs_no_library() -> None:
    """Help works where neither google-cloud-ndb nor tqdm is installed."""
    libraries = ("google.cloud.ndb", "grpc", "tqdm")
    assert without(*libraries, arguments=("purge", "--help")) == (0, "")


def test_missing_library() -> None:
    """Without google-cloud-ndb the command fails with what to install, in one line."""
    assert without("google.cloud.ndb", arguments=OLD) == (
        1,
        "error: google-cloud-ndb is not installed; the datastore backend needs it: pip install "
        "'webapp2_sessions[datastore]'; 0 sessions deleted so far\n",
    )


@pytest.fixture
def emulator_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Points the environment to an emulator."""

    def point(address: str) -> None:
        for variable in PROXY_VARIABLES:
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("DATASTORE_EMULATOR_HOST", address)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)

    return point


def test_interrupt_from_outside(emulator_at: Callable[[str], None]) -> None:
    """Ctrl-C while the service is silent ends the command at once, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        emulator_at(f"127.0.0.1:{silent.getsockname()[1]}")
        with command("-c", HEEDS_CTRL_C, *PURGE, "--timeout", "600") as process:
            connection, _ = silent.accept()  # the command is in its first request
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
            connection.close()
    assert (process.returncode, out) == (130, "")
    assert err == "interrupted: 0 sessions deleted so far; run the command again to go on\n"


def test_service_that_is_silent(
    emulator_at: Callable[[str], None], capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that is silent to the end of all timeouts is one line and exit code 1."""
    monkeypatch.setattr(purging, "_PAUSES", (0.0, 0.0))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        emulator_at(address)
        assert main([*OLD, "--timeout", "0.1"]) == 1
    assert capsys.readouterr().err == (
        f"error: datastore backend at {address}: it did not answer within 0.1 s; "
        "0 sessions deleted so far\n"
    )


def test_no_project() -> None:
    """Where no project is to be found, the error tells what to set, with exit code 2."""
    environment = {"DATASTORE_EMULATOR_HOST": "127.0.0.1:1", "NO_GCE_CHECK": "true"}
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with command(*PURGE, env={**kept, **environment, "CLOUDSDK_CONFIG": os.devnull}) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert err == (
        "error: datastore['project']: is not set and not found in the environment; set it, or "
        "GOOGLE_CLOUD_PROJECT; 0 sessions deleted so far\n"
    )
