"""Set a cookie that browsers keep: validate it, set it, and warn if it is too large."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from webapp2_sessions.cookies.response import make_template, set_cookie, set_from_template
from webapp2_sessions.cookies.rules import check_cookie

__all__ = ["write"]

logger: logging.Logger = logging.getLogger(__name__)


def write(
    response: Any,
    name: str,
    value: bytes,
    data: Any,
    args: Mapping[str, Any],
    limit: int | None,
    key: str = "cookie_args",
) -> None:
    """Set a cookie, and log a warning if it is too large for browsers.

    :param response: a response with WebOb's ``set_cookie()``.
    :param value: the serialized ``data``.
    :param data: the content of the cookie; only its keys and their sizes are ever logged.
    :param args: keyword arguments for ``set_cookie()``.
    :param limit: the largest Set-Cookie header in bytes, ``None`` for no limit.
    :param key: how to name the arguments in an error.
    :raises ConfigError: no cookie can be sent with these arguments.
    """
    size = set_from_template(response, name, value, args)
    if size is None:
        check_cookie(name, args, type(response), key)
        size = set_cookie(response, name, value, args)
        make_template(response, name, value, args)
    if limit is None:
        return
    if size is None:
        size = len(name) + 1 + len(value)
    if size > limit:
        from webapp2_sessions.errors.sizes import as_text, largest_keys  # only for this warning

        logger.warning(
            "The cookie %r has %d bytes and browsers drop it above %d: the visitor keeps the "
            "former session. Largest keys: %s. Store less, or use a server-side backend.",
            name,
            size,
            limit,
            as_text(largest_keys(data, json.dumps)),
        )
