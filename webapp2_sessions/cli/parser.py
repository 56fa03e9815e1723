"""The arguments of all commands, and their help."""

from __future__ import annotations

import argparse
import datetime
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

_CONFIG = "MODULE:CONFIG"

_CODES = """\
exit codes:
  0 {}, 1 {}, 2 wrong arguments, 130 interrupted
"""

_TARGET = """\
MODULE:CONFIG is a module, found from the current directory too, and a name in it: of the
application's config, of its session configuration, of the webapp2.WSGIApplication, or of a
function without arguments that returns one of them. The module is imported.
"""

_KEYGEN = """\
Print a new random secret key, and nothing else.

examples:
  %(prog)s
  export SESSION_KEY="$(%(prog)s)"
  %(prog)s --bytes 64
"""

_DECODE = """\
Show what a session cookie holds: its data, when it was signed, its size.

Signed cookies can be read without a key. With one, the command tells which key has signed the
cookie and when it expires, and opens encrypted cookies. Keys are never given as arguments.

COOKIE is a Set-Cookie or Cookie header, name=value, or the bare value, in quotes. With - it is
read from standard input, which keeps it out of the shell's history.

examples:
  %(prog)s 'Set-Cookie: session=eyJ1c2VyIjo1fQ==|1700000000|2f...; Path=/'
  curl -si https://shop.example/ | %(prog)s -
  %(prog)s - --config shop.config:CONFIG
  %(prog)s - --secret-key-env SESSION_KEY --name session --json
"""

_CHECK = """\
Report what is wrong with a configuration, what is risky, and what could be better.

One line each: "error" (no session works), "warning" (somebody may be harmed) or "advice". The
configured servers are asked whether they answer.

examples:
  %(prog)s shop.config:CONFIG
  %(prog)s main:app --offline --strict
  %(prog)s main:make_app --backend memcache --json
"""

_SHOW = """\
Show what is stored of a session: its data, its size, its times.

SID is the session's id, or a cookie that leads to it, signed by a key of the configuration. With -
it is read from standard input, which keeps it out of the shell's history. Types that JSON lacks
are written as in {"!tuple": [1, 2]}.

examples:
  %(prog)s - --config main:app
  %(prog)s - --config main:app --backend memcache --json
"""

_DELETE = """\
Delete a stored session, as session.destroy() does: no running request brings it back.

SID is as for the command show. Without --yes the command asks first, on the terminal.

examples:
  %(prog)s - --config main:app
  %(prog)s - --config main:app --backend datastore --yes < session-id.txt
"""

_USERS = """\
List the sessions in which a user is signed in, or end them.

The configuration needs 'user_key' and, to list, 'user_index'. With 'revocation', --end-all also
signs the user out of sessions in cookies and in memcached. USER is the user's id as the session
holds it. Without --yes the command asks before it ends anything, on the terminal.

examples:
  %(prog)s 5 --config main:app
  %(prog)s ada@example.com --config main:app --end-all --yes
  %(prog)s 5 --config main:app --name auth --end 0123456789abcdef0123456789abcdef
"""

_PURGE = """\
Delete Datastore entities of sessions that were last written longer ago than a given duration.

Make that the application's session_max_age, or the longest age that set_max_age() is given, and a
day more. The last change counts: a session that is read and never changed is old as well.

examples:
  %(prog)s --older-than 31d --dry-run
  %(prog)s --older-than 31d --project shop --namespace de
  %(prog)s --older-than 2w --limit 10000

DURATION is a number and a unit: 45s, 90m, 12h, 30d, 2w; without a unit it is seconds. Less than a
day ends sessions that are in use; the command asks first, on the terminal, unless --yes is given.

After a failure or an interrupt run the command again: it goes on with what is left.
"""

_OPTION = re.compile("--[a-z][a-z-]*")

#: Errors of argparse that quote an argument, and what they say instead.
_REDACTED = {
    re.compile(r"invalid choice: .* \(choose", re.DOTALL): "unknown (choose",
    re.compile("ignored explicit argument .*", re.DOTALL): "takes no value",
}


