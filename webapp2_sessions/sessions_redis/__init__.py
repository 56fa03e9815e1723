"""Sessions in Redis or Valkey."""

from __future__ import annotations

from webapp2_sessions.sessions_redis.factory import RedisSessionFactory

__all__ = ["RedisSessionFactory"]
