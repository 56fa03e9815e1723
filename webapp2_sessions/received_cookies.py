"""The signed cookies of a request: which of them are accepted, and which are damaged."""

from __future__ import annotations

import logging
from typing import Any

from webapp2_sessions import cookies
from webapp2_sessions.errors import InvalidCookie
from webapp2_sessions.securecookie import SecureCookieSerializer

__all__ = ["ReceivedCookies"]

logger: logging.Logger = logging.getLogger(__name__)

#: How ours reads cookies; it tells less than the methods of which it is made.
_DESERIALIZE = SecureCookieSerializer.deserialize


class ReceivedCookies:
    """Reads the cookies of one request, which it does not keep alive."""

    def __init__(self) -> None:
        #: Names of the cookies that came and were not accepted.
        self.damaged: set[str] = set()

    def accepted(
        self,
        request: Any,
        serializer: Any,
        name: str,
        max_age: float | None,
        own_ages: bool = False,
    ) -> tuple[Any, int | None]:
        """Return what the last valid cookie of that name holds, and when it was signed.

        One that is damaged is logged, once for each name, without its value.

        :param request: the request, as :func:`webapp2_sessions.cookies.read_values` takes it.
        :param serializer: checks the values, usually a
            :class:`~webapp2_sessions.securecookie.SecureCookieSerializer`.
        :param max_age: age in seconds above which a cookie counts as expired, ``None`` for no
            limit.
        :param own_ages: whether a cookie that has an age of its own goes by that instead.
        :returns: Unix seconds for the time, ``None`` if it is unknown; ``None`` twice if no cookie
            is accepted.
        """
        only = cookies.only_value(request, name)
        if only is not None:
            try:
                return _verified(serializer, name, only, max_age, own_ages)
            except InvalidCookie:
                pass  # of which the slower way below finds what there is
        refused: str | None = None  # not the error, whose traceback has this frame
        for value in cookies.read_values(request, name):
            try:
                return _verified(serializer, name, value, max_age, own_ages)
            except InvalidCookie as error:
                refused = refused or str(error)
        if refused is not None and name not in self.damaged:
            self.damaged.add(name)
            logger.warning("The cookie %r was not accepted: %s", name, refused)
        return None, None


def _verified(
    serializer: Any, name: str, value: str, max_age: float | None, own_ages: bool
) -> tuple[Any, int | None]:
    if getattr(serializer.deserialize, "__func__", None) is not _DESERIALIZE:
        # Of the application's own, perhaps in a class derived from ours.
        data = serializer.deserialize(name, value, max_age=max_age)
        if data is None:
            raise InvalidCookie("the serializer refused it")
        return data, None
    data, timestamp = serializer.unseal(name, value)
    if not own_ages:
        if max_age is not None:
            serializer.check_age(timestamp, max_age)
        return data, None
    try:
        signed_at = int(timestamp)
    except ValueError:
        signed_at = None
    if type(data) is dict and cookies.OWN_MAX_AGE in data:
        cookies.check_own_age(data[cookies.OWN_MAX_AGE], signed_at)
    elif max_age is not None:
        serializer.check_age(timestamp, max_age)
    return data, signed_at
