"""The commands ``keygen`` and ``decode``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from webapp2_sessions.cli.inspection import CookieText, Inspection, inspect_cookie, read_cookies
from webapp2_sessions.cli.output import (
    echo,
    echo_json,
    echo_table,
    format_duration,
    format_time,
    printable,
    read_secret,
    style,
)
from webapp2_sessions.cli.target import load_target
from webapp2_sessions.config import SessionConfig
from webapp2_sessions.errors import ConfigError
from webapp2_sessions.securecookie.keys import DIGESTS, new_key

_SPILLED = "the id of a stored session, which was too large for the cookie"
_KINDS = {
    "signed": "signed: the session itself, which the visitor can read",
    "encrypted": "encrypted: the session itself, which the visitor cannot read",
    "stored": "signed: the id of a stored session",
    "spilled": f"signed: {_SPILLED}",
    "id": "a bare session id, which is no cookie; see the command show",
    "unknown": "no session cookie",
}


def run_keygen(options: argparse.Namespace) -> int:
    """Print a new key, and return the exit code."""
    sys.stdout.write(f"{new_key(options.bytes)}\n")
    return 0


def run_decode(options: argparse.Namespace) -> int:
    """Show what cookies hold, and return the exit code."""
    config = _load_config(options)
    found = read_cookies(read_secret(options.cookie, "COOKIE"))
    if options.name is not None:
        named = (each._replace(name=each.name or options.name) for each in found)
        found = [each for each in named if each.name == options.name]
        if not found:
            raise ConfigError("COOKIE", f"has no cookie of the name {options.name!r}")
    now = time.time()
    seen = [(cookie, inspect_cookie(cookie, config, now)) for cookie in found]
    ours = [each for each in seen if each[1].kind != "unknown"]
    shown = ours or seen  # other cookies only if there is no session cookie
    limit = None if config is None else config["max_cookie_size"]
    if options.json:
        echo_json({"cookies": [_as_json(*each, now, limit) for each in shown]})
    else:
        for index, each in enumerate(shown):
            if index:
                echo("")
            echo_table([*_as_rows(*each, now, limit, options.secret_key_env is None)])
    return 0 if ours and all(each.refused is None for _, each in ours) else 1


def _load_config(options: argparse.Namespace) -> SessionConfig | None:
    if options.config is not None:
        return load_target(options.config).checked()
    if options.secret_key_env is None:
        return None
    key = os.environ.get(options.secret_key_env)
    if not key:
        raise ConfigError("--secret-key-env", f"{options.secret_key_env} is not set or empty")
    return SessionConfig({"secret_key": key, "digest_fallbacks": DIGESTS})


def _as_json(cookie: CookieText, seen: Inspection, now: float, limit: int | None) -> dict[str, Any]:
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


def _as_rows(
    cookie: CookieText, seen: Inspection, now: float, limit: int | None, knows_ages: bool
) -> Iterator[tuple[str, str]]:
    if cookie.name is not None:
        yield "cookie", printable(cookie.name)
    yield "kind", _kind(seen)
    if seen.signed_at is not None:
        yield "signed", _moment(seen.signed_at, now)
    if seen.began is not None:
        yield "began", _moment(seen.began, now)
    if seen.own_max_age is not None:
        yield "max age", f"{format_duration(seen.own_max_age)}, as the cookie says itself"
    yield "size", _size(cookie, seen, limit)
    if seen.key is not None:
        yield "key", seen.key if seen.digest is None else f"{seen.key}, {seen.digest}"
    elif seen.digest is not None:
        yield "digest", f"{seen.digest}, by its length"
    if seen.refused is not None:
        yield "refused", style(seen.refused, "error")
    elif seen.key is not None:
        yield "accepted", style(_until(seen, now, knows_ages), "good")
    if seen.data is not None:
        yield "data", printable(seen.data)


def _kind(seen: Inspection) -> str:
    kind = _KINDS[seen.kind]
    if seen.kind == "encrypted" and seen.session_id is not None:
        kind = f"encrypted: {_SPILLED}"
    return kind if seen.problem is None else f"{kind}: {seen.problem}"


def _moment(seconds: int, now: float) -> str:
    since = int(now) - seconds  # not as a float, which a large number may overflow
    if since < 0:
        return f"{format_time(seconds)}, in {format_duration(since)}"
    return f"{format_time(seconds)}, {format_duration(since)} ago"


def _size(cookie: CookieText, seen: Inspection, limit: int | None) -> str:
    size = cookie.size()
    text = f"{size} bytes"
    if seen.payload_size is not None:
        text += f", {seen.payload_size} of them data as JSON"
    if limit is not None and size > limit:
        text += f"; browsers drop it above {limit}"
    return text


def _until(seen: Inspection, now: float, knows_ages: bool) -> str:
    if seen.limit is not None:
        return f"until {_moment(seen.limit.at, now)}, by {seen.limit.by}"
    return "without an end: session_max_age is None" if knows_ages else "by this key"
