"""What forms send: the fields of one, and the token that makes it ours.

Another site can make the visitor's browser send a form here, cookies and all. It cannot read our
pages, and so does not know the session's token, which each form sends back.
"""

from __future__ import annotations

from typing import Any

#: The name of the hidden input with the token.
FIELD = "csrf"


def has_token(request: Any, session: Any) -> bool:
    """Whether a form was sent with the token of the session; without one it was not."""
    return bool(session.check_csrf_token(request.POST.get(FIELD)))


def text_in(request: Any, field: str, length: int = 100) -> str:
    """What was typed into a field, without blanks around it; a file is no text."""
    value = request.POST.get(field, "")
    return value.strip()[:length] if isinstance(value, str) else ""
