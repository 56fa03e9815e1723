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
from webapp2_sessions.config_checks import CHECKS, secret_keys
from webapp2_sessions.keys import surroundings

__all__ = ["SEVERITIES", "Advice", "oversights", "unknown_keys"]

#: From the worst: no session works; somebody may be harmed; it could be better.
SEVERITIES = ("error", "warning", "advice")

#: What the keys of each inner dictionary are.
_INNER_KEYS = {
    "cookie_args": (*default_config["cookie_args"], "samesite", "partitioned"),
    "memcache": tuple(MEMCACHE_DEFAULTS),
    "datastore": tuple(DATASTORE_DEFAULTS),
}

#: What people put before a name that does without.
_PREFIX = re.compile(r"(?:sessions?|cookies?|webapp2|memcached?|datastore|ndb)_(?=.)")
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
    name = re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_")
    names = (name, _PREFIX.sub("", name, count=1))
    for each in names:
        homes = [repr(home) for home, keys in _INNER_KEYS.items() if each in keys]
        if homes:
            return f"has no effect here; it belongs into {' or '.join(homes)}"
    meant = _nearest(names, holds_text)
    if meant is None:
        return None
    return f"is no key of this package and has no effect; did you mean {meant!r}?"


def _nearest(names: tuple[str, str], holds_text: bool) -> str | None:
    if names[1] in ("backend", "backends"):
        return "default_backend" if holds_text else "backends"
    import difflib  # which takes longer to load than all of ours, and hardly any needs

    known = {each.replace("_", ""): each for each in CHECKS}
    for name in names:
        close = difflib.get_close_matches(name.replace("_", ""), known, 1, _LIKENESS)
        if close:
            return known[close[0]]
    return None


_Look = Callable[[SessionConfig], Iterator[tuple[str, str]]]


def _surroundings(config: SessionConfig) -> Iterator[tuple[str, str]]:
    for name, key in secret_keys(config).items():
        around = surroundings(key)
        if around is not None:
            text = f"has {around} around it, as from a file: another program may read it without"
            yield name, text


def _ages(config: SessionConfig) -> Iterator[tuple[str, str]]:
    refresh, cookie_age = config["refresh_after"], _seconds(config["cookie_args"].get("max_age"))
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


def _seconds(max_age: Any) -> float | None:
    """The ``max_age`` of a cookie, which WebOb also takes as digits or timedelta."""
    if max_age is None:
        return None
    return float(max_age.total_seconds() if hasattr(max_age, "total_seconds") else int(max_age))


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
