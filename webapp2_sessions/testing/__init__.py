"""For tests of applications: a client, cookies, sessions in memory, and a clock."""

from __future__ import annotations

from webapp2_sessions.testing.client import Client, session_transaction
from webapp2_sessions.testing.clock import Clock, travel
from webapp2_sessions.testing.cookies import SentCookie, make_cookie, read_cookie
from webapp2_sessions.testing.memory import (
    Memory,
    MemorySessionFactory,
    memory_of,
    memory_sessions,
)

__all__ = [
    "Client",
    "Clock",
    "Memory",
    "MemorySessionFactory",
    "SentCookie",
    "make_cookie",
    "memory_of",
    "memory_sessions",
    "read_cookie",
    "session_transaction",
    "travel",
]
