"""Cookie attributes that browsers accept: domains, paths and flags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["check_attributes"]

# Optimization: text, compiled on first use; most applications set no domain.
#: A host name in ASCII, also with the leading dot of RFC 2109, or an IPv6 address.
_DOMAIN = r"(?ai)\.?[\w-]{1,63}(\.[\w-]{1,63})*\Z|\[[0-9a-f:.]+\]\Z"
_LONGEST_DOMAIN = 253

#: A URL path without the characters that end a cookie's path (RFC 6265 section 4.1.1) and without
#: those that WebOb escapes: browsers do not undo its escapes.
_PATH = r"""/[^\x00-\x20\x7f-\U0010ffff",;\\]*\Z"""

_FLAGS = ("secure", "httponly", "overwrite")


def check_attributes(args: Mapping[str, Any]) -> None:
    """Validate arguments for ``set_cookie()`` by what browsers keep and send back.

    WebOb checks the rest itself. It does not send empty values, so they are allowed.

    :raises ValueError: saying what is wrong with the value.
    """
    for flag in _FLAGS:
        if isinstance(args.get(flag), (str, bytes)):
            raise ValueError("any text counts as True")
    domain, path = (_as_text(args.get(name)) for name in ("domain", "path"))
    if domain and (not re.match(_DOMAIN, domain) or len(domain) > _LONGEST_DOMAIN):
        raise ValueError(_domain_problem(domain))
    if path and not path.startswith("/"):
        raise ValueError("browsers ignore a path that does not begin with '/'")
    if path and not re.match(_PATH, path):
        raise ValueError("it holds characters that no path of a URL has")


def _as_text(value: object) -> str | None:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return text if isinstance(text, str) else None


def _domain_problem(domain: str) -> str:
    if "/" in domain:
        return "it is a URL, of which browsers want the host name alone"
    if "*" in domain:
        return "browsers know no wildcards; a domain stands for all hosts below it anyway"
    if re.search(r":\d*\Z", domain):
        return "a cookie's domain has no port"
    if not domain.isascii():
        return "browsers want the ASCII form, which begins with 'xn--'"
    return "it is no host name"
