"""Sessions for webapp2 on Python 3: ``webapp2_extras.sessions``, reimplemented and continued."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from webapp2_sessions.errors import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    SessionConflict,
    SessionError,
    SessionTooLarge,
    UnstorableValue,
)
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
from webapp2_sessions.sessions.events import SessionEvent

if TYPE_CHECKING:
    from webapp2_sessions.dropin import install_as_webapp2_extras
    from webapp2_sessions.handlers import SessionHandler
    from webapp2_sessions.middleware import SessionMiddleware
    from webapp2_sessions.stored import StoredSessionFactory

#: Names that many applications do without, and the modules that define them. A module is imported
#: when somebody asks for its name (PEP 562).
_HOMES = {
    "SessionHandler": "webapp2_sessions.handlers",
    "SessionMiddleware": "webapp2_sessions.middleware",
    "StoredSessionFactory": "webapp2_sessions.stored",
    "install_as_webapp2_extras": "webapp2_sessions.dropin",
}

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
    "SessionEvent",
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


if not TYPE_CHECKING:  # checkers would find any name

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
