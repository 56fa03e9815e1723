"""Times and secrets as pages show them."""

from __future__ import annotations

import time

#: What browsers call themselves, in the order in which it tells: most pretend to be others as well.
BROWSERS = {
    "Edg/": "Edge",
    "OPR/": "Opera",
    "Firefox/": "Firefox",
    "FxiOS/": "Firefox",
    "CriOS/": "Chrome",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}
SYSTEMS = {
    "Android": "Android",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Windows": "Windows",
    "Mac OS X": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}

#: Characters of what a browser says, where we do not know it.
LONGEST = 60

UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def duration(seconds: float) -> str:
    """A time span in the largest unit that fits: ``30 days``, ``1 second``."""
    unit, length = next((each for each in UNITS if seconds >= each[1]), UNITS[-1])
    count = max(0, int(seconds) // length)
    return f"{count} {unit}{'' if count == 1 else 's'}"


def ago(seconds: float) -> str:
    """How long ago something was."""
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


def utc(timestamp: float) -> str:
    """A moment, given in Unix seconds."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(timestamp))


def browser_in(user_agent: str) -> str:
    """What a User-Agent header says of a browser: ``Firefox on Linux``.

    Of one that is not known its own words, in which anything may stand.
    """
    browser = next((BROWSERS[each] for each in BROWSERS if each in user_agent), None)
    system = next((SYSTEMS[each] for each in SYSTEMS if each in user_agent), None)
    return f"{browser} on {system}" if browser and system else user_agent.strip()[:LONGEST]


def hide_middle(text: str, start: int = 4, end: int = 4) -> str:
    """The beginning and the end of a secret: enough to tell it from another, and of no use.

    A page gets shown around, and lands in screenshots.
    """
    if len(text) < 2 * (start + end):
        return "…"
    return f"{text[:start]}…{text[-end:]}"
