"""Protection against forged forms (CSRF): a token in the session, which each form sends back.

Another site can make the visitor's browser send a form here, cookies and all. It cannot read our
pages, and so does not know the token.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any

#: Where the token is kept in the session, and the name of the hidden input.
FIELD = "csrf"


def token_of(session: dict[Any, Any]) -> str:
    """The session's token, made on first use."""
    if FIELD not in session:
        renew_token(session)
    return str(session[FIELD])


def renew_token(session: dict[Any, Any]) -> None:
    """Make another one, when the visitor becomes somebody else: forms from before are void."""
    session[FIELD] = secrets.token_urlsafe(16)


def has_token(request: Any, session: dict[Any, Any]) -> bool:
    """Whether a form was sent with the token of the session; without one it was not."""
    return equal(text_in(request, FIELD), token_of(session))


def equal(given: str, expected: str) -> bool:
    """Compare in a time that does not tell how much of it was right."""
    return hmac.compare_digest(given.encode(), expected.encode())


def text_in(request: Any, field: str, length: int = 100) -> str:
    """What was typed into a field, without blanks around it; a file is no text."""
    value = request.POST.get(field, "")
    return value.strip()[:length] if isinstance(value, str) else ""
