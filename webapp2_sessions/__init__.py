"""Sessions for webapp2 on Python 3: ``webapp2_extras.sessions``, reimplemented and continued."""

from webapp2_sessions.dropin import install_as_webapp2_extras
from webapp2_sessions.errors import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    SessionConflict,
    SessionError,
    SessionTooLarge,
    UnstorableValue,
)
from webapp2_sessions.handlers import SessionHandler
from webapp2_sessions.middleware import SessionMiddleware
from webapp2_sessions.securecookie import SecureCookieSerializer
from webapp2_sessions.sessions import (
    BaseSessionFactory,
    CustomBackendSessionFactory,
    SecureCookieSessionFactory,
    SessionDict,
    SessionStore,
    StoredSessionFactory,
    default_config,
    get_store,
    set_store,
)

__all__ = [
    "BackendError",
    "BackendUnavailable",
    "BaseSessionFactory",
    "ConfigError",
    "CustomBackendSessionFactory",
    "SecureCookieSerializer",
    "SecureCookieSessionFactory",
    "SessionConflict",
    "SessionDict",
    "SessionError",
    "SessionHandler",
    "SessionMiddleware",
    "SessionStore",
    "SessionTooLarge",
    "StoredSessionFactory",
    "UnstorableValue",
    "default_config",
    "get_store",
    "install_as_webapp2_extras",
    "set_store",
]

__version__ = "0.1.0"
