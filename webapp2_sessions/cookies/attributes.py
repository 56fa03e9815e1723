"""Which attributes of a cookie browsers accept: domains, paths and flags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["check_attributes"]

#: A host name in its ASCII form, also with the leading dot of RFC 2109, or an IPv6 address.
#: Compiled when a cookie first has a domain, as the one of paths: most applications have none.
_DOMAIN = r"(?ai)\.?[\w-]{1,63}(\.[\w-]{1,63})*\Z|\[[0-9a-f:.]+\]\Z"
_LONGEST_DOMAIN = 253

#: A path as URLs have it, without what ends it (RFC 6265 section 4.1.1) and without what WebOb
#: writes in an escaped form, which no browser undoes.
_PATH = r"""/[^\x00-\x20\x7f-\U0010ffff",;\\]*\Z"""

_FLAGS = ("secure", "httponly", "overwrite")


def check_attributes(args: Mapping[str, Any]) -> None:
    """Refuse arguments for ``set_cookie()`` that make a cookie which no browser keeps or returns.

    What WebOb refuses by itself is not looked at, nor are empty values, which are not sent.

    :raises ValueError: saying what is wrong with the value.
    """
    for flag in _FLAGS:
        if isinstance(args.get(flag), (str, bytes)):
            raise ValueError("any text counts as True")
    domain, path = (_text(args.get(name)) for name in ("domain", "path"))
    if domain and (not re.match(_DOMAIN, domain) or len(domain) > _LONGEST_DOMAIN):
        raise ValueError(_domain_problem(domain))
    if path and not path.startswith("/"):
        raise ValueError("browsers ignore a path that does not begin with '/'")
    if path and not re.match(_PATH, path):
        raise ValueError("it holds characters that no path of a URL has")


def _text(value: object) -> str | None:
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
