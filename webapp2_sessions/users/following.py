"""Follow the user of a session: a new id at sign-in, and the end of the record at sign-out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Following", "user_of"]

#: The key of ``webapp2_extras.auth``, whose value is a list that begins with the user's id.
_AUTH = "_user"


def user_of(session: Mapping[Any, Any], key: Any) -> Any:
    """Return who is signed in, ``None`` for nobody.

    :param key: the key of the session that holds the user, or a function of the session.
    """
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
    """

    def __init__(self, session: Mapping[Any, Any], key: Any) -> None:
        self._key = key
        #: Who is signed in, as far as is stored.
        self.user: Any = user_of(session, key)

    def before_save(self, session: Any) -> None:
        """Renew the session's id if its user has signed in, and end its record if she signed out.

        What is left in the session after a sign-out is kept under a new id.
        """
        before, now = self.user, user_of(session, self._key)
        self.user = now
        if session._destroyed or _is_same(before, now):
            return
        if now is not None:
            session.regenerate_id()
        elif getattr(session.container, "can_destroy", False):
            left = dict(session)
            session.destroy()
            if left:
                session.update(left)
                session.mark_changed()


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two users are the same; those that cannot be compared are not."""
    if one is other:
        return True
    if one is None or other is None:
        return False
    try:
        return bool(one == other)
    except Exception:  # of the application's own class: a new id too many harms nobody
        return False
