"""What a server's message may show: it can repeat the command, and with it a session's id."""

from __future__ import annotations

import itertools

__all__ = ["hide_keys", "known_words"]

#: The words of memcached's messages, and of those of its proxies twemproxy and mcrouter.
_KNOWN = frozenset(
    b"aborted again bad busy by cache cannot chunk closed command connect connection connections"
    b" data down during error exceeded failed failure for format get grow host in internal invalid"
    b" is item key large line long many memory no not object objects of open out peer pool"
    b" preparing processing read reading refused remote request reset response route server"
    b" shutdown size storing supported temporary timed timeout tko to token too unauthenticated"
    b" unavailable unknown unreachable unsupported valid value while write writing".split()
)


def known_words(message: bytes) -> bytes:
    """Return the beginning of a server's message, as far as its words are known ones."""
    words = message.split()
    known = itertools.takewhile(lambda word: word.lower().strip(b".,:;") in _KNOWN, words)
    return b" ".join(known).rstrip(b".,:;")


def hide_keys(error: BaseException) -> None:
    """Cut a client's error, and those that led to it, to words in which there is no key.

    The error of another library is the cause of ours, and stands in the log with it.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        pending += [each.__cause__, each.__context__]
        if not isinstance(each, OSError):  # the system's own words
            each.args = tuple(filter(None, map(_shown, each.args)))


def _shown(argument: object) -> object:
    if isinstance(argument, bytes):
        return known_words(argument)
    if isinstance(argument, str):
        return known_words(argument.encode("utf-8", "replace")).decode("ascii")
    return argument if isinstance(argument, (int, float)) else type(argument).__name__
