"""Messages of a server: which of their words are shown."""

from __future__ import annotations

import pytest
from pymemcache.exceptions import MemcacheServerError

from webapp2_sessions.sessions_memcache.protocol import known_words, redact

SID = "0123456789abcdefghijkl"
KEY = f"session:{SID}".encode()


@pytest.mark.parametrize(
    "message",
    [
        *(b"out of memory storing object", b"object too large for cache"),
        *(b"out of memory writing get response", b"bad data chunk", b"line too long"),
        *(b"Connection refused", b"Connection timed out", b"Too many open connections"),
    ],
)
def test_message_of_memcached_or_a_proxy_is_shown(message: bytes) -> None:
    assert known_words(message) == message


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (b"unsupported command: get " + KEY, b"unsupported command: get"),
        (KEY + b" is too long", b""),
        (b"invalid key '" + KEY + b"' in get", b"invalid key"),
        (SID.encode() + b" not found", b""),
        (b"out of memory.", b"out of memory"),
        (b"", b""),
        (b"\xff\xfe", b""),
    ],
)
def test_message_ends_before_what_may_be_part_of_a_key(message: bytes, shown: bytes) -> None:
    assert known_words(message) == shown


@pytest.mark.parametrize(
    "error",
    [
        KeyError(KEY),
        RuntimeError(f"no connection for {KEY!r}"),
        MemcacheServerError(b"cannot get " + KEY),
        MemcacheServerError([KEY], 7),
    ],
    ids=repr,
)
def test_nothing_of_a_key_is_in_an_error_nor_in_what_led_to_it(error: Exception) -> None:
    try:
        try:
            raise ValueError(f"invalid literal: {SID}")
        except ValueError as cause:
            error.__context__ = ConnectionError("the system's words")
            raise error from cause
    except type(error):
        redact(error, None)
    while error is not None:
        assert SID not in f"{error} {error!r}"
        error = error.__cause__  # type: ignore[assignment]


def test_errors_that_led_to_each_other_are_no_trap() -> None:
    first, second = RuntimeError(SID), KeyError(SID)
    first.__cause__, second.__cause__ = second, first
    redact(first, None)
    assert SID not in repr([first, second])


def test_words_of_the_system_stay() -> None:
    error = OSError(111, "Connection refused")
    redact(error, None)
    assert error.args == (111, "Connection refused")


def test_errors_of_others_stay_as_they_are() -> None:
    """A client is called while the application handles an error of its own."""
    ours, error = (
        LookupError("order 17"),
        MemcacheServerError("out of memory 0123456789abcdefghijkl"),
    )
    error.__context__ = ours
    redact(error, ours)
    assert error.args == ("out of memory",)
    assert ours.args == ("order 17",)
