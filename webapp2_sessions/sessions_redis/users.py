"""What Redis knows of users: their sessions, and since when they must have signed in."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from webapp2_sessions.errors import BackendError
from webapp2_sessions.sessions_redis.records import SessionRedis, session_redis
from webapp2_sessions.sessions_redis.servers import Redis, Script
from webapp2_sessions.stored.connections import IF_SILENT
from webapp2_sessions.stored.factory import Noted
from webapp2_sessions.stored.namespaces import current_namespace

__all__ = ["UserIndex", "moments_in_redis"]

#: A lifetime of so many milliseconds means for ever; ids are ordered by it all the same.
_FOR_EVER = 100 * 366 * 24 * 3600 * 1000

#: How many ids are dropped at once.
_PAGE = 1000

#: Adds ARGV[2], which is void after the Unix millisecond ARGV[3], to a sorted set, and drops what
#: is void by ARGV[1]. The set lives for ARGV[4] milliseconds (0: for ever), or as long as before.
_NOTE = Script("""
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1])
local left = redis.call('PTTL', KEYS[1])
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2])
if ARGV[4] == '0' then redis.call('PERSIST', KEYS[1])
elseif left ~= -1 and left < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return 1
""")

#: Sets a number, unless a larger one is there.
_RAISE = Script("""
local now = tonumber(redis.call('GET', KEYS[1])) or 0
if now < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
""")


class UserIndex:
    """The ids of a user's sessions: one sorted set under one key.

    :param server: where it is.
    :param key: its key.
    """

    def __init__(self, server: Redis, key: bytes) -> None:
        self._server = server
        self._key = key

    def add(self, noted: Noted, now: int, lifetime: float | None) -> None:
        """Note an id.

        :param now: in Unix milliseconds.
        :param lifetime: in seconds, ``None`` for ever.
        """
        milliseconds = None if lifetime is None else int(lifetime * 1000)
        is_endless = milliseconds is None or milliseconds >= _FOR_EVER
        end = now + (_FOR_EVER if is_endless else milliseconds or 0)
        kept = 0 if is_endless else milliseconds
        answer = self._server.run(IF_SILENT, _NOTE, self._key, now, _member(noted), end, kept)
        _check(self._server, answer)

    def all(self) -> list[Noted]:
        """Return the ids, those that were noted last first."""
        # All by one command: what others drop between two pages would move an id to the former one.
        members = self._server.call(IF_SILENT, "ZRANGE", self._key, 0, -1) or []
        found = {each.sid: each for each in map(_noted, members) if each is not None}
        return sorted(found.values(), key=lambda noted: noted.at, reverse=True)

    def drop(self, noted: Sequence[Noted]) -> None:
        """Drop ids."""
        for start in range(0, len(noted), _PAGE):
            members = map(_member, noted[start : start + _PAGE])
            self._server.call(IF_SILENT, "ZREM", self._key, *members)


def _member(noted: Noted) -> str:
    return f"{noted.sid} {noted.at}"


def _noted(member: Any) -> Noted | None:
    """Return the id of a member, ``None`` if somebody else has put it there."""
    sid, _, at = bytes(member).decode("ascii", "replace").partition(" ")
    return Noted(sid, int(at)) if sid and at.isdigit() and len(at) < 16 else None


def _check(server: Redis, answer: Any) -> None:
    if answer != 1:
        raise BackendError("redis", server.address, "the answer is none to the command")


class MomentsInRedis:
    """Since when users must have signed in: a number a user.

    :param records: what makes the keys.
    """

    def __init__(self, records: SessionRedis) -> None:
        self._records = records

    def here(self) -> str:
        """Return the namespace where a session would be opened now."""
        namespace = self._records.namespace
        return current_namespace() if namespace is None else namespace

    def latest(self, namespace: str, users: Sequence[str]) -> int:
        """Return the latest moment of some users, in Unix milliseconds; -1 for none."""
        server = self._records.server
        answers = server.call(IF_SILENT, "MGET", *(self._key(namespace, user) for user in users))
        return max((self._number(each) for each in answers if each is not None), default=-1)

    def set(self, namespace: str, user: str, moment: int) -> None:
        """Set the moment of a user, unless a later one is there."""
        server = self._records.server
        _check(server, server.run(IF_SILENT, _RAISE, self._key(namespace, user), moment))

    def _number(self, value: Any) -> int:
        if not (type(value) is bytes and value.isdigit() and len(value) < 16):
            text = "what is stored of a user is none of this package's values"
            raise BackendError("redis", self._records.server.address, text)
        return int(value)

    def _key(self, namespace: str, user: str) -> bytes:
        # In braces, so that all are on one server of a cluster and can be asked for together.
        return self._records.key("{signed-out}") + self._records.key(f"{namespace}/{user}")


def moments_in_redis(config: Mapping[str, Any]) -> MomentsInRedis:
    """Return the moments of a configuration; the same object for the same settings."""
    return _moments(session_redis(config))


@functools.lru_cache(maxsize=64)
def _moments(records: SessionRedis) -> MomentsInRedis:
    return MomentsInRedis(records)
