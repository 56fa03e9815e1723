"""Passwords of the visitors: everybody's is the same until somebody changes hers."""

from __future__ import annotations

import hashlib
import hmac
import os

#: Everybody's password at first. The page says so: this shows sessions, not accounts.
FIRST = "demo"

#: Characters of a password.
SHORTEST, LONGEST = 4, 100

#: Bytes of what makes the hashes of two equal passwords differ.
SALT = 16


class Passwords:
    """Hashes of those passwords that were changed. They are gone when the demo ends."""

    def __init__(self) -> None:
        self._hashes: dict[str, bytes] = {}

    def fits(self, name: str, password: str) -> bool:
        """Whether it is the password of that name."""
        kept = self._hashes.get(name)
        if kept is None:
            return hmac.compare_digest(password.encode(), FIRST.encode())
        return hmac.compare_digest(kept, hashed(password, kept[:SALT]))

    def change(self, name: str, password: str) -> None:
        """Take another password from now on."""
        self._hashes[name] = hashed(password, os.urandom(SALT))

    def stamp(self, name: str) -> bytes:
        """What changes with the password, for `user_stamp`: the session holds a seal of it.

        It is the same for all who still have the first one, also after the demo was started again.
        """
        return self._hashes.get(name, b"")


def hashed(password: str, salt: bytes) -> bytes:
    """What is kept of a password: slow to compute, so that guessing is slow as well."""
    return salt + hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
