"""Commands check their arguments, show how far they are, and end with the right code."""

from __future__ import annotations

import contextlib
import datetime
import io
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from support import entities
from support.servers import PROJECT, PROXY_VARIABLES

from webapp2_sessions.cli import purge as cli_purge
from webapp2_sessions.errors import BackendUnavailable, ConfigError
from webapp2_sessions.sessions_ndb import purging

#: Seconds after which a command that hangs is a failure.
PATIENCE = 60.0

OLD = ("purge", "--older-than", "31d")

Run = Callable[..., Any]


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
def test_duration_is_a_number_and_a_unit_or_seconds(
    purge: Purge, run: Run, text: str, seconds: float
) -> None:
    assert run("purge", "--yes", "--older-than", text).code == 0
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
def test_wrong_argument_is_named_and_nothing_is_done(
    purge: Purge, run: Run, arguments: list[str]
) -> None:
    done = run(*OLD, *arguments)
    assert (done.code, purge.calls) == (2, [])
    assert arguments[0] in done.err.splitlines()[-1]


@pytest.mark.parametrize("arguments", [[], ["purge"], ["sweep"]], ids=str)
def test_command_and_how_old_is_old_have_to_be_given(
    purge: Purge, run: Run, arguments: list[str]
) -> None:
    done = run(*arguments)
    assert (done.code, purge.calls) == (2, [])
    assert "usage: webapp2-sessions" in done.err


def test_place_that_is_not_given_is_left_to_the_environment(purge: Purge, run: Run) -> None:
    run(*OLD)
    (call,) = purge.calls
    assert call["config"] == {"datastore": {"timeout": 30}}
    assert (call["model"], call["limit"], call["dry_run"]) == (purging.Session, None, False)


def test_each_argument_arrives(purge: Purge, run: Run) -> None:
    places = {"project": "p", "namespace": "n", "database": "d"}
    options = [text for name, value in places.items() for text in (f"--{name}", value)]
    run(*OLD, *options, "--timeout", "2.5", "--limit", "7", "--dry-run")
    (call,) = purge.calls
    assert call["config"]["datastore"] == {**places, "timeout": 2.5}
    assert (call["limit"], call["dry_run"]) == (7, True)


def test_another_kind_needs_no_model_of_the_application(purge: Purge, run: Run) -> None:
    with entities.kinds_restored():
        run(*OLD, "--kind", "ShopSession")
        model = purge.calls[0]["model"]
        assert (model._get_kind(), issubclass(model, purging.Session)) == ("ShopSession", True)


@pytest.mark.parametrize("arguments", [["--help"], ["purge", "--help"]], ids=" ".join)
def test_help_has_an_example(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.code, "webapp2-sessions " in done.out) == (0, True)


def test_examples_of_the_help_are_commands_that_work(purge: Purge, run: Run) -> None:
    text = run("purge", "--help").out
    lines = re.findall(r"^  webapp2-sessions (.*)", text, re.MULTILINE)
    assert [run(*line.split()).code for line in lines] == [0, 0, 0]


SHORT = ["0", "1", "3600", "31m", "23h", "0.9d"]


@pytest.mark.parametrize("text", SHORT)
@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("", 1), ("31d\n", 1)])
def test_short_duration_is_asked_about_on_a_terminal(
    purge: Purge,
    run: Run,
    terminal: Run,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    answer: str,
    code: int,
) -> None:
    """Anything but yes means no."""
    monkeypatch.setattr(sys, "stdin", terminal(answer))
    done = run("purge", "--older-than", text)
    assert (done.code, len(purge.calls)) == (code, code == 0)
    assert "ends sessions that are in use" in done.err


