"""What can be told of an encrypted cookie without its key."""

from __future__ import annotations

import warnings

import pytest
from support.visits import SECRET

from webapp2_sessions.securecookie.tokens import token_time
from webapp2_sessions.sessions.encrypted import EncryptedCookieSerializer

TOKEN = EncryptedCookieSerializer(SECRET).serialize("session", {"user": 5})


def test_time_is_in_clear() -> None:
    """It is that of signing."""
    serializer = EncryptedCookieSerializer(SECRET)
    serializer._get_timestamp = lambda: 1_800_000_000  # type: ignore[method-assign]
    assert token_time(serializer.serialize("session", {})) == 1_800_000_000


NO_TOKENS = {
    "nothing": b"",
    "a beginning": b"gAAAAA",
    "cut": TOKEN[:-4],
    "padded": TOKEN + b"=",
    "a space": b" " + TOKEN,
    "a line": TOKEN + b"\n",
    "other bytes": b"\xe9" * 120,
    "a plus": b"+" + TOKEN[1:],
    "a slash": TOKEN[:40] + b"/" + TOKEN[41:],
    "another version": b"A" * 100,
    "a signed value": b"x|1|" + b"0" * 40,
}


@pytest.mark.parametrize("name", NO_TOKENS)
def test_what_is_no_token_has_no_time(name: str) -> None:
    """Nor is there a warning: from Python 3.15 on, decoding warns of characters of other base64."""
    value = NO_TOKENS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert token_time(value) is None
