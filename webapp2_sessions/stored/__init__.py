"""Sessions that are kept on a server: what all backends share."""

from __future__ import annotations

from webapp2_sessions.stored.factory import Noted, Stored, StoredSessionFactory

__all__ = ["Noted", "Stored", "StoredSessionFactory"]
