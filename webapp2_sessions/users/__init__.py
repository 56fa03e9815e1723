"""Who is signed in: where, since when, and signed out everywhere; and models of users."""

from webapp2_sessions.users.accounts import end_user_sessions, user_sessions
from webapp2_sessions.users.index import UserSession
from webapp2_sessions.users.revocation import end_all_sessions

__all__ = ["UserSession", "end_all_sessions", "end_user_sessions", "user_sessions"]
