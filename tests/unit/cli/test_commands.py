"""keygen, decode and check: what they write, and how they end."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.modules import modules_in
from support.stores import NOW, sign, sign_payload, sign_with
from support.visits import SECRET

import webapp2_sessions
from webapp2_sessions.cli import main
from webapp2_sessions.cli import output as cli_output
from webapp2_sessions.securecookie.cookie_data import CookieData
from webapp2_sessions.securecookie.keys import weakness
from webapp2_sessions.sessions.encrypted import EncryptedCookieSerializer

Output = pytest.CaptureFixture[str]

#: Processes start here, and so use the installed package and not the checkout.
HOME = Path(webapp2_sessions.__file__).parents[1]

#: Seconds after which a command that hangs is a failure.
PATIENCE = 60.0

KEY = SECRET
CONFIG = {"secret_key": KEY, "session_max_age": 3600}
SID = "0123456789abcdefghijAB"


def signed(data: Any, name: str = "session", key: str = KEY) -> str:
    """A cookie's value, signed at `NOW`."""
    return sign(name, data, NOW, key)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a minute after `NOW`."""
    monkeypatch.setattr("time.time", lambda: float(NOW + 60))


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Writes a configuration, and returns its name for commands."""
    monkeypatch.chdir(tmp_path)
    with modules_in(tmp_path) as write:
        yield lambda **values: write(f"CONFIG = { ({**CONFIG, **values})!r}") + ":CONFIG"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Sets what is on the standard input."""

    def type_in(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))

    return type_in


def shown(output: Output) -> dict[str, str]:
    """The rows of a table, by their labels; JSON without its line breaks."""
    rows: dict[str, str] = {}
    for line in output.readouterr().out.splitlines():
        label, _, text = line.partition("  ")
        if label:
            rows[label] = text.strip()
        else:
            rows[[*rows][-1]] += text.strip()
    return rows


# keygen


@pytest.mark.parametrize(("arguments", "size"), [([], 32), (["--bytes", "16"], 16)])
def test_keygen(capsys: Output, arguments: list[str], size: int) -> None:
    """A good key, another one each time, and nothing else."""
    for _ in range(2):
        assert main(["keygen", *arguments]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert (len(bytes.fromhex(first)), weakness(first)) == (size, None)
    assert first != second


@pytest.mark.parametrize("size", ["15", "1025", "-1", "x", "", "3.5", "99999"])
def test_keygen_size(capsys: Output, size: str) -> None:
    """Neither a weak key nor one that is absurd."""
    with pytest.raises(SystemExit) as caught:
        main(["keygen", "--bytes", size])
    assert caught.value.code == 2
    assert f"{size!r} is no number from 16 to 1024" in capsys.readouterr().err


# decode


def test_decode(capsys: Output) -> None:
    """What is in a cookie can be seen without a key."""
    attributes = {"max_age": 90, "began": NOW - 7200}
    value = sign_with("session", {"user": 5}, attributes, NOW, KEY)
    assert main(["decode", f"Set-Cookie: session={value}; Path=/"]) == 0
    assert shown(capsys) == {
        "cookie": "session",
        "kind": "signed: the session itself, which the visitor can read",
        "signed": "2017-07-14T02:40:00Z, 60 seconds ago",
        "began": "2017-07-14T00:40:00Z, 2 hours ago",
        "max age": "90 seconds, as the cookie says itself",
        "size": f"{len(f'session={value}; Path=/')} bytes, "
        f"{len(json.dumps([{'user': 5}, attributes], separators=(',', ':')))} of them data as JSON",
        "digest": "sha1, by its length",
        "data": '{"user": 5}',
    }


KINDS = {
    "signed: the id of a stored session": signed({"_sid": SID}),
    "signed: the session itself, which the visitor can read": sign_with(
        "session", {"_sid": SID}, {"is_data": True}
    ),
    "signed: the id of a stored session, which was too large for the cookie": sign_with(
        "session", {}, {"spilled": SID}
    ),
    "encrypted: the session itself, which the visitor cannot read": EncryptedCookieSerializer(KEY)
    .serialize("session", {"user": 5})
    .decode("ascii"),
    "a bare session id, which is no cookie; see the command show": SID,
}


@pytest.mark.parametrize(("kind", "value"), KINDS.items(), ids=list(KINDS))
def test_decode_kind(capsys: Output, kind: str, value: str) -> None:
    """Each kind is told."""
    assert main(["decode", value]) == 0
    assert shown(capsys)["kind"] == kind


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"is_data": True}, "the session itself, which the visitor cannot read"),
        ({"spilled": SID}, "the id of a stored session, which was too large for the cookie"),
    ],
)
def test_decode_encrypted_kind(
    capsys: Output, config: Callable[..., str], attributes: dict[str, Any], kind: str
) -> None:
    """With the key it is told whether an encrypted cookie leads to a server."""
    held = CookieData({"_sid": SID}, attributes)
    value = EncryptedCookieSerializer(KEY).serialize("session", held).decode("ascii")
    assert main(["decode", value, "--config", config()]) == 0
    assert shown(capsys)["kind"] == f"encrypted: {kind}"


def test_decode_no_session_cookie(capsys: Output) -> None:
    """The reason is told, with an exit code."""
    assert main(["decode", "theme=dark"]) == 1
    assert shown(capsys) == {
        "cookie": "theme",
        "kind": "no session cookie: it is no encrypted token, and a signed value has 3 parts, "
        "not 1",
        "size": "10 bytes",
    }


def test_decode_by_a_configuration(capsys: Output, config: Callable[..., str]) -> None:
    """Which key, and how long it is accepted."""
    name = config(secret_key="a new key, long and random", secret_key_fallbacks=[KEY])
    assert main(["decode", signed({"user": 5}), "--config", name]) == 0
    rows = shown(capsys)
    assert (rows["key"], rows["accepted"]) == (
        "secret_key_fallbacks[0], sha1",
        "until 2017-07-14T03:40:00Z, in 59 minutes, by session_max_age",
    )


def test_decode_without_an_end(capsys: Output, config: Callable[..., str]) -> None:
    """That there is none is told too."""
    assert main(["decode", signed({}), "--config", config(session_max_age=None)]) == 0
    assert shown(capsys)["accepted"] == "without an end: session_max_age is None"


def test_decode_refused(capsys: Output, config: Callable[..., str]) -> None:
    """What an application would not accept is exit code 1, with the reason."""
    assert main(["decode", signed({}), "--config", config(session_max_age=59)]) == 1
    assert shown(capsys)["refused"] == "it is too old, by session_max_age"


def test_decode_encrypted(
    capsys: Output, config: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key the contents are shown, however the key is given."""
    value = EncryptedCookieSerializer(KEY).serialize("session", {"user": 5}).decode("ascii")
    monkeypatch.setenv("THE_KEY", KEY)
    for arguments in (["--config", config()], ["--secret-key-env", "THE_KEY"]):
        assert main(["decode", value, "--name", "session", *arguments]) == 0
        assert shown(capsys)["data"] == '{"user": 5}'


