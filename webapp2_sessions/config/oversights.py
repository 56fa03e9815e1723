"""What a checked configuration has that can hardly be meant: it has no effect, or no session lives.

These are logged when an application's configuration is first used, and told by ``check``. Advice
on what is a matter of choice is not among them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from webapp2_sessions.config import (
    DATASTORE_DEFAULTS,
    MEMCACHE_DEFAULTS,
    SessionConfig,
    default_config,
)
from webapp2_sessions.config.checks import CHECKS, secret_keys
from webapp2_sessions.config.value_checks import seconds_of
from webapp2_sessions.securecookie.keys import surroundings

__all__ = ["SEVERITIES", "Advice", "oversights", "unknown_keys"]

#: From the worst: no session works; somebody may be harmed; it could be better.
SEVERITIES = ("error", "warning", "advice")

#: What the keys of each inner dictionary are.
_INNER_KEYS = {
    "cookie_args": (*default_config["cookie_args"], "samesite", "partitioned"),
    "memcache": tuple(MEMCACHE_DEFAULTS),
    "datastore": tuple(DATASTORE_DEFAULTS),
}

#: The keys of the configuration itself, by their names without underscores.
_OWN_KEYS = {key.replace("_", ""): key for key in CHECKS}

#: What people put before a name that does without.
_PREFIX = re.compile(r"(?:sessions?|cookies?|webapp2|memcached?|datastore|ndb)_(?=.)")
_DID_YOU_MEAN = "is no key of this package and has no effect; did you mean %r?"
_LIKENESS = 0.75


class Advice(NamedTuple):
    """One thing that could be better."""

    #: One of :data:`SEVERITIES`.
    severity: str
    #: The key or argument that it is about.
    key: str
    #: What is the matter, and what to do.
    text: str


def oversights(config: SessionConfig) -> list[Advice]:
    """Return what has no effect, or lets no session survive, in a checked configuration."""
    ignored = (Advice("warning", key, text) for key, text in config.ignored.items())
    found = [*ignored, *unknown_keys(config)]
    for look in (_surroundings, _ages, _fallbacks, _sizes, _clients):
        found.extend(Advice("warning", key, text) for key, text in look(config))
    return found


def unknown_keys(config: Mapping[str, Any]) -> Iterator[Advice]:
    """Return keys that have no effect where they are, and look as if they were meant to have."""
    for key, value in config.items():
        if key not in CHECKS:
            problem = _problem_of(str(key), isinstance(value, str))
            if problem is not None:
                yield Advice("warning", str(key), problem)


@functools.lru_cache(maxsize=256)
def _problem_of(key: str, holds_text: bool) -> str | None:
    names = [*_names(key)]
    for name in names:
        if name in ("backend", "backends"):
            return _DID_YOU_MEAN % ("default_backend" if holds_text else "backends")
        if name in _OWN_KEYS:
            return _DID_YOU_MEAN % _OWN_KEYS[name]
        homes = _homes_of(name, key)
        if homes:
            return f"has no effect here; it belongs into {' or '.join(homes)}"
    meant = next(filter(None, map(_nearest, names)), None)
    return meant and _DID_YOU_MEAN % meant


def _names(key: str) -> Iterator[str]:
    """Yield the key in small letters without underscores, as it is and without its prefixes."""
    name = re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_")
    yield name.replace("_", "")
    while prefix := _PREFIX.match(name):
        name = name[prefix.end() :]
        yield name.replace("_", "")


def _homes_of(name: str, key: str) -> list[str]:
    """Return the inner dictionaries that have a key of that name, whatever its underscores."""
    found = []
    for home, keys in _INNER_KEYS.items():
        for inner in keys:
            if inner.replace("_", "") == name:
                found.append(repr(home) if inner == key else f"{home!r} as {inner!r}")
                if inner == "max_age":
                    found.append("the configuration itself as 'session_max_age'")
    return found


def _nearest(name: str) -> str | None:
    import difflib  # which takes longer to load than all of ours, and hardly any needs

    close = difflib.get_close_matches(name, _OWN_KEYS, 1, _LIKENESS)
    return _OWN_KEYS[close[0]] if close else None


_Look = Callable[[SessionConfig], Iterator[tuple[str, str]]]


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


def _clients(config: SessionConfig) -> Iterator[tuple[str, str]]:
    replaced: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
        ("memcache", MEMCACHE_DEFAULTS, ("servers", "timeout", "tls_context")),
        ("datastore", DATASTORE_DEFAULTS, ("project", "namespace", "database")),
    ]
    for section, defaults, keys in replaced:
        given = config[section]
        for key in keys if given["client"] is not None else ():
            if given[key] != defaults[key]:
                yield f"{section}[{key!r}]", f"has no effect: {section}['client'] is in its place"
