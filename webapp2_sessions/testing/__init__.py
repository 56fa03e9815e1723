"""For the tests of applications: sessions without servers, prepared and read, and a clock."""

from __future__ import annotations

from webapp2_sessions.testing.backend import MemorySessionFactory, memory_sessions
from webapp2_sessions.testing.client import Client, session_transaction
from webapp2_sessions.testing.clock import Clock, travel
from webapp2_sessions.testing.cookies import SentCookie, make_cookie, read_cookie
from webapp2_sessions.testing.memory import Memory, memory_of

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
