"""Sessions in Redis or Valkey: fast, shared by all processes, ended everywhere at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from webapp2_sessions.config import redis_settings
from webapp2_sessions.config.loading import backend_config
from webapp2_sessions.errors import BackendError, ConfigError
from webapp2_sessions.sessions_redis.records import SessionRedis, session_redis
from webapp2_sessions.sessions_redis.servers import server_of
from webapp2_sessions.sessions_redis.users import UserIndex
from webapp2_sessions.stored.connections import IF_SILENT
from webapp2_sessions.stored.factory import Noted, Stored
from webapp2_sessions.stored.keyed import KeyedSessionFactory

__all__ = ["RedisSessionFactory"]

#: How the key begins under which a check writes.
_PROBE = "webapp2-sessions-check"
#: Milliseconds after which Redis drops that value, should it not be deleted.
_PROBE_LIFETIME = 60_000


class RedisSessionFactory(KeyedSessionFactory):
    """Keeps sessions in Redis or Valkey, configured by ``config["redis"]``.

    Use it as ``store.get_session(backend="redis")``. A read is one command, a request that changes
    a session two.
    """

    can_list: bool = True

    def _configured_records(self) -> SessionRedis:
        return session_redis(backend_config(self.session_store))

    def _index_of(self, user: str) -> UserIndex:
        records, key = self._record(f"users/{self.name}/{user}")
        return UserIndex(records.server, key)

    def _note_of_user(self, user: str, noted: Noted, lifetime: float | None) -> None:
        self._index_of(user).add(noted, int(self._now() * 1000), lifetime)

    def _noted_of_user(self, user: str) -> Iterator[Noted]:
        yield from self._index_of(user).all()

    def _drop_of_user(self, user: str, noted: Sequence[Noted]) -> None:
        self._index_of(user).drop(noted)

    def _look_up(self, sids: Sequence[str]) -> list[Stored | None]:
        return [self._stored(sid) for sid in sids]

    @classmethod
    def _ping(cls, config: Mapping[str, Any]) -> Iterator[str]:
        settings = redis_settings(config)
        # A key of this check alone, because several may run at once.
        key = f"{settings['key_prefix']}{_PROBE}:{os.urandom(8).hex()}".encode("ascii")
        try:
            server = server_of(settings)
            try:
                server.call(IF_SILENT, "SET", key, b"a", "PX", _PROBE_LIFETIME)
                is_set = server.compare_and_set(key, b"a", b"b", _PROBE_LIFETIME)
                is_there = server.call(IF_SILENT, "PEXPIRE", key, _PROBE_LIFETIME)
                if not is_set or not is_there or server.get(key) != b"b":
                    yield str(server.unavailable("a value did not come back"))
                server.call(IF_SILENT, "DEL", key)
            except BackendError:
                with contextlib.suppress(BackendError):
                    server.call(IF_SILENT, "DEL", key)
                raise
        except (BackendError, ConfigError) as error:
            yield str(error)