@pytest.mark.parametrize("text", SHORT)
def test_short_duration_has_to_be_confirmed_or_tried_where_nobody_can_be_asked(
    purge: Purge, run: Run, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    for stdin in (io.StringIO("y\n"), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        done = run("purge", "--older-than", text)
        assert (done.code, purge.calls) == (2, [])
        assert done.err.startswith("error: --older-than: is less than a day")
    assert run("purge", "--older-than", text, "--dry-run").code == 0
    assert run("purge", "--older-than", text, "--yes").code == 0
    assert [call["dry_run"] for call in purge.calls] == [True, False]


@pytest.mark.parametrize("text", ["1d", "24h", "86400", "31d"])
def test_longer_duration_is_not_asked_about(purge: Purge, run: Run, text: str) -> None:
    done = run("purge", "--older-than", text)
    assert (done.code, len(purge.calls), done.err) == (0, 1, "")


@pytest.mark.parametrize(
    ("counts", "options", "expected"),
    [
        ([], [], "0 sessions deleted"),
        ([1], [], "1 session deleted"),
        ([500, 620], [], "620 sessions deleted"),
        ([500, 620], ["--dry-run"], "620 sessions would be deleted"),
    ],
)
def test_standard_output_has_one_line_with_the_number(
    purge: Purge, run: Run, counts: list[int], options: list[str], expected: str
) -> None:
    purge.counts = counts
    done = run(*OLD, *options)
    assert (done.code, done.out) == (0, f"{expected}\n")


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
def test_end_in_the_middle_tells_what_happened_and_the_number_so_far(
    purge: Purge, run: Run, error: BaseException, code: int, line: str
) -> None:
    purge.counts, purge.error = [500], error
    done = run(*OLD)
    assert (done.code, done.out, done.err.splitlines()[-1]) == (code, "", line)


def test_error_of_the_program_is_not_hidden(purge: Purge, run: Run) -> None:
    purge.error = AssertionError()
    with pytest.raises(AssertionError):
        run(*OLD)


def test_without_a_terminal_a_line_comes_at_first_and_then_every_five_seconds(
    purge: Purge, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([100.0, 100.0, 103.0, 105.0, 105.0, 109.0, 110.5, 110.5])
    monkeypatch.setattr(cli_purge, "time", SimpleNamespace(monotonic=lambda: next(times)))
    purge.counts = [1, 2, 3, 4, 5]
    assert run(*OLD).err.splitlines() == [
        "1 session deleted so far",
        "3 sessions deleted so far",
        "5 sessions deleted so far",
    ]


@pytest.fixture
def on_terminal(run: Run, terminal: Run) -> Run:
    """Runs a command; returns what it shows on a terminal, and its standard output."""

    def on_terminal(*arguments: str) -> tuple[str, str]:
        with contextlib.redirect_stderr(terminal()) as shown:
            done = run(*arguments)
        return shown.getvalue(), done.out

    return on_terminal


def test_bar_ends_at_the_number(purge: Purge, on_terminal: Run) -> None:
    purge.counts = [500, 620]
    shown, out = on_terminal(*OLD)
    assert shown.rstrip().rpartition("\r")[2].startswith("deleted: 620 sessions")
    assert out == "620 sessions deleted\n"


def test_bar_has_the_limit(purge: Purge, on_terminal: Run) -> None:
    purge.counts = [500]
    shown, _ = on_terminal(*OLD, "--limit", "1000")
    assert "500/1000" in shown


def test_bar_is_closed_before_an_error(purge: Purge, on_terminal: Run) -> None:
    purge.counts, purge.error = [500], BackendUnavailable("datastore", "here", "it failed")
    shown, _ = on_terminal(*OLD)
    assert shown.splitlines()[-1].startswith("error: datastore backend")


def test_lines_take_the_place_of_the_bar_where_tqdm_is_missing(
    purge: Purge, on_terminal: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    purge.counts = [500]
    assert on_terminal(*OLD)[0] == "500 sessions deleted so far\n"


PURGE = ("-m", "webapp2_sessions", *OLD)

#: Runs Python with the arguments that follow. Whoever started the tests may ignore Ctrl-C, which
#: is inherited. A preexec_fn would fork, and gRPC ends some children of a process that used it.
WITH_CTRL_C = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-W", "ignore", *sys.argv[1:]])
"""


def test_help_needs_no_library(run_without: Run) -> None:
    done = run_without(("google.cloud.ndb", "grpc", "tqdm"), "purge", "--help")
    assert (done.code, done.err) == (0, "")


def test_missing_library_is_one_line_with_what_to_install(run_without: Run) -> None:
    assert run_without(("google.cloud.ndb",), *OLD) == (
        1,
        "",
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


def test_ctrl_c_while_the_service_is_silent_ends_the_command_at_once(
    start_python: Run, emulator_at: Callable[[str], None]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        emulator_at(f"127.0.0.1:{silent.getsockname()[1]}")
        with start_python("-c", WITH_CTRL_C, *PURGE, "--timeout", "600") as process:
            connection, _ = silent.accept()  # the command is in its first request
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
            connection.close()
    assert (process.returncode, out) == (130, "")
    assert err == "interrupted: 0 sessions deleted so far; run the command again to go on\n"


def test_service_that_is_silent_to_the_end_is_one_line(
    emulator_at: Callable[[str], None], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "_PAUSES", (0.0, 0.0))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        emulator_at(address)
        done = run(*OLD, "--timeout", "0.1")
    assert done == (
        1,
        "",
        f"error: datastore backend at {address}: it did not answer within 0.1 s; "
        "0 sessions deleted so far\n",
    )


def test_where_no_project_is_found_the_error_tells_what_to_set(run_python: Run) -> None:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {"DATASTORE_EMULATOR_HOST": "127.0.0.1:1", "NO_GCE_CHECK": "true"}
    done = run_python(*PURGE, env={**environment, "CLOUDSDK_CONFIG": os.devnull})
    assert done == (
        2,
        "",
        "error: datastore['project']: is not set and not found in the environment; set it, or "
        "GOOGLE_CLOUD_PROJECT; 0 sessions deleted so far\n",
    )
