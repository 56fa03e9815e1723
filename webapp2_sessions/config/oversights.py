"""Likely mistakes in a valid configuration: values without effect, or that let no session survive.

They are logged when a configuration is first used, and reported by ``webapp2-sessions check``.
Advice on matters of choice belongs to the command alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from webapp2_sessions.config import (
    DATASTORE_DEFAULTS,
    MEMCACHE_DEFAULTS,
    REDIS_DEFAULTS,
    SessionConfig,
    default_config,
)
from webapp2_sessions.config.checks import CHECKS, secret_keys
from webapp2_sessions.config.value_checks import seconds_of
from webapp2_sessions.securecookie.keys import surroundings

#: From the worst: sessions do not work; users may be harmed; something could be better.
SEVERITIES = ("error", "warning", "advice")

#: The keys of each nested dictionary.
_NESTED_KEYS = {
    "cookie_args": (*default_config["cookie_args"], "samesite", "partitioned"),
    "memcache": tuple(MEMCACHE_DEFAULTS),
    "redis": tuple(REDIS_DEFAULTS),
    "datastore": tuple(DATASTORE_DEFAULTS),
}

#: The top-level keys, by their names without underscores.
_KEYS = {key.replace("_", ""): key for key in CHECKS}

#: Superfluous prefixes of keys.
_PREFIX = re.compile(r"(?:sessions?|cookies?|webapp2|memcached?|redis|datastore|ndb)_(?=.)")
_DID_YOU_MEAN = "is no key of this package and has no effect; did you mean %r?"
#: How similar a misspelt key is to the right one, as measured by difflib.
_SIMILARITY = 0.75


class Advice(NamedTuple):
    """One finding about a configuration."""

    #: One of :data:`SEVERITIES`.
    severity: str
    #: The key or argument.
    key: str
    #: The problem, and what to do about it.
    text: str


def oversights(config: SessionConfig) -> list[Advice]:
    """Return the likely mistakes in a validated configuration."""
    finders = (_unknown_keys, _surroundings, _ages, _fallbacks, _sizes, _users, _clients)
    found = [*config.ignored.items(), *(each for find in finders for each in find(config))]
    return [Advice("warning", key, text) for key, text in found]


def _unknown_keys(config: SessionConfig) -> Iterator[tuple[str, str]]:
    """Yield unknown keys that look like a misspelt or misplaced key of this package."""
    for key, value in config.items():
        if key not in CHECKS:
            problem = _problem_of(str(key), isinstance(value, str))
            if problem is not None:
                yield str(key), problem


@functools.lru_cache(maxsize=256)
def _problem_of(key: str, holds_text: bool) -> str | None:
    names = [*_names(key)]
    for name in names:
        if name in ("backend", "backends"):
            return _DID_YOU_MEAN % ("default_backend" if holds_text else "backends")
        if name in _KEYS:
            return _DID_YOU_MEAN % _KEYS[name]
        sections = _sections_of(name, key)
        if sections:
            return f"has no effect here; it belongs into {' or '.join(sections)}"
    meant = next(filter(None, map(_most_similar, names)), None)
    return meant and _DID_YOU_MEAN % meant


def _names(key: str) -> Iterator[str]:
    """Yield the key in lower case without underscores, first with all prefixes, then without."""
    name = re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_")
    yield name.replace("_", "")
    while prefix := _PREFIX.match(name):
        name = name[prefix.end() :]
        yield name.replace("_", "")


def _sections_of(name: str, key: str) -> list[str]:
    """Return the nested dictionaries with a key of that name, ignoring underscores."""
    found = []
    for section, keys in _NESTED_KEYS.items():
        for nested in keys:
            if nested.replace("_", "") == name:
                found.append(repr(section) if nested == key else f"{section!r} as {nested!r}")
                if nested == "max_age":
                    found.append("the configuration itself as 'session_max_age'")
    return found


def _most_similar(name: str) -> str | None:
    import difflib  # rarely needed, and slower to import than this whole package

    close = difflib.get_close_matches(name, _KEYS, 1, _SIMILARITY)
    return _KEYS[close[0]] if close else None


def _surroundings(config: SessionConfig) -> Iterator[tuple[str, str]]:
    for name, key in secret_keys(config).items():
        around = surroundings(key)
        if around is not None:
            text = f"has {around} around it, as from a file: another program may read it without"
            yield name, text


def _ages(config: SessionConfig) -> Iterator[tuple[str, str]]:
    refresh, cookie_age = config["refresh_after"], seconds_of(config["cookie_args"].get("max_age"))
    limits = {key: config[key] for key in ("session_max_age", "absolute_max_age")}
    for key, age in limits.items():
        if age is not None and age < 1:
            yield key, "is less than a second: sessions are over before the next request"
        elif age is not None and refresh is not None and refresh >= age:
            text = f"is not less than {key}: sessions are over before they are renewed"
            yield "refresh_after", text
    if refresh is not None and cookie_age is not None and refresh >= cookie_age:
        text = "is not less than the max_age of cookie_args: browsers drop the cookie before"
        yield "refresh_after", text


def _fallbacks(config: SessionConfig) -> Iterator[tuple[str, str]]:
    for key in ("secret_key", "digest", "serializer"):
        fallbacks = config[f"{key}_fallbacks"]
        if config[key] in fallbacks:
            index = fallbacks.index(config[key])
            text = f"is the {key} itself, which is accepted anyway: was another one meant?"
            yield f"{key}_fallbacks[{index}]", text


def _sizes(config: SessionConfig) -> Iterator[tuple[str, str]]:
    if config["max_cookie_size"] is None and config["on_oversize"] != "warn":
        yield "on_oversize", "has no effect: no cookie is too large while max_cookie_size is None"


def _users(config: SessionConfig) -> Iterator[tuple[str, str]]:
    if config["on_sign_in"] is not None and not config["user_key"]:
        yield "on_sign_in", "has no effect without 'user_key', which tells who is signed in"
    if config["revocation_cache"] is not None and config["revocation"] is None:
        yield "revocation_cache", "has no effect without 'revocation'"


def _clients(config: SessionConfig) -> Iterator[tuple[str, str]]:
    replaced: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
        ("memcache", MEMCACHE_DEFAULTS, ("servers", "timeout", "tls_context")),
        ("redis", REDIS_DEFAULTS, ("url", "timeout", "tls_context")),
        ("datastore", DATASTORE_DEFAULTS, ("project", "namespace", "database")),
    ]
    redis = config["redis"]
    if redis["tls_context"] is not None and not redis["url"].startswith("rediss:"):
        yield "redis['tls_context']", "has no effect: redis['url'] has to begin with 'rediss://'"
    for section, defaults, keys in replaced:
        given = config[section]
        if given["client"] is None:
            continue
        for key in keys:
            has_effect = key == "timeout" and given["client"] == "appengine"
            if given[key] != defaults[key] and not has_effect:
                yield f"{section}[{key!r}]", f"has no effect: {section}['client'] is in its place"
