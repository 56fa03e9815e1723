"""The commands ``keygen`` and ``decode``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

from webapp2_sessions.cli.cookie_inspection import Inspection, inspect_cookie
from webapp2_sessions.cli.cookie_texts import CookieText, read_cookies
from webapp2_sessions.cli.output import (
    age_of,
    paint,
    printable,
    read_secret,
    time_of,
    write,
    write_json,
    write_rows,
)
from webapp2_sessions.cli.target import load_target
from webapp2_sessions.config import SessionConfig
from webapp2_sessions.errors import ConfigError
from webapp2_sessions.securecookie.keys import DIGESTS, new_key

__all__ = ["run_decode", "run_keygen"]

_KINDS = {
    "signed": "signed: the session itself, which the visitor can read",
    "encrypted": "encrypted: the session itself, which the visitor cannot read",
    "stored": "signed: the id of a stored session",
    "spilled": "signed: the id of a stored session, which was too large for the cookie",
    "id": "a session id by itself, which no cookie has; see the command show",
    "unknown": "nothing of ours",
}


def run_keygen(options: argparse.Namespace) -> int:
    """Write a new key, and return the exit code."""
    sys.stdout.write(f"{new_key(options.bytes)}\n")
    return 0


def run_decode(options: argparse.Namespace) -> int:
    """Show what cookies hold, and return the exit code."""
    config = _config_of(options)
    text = read_secret(options.cookie, "COOKIE")
    found = read_cookies(text)
    if options.name is not None:
        named = (each._replace(name=each.name or options.name) for each in found)
        found = [each for each in named if each.name == options.name]
        if not found:
            raise ConfigError("COOKIE", f"has no cookie of the name {options.name!r}")
    now = time.time()
    seen = [(cookie, inspect_cookie(cookie, config, now)) for cookie in found]
    ours = [each for each in seen if each[1].kind != "unknown"]
    shown = ours or seen  # of other applications' cookies only if there is nothing else
    limit = None if config is None else config["max_cookie_size"]
    if options.json:
        write_json({"cookies": [_facts(*each, now, limit) for each in shown]})
    else:
        _write(shown, now, limit, options.secret_key_env is None)
    return 0 if ours and all(each.refused is None for _, each in ours) else 1


def _config_of(options: argparse.Namespace) -> SessionConfig | None:
    if options.config is not None:
        return load_target(options.config).checked()
    if options.secret_key_env is None:
        return None
    key = os.environ.get(options.secret_key_env)
    if not key:
        raise ConfigError("--secret-key-env", f"{options.secret_key_env} is not set or empty")
    return SessionConfig({"secret_key": key, "digest_fallbacks": DIGESTS})


def _facts(cookie: CookieText, seen: Inspection, now: float, limit: int | None) -> dict[str, Any]:
    """What ``--json`` shows of a cookie."""
    return {
        "name": cookie.name,
        "kind": seen.kind,
        "problem": seen.problem,
        "data": seen.data,
        "signed_at": seen.signed_at,
        "age": None if seen.signed_at is None else int(now) - seen.signed_at,
        "max_age": seen.own_max_age,
        "began": seen.began,
        "size": cookie.size(),
        "size_limit": limit,
        "payload_size": seen.payload_size,
        "attributes": None if cookie.attributes is None else [*cookie.attributes],
        "digest": seen.digest,
        "key": seen.key,
        "refused": seen.refused,
        "expires_at": None if seen.limit is None else seen.limit.at,
        "expires_by": None if seen.limit is None else seen.limit.by,
    }


def _write(
    shown: list[tuple[CookieText, Inspection]], now: float, limit: int | None, knows_ages: bool
) -> None:
    for index, (cookie, seen) in enumerate(shown):
        if index:
            write("")
        rows = [("cookie", printable(cookie.name))] if cookie.name is not None else []
        rows.append(("kind", _kind(seen)))
        rows += _times(seen, now)
        rows += _sizes(cookie, seen, limit)
        rows += _verdict(seen, now, knows_ages)
        if seen.data is not None:
            rows.append(("data", printable(seen.data)))
        write_rows(rows)


def _kind(seen: Inspection) -> str:
    kind = _KINDS[seen.kind]
    if seen.kind == "encrypted" and seen.session_id is not None:
        kind = _KINDS["spilled"].replace("signed", "encrypted")
    return kind if seen.problem is None else f"{kind}: {seen.problem}"


def _times(seen: Inspection, now: float) -> list[tuple[str, str]]:
    rows = []
    if seen.signed_at is not None:
        rows.append(("signed", _moment(seen.signed_at, now)))
    if type(seen.began) is int:
        rows.append(("began", _moment(seen.began, now)))
    if type(seen.own_max_age) is int:
        sign = "-" if seen.own_max_age < 0 else ""
        rows.append(("max age", f"{sign}{age_of(seen.own_max_age)}, as the cookie says itself"))
    return rows


def _moment(seconds: int, now: float) -> str:
    since = int(now) - seconds  # without a float, for which the number may be too large
    if since < 0:
        return f"{time_of(seconds)}, in {age_of(since)}"
    return f"{time_of(seconds)}, {age_of(since)} ago"


def _sizes(cookie: CookieText, seen: Inspection, limit: int | None) -> list[tuple[str, str]]:
    size = cookie.size()
    text = f"{size} bytes"
    if seen.payload_size is not None:
        text += f", {seen.payload_size} of them data as JSON"
    if limit is not None and size > limit:
        text += f"; browsers drop it above {limit}"
    return [("size", text)]


def _verdict(seen: Inspection, now: float, knows_ages: bool) -> list[tuple[str, str]]:
    """Who has signed a cookie, and whether it is accepted."""
    rows = []
    by = [seen.key] if seen.key is not None else []
    if seen.digest is not None:
        by.append(f"{seen.digest}, by its length" if seen.key is None else seen.digest)
    if by:
        rows.append(("key" if seen.key is not None else "digest", ", ".join(by)))
    if seen.refused is not None:
        rows.append(("refused", paint(seen.refused, "error", sys.stdout)))
    elif seen.key is not None:
        rows.append(("accepted", paint(_until(seen, now, knows_ages), "good", sys.stdout)))
    return rows


def _until(seen: Inspection, now: float, knows_ages: bool) -> str:
    if seen.limit is not None:
        return f"until {_moment(seen.limit.at, now)}, by {seen.limit.by}"
    return "without an end: session_max_age is None" if knows_ages else "by this key"
