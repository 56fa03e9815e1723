"""The sessions of a request, and all names of ``webapp2_extras.sessions``."""

from __future__ import annotations

from webapp2_sessions.config import _default_value, default_config
from webapp2_sessions.sessions.cookie import SecureCookieSessionFactory
from webapp2_sessions.sessions.factories import BaseSessionFactory, CustomBackendSessionFactory
from webapp2_sessions.sessions.session_dict import SessionDict
from webapp2_sessions.sessions.store import SessionStore, _registry_key, get_store, set_store

__all__ = [
    "BaseSessionFactory",
    "CustomBackendSessionFactory",
    "SecureCookieSessionFactory",
    "SessionDict",
    "SessionStore",
    "_default_value",
    "_registry_key",
    "default_config",
    "get_store",
    "set_store",
]
