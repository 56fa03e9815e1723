"""The command ``users``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from webapp2_sessions.cli.output import (
    confirm,
    echo,
    echo_error,
    echo_json,
    echo_table,
    format_duration,
    format_time,
    is_interactive,
    printable,
)
from webapp2_sessions.cli.stored import default_backend
from webapp2_sessions.cli.target import Target, importing_from_here, load_target
from webapp2_sessions.errors import ConfigError
from webapp2_sessions.users import UserSession, end_user_sessions, user_sessions

Result = TypeVar("Result")


def run_users(options: argparse.Namespace) -> int:
    """List the sessions of a user or end them, and return the exit code."""
    if not (options.end_all or options.end):
        found = _call(user_sessions, load_target(options.config), options, limit=options.limit)
        return _show(found, options.json)
    if not options.yes and not is_interactive():
        raise ConfigError("--yes", "is needed where nobody can be asked: there is no terminal")
    what = "all sessions of that user" if options.end_all else "that session"
    if not options.yes and not confirm(f"End {what}?"):
        echo_error("nothing ended")
        return 1
    target = load_target(options.config)
    count = _call(end_user_sessions, target, options, handle=options.end)
    if options.end_all and target.checked()["revocation"] is not None:
        echo(f"all sessions of that user ended, those in cookies too; {count} of them were listed")
    else:
        echo(f"{count} session{'' if count == 1 else 's'} ended")
    return 0 if count or options.end_all else 1


def _call(
    function: Callable[..., Result], target: Target, options: argparse.Namespace, **more: Any
) -> Result:
    """Call a function for the user, with the configuration and the place of the options."""
    with importing_from_here():  # user_key, backends and pickles may name the application's own
        config, backend = target.checked(), options.backend
        if backend is None and config["user_index"]:
            backend = default_backend(target.given, config)
        place = {"config": config, "name": options.name, "backend": backend}
        return function(options.user, **place, **more)


def _show(sessions: list[UserSession], as_json: bool) -> int:
    if as_json:
        echo_json([_as_json(each) for each in sessions])
        return 0
    for index, each in enumerate(sessions):
        if index:
            echo("")
        echo_table([*_as_rows(each)])
    if not sessions:
        echo_error("no sessions of that user in that place: see --name and --backend")
    return 0 if sessions else 1


def _as_rows(session: UserSession) -> Iterator[tuple[str, str]]:
    yield "handle", session.handle
    if session.label is not None:
        yield "label", printable(session.label)
    for name, moment in (("began", session.began), ("saved", session.saved)):
        seconds = moment.timestamp()
        yield name, f"{format_time(seconds)}, {format_duration(time.time() - seconds)} ago"


def _as_json(session: UserSession) -> dict[str, Any]:
    began, saved = (int(moment.timestamp()) for moment in (session.began, session.saved))
    return {"handle": session.handle, "label": session.label, "began": began, "saved": saved}
