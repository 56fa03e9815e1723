"""Validate cookie names and arguments."""

from __future__ import annotations

import functools
import string
from collections.abc import Mapping
from typing import Any

import webob

from webapp2_sessions.cookies.attributes import check_attributes
from webapp2_sessions.cookies.response import has_template, set_cookie, sets_cookies_as_webob
from webapp2_sessions.errors import ConfigError

__all__ = ["check_arguments", "check_cookie", "check_name", "check_prefix", "is_name"]

#: Characters of a cookie's name: a token (RFC 6265 section 4.1.1).
_TOKEN = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
#: Names that WebOb refuses, because old parsers take them for attributes.
_ATTRIBUTES = frozenset(
    ("comment", "domain", "expires", "httponly", "max-age", "path", "samesite", "secure")
)

#: The values that each argument of ``set_cookie()`` allows, for error messages.
_ALLOWED = {
    "max_age": "a number of seconds, a timedelta or None",
    "domain": "a host name such as 'example.com', or None",
    "path": "a path such as '/' or '/app', or None",
    "secure": "True, False or None",
    "httponly": "True, False or None",
    "samesite": "'strict', 'lax', 'none' (with secure) or None",
    "partitioned": "True (with secure), False or None",
    "comment": "text or None",
    "overwrite": "True or False",
}

#: Name prefixes that browsers enforce: the flags they require, and whether the cookie is limited
#: to one host (``path=/`` and no domain). The longest prefix comes first.
_PREFIXES = (
    ("__Host-Http-", ("secure", "httponly"), True),
    ("__Host-", ("secure",), True),
    ("__Http-", ("secure", "httponly"), False),
    ("__Secure-", ("secure",), False),
)


def check_name(name: object, args: Mapping[str, Any] | None = None) -> None:
    """Validate a cookie name.

    :param args: arguments for ``set_cookie()`` that have to fit the name's prefix, if any.
    :raises ConfigError: the name is not text, is not a token (RFC 6265), begins with ``$``, or is
        the name of a cookie attribute; or browsers want other arguments for its prefix.
    """
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    if not isinstance(text, str):
        raise ConfigError("cookie name", f"must be text, not {type(name).__name__}")
    if not is_name(text):
        raise ConfigError(
            "cookie name",
            f"{text!r} cannot be sent; allowed are ASCII letters, digits and !#$%&'*+-.^_`|~, "
            "not beginning with $, and not the name of a cookie attribute such as 'path'",
        )
    if args is not None and text.startswith("__"):
        check_prefix(text, args)


@functools.lru_cache(maxsize=256)
def is_name(text: str) -> bool:
    """Return whether a cookie may have that name."""
    return (
        bool(text)
        and _TOKEN.issuperset(text)
        and text[0] != "$"
        and text.lower() not in _ATTRIBUTES
    )


def check_prefix(name: str | bytes, args: Mapping[str, Any], key: str = "cookie_args") -> None:
    """Validate the arguments of a cookie whose name has a prefix such as ``__Host-``.

    :param key: how to name the arguments in the error.
    :raises ConfigError: naming the rule of RFC 6265bis (sections 4.1.3 and 5.4) that is broken.
    """
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    if not name.startswith("__"):
        return
    lower = name.lower()  # browsers ignore case here
    for prefix, flags, is_host_only in _PREFIXES:
        if lower.startswith(prefix.lower()):
            broken = _broken_rule(args, flags, is_host_only)
            if broken is not None:
                argument, rule = broken
                raise ConfigError(
                    f"{key}[{argument!r}]",
                    f"a name that begins with {prefix} {rule}; the cookie is named {name!r}",
                )
            return


def _broken_rule(
    args: Mapping[str, Any], flags: tuple[str, ...], is_host_only: bool
) -> tuple[str, str] | None:
    """Return the first argument that breaks the rule of a prefix, with that rule."""
    for flag in flags:
        if not args.get(flag):
            return flag, f"needs {flag}=True"
    if is_host_only and args.get("domain"):
        return "domain", "allows no domain"
    if is_host_only and args.get("path", "/") != "/":
        return "path", "needs path='/'"
    return None


def check_arguments(
    args: Mapping[str, Any], response_class: Any = webob.Response, key: str = "cookie_args"
) -> None:
    """Validate the arguments of a cookie, by a dry run on an empty response.

    So the ``set_cookie()`` of the response class decides what is allowed. In addition, arguments
    are refused with which browsers do not keep a cookie or do not send it back.

    :param args: keyword arguments for ``set_cookie()``.
    :param response_class: the class of the responses that will be sent.
    :param key: how to name the arguments in the error.
    :raises ConfigError: naming the argument, its type and what is allowed.
    """
    try:
        _dry_run_cached(response_class, frozenset(args.items()))
    except Exception:
        # The arguments are wrong, or only not hashable.
        _raise_for_refused(dict(args), response_class, key)


def check_cookie(
    name: str | bytes, args: Mapping[str, Any], response_class: Any, key: str = "cookie_args"
) -> None:
    """Validate the arguments of a cookie of that name.

    :param args: keyword arguments for ``set_cookie()``.
    :param response_class: the class of the responses that will be sent.
    :param key: how to name the arguments in the error.
    :raises ConfigError: naming the argument.
    """
    # Arguments with a template were checked when it was made.
    if not (sets_cookies_as_webob(response_class) and has_template(name, args)):
        check_arguments(args, response_class, key)
    check_prefix(name, args)


@functools.lru_cache(maxsize=256)
def _dry_run_cached(response_class: Any, items: frozenset[tuple[str, Any]]) -> None:
    _dry_run(response_class, dict(items))


def _dry_run(response_class: Any, args: Mapping[str, Any]) -> None:
    check_attributes(args)
    if getattr(response_class, "set_cookie", None) is None:
        return  # not a response class that could be asked
    if sets_cookies_as_webob(response_class):
        response_class = webob.Response
    try:
        response = response_class()
    except Exception:
        return  # needs arguments that are unknown here
    set_cookie(response, "name", b"value", args)


def _raise_for_refused(args: dict[str, Any], response_class: Any, key: str) -> None:
    """Raise a :class:`ConfigError` for the argument at fault, if there is one."""
    try:
        _dry_run(response_class, args)
    except Exception as together:
        if _refuses_every_cookie(response_class):
            return
        # Each argument is tried with "secure", which samesite="none" requires; "secure" itself
        # comes first.
        for name, value in sorted(args.items(), key=lambda item: item[0] != "secure"):
            tried = {each: args[each] for each in ("secure", name) if each in args}
            try:
                _dry_run(response_class, tried)
            except Exception as error:
                allowed = _ALLOWED.get(str(name))
                hint = f"allowed: {allowed}" if allowed else f"known are {', '.join(_ALLOWED)}"
                raise ConfigError(
                    f"{key}[{name!r}]", f"{type(value).__name__} is refused ({error}); {hint}"
                ) from error
        raise ConfigError(key, f"refused together ({together})") from together


def _refuses_every_cookie(response_class: Any) -> bool:
    """Return whether even a cookie without arguments is refused, perhaps for its name or value."""
    try:
        _dry_run(response_class, {})
    except Exception:
        return True
    return False
