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

from webapp2_sessions.cli import output as cli_output
from webapp2_sessions.securecookie.cookie_data import CookieData
from webapp2_sessions.securecookie.keys import weakness
from webapp2_sessions.sessions.encrypted import EncryptedCookieSerializer

Run = Callable[..., Any]
Config = Callable[..., str]
Typed = Callable[[bytes], None]

MODULE = ("-m", "webapp2_sessions")

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
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """Writes a configuration, and returns its name for commands."""
    monkeypatch.chdir(tmp_path)
    with modules_in(tmp_path) as write:
        yield lambda **values: write(f"CONFIG = { ({**CONFIG, **values})!r}") + ":CONFIG"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Sets what is on the standard input."""

    def type_in(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))

    return type_in


def encrypted(data: Any) -> str:
    """A cookie's value, encrypted now."""
    return EncryptedCookieSerializer(KEY).serialize("session", data).decode("ascii")


@pytest.mark.parametrize(("arguments", "size"), [([], 32), (["--bytes", "16"], 16)])
def test_keygen_writes_a_good_key_and_another_one_each_time(
    run: Run, arguments: list[str], size: int
) -> None:
    done = [run("keygen", *arguments) for _ in range(2)]
    first, second = (each.out.rstrip("\n") for each in done)
    assert (len(bytes.fromhex(first)), weakness(first)) == (size, None)
    assert first != second
    assert [each.code for each in done] == [0, 0]


@pytest.mark.parametrize("size", ["15", "1025", "-1", "x", "", "3.5", "99999"])
def test_keygen_refuses_a_weak_key_and_an_absurd_one(run: Run, size: str) -> None:
    done = run("keygen", "--bytes", size)
    assert done.code == 2
    assert f"{size!r} is no number from 16 to 1024" in done.err


def test_decode_shows_what_is_in_a_cookie_without_a_key(run: Run) -> None:
    attributes = {"max_age": 90, "began": NOW - 7200}
    value = sign_with("session", {"user": 5}, attributes, NOW, KEY)
    done = run("decode", f"Set-Cookie: session={value}; Path=/")
    assert done.code == 0
    assert done.rows == {
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
    "encrypted: the session itself, which the visitor cannot read": encrypted({"user": 5}),
    "a bare session id, which is no cookie; see the command show": SID,
}


@pytest.mark.parametrize(("kind", "value"), KINDS.items(), ids=list(KINDS))
def test_decode_tells_the_kind(run: Run, kind: str, value: str) -> None:
    done = run("decode", value)
    assert (done.code, done.rows["kind"]) == (0, kind)


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"is_data": True}, "the session itself, which the visitor cannot read"),
        ({"spilled": SID}, "the id of a stored session, which was too large for the cookie"),
    ],
    ids=["data", "spilled"],
)
def test_decode_tells_with_the_key_whether_an_encrypted_cookie_leads_to_a_server(
    run: Run, config: Config, attributes: dict[str, Any], kind: str
) -> None:
    done = run("decode", encrypted(CookieData({"_sid": SID}, attributes)), "--config", config())
    assert (done.code, done.rows["kind"]) == (0, f"encrypted: {kind}")


def test_decode_tells_why_something_is_no_session_cookie(run: Run) -> None:
    done = run("decode", "theme=dark")
    assert done.code == 1
    assert done.rows == {
        "cookie": "theme",
        "kind": "no session cookie: it is no encrypted token, and a signed value has 3 parts, "
        "not 1",
        "size": "10 bytes",
    }


NEW_KEY = {"secret_key": "a new key, long and random", "secret_key_fallbacks": [KEY]}
END = "until 2017-07-14T03:40:00Z, in 59 minutes, by session_max_age"


@pytest.mark.parametrize(
    ("values", "code", "rows"),
    [
        (NEW_KEY, 0, {"key": "secret_key_fallbacks[0], sha1", "accepted": END}),
        ({"session_max_age": None}, 0, {"accepted": "without an end: session_max_age is None"}),
        ({"session_max_age": 59}, 1, {"refused": "it is too old, by session_max_age"}),
    ],
    ids=["accepted", "without an end", "refused"],
)
def test_decode_tells_whether_an_application_accepts_the_cookie(
    run: Run, config: Config, values: Any, code: int, rows: dict[str, str]
) -> None:
    done = run("decode", signed({"user": 5}), "--config", config(**values))
    assert done.code == code
    assert rows.items() <= done.rows.items()


