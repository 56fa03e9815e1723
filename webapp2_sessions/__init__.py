"""Sessions for webapp2 on Python 3: ``webapp2_extras.sessions``, reimplemented and continued."""

from typing import TYPE_CHECKING

from webapp2_sessions.errors import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    SessionConflict,
    SessionError,
    SessionTooLarge,
    UnstorableValue,
)
from webapp2_sessions.lazy import imported_once
from webapp2_sessions.securecookie import SecureCookieSerializer
from webapp2_sessions.sessions import (
    BaseSessionFactory,
    CustomBackendSessionFactory,
    SecureCookieSessionFactory,
    SessionDict,
    SessionStore,
    default_config,
    get_store,
    set_store,
)

if TYPE_CHECKING:
    from webapp2_sessions.dropin import install_as_webapp2_extras
    from webapp2_sessions.handlers import SessionHandler
    from webapp2_sessions.middleware import SessionMiddleware
    from webapp2_sessions.stored_sessions import StoredSessionFactory
else:  # no application uses all of them
    __getattr__, __dir__ = imported_once(
        globals(),
        SessionHandler="handlers",
        SessionMiddleware="middleware",
        StoredSessionFactory="stored_sessions",
        install_as_webapp2_extras="dropin",
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
