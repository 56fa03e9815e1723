"""The sessions of a request, and all names of ``webapp2_extras.sessions``."""

from __future__ import annotations

from webapp2_sessions.config import _default_value as _default_value
from webapp2_sessions.config import default_config
from webapp2_sessions.sessions.cookie import SecureCookieSessionFactory
from webapp2_sessions.sessions.factories import BaseSessionFactory, CustomBackendSessionFactory
from webapp2_sessions.sessions.session_dict import SessionDict
from webapp2_sessions.sessions.store import SessionStore, get_store, set_store
from webapp2_sessions.sessions.store import _registry_key as _registry_key

__all__ = [
    "BaseSessionFactory",
    "CustomBackendSessionFactory",
    "SecureCookieSessionFactory",
    "SessionDict",
    "SessionStore",
    "default_config",
    "get_store",
    "set_store",
]