def test_decode_takes_the_key_from_a_configuration_or_the_environment(
    run: Run, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    for arguments in (["--config", config()], ["--secret-key-env", "THE_KEY"]):
        done = run("decode", encrypted({"user": 5}), "--name", "session", *arguments)
        assert (done.code, done.rows["data"]) == (0, '{"user": 5}')


@pytest.mark.parametrize("environment", [{}, {"THE_KEY": ""}], ids=["not set", "empty"])
def test_decode_without_the_key_is_an_error_of_use(
    run: Run, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    monkeypatch.setattr(os, "environ", environment)
    error = "error: --secret-key-env: THE_KEY is not set or empty\n"
    assert run("decode", SID, "--secret-key-env", "THE_KEY") == (2, "", error)


def test_decode_finds_session_cookies_in_a_whole_response(run: Run, typed: Typed) -> None:
    response = f"HTTP/1.1 200\r\nSet-Cookie: a=1\r\nSet-Cookie: b={signed({})}\r\n\r\n\xe9"
    typed(response.encode("latin-1"))
    done = run("decode", "-")
    assert (done.code, done.rows["cookie"]) == (0, "b")


def test_decode_asks_on_a_terminal_and_reads_one_line(
    run: Run, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(f"{signed({'user': 5})}\nmore".encode())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    done = run("decode", "-")
    assert (done.code, done.err, done.rows["data"]) == (0, "COOKIE: ", '{"user": 5}')


def test_decode_chooses_one_of_several_cookies_by_its_name(run: Run) -> None:
    header = f"Cookie: a={signed({'n': 1}, 'a')}; b={signed({'n': 2}, 'b')}; c=1"
    assert run("decode", header).out.count("data") == 4  # and twice in "of them data as JSON"
    assert run("decode", header, "--name", "b").rows["data"] == '{"n": 2}'
    error = "error: COOKIE: has no cookie of the name 'x'\n"
    assert run("decode", header, "--name", "x") == (2, "", error)


def test_decode_as_json(run: Run, config: Config) -> None:
    value = signed({"user": "J\xf6rg"})
    cookie = f"session={value}; Path=/"
    done = run("decode", cookie, "--json", "--config", config())
    assert done.code == 0
    assert done.out.isascii()
    assert json.loads(done.out) == {
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
                "size": len(cookie),
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


def test_decode_tells_of_a_cookie_that_browsers_drop(run: Run, config: Config) -> None:
    done = run("decode", signed({"text": "x" * 4000}), "--config", config())
    assert done.code == 0
    assert done.rows["size"].endswith("; browsers drop it above 4093")


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
def test_decode_shows_numbers_of_any_size(
    run: Run,
    config: Config,
    number: str,
    made: Callable[[str], str],
    is_judged: bool,
    options: list[str],
) -> None:
    """There is an answer or a line that says why not, and what is for programs is JSON."""
    judge = ["--config", config(absolute_max_age=7200.5)] if is_judged else []
    code, out, err = run("decode", made(number), *judge, *options)
    if err:
        assert (code, out, err.startswith("error: "), err.count("\n")) == (1, "", True, 1)
    elif options:
        json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    else:
        assert max(map(len, out.splitlines())) < 120 or made is held


@pytest.mark.parametrize(
    ("time", "text"),
    [
        ("9" * 400, "after the year 9999, in more than 10000 years"),
        ("-" + "9" * 400, "before the year 1, more than 10000 years ago"),
        (str(NOW + 3660), "2017-07-14T03:41:00Z, in 60 minutes"),
    ],
    ids=["future", "past", "hour"],
)
def test_decode_says_how_far_a_time_is(run: Run, time: str, text: str) -> None:
    """Not by 400 digits."""
    done = run("decode", timed(time))
    assert (done.code, done.rows["signed"]) == (0, text)


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("depth", [100, 300, 500, 800, 5000, 100_000])
def test_decode_shows_deep_values_or_says_why_not(run: Run, depth: int, options: list[str]) -> None:
    payload = base64.b64encode(b"[" * depth + b"]" * depth)
    done = run("decode", sign_payload("session", payload), *options)
    assert (done.code, bool(done.out), done.err) in [
        (0, True, ""),
        (1, True, ""),
        (1, False, "error: the value is nested too deeply to be shown\n"),
    ]
    if depth == 100:
        assert done.code == 0


LARGE = {
    "newlines": "\n" * 1_000_000,
    "lines": " \t> \r\n" * 150_000,
    "spaces": "Cookie" + " " * 1_000_000 + "x",
    "spaces of other kinds": "\x0b\x0c\r\xa0" * 200_000,
    "pipes": "|" * 1_000_000,
    "quotes": 'Cookie: a="' + '\\"' * 500_000,
    "padding": "a=" + "=" * 1_000_000,
}


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE)
def test_decode_of_a_large_text_takes_no_hour(run_python: Run, text: str) -> None:
    done = run_python(*MODULE, "decode", "-", text=text)
    assert (done.code in (1, 2), "Traceback" in done.err) == (True, False)


def test_standard_input_may_be_closed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a service runs a command."""
    monkeypatch.setattr(sys, "stdin", None)
    assert run("decode", "-") == (2, "", "error: COOKIE: is empty\n")
    assert run("delete", "-", "--config", "a:b").err.startswith("error: --yes: is needed")


def test_decode_is_safe_for_a_terminal(run: Run) -> None:
    """Whoever made the cookie does not command the terminal that shows it."""
    hostile = "\x1b[31m\x9b31m\u202e\x7f\r\ud800"
    done = run("decode", f"a\x1b={signed({'text': hostile, hostile: 1})}")
    assert done.code == 0
    assert [each for each in done.out if not each.isprintable() and each != "\n"] == []
    assert "\\u001b[31m\\u009b31m\\u202e\\u007f\\r\\ud800" in done.out


@pytest.mark.parametrize("cookie", ["-", "", " \n"])
def test_decode_of_nothing_is_an_error_of_use(run: Run, typed: Typed, cookie: str) -> None:
    typed(b"")
    assert run("decode", cookie) == (2, "", "error: COOKIE: is empty\n")


GOOD: dict[str, Any] = {
    "digest": "sha256",
    "cookie_name": "__Host-session",
    "cookie_args": {"path": "/", "secure": True, "httponly": True, "samesite": "lax"},
    "on_oversize": "raise",
}


def test_check_writes_one_line_each_the_gravest_first(run: Run, config: Config) -> None:
    name = config(**{**GOOD, "digest": "sha1", "on_oversize": ""}, sesion_max_age=5, secure=True)
    done = run("check", name)
    assert done.code == 1
    assert done.out.splitlines() == [
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
def test_check_fails_for_errors_and_warnings_and_if_it_is_strict_for_advice(
    run: Run, config: Config, values: Any, code: int, strict: int
) -> None:
    name = config(**{**GOOD, **values})
    done = run("check", name)
    assert (done.code, run("check", name, "--strict").code) == (code, strict)
    assert (done.out == "nothing to improve\n") is (values == {})


def test_check_as_json(run: Run, config: Config) -> None:
    name = config(**{**GOOD, "session_max_age": "60"})
    done = run("check", name, "--json")
    text = "must be a number of seconds or None, not str"
    finding = {"severity": "error", "key": "session_max_age", "text": text}
    assert done.code == 1
    assert json.loads(done.out) == {"config": name, "findings": [finding]}


@pytest.mark.parametrize(
    "name", ["nowhere_to_be_found:CONFIG", "shop", "json:loads", "json:nothing"]
)
def test_check_of_a_configuration_that_is_not_there_is_an_error_of_use(run: Run, name: str) -> None:
    code, out, err = run("check", name)
    assert (code, out, err.startswith("error: "), err.count("\n")) == (2, "", True, 1)


def test_check_asks_the_servers_that_are_configured_unless_offline(
    run: Run, config: Config
) -> None:
    server = {"servers": ["127.0.0.1:1"], "timeout": 0.5}
    line = "error: memcache: memcache backend at 127.0.0.1:1: the server refused the connection"
    name = config(**GOOD, serializer="json", memcache=server)
    assert run("check", name) == (1, f"{line}\n1 error\n", "")
    assert run("check", name, "--offline").code == 0


BACKENDS = """
from webapp2_sessions import StoredSessionFactory
from webapp2_sessions.errors import MissingDependency
from webapp2_sessions.sessions import CustomBackendSessionFactory

class Own(StoredSessionFactory):
    @classmethod
    def _ping(cls, config):
        return ["the shelf is full"]

class Old(CustomBackendSessionFactory):
    pass

class Broken(Own):
    @classmethod
    def _ping(cls, config):
        raise RuntimeError("the secret of the client")

class Bare(Own):
    @classmethod
    def _ping(cls, config):
        raise MissingDependency("redis", "redis")
"""


def test_check_asks_a_backend_of_the_application(run: Run, config: Config, tmp_path: Path) -> None:
    with modules_in(tmp_path) as write:
        module = write(BACKENDS)
        backends = {"own": f"{module}.Own", "old": f"{module}.Old"}
        name = config(**GOOD, serializer="json", backends=backends, default_backend="own")
        found = (1, "error: own: the shelf is full\n1 error\n", "")
        assert run("check", name) == run("check", name, "--backend", "own") == found
        broken = config(**GOOD, backends={"own": f"{module}.Broken"}, default_backend="own")
        found = (1, "error: own: cannot be asked (RuntimeError)\n1 error\n", "")
        assert run("check", broken) == found
        bare = config(**GOOD, backends={"own": f"{module}.Bare"}, default_backend="own")
        assert "pip install" in run("check", bare)[1]
        for backend, problem in [("old", "keeps no sessions on a server"), ("x", "is unknown")]:
            code, _, err = run("check", name, "--backend", backend)
            assert (code, f"--backend: {backend!r} {problem}" in err) == (2, True)


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
def test_errors_show_no_secrets(run: Run, arguments: list[str], message: str) -> None:
    """Neither cookies nor ids, also where the arguments are wrong."""
    code, out, err = run(*arguments)
    assert (code, out, message in err) == (2, "", True)
    assert [each for each in (SID, signed({}), signed({"again": 1})) if each in err] == []


HOSTILE = "\x1b[31m\udcff"


@pytest.mark.parametrize(
    "arguments",
    [
        [f"--{HOSTILE}"],
        ["decode", "x", f"--a{HOSTILE}"],
        ["decode", "x", "--name", HOSTILE],
        ["decode", "x", "--secret-key-env", HOSTILE],
        ["check", f"a{HOSTILE}:b"],
        ["show", "x", "--config", f"a{HOSTILE}:b"],
        ["keygen", "--bytes", HOSTILE],
        ["purge", "--older-than", HOSTILE],
        [HOSTILE],
    ],
)
def test_errors_are_safe_for_a_terminal(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.code == 0, "\x1b" in done.out + done.err) == (False, False)


@pytest.mark.parametrize(
    ("variable", "value", "coloured"),
    [("X", "", True), ("NO_COLOR", "1", False), ("TERM", "dumb", False), ("NO_COLOR", "", True)],
)
def test_colours_are_for_terminals_where_they_are_wanted(
    monkeypatch: pytest.MonkeyPatch, terminal: Any, variable: str, value: str, coloured: bool
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    for stream, expected in ((terminal(), coloured), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stdout", stream)
        assert (cli_output.style("x", "error") != "x") is expected


def test_ctrl_c_while_something_is_typed_is_a_line_and_an_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> str:
        raise KeyboardInterrupt()

    monkeypatch.setattr("webapp2_sessions.cli.cookies.read_secret", interrupted)
    assert run("decode", "-") == (130, "", "interrupted\n")


def test_package_installs_a_command_of_its_name() -> None:
    script = Path(sys.executable).with_name("webapp2-sessions")
    done = subprocess.run([script, "keygen"], capture_output=True, timeout=PATIENCE, check=True)
    assert (len(done.stdout), done.stderr) == (65, b"")


def test_module_names_itself_in_the_usage(run_python: Run) -> None:
    done = run_python(*MODULE, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("usage: python -m webapp2_sessions")


def test_reader_that_goes_away_ends_the_command_silently_as_a_signal(start_python: Run) -> None:
    """As with `| head`."""
    with start_python(*MODULE, "decode", "-") as process:
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(signed({"user": 5}), timeout=PATIENCE)
    assert (process.returncode, err) == (141, "")


def test_characters_that_the_terminal_lacks_are_escaped(run_python: Run) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = run_python(*MODULE, "decode", signed({"user": "J\xf6rg"}), env=environment)
    assert (done.code, done.err, r"J\xf6rg" in done.out) == (0, "", True)


def test_cookies_are_decoded_where_nothing_but_webapp2_is_installed(run_without: Run) -> None:
    libraries = ("google.cloud.ndb", "grpc", "pymemcache", "tqdm", "cryptography")
    done = run_without(libraries, "decode", signed({}))
    assert (done.code, done.err) == (0, "")
