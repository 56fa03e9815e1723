"""What the values of arguments may be; anything else is an error of argparse that says so."""

from __future__ import annotations

import argparse
import datetime
import re

__all__ = ["duration", "key_size", "name", "seconds", "whole_number"]

_SECONDS_OF = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhdw]?)")


def duration(text: str) -> datetime.timedelta:
    """Return the time of a number and a unit, e.g. ``"31d"``; without a unit it is seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no duration; give a number and a unit: 45s, 90m, 12h, 30d, 2w"
        )
    try:
        return datetime.timedelta(seconds=float(match[1]) * _SECONDS_OF[match[2]])
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text!r} is too long") from None


def whole_number(text: str) -> int:
    """Return a whole number from 1 on."""
    if not re.fullmatch(r"0*[1-9][0-9]{0,15}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)


def key_size(text: str) -> int:
    """Return a number of bytes for a secret key, 16 to 1024."""
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 16 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 16 to 1024")
    return int(text)


def seconds(text: str) -> float:
    """Return a number of seconds above 0."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) or not float(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number of seconds")
    return float(text)


def name(text: str) -> str:
    """Return a name that is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("a kind has a name")
    return text
