"""A browser's cookies, kept and sent as RFC 6265 and its prefixes ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Jar", "Url"]


class Url(NamedTuple):
    """Where a request goes. All of them use HTTPS."""

    host: str
    path: str


class _Kept(NamedTuple):
    value: str
    host_only: bool
    #: Unix seconds; infinite until the browser is closed.
    expires: float
    #: Tells which of two was made first.
    number: int


class Jar:
    """The cookies of one browser.

    :param now: returns the time in Unix seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._number = 0
        #: By name, domain and path, as section 5.3 tells cookies apart.
        self._kept: dict[tuple[str, str, str], _Kept] = {}

    def store(self, header: str, url: Url) -> None:
        """Keep what a Set-Cookie header says, if the host may set it."""
        pair, *attributes = [part.strip(" \t") for part in header.split(";")]
        name, _, value = pair.partition("=")
        given = {}
        for attribute in attributes:
            key, _, text = attribute.partition("=")
            given[key.lower()] = text
        domain = given.get("domain", "").lower().lstrip(".")
        if domain and not _is_below(url.host, domain):
            return
        path = given.get("path", "")
        if not path.startswith("/"):
            path = url.path.rpartition("/")[0] or "/"
        if name.startswith("__Host-") and (domain or path != "/" or "secure" not in given):
            return
        if name.startswith("__Secure-") and "secure" not in given:
            return
        expires = float("inf")
        if "max-age" in given:
            expires = self._now() + int(given["max-age"])
        key_ = name, domain or url.host, path
        before = self._kept.pop(key_, None)
        if expires > self._now():
            self._number += 1
            number = self._number if before is None else before.number
            self._kept[key_] = _Kept(value, not domain, expires, number)

    def has(self, name: str, domain: str, path: str) -> bool:
        """Return whether there is a cookie, as section 5.3 tells them apart."""
        kept = self._kept.get((name, domain, path))
        return kept is not None and kept.expires > self._now()

    def pairs(self, url: Url) -> list[tuple[str, str]]:
        """Return names and values for a request, in the order of section 5.4."""
        found = []
        for (name, domain, path), kept in self._kept.items():
            if kept.expires <= self._now():
                continue
            is_host = url.host == domain if kept.host_only else _is_below(url.host, domain)
            if is_host and _matches(url.path, path):
                found.append((-len(path), kept.number, name, kept.value))
        return [(name, value) for _, _, name, value in sorted(found)]


def _is_below(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _matches(path: str, prefix: str) -> bool:
    """Return whether a cookie's path matches that of a request (section 5.1.4)."""
    return path == prefix or (
        path.startswith(prefix) and (prefix.endswith("/") or path[len(prefix)] == "/")
    )