class _Parser(argparse.ArgumentParser):
    """Quotes no argument in its errors that may be a cookie or a session id."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; of those that are too many an error names only options."""
        options, rest = self.parse_known_args(args, namespace)
        if rest:
            known = [found[0] for found in map(_OPTION.match, rest) if found is not None]
            shown = " ".join(known) or "too many; put a cookie into quotes"
            self.error(f"unrecognized arguments: {shown}")
        return options

    def error(self, message: str) -> NoReturn:
        """Exit with usage and message."""
        for pattern, text in _REDACTED.items():
            message = pattern.sub(text, message)
        super().error(message)


def make_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser, whose ``run`` is the function of the command.

    :param prog: the name of the command line.
    """
    parser = _Parser(
        prog=prog,
        description="Tools for applications that use webapp2_sessions.",
        epilog=f"{prog} COMMAND --help shows its options and examples.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    sessions = _add_show, _add_delete, _add_users, _add_purge
    for add in (_add_keygen, _add_decode, _add_check, *sessions):
        add(commands)
    return parser


def _add(
    commands: Any, name: str, summary: str, text: str, codes: Sequence[str]
) -> argparse.ArgumentParser:
    description, _, rest = text.partition("\n\n")
    added: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"{rest}\n{_CODES.format(*codes)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return added


def _add_keygen(commands: Any) -> None:
    parser = _add(commands, "keygen", "make a secret key", _KEYGEN, ("done", "failed"))
    text = "random bytes in the key, two characters each (default: 32)"
    parser.add_argument("--bytes", default=32, type=_key_size, metavar="N", help=text)
    parser.set_defaults(run=_lazily("cookies", "run_keygen"))


def _add_decode(commands: Any) -> None:
    codes = ("a session cookie, and accepted if a key was given", "none, or refused")
    parser = _add(commands, "decode", "show what a cookie holds", _DECODE, codes)
    parser.add_argument("cookie", metavar="COOKIE", help="the cookie, or - for standard input")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--config", metavar=_CONFIG, help="verify it by this configuration")
    text = "verify it by the key in this environment variable"
    group.add_argument("--secret-key-env", metavar="NAME", help=text)
    text = "the cookie's name: which of several, or that of a bare value"
    parser.add_argument("--name", metavar="NAME", help=text)
    _add_json(parser)
    parser.set_defaults(run=_lazily("cookies", "run_decode"))


def _add_check(commands: Any) -> None:
    codes = ("no errors and no warnings", "there are (with --strict: also advice)")
    text = f"{_CHECK}\n{_TARGET}"
    parser = _add(commands, "check", "give advice on a configuration", text, codes)
    parser.add_argument("config", metavar=_CONFIG, help="the configuration")
    text = "ask the servers of this backend (default: of those that the configuration mentions)"
    parser.add_argument("--backend", action="append", metavar="B", help=text)
    parser.add_argument("--offline", action="store_true", help="ask no server")
    parser.add_argument("--strict", action="store_true", help="fail on advice too")
    _add_json(parser)
    parser.set_defaults(run=_lazily("check", "run_check"))


def _add_show(commands: Any) -> None:
    codes = ("done", "not found, or the server failed")
    text = f"{_SHOW}\n{_TARGET}"
    parser = _add(commands, "show", "show a stored session", text, codes)
    _add_session(parser)
    _add_json(parser)
    parser.set_defaults(run=_lazily("stored", "run_show"))


def _add_delete(commands: Any) -> None:
    codes = ("deleted", "not found, not confirmed, or the server failed")
    text = f"{_DELETE}\n{_TARGET}"
    parser = _add(commands, "delete", "end a stored session", text, codes)
    _add_session(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=_lazily("stored", "run_delete"))


def _add_users(commands: Any) -> None:
    codes = ("done", "nothing to list or no such handle, not confirmed, or the server failed")
    text = f"{_USERS}\n{_TARGET}"
    parser = _add(commands, "users", "list a user's sessions, or end them", text, codes)
    add = parser.add_argument
    add("user", metavar="USER", help="the user's id, as user_key finds it")
    _add_place(parser)
    add("--name", metavar="N", help="the sessions' name (default: user_key's, or 'cookie_name')")
    add("--limit", default=100, type=_whole_number, metavar="N", help="list N (default: 100)")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--end", metavar="HANDLE", help="end the session with this handle")
    group.add_argument("--end-all", action="store_true", help="end all sessions of the user")
    add("--yes", action="store_true", help="do not ask")
    _add_json(parser)
    parser.set_defaults(run=_lazily("users", "run_users"))


def _add_session(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("sid", metavar="SID", help="the session's id or cookie, or - for standard input")
    _add_place(parser)
    add("--name", metavar="N", help="the session's name (default: the cookie's, or 'cookie_name')")


def _add_place(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--config", metavar=_CONFIG, required=True, help="the application's configuration")
    text = "memcache, redis, datastore or another keyword of 'backends' (default: as configured)"
    add("--backend", metavar="B", help=text)


def _add_purge(commands: Any) -> None:
    codes = ("all is done", "Datastore failed, or not confirmed")
    parser = _add(commands, "purge", "delete old sessions from Datastore", _PURGE, codes)
    add = parser.add_argument
    add("--older-than", required=True, type=_duration, metavar="DURATION", help="e.g. 31d")
    add("--dry-run", action="store_true", help="count, and delete nothing")
    add("--yes", action="store_true", help="do not ask, however short the duration is")
    add("--limit", type=_whole_number, metavar="N", help="delete N sessions at most")
    add("--project", metavar="P", help="Google project (default: the environment's)")
    add("--namespace", metavar="N", help="namespace (default: the empty one)")
    add("--database", metavar="D", help="database (default: the project's default one)")
    add("--kind", default="Session", type=_name, metavar="K", help="kind (default: Session)")
    # No page waits for this, and a query that skips many deleted entities takes long.
    seconds = "seconds for each request (default: 30)"
    add("--timeout", default=30.0, type=_seconds, metavar="S", help=seconds)
    parser.set_defaults(run=_lazily("purge", "run_purge"))


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")


def _lazily(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    """Return a command whose module is imported when it runs, so that help is quick."""

    def run(options: argparse.Namespace) -> int:
        from webapp2_sessions.config.imports import import_object

        command: Callable[[argparse.Namespace], int]
        command = import_object(f"webapp2_sessions.cli.{module}.{name}")
        return command(options)

    return run


# Types of arguments; anything else is an error of argparse that says what is allowed.

_SECONDS_OF = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhdw]?)")


def _duration(text: str) -> datetime.timedelta:
    """Parse a number and a unit, e.g. ``"31d"``; without a unit it is seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no duration; give a number and a unit: 45s, 90m, 12h, 30d, 2w"
        )
    try:
        return datetime.timedelta(seconds=float(match[1]) * _SECONDS_OF[match[2]])
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text!r} is too long") from None


def _number(
    pattern: str, convert: Callable[[str], Any], wanted: str, is_valid: Callable[[Any], bool] = bool
) -> Callable[[str], Any]:
    """Return the type of a number that is written like ``pattern``; by default not 0."""

    def parse(text: str) -> Any:
        if not re.fullmatch(pattern, text) or not is_valid(convert(text)):
            raise argparse.ArgumentTypeError(f"{text!r} is no {wanted}")
        return convert(text)

    return parse


_whole_number = _number("0*[0-9]{1,16}", int, "positive whole number")
_key_size = _number("[0-9]{1,4}", int, "number from 16 to 1024", lambda size: 16 <= size <= 1024)
_seconds = _number(r"[0-9]{1,9}(\.[0-9]{1,6})?", float, "positive number of seconds")


def _name(text: str) -> str:
    """Refuse an empty name."""
    if not text:
        raise argparse.ArgumentTypeError("a kind has a name")
    return text
