"""Tokens against forged requests (CSRF): pages of a session hold one, which forms send back."""

from __future__ import annotations

import base64
import hmac
import re
from typing import Any

from webapp2_sessions.securecookie.keys import derive_key

__all__ = ["KEY", "new_token", "tokens_of"]

#: Where a token is kept in the session. Not ``_csrf``, where applications keep one of their own.
KEY = "_csrft"
#: Whatever else is there must not get into a page.
_TOKEN = re.compile(r"[\w-]{22,}", re.ASCII)
#: 128 bits, which are 22 characters.
_BYTES = 16


def new_token(session: Any) -> str:
    """Put another token into the session, and return it."""
    import secrets  # which nothing else needs

    token = session[KEY] = secrets.token_urlsafe(_BYTES)
    return token


def tokens_of(session: Any) -> list[str]:
    """Return the tokens that a session accepts, first the one for its pages; none if it has none.

    Where none is kept they are derived from the id of a session on a server, by the present secret
    key and older ones: two requests at once make the same of it, and neither has to save it. The
    cookie of another session is no secret that would do: two visitors may have the same.
    """
    kept, container = session.get(KEY), session.container
    if type(kept) is str and _TOKEN.fullmatch(kept):
        return [kept]
    sid, has_ids = getattr(container, "sid", None), getattr(container, "can_destroy", False)
    if session.new or session._regenerates or type(sid) is not str or has_ids is not True:
        return []
    config = container.session_store.config
    keys = [config.get("secret_key"), *config.get("secret_key_fallbacks", ())]
    message = f"{container.name} {sid}".encode("utf-8", "surrogatepass")
    digests = (hmac.digest(derive_key(key, "csrf"), message, "sha256") for key in keys if key)
    return [base64.urlsafe_b64encode(each[:_BYTES])[:22].decode("ascii") for each in digests]
