"""Follow the user of a session: a new id at sign-in, the end at sign-out or with the password."""

from __future__ import annotations

import copy
import hmac
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from webapp2_sessions.securecookie.cookie_data import STAMP
from webapp2_sessions.securecookie.keys import derive_key
from webapp2_sessions.sessions import csrf

__all__ = ["Following", "user_of"]

logger: logging.Logger = logging.getLogger(__name__)

#: The key of ``webapp2_extras.auth``, whose value is a list that begins with the user's id.
_AUTH = "_user"

#: Hexadecimal digits of a stamp: 96 bits.
_STAMP_LENGTH = 24

#: What a handler may change inside, and what JSON changes.
_COLLECTIONS = (dict, list, tuple)

#: What stands for a stamp that was not asked for.
_UNKNOWN: Any = object()


def user_of(session: Mapping[Any, Any], key: Any) -> Any:
    """Return who is signed in, ``None`` for nobody. In an empty session that is nobody.

    :param key: the key of the session that holds the user, or a function of the session.
    """
    if not session:
        return None  # what fails must not keep a session from being destroyed
    if callable(key):
        return key(session)
    user = session.get(key)
    if key == _AUTH and isinstance(user, (list, tuple)):
        user = user[0] if user else None
    return user


class Following:
    """Follows the user of one session of a request.

    :param session: the session as it was opened.
    :param key: as of :func:`user_of`.
    :param config: the session configuration.
    """

    def __init__(self, session: Any, key: Any, config: Mapping[str, Any]) -> None:
        self._key = key
        self._config = config
        self._name = session.container.name
        #: Who is signed in, as far as is stored.
        self.user: Any = _kept(user_of(session, key))
        #: What the function of `user_stamp` has returned for the user; ``_UNKNOWN`` before.
        self._stamped: Any = _UNKNOWN

    def catch_up(self, session: Any) -> None:
        """Renew the session's id if its user has signed in, and end its record if she signed out.

        What is left in the session after a sign-out is kept under a new id, but for its token
        against forged requests.
        """
        before, now = self.user, user_of(session, self._key)
        self.user = _kept(now)
        is_other = not _is_same(before, now)
        if is_other and not session._destroyed:
            if now is not None:
                session.regenerate_id()
            elif getattr(session.container, "can_destroy", False):
                left = dict(session)
                left.pop(csrf.KEY, None)
                session.destroy()
                if left:
                    session.update(left)
                    session.mark_changed()
        if is_other or session._regenerates:
            self._stamped = _UNKNOWN  # the present one counts when it is saved

    def accepts(self, stamp: str | None) -> bool:
        """Return whether a session is from after the last change of its user's password.

        :param stamp: what its cookie has; ``None`` if it was set before there were stamps.
        """
        if stamp is None or not self._has_stamp():
            return True
        secret_keys = self._config["secret_key"], *self._config.get("secret_key_fallbacks", ())
        self.look_up_stamp()
        seals = [_sealed(self._stamped, key) for key in secret_keys]
        if any(hmac.compare_digest(stamp.encode(), seal) for seal in seals):
            return True
        logger.info("The session %r ends: its user's stamp is another one by now", self._name)
        return False

    def add_stamp(self, attributes: dict[str, Any]) -> None:
        """Add what changes with the user's password to the attributes of a cookie.

        It is what was compared when the session was opened. A password that was changed since then
        ends this session too, which may be a thief's, unless it has got a new id.
        """
        self.look_up_stamp()
        if self._has_stamp():
            attributes[STAMP] = _sealed(self._stamped, self._config["secret_key"]).decode("ascii")

    def look_up_stamp(self) -> None:
        """Ask for the user's stamp, unless it is known from when the session was opened."""
        if self._stamped is _UNKNOWN and self._has_stamp():
            self._stamped = self._config["user_stamp"](self.user)

    def _has_stamp(self) -> bool:
        return self.user is not None and self._config.get("user_stamp") is not None


def _sealed(stamped: Any, secret_key: Any) -> bytes:
    """Return what a cookie may show of a stamp; it tells nothing of a hash of a password."""
    is_binary = isinstance(stamped, (bytes, bytearray, memoryview))  # as databases give them
    message = bytes(stamped) if is_binary else str(stamped).encode("utf-8", "surrogatepass")
    sealed = hmac.new(derive_key(secret_key, "user stamp"), message, "sha256")
    return sealed.hexdigest()[:_STAMP_LENGTH].encode("ascii")


def _kept(user: Any) -> Any:
    """Return what is left as it is when the session changes: a copy of a dictionary or list."""
    if isinstance(user, _COLLECTIONS):
        with suppress(Exception):  # of the application's own classes in it
            return copy.deepcopy(user)
    return user


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two users are the same; those that cannot be compared are not."""
    if one is other:
        return True
    if one is None or other is None:
        return False
    # Of the application's own classes. A new id too many harms nobody.
    with suppress(Exception):
        if one == other:
            return True
    if not (isinstance(one, _COLLECTIONS) and isinstance(other, _COLLECTIONS)):
        return False
    with suppress(Exception):
        if json.dumps(one) == json.dumps(other):
            return True  # a tuple comes back from a cookie as a list
    from webapp2_sessions.sessions.sameness import same_value  # loads pickle: others do without

    return same_value(one, other)  # a copy may equal nothing but itself
