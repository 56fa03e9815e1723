"""Tell who is signed in to a session, and what that user is called by a server."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from typing import Any

from webapp2_sessions.errors import ConfigError

__all__ = ["AUTH", "AUTH_SESSION", "name_of", "user_key_of", "user_of"]

#: The key of ``webapp2_extras.auth``, whose value is a list that begins with the user's id; and the
#: name of its sessions.
AUTH = "_user"
AUTH_SESSION = "auth"

#: What a server is told as it is; everything else is hashed, also what looks like a hash of ours.
_PLAIN = re.compile(r"(?!sha256:)[!-~]{1,200}\Z")


def user_key_of(config: Mapping[str, Any], session_name: str) -> Any:
    """Return what tells the user of the sessions of a name, ``None`` if nothing does."""
    key = config.get("user_key")
    return key.get(session_name) if isinstance(key, Mapping) else key


def user_of(session: Mapping[Any, Any], key: Any) -> Any:
    """Return who is signed in, ``None`` for nobody. In an empty session that is nobody.

    :param key: the key of the session that holds the user, or a function of the session.
    """
    if not session:
        return None  # what fails must not keep a session from being destroyed
    if callable(key):
        return key(session)
    user = session.get(key)
    if key == AUTH and isinstance(user, (list, tuple)):
        user = user[0] if user else None
    return user


def name_of(user: Any) -> str:
    """Return what a server calls a user: the same in each process, for each secret key.

    A number and its digits are the same user, because a command line has only text.

    :param user: text, a whole number, a UUID, or a key of ndb.
    :raises ConfigError: it is something else.
    """
    if isinstance(user, str):
        name = str.__str__(user)  # of a member of an enumeration its value, which JSON keeps
    elif isinstance(user, int) and not isinstance(user, bool):
        name = int.__repr__(user)
    elif isinstance(user, uuid.UUID):
        name = str(user)
    elif callable(getattr(user, "urlsafe", None)):
        name = bytes(user.urlsafe()).decode("ascii")
    else:
        kind = type(user).__name__
        text = "must lead to text, a whole number, a UUID or a key of ndb where 'user_index' or "
        text += f"'revocation' is configured, not to {kind}: give a function that returns one"
        raise ConfigError("user_key", text)
    if _PLAIN.match(name):
        return name
    return "sha256:" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