@pytest.mark.parametrize("value", [None, ""])
def test_decode_without_the_key(
    capsys: Output, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """A variable that is not set is an error of use."""
    monkeypatch.delenv("THE_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("THE_KEY", value)
    assert main(["decode", SID, "--secret-key-env", "THE_KEY"]) == 2
    assert capsys.readouterr().err == "error: --secret-key-env: THE_KEY is not set or empty\n"


def test_decode_from_the_standard_input(capsys: Output, typed: Callable[[bytes], None]) -> None:
    """A whole response; of the cookies those of ours are shown."""
    typed(
        f"HTTP/1.1 200\r\nSet-Cookie: a=1\r\nSet-Cookie: b={signed({})}\r\n\r\n\xe9".encode(
            "latin-1"
        )
    )
    assert main(["decode", "-"]) == 0
    assert shown(capsys)["cookie"] == "b"


def test_decode_on_a_terminal(
    capsys: Output, typed: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to be typed is asked for, and one line is read."""
    typed(f"{signed({'user': 5})}\nmore".encode())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert main(["decode", "-"]) == 0
    out, err = capsys.readouterr()
    assert (err, '"user": 5' in out) == ("COOKIE: ", True)


def test_decode_by_name(capsys: Output) -> None:
    """Of several cookies one is chosen."""
    header = f"Cookie: a={signed({'n': 1}, 'a')}; b={signed({'n': 2}, 'b')}; c=1"
    assert main(["decode", header]) == 0
    assert capsys.readouterr().out.count("data") == 4  # and twice in "of them data as JSON"
    assert main(["decode", header, "--name", "b"]) == 0
    assert shown(capsys)["data"] == '{"n": 2}'
    assert main(["decode", header, "--name", "x"]) == 2
    assert capsys.readouterr().err == "error: COOKIE: has no cookie of the name 'x'\n"


def test_decode_as_json(capsys: Output, config: Callable[..., str]) -> None:
    """For programs: everything under one name."""
    value = signed({"user": "J\xf6rg"})
    arguments = ["decode", f"session={value}; Path=/", "--json"]
    assert main([*arguments, "--config", config()]) == 0
    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text) == {
        "cookies": [
            {
                "name": "session",
                "kind": "signed",
                "problem": None,
                "data": {"user": "J\xf6rg"},
                "signed_at": NOW,
                "age": 60,
                "max_age": None,
                "began": None,
                "size": len(arguments[1]),
                "size_limit": 4093,
                "payload_size": 20,
                "attributes": ["Path=/"],
                "digest": "sha1",
                "key": "secret_key",
                "refused": None,
                "expires_at": NOW + 3600,
                "expires_by": "session_max_age",
            }
        ]
    }


def test_decode_too_large(capsys: Output, config: Callable[..., str]) -> None:
    """A cookie that browsers drop is told of."""
    value = signed({"text": "x" * 4000})
    assert main(["decode", value, "--config", config()]) == 0
    assert shown(capsys)["size"].endswith("; browsers drop it above 4093")


@pytest.mark.parametrize("timestamp", [-(10**30), 10**30, NOW + 3600])
def test_decode_a_strange_time(capsys: Output, timestamp: int) -> None:
    """Times that no calendar has, and those to come."""
    assert main(["decode", sign("session", {}, timestamp)]) == 0
    assert shown(capsys)["signed"] != ""


NUMBERS = ["9" * 400, "-" + "9" * 400, "9" * 4300, "-" + "9" * 4300, "-5", "0", "NaN", "1e999"]


def held(number: str) -> str:
    """A cookie that holds a number wherever it can."""
    keys = ("text", "__max_age__", "__began__")
    data = "{{{}}}".format(",".join(f'"{key}":{number}' for key in keys))
    return sign_payload("session", base64.b64encode(data.encode()), secret=KEY)


def timed(number: str) -> str:
    """A cookie that was signed at that time."""
    return sign_payload("session", base64.b64encode(b"{}"), number.encode(), KEY)


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("is_judged", [False, True])
@pytest.mark.parametrize("made", [held, timed])
@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{number[:4]}_{len(number)}")
def test_decode_numbers_of_any_size(
    capsys: Output,
    config: Callable[..., str],
    number: str,
    made: Callable[[str], str],
    is_judged: bool,
    options: list[str],
) -> None:
    """There is an answer or a line that says why not, and what is for programs is JSON."""
    judge = ["--config", config(absolute_max_age=7200.5)] if is_judged else []
    code = main(["decode", made(number), *judge, *options])
    out, err = capsys.readouterr()
    if err:
        assert (code, out, err.startswith("error: "), err.count("\n")) == (1, "", True, 1)
    elif options:
        json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    else:
        assert max(map(len, out.splitlines())) < 120 or made is held


def test_decode_says_how_far_a_time_is(capsys: Output) -> None:
    """Not by 400 digits."""
    assert main(["decode", timed("9" * 400)]) == 0
    assert shown(capsys)["signed"] == "after the year 9999, in more than 10000 years"
    assert main(["decode", timed("-" + "9" * 400)]) == 0
    assert shown(capsys)["signed"] == "before the year 1, more than 10000 years ago"


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("depth", [100, 300, 500, 800, 5000, 100_000])
def test_decode_depths(capsys: Output, depth: int, options: list[str]) -> None:
    """What is deep is shown, called unknown, or said to be too deep."""
    payload = base64.b64encode(b"[" * depth + b"]" * depth)
    code = main(["decode", sign_payload("session", payload), *options])
    out, err = capsys.readouterr()
    assert (code, bool(out), err) in [
        (0, True, ""),
        (1, True, ""),
        (1, False, "error: the value is nested too deeply to be shown\n"),
    ]
    if depth == 100:
        assert code == 0


LARGE = {
    "newlines": b"\n" * 1_000_000,
    "lines": b" \t> \r\n" * 150_000,
    "spaces": b"Cookie" + b" " * 1_000_000 + b"x",
    "spaces of other kinds": b"\x0b\x0c\r\xc2\xa0" * 200_000,
    "pipes": b"|" * 1_000_000,
    "quotes": b'Cookie: a="' + b'\\"' * 500_000,
    "padding": b"a=" + b"=" * 1_000_000,
}


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE)
def test_decode_a_large_text(text: bytes) -> None:
    """As much as is read of the standard input takes no hour."""
    command = [sys.executable, "-W", "ignore", "-m", "webapp2_sessions", "decode", "-"]
    finished = subprocess.run(
        command, cwd=HOME, input=text, capture_output=True, timeout=PATIENCE, check=False
    )
    assert (finished.returncode in (1, 2), b"Traceback" in finished.stderr) == (True, False)


def test_decode_without_a_standard_input(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a service runs a command and has closed it."""
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["decode", "-"]) == 2
    assert main(["delete", "-", "--config", "a:b"]) == 2
    assert capsys.readouterr().err.startswith("error: COOKIE: is empty\nerror: --yes: is needed")


def test_decode_is_safe_for_a_terminal(capsys: Output) -> None:
    """Whoever made the cookie does not command the terminal that shows it."""
    hostile = "\x1b[31m\x9b31m\u202e\x7f\r\ud800"
    assert main(["decode", f"a\x1b={signed({'text': hostile, hostile: 1})}"]) == 0
    out = capsys.readouterr().out
    assert [each for each in out if not each.isprintable() and each != "\n"] == []
    assert "\\u001b[31m\\u009b31m\\u202e\\u007f\\r\\ud800" in out


@pytest.mark.parametrize("cookie", ["-", "", " \n"])
def test_decode_nothing(capsys: Output, typed: Callable[[bytes], None], cookie: str) -> None:
    """Neither a traceback nor silence."""
    typed(b"")
    assert main(["decode", cookie]) == 2
    assert capsys.readouterr().err == "error: COOKIE: is empty\n"


# check


GOOD: dict[str, Any] = {
    "digest": "sha256",
    "cookie_name": "__Host-session",
    "cookie_args": {"path": "/", "secure": True, "httponly": True, "samesite": "lax"},
    "on_oversize": "raise",
}


def test_check_nothing_to_say(capsys: Output, config: Callable[..., str]) -> None:
    """A configuration may be good."""
    assert main(["check", config(**GOOD), "--strict"]) == 0
    assert capsys.readouterr().out == "nothing to improve\n"


def test_check(capsys: Output, config: Callable[..., str]) -> None:
    """One line each, the gravest first, and their number."""
    name = config(**{**GOOD, "digest": "sha1", "on_oversize": ""}, sesion_max_age=5, secure=True)
    assert main(["check", name]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "error: on_oversize: must be 'warn', 'raise' or a keyword of 'backends', not ''",
        "warning: sesion_max_age: is no key of this package and has no effect; did you mean "
        "'session_max_age'?",
        "warning: secure: has no effect here; it belongs into 'cookie_args'",
        "advice: digest: is 'sha1', as webapp2_extras signs; 'sha256' is what policies ask for",
        "1 error, 2 warnings, 1 piece of advice",
    ]


@pytest.mark.parametrize(
    ("values", "code", "strict"),
    [
        ({}, 0, 0),
        ({"digest": "sha1"}, 0, 1),
        ({"session_max_age": None}, 1, 1),
        ({"digest": "md5"}, 1, 1),
    ],
    ids=["nothing", "advice", "warning", "error"],
)
def test_check_codes(config: Callable[..., str], values: Any, code: int, strict: int) -> None:
    """Errors and warnings are failures; advice is one for those who say so."""
    name = config(**{**GOOD, **values})
    assert (main(["check", name]), main(["check", name, "--strict"])) == (code, strict)


def test_check_as_json(capsys: Output, config: Callable[..., str]) -> None:
    """For programs."""
    name = config(**{**GOOD, "session_max_age": "60"})
    assert main(["check", name, "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "config": name,
        "findings": [
            {
                "severity": "error",
                "key": "session_max_age",
                "text": "must be a number of seconds or None, not str",
            }
        ],
    }


@pytest.mark.parametrize(
    "name", ["nowhere_to_be_found:CONFIG", "shop", "json:loads", "json:nothing"]
)
def test_check_of_nothing(capsys: Output, name: str) -> None:
    """A configuration that is not there is an error of use, in one line."""
    assert main(["check", name]) == 2
    out, err = capsys.readouterr()
    assert (out, err.startswith("error: "), err.count("\n")) == ("", True, 1)


def test_check_of_servers(capsys: Output, config: Callable[..., str]) -> None:
    """Those that are configured are asked, others where they are named, or none."""
    server = {"servers": ["127.0.0.1:1"], "timeout": 0.5}
    line = "error: memcache: memcache backend at 127.0.0.1:1: the server refused the connection"
    name = config(**GOOD, serializer="json", memcache=server)
    assert main(["check", name]) == 1
    assert capsys.readouterr().out.splitlines() == [line, "1 error"]
    assert main(["check", name, "--offline"]) == 0


# All commands


SECRETS = [
    (["decode", signed({}), signed({"again": 1})], "unrecognized arguments: too many"),
    (["decode", "x", f"--cookie={SID}"], "unrecognized arguments: --cookie"),
    (["decode", "x", f"--cookie|{SID}"], "unrecognized arguments: --cookie"),
    (["decode", "x", f"--json={SID}"], "argument --json: takes no value"),
    ([signed({})], "argument COMMAND: unknown (choose from "),
    (["show", SID, SID, "--config", "a:b"], "unrecognized arguments: too many"),
    (["show", SID, "--config", "nowhere_to_be_found:b"], "No module named"),
    (["delete", SID, "--yes", "--config", "nowhere_to_be_found:b"], "No module named"),
]


@pytest.mark.parametrize(("arguments", "message"), SECRETS)
def test_errors_show_no_secrets(capsys: Output, arguments: list[str], message: str) -> None:
    """Neither cookies nor ids, also where the arguments are wrong."""
    try:
        code: Any = main(arguments)
    except SystemExit as caught:
        code = caught.code
    out, err = capsys.readouterr()
    assert (code, out, message in err) == (2, "", True)
    assert [each for each in (SID, signed({}), signed({"again": 1})) if each in err] == []


def test_errors_are_safe_for_a_terminal(capsys: Output) -> None:
    """Whatever the arguments are."""
    hostile = "\x1b[31m\udcff"
    for arguments in (
        [f"--{hostile}"],
        ["decode", "x", f"--a{hostile}"],
        ["decode", "x", "--name", hostile],
        ["decode", "x", "--secret-key-env", hostile],
        ["check", f"a{hostile}:b"],
        ["show", "x", "--config", f"a{hostile}:b"],
        ["keygen", "--bytes", hostile],
        ["purge", "--older-than", hostile],
        [hostile],
    ):
        try:
            code: Any = main(arguments)
        except SystemExit as caught:
            code = caught.code
        out, err = capsys.readouterr()
        assert (code == 0, "\x1b" in out + err) == (False, False)


class Terminal(io.StringIO):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


@pytest.mark.parametrize(
    ("variable", "value", "coloured"),
    [("X", "", True), ("NO_COLOR", "1", False), ("TERM", "dumb", False), ("NO_COLOR", "", True)],
)
def test_colours(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, coloured: bool
) -> None:
    """On a terminal only, and there not where they are not wanted."""
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    terminal = Terminal()
    assert (cli_output.style("x", "error", terminal) != "x") is coloured
    assert cli_output.style("x", "error", io.StringIO()) == "x"


def test_interrupt(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while something is typed is a line and an exit code."""

    def interrupted(*_: Any) -> str:
        raise KeyboardInterrupt()

    monkeypatch.setattr("webapp2_sessions.cli.cookies.read_secret", interrupted)
    assert main(["decode", "-"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


# Processes


def command(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """A Python process in which the command runs, with pipes."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    line = [sys.executable, "-W", "ignore", "-m", "webapp2_sessions", *arguments]
    return subprocess.Popen(line, cwd=HOME, **{**pipes, **options})


def test_script() -> None:
    """The package installs a command of its own name."""
    script = Path(sys.executable).with_name("webapp2-sessions")
    done = subprocess.run([script, "keygen"], capture_output=True, timeout=PATIENCE, check=True)
    assert (len(done.stdout), done.stderr) == (65, b"")


def test_module() -> None:
    """Called by Python, the usage says so."""
    with command("--help") as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, b"")
    assert out.startswith(b"usage: python -m webapp2_sessions")


def test_reader_that_goes_away() -> None:
    """As with `| head`: silence, and an exit code as that of a signal."""
    with command("decode", "-") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(signed({"user": 5}).encode(), timeout=PATIENCE)
    assert (process.returncode, err) == (141, b"")


def test_output_that_is_ascii() -> None:
    """Characters that the terminal lacks are escaped."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with command("decode", signed({"user": "J\xf6rg"}), env=environment) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err, b"J\\xf6rg" in out) == (0, b"", True)


def test_commands_need_no_library() -> None:
    """Cookies are decoded where nothing but webapp2 is installed."""
    libraries = ("google.cloud.ndb", "grpc", "pymemcache", "tqdm", "cryptography")
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({libraries!r}));"
        f"from webapp2_sessions.cli import main; sys.exit(main(['decode', {signed({})!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=HOME,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
