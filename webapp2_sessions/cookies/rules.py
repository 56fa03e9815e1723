"""What may be sent as a cookie: names, arguments, and which of them go together."""

from __future__ import annotations

import functools
import string
from collections.abc import Mapping
from typing import Any

import webob

from webapp2_sessions.cookies.attributes import check_attributes
from webapp2_sessions.errors import ConfigError

__all__ = ["check_arguments", "check_cookie", "check_name", "check_prefix", "is_name", "set_cookie"]

#: RFC 6265 section 4.1.1: a cookie's name is a token.
_TOKEN = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
#: WebOb refuses these as names, since old parsers take them for attributes.
_ATTRIBUTES = frozenset(
    ("comment", "domain", "expires", "httponly", "max-age", "path", "samesite", "secure")
)

#: What each argument of set_cookie() may be, for error messages.
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

#: What browsers want of a cookie whose name has a prefix: the arguments that have to be set, and
#: whether it belongs to one host alone. The longest prefix comes first.
_PREFIXES = (
    ("__Host-Http-", ("secure", "httponly"), True),
    ("__Host-", ("secure",), True),
    ("__Http-", ("secure", "httponly"), False),
    ("__Secure-", ("secure",), False),
)


def check_name(name: object, args: Mapping[str, Any] | None = None) -> None:
    """Refuse a cookie name that cannot be sent.

    :param args: arguments for ``set_cookie()``, with which the name has to agree.
    :raises ConfigError: it is no text or no token by RFC 6265, begins with ``$``, or is the name
        of a cookie attribute; or it has a prefix with which browsers want other arguments.
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
    if args is not None:
        check_prefix(text, args)


def check_prefix(name: str | bytes, args: Mapping[str, Any], key: str = "cookie_args") -> None:
    """Refuse arguments with which browsers drop a cookie of that name.

    :param key: how to name the arguments in the error.
    :raises ConfigError: naming the rule of RFC 6265bis (sections 4.1.3 and 5.4) that is broken.
    """
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    if not name.startswith("__"):
        return
    lower = name.lower()  # browsers compare without case
    for prefix, flags, is_of_one_host in _PREFIXES:
        if lower.startswith(prefix.lower()):
            for flag in flags:
                if not args.get(flag):
                    raise _broken(
                        key, name, flag, f"a name that begins with {prefix} needs {flag}=True"
                    )
            if is_of_one_host and args.get("domain"):
                raise _broken(
                    key, name, "domain", f"a name that begins with {prefix} allows no domain"
                )
            if is_of_one_host and args.get("path", "/") != "/":
                raise _broken(key, name, "path", f"a name that begins with {prefix} needs path='/'")
            return


def _broken(key: str, name: str, argument: str, rule: str) -> ConfigError:
    return ConfigError(f"{key}[{argument!r}]", f"{rule}; the cookie is named {name!r}")


@functools.lru_cache(maxsize=256)
def is_name(text: str) -> bool:
    """Whether a cookie may have that name."""
    return (
        bool(text)
        and _TOKEN.issuperset(text)
        and text[0] != "$"
        and text.lower() not in _ATTRIBUTES
    )


def check_arguments(
    args: Mapping[str, Any], response_class: Any = webob.Response, key: str = "cookie_args"
) -> None:
    """Refuse cookie arguments with which no cookie can be sent.

    They are tried on an empty response, so that whatever its ``set_cookie()`` takes is allowed
    and nothing else, except what makes a cookie that no browser keeps or returns.

    :param args: keyword arguments for ``set_cookie()``.
    :param response_class: the class of the responses that will be sent.
    :param key: how to name the arguments in the error.
    :raises ConfigError: naming the argument, its type and what is allowed.
    """
    try:
        _dry_run_cached(response_class, frozenset(args.items()))
    except Exception:
        # Either a value cannot be hashed, which is fine, or the arguments are wrong.
        _explain(dict(args), response_class, key)


def check_cookie(
    name: str | bytes, args: Mapping[str, Any], response_class: Any, key: str = "cookie_args"
) -> None:
    """Refuse arguments with which no cookie of that name can be sent, or browsers drop it.

    Arguments are those of :func:`check_arguments`.

    :raises ConfigError: naming the argument.
    """
    method = getattr(response_class, "set_cookie", None)
    known = _templates.get(name) if method is _SET_COOKIE else None
    # A cookie that was set with the same arguments can be set again.
    if known is None or known[1] is None or known[0] != args:
        check_arguments(args, response_class, key)
    check_prefix(name, args)


@functools.lru_cache(maxsize=256)
def _dry_run_cached(response_class: Any, items: frozenset[tuple[str, Any]]) -> None:
    _dry_run(response_class, dict(items))


def _dry_run(response_class: Any, args: Mapping[str, Any]) -> None:
    check_attributes(args)
    method = getattr(response_class, "set_cookie", None)
    if method is None:
        return  # whatever it is, cookies reach it in another way
    if method is _SET_COOKIE:
        response_class = webob.Response
    try:
        response = response_class()
    except Exception:
        return  # a response of the application's own that cannot be made just like this
    set_cookie(response, "name", b"value", args)


def _explain(args: dict[str, Any], response_class: Any, key: str) -> None:
    """Raise a :class:`ConfigError` for the argument at fault, if there is one."""
    try:
        _dry_run(response_class, args)
    except Exception as together:
        if _refuses_anything(response_class):
            return
        # "secure" is the first, and goes along with the others, because samesite="none" is
        # allowed only with it.
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


def _refuses_anything(response_class: Any) -> bool:
    """Whether a class refuses even a cookie without arguments, for its name or value perhaps."""
    try:
        _dry_run(response_class, {})
    except Exception:
        return True
    return False


def set_cookie(response: Any, name: str, value: bytes, args: Mapping[str, Any]) -> int | None:
    """Set a cookie on a response; ``partitioned``, which WebOb does not know, included.

    :returns: bytes of the header, ``None`` if that is not known.
    :raises ValueError: the arguments do not go together.
    """
    method = getattr(getattr(response, "set_cookie", None), "__func__", None)
    # A serializer of an application's own may return text.
    is_plain = type(value) is bytes and bool(value) and not value.translate(None, _PLAIN)
    if is_plain and method is _SET_COOKIE:
        template = _template_of(name, args)
        if template is not None:
            header = f"{template[0]}{value.decode('ascii')}{template[1]}"
            response.headerlist.append(("Set-Cookie", header))
            return len(header)
    _set_cookie(response, name, value, args)
    headers = getattr(response, "headerlist", None)
    if isinstance(headers, list) and headers:  # of WebOb: the header that was just added
        return len(headers[-1][1])
    return None


#: WebOb's own method. One that an application has put in its place sets each cookie itself.
_SET_COOKIE = webob.Response.set_cookie

#: What is in values in which there is nothing to be quoted.
_PLAIN = (string.ascii_letters + string.digits + "+/=|_-").encode("ascii")

#: The last template of each name, behind the arguments for which it was made.
_templates: dict[str | bytes, tuple[dict[str, Any], tuple[str, str] | None]] = {}
_MOST_TEMPLATES = 256


def _template_of(name: str, args: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what stands before and behind a value in a Set-Cookie header of WebOb's.

    :returns: ``None`` if it is not always the same, or is refused.
    """
    # Optimization: WebOb takes 10 us for a header that is the same but for the value.
    known = _templates.get(name)
    if known is not None and known[0] == args:
        return known[1]
    try:
        template = _make_template(name, args)
    except Exception:
        return None  # WebOb will tell
    if len(_templates) >= _MOST_TEMPLATES:
        _templates.clear()
    _templates[name] = (dict(args), template)
    return template


def _make_template(name: str, args: Mapping[str, Any]) -> tuple[str, str] | None:
    if args.get("max_age") is not None or args.get("expires") or args.get("overwrite"):
        return None  # the time is in the header, or other headers change as well
    check_attributes(args)  # what is known counts as checked
    response = webob.Response()
    _set_cookie(response, name, b"X", args)
    before, found, behind = response.headerlist[-1][1].partition("=X")
    return (f"{before}=", behind) if found else None


def _set_cookie(response: Any, name: str, value: bytes, args: Mapping[str, Any]) -> None:
    if "partitioned" not in args:
        response.set_cookie(name, value, **args)
        return
    rest = {**args}
    partitioned = rest.pop("partitioned")
    if partitioned not in (True, False, None):
        raise ValueError("it is neither True nor False")
    if partitioned and not rest.get("secure"):
        raise ValueError("a partitioned cookie needs secure=True")
    response.set_cookie(name, value, **rest)
    if partitioned:
        key, header = response.headerlist[-1]
        response.headerlist[-1] = (key, f"{header}; Partitioned")
