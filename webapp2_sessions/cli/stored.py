"""The commands ``show`` and ``delete``."""

from __future__ import annotations

import argparse
import datetime
import time
from typing import Any

from webapp2_sessions.cli.output import (
    age_of,
    ask,
    can_ask,
    printable,
    read_secret,
    tell,
    time_of,
    write,
    write_json,
    write_rows,
)
from webapp2_sessions.cli.stored_inspection import Found, StoredSession, as_json, stored_session
from webapp2_sessions.cli.target import importing_from_here, load_target
from webapp2_sessions.errors import ConfigError

__all__ = ["run_delete", "run_show"]


def run_show(options: argparse.Namespace) -> int:
    """Show a stored session, and return the exit code."""
    session = _session_of(options)
    with importing_from_here():  # a pickle may name the application's classes
        found = session.look_up()
        if found is None:
            return _not_found(session)
        data = None if found.data is None else as_json(found.data)
    if options.json:
        write_json(_facts(session, found, data))
    else:
        write_rows(_rows(session, found, data))
    return 0 if found.problem is None else 1


def run_delete(options: argparse.Namespace) -> int:
    """End a stored session, and return the exit code."""
    if not options.yes and not can_ask():
        raise ConfigError("--yes", "is needed where nobody can be asked: there is no terminal")
    session = _session_of(options)
    with importing_from_here():
        found = session.look_up(decode=False)
        if found is None:
            return _not_found(session)
        if not options.yes and not ask(f"Delete {_described(session, found)}?"):
            tell("nothing deleted")
            return 1
        session.end()
    write("1 session deleted")
    return 0


def _session_of(options: argparse.Namespace) -> StoredSession:
    text = read_secret(options.sid, "SID")
    target = load_target(options.config)
    with importing_from_here():  # for backends of the application
        return stored_session(target, text, options.backend, options.name)


def _not_found(session: StoredSession) -> int:
    elsewhere = f"by these keys, at this place, for the name {session.name!r} (see --name)"
    why = "it was ended not long ago" if session.is_ended() else elsewhere
    tell(f"error: no session of that id in {session.keyword}: {why}")
    return 1


def _described(session: StoredSession, found: Found) -> str:
    size = "" if found.size is None else f" of {found.size} bytes"
    text = f"the session{size} in {session.keyword}"
    return text if found.updated is None else f"{text}, last written {_ago(found.updated)}"


def _ago(moment: datetime.datetime) -> str:
    seconds = moment.timestamp()
    return f"{time_of(seconds)}, {age_of(time.time() - seconds)} ago"


def _facts(session: StoredSession, found: Found, data: Any) -> dict[str, Any]:
    """What ``--json`` shows of a session."""
    return {
        "backend": session.keyword,
        "data": data,
        "problem": found.problem,
        "size": found.size,
        "format": found.format,
        "updated": None if found.updated is None else int(found.updated.timestamp()),
        "idle": found.idle,
        "expires_in": found.expires_in,
    }


def _rows(session: StoredSession, found: Found, data: Any) -> list[tuple[str, str]]:
    rows = [("backend", session.keyword)]
    if found.size is not None:
        rows.append(("size", f"{found.size} bytes"))
    if found.format is not None:
        rows.append(("format", found.format))
    if found.updated is not None:
        rows.append(("written", _ago(found.updated)))
    if found.idle is not None:
        rows.append(("used", f"{age_of(found.idle)} ago"))
    if found.expires_in is not None:
        never = found.expires_in < 0
        rows.append(("expires", "never" if never else f"in {age_of(found.expires_in)}"))
    if found.problem is not None:
        rows.append(("problem", printable(found.problem)))
    else:
        rows.append(("data", printable(data)))
    return rows
