"""The configuration of an application: checked on first use, found again by whoever needs it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from webapp2_sessions.config import (
    CONFIG_KEY,
    UPSTREAM_MODULES,
    SessionConfig,
    default_config,
)
from webapp2_sessions.config.checks import NEW_SECRET, weak_keys

__all__ = [
    "active_config",
    "backend_config",
    "load_config",
    "response_class_of",
    "warn_of_foreign_store",
]

logger: logging.Logger = logging.getLogger(__name__)

#: Key of an application's registry, under which the warnings are that were logged already.
_WARNED = "webapp2_sessions.warned"


def response_class_of(app: Any) -> Any:
    """Return the class of an application's responses."""
    if hasattr(app, "response_class"):
        return app.response_class
    import webapp2

    return webapp2.Response


def load_config(app: Any, key: str, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the checked configuration of an application.

    It is checked on first use and then kept in the application's config; a wrong one is refused
    each time. What can hardly be meant is logged. ``values`` make a configuration for one store
    only.
    """
    place = f"config[{key!r}]"
    config = app.config.load_config(key, default_values=default_config)
    if values:
        if "secret_key" in values:
            place = "SessionStore(request, config=...)"
        config = SessionConfig({**config, **values}, response_class_of(app), place)
        _warn(app, config, place)
    elif not isinstance(config, SessionConfig):
        given = config
        config = SessionConfig(given, response_class_of(app), place)
        if app.config.get(key) is given:  # and not made by a Config.load_config() for this request
            app.config[key] = config
        _warn(app, config, place)
    return config


def _warn(app: Any, config: SessionConfig, place: str) -> None:
    """Log, once in an application, what can hardly be meant; never a key."""
    from webapp2_sessions.config.oversights import oversights  # once a process is enough

    weak = ", ".join(weak_keys(config))
    if weak:
        advice = f"who guesses a key can sign in as anybody. Make a good one with {NEW_SECRET}"
        _warn_once(app, f"{place}: {weak}; {advice}")
    for each in oversights(config):
        _warn_once(app, f"{place}: {each.key} {each.text}")


def warn_of_foreign_store(app: Any, store: object) -> None:
    """Log, once in an application, that a request runs on the store of ``webapp2_extras``."""
    if any(each.__module__ in UPSTREAM_MODULES for each in type(store).__mro__):
        _warn_once(
            app,
            "A request runs on the session store of webapp2_extras, because webapp2_extras.auth or "
            "an unchanged import has made it first; what is configured for webapp2_sessions has "
            "no effect there. Either call webapp2_sessions.install_as_webapp2_extras() before the "
            "application is imported, or call webapp2_sessions.get_store() before anything else "
            "asks for the store, in each request",
        )


def _warn_once(app: Any, text: str) -> None:
    """Log a warning, once in an application; each time in one without a registry."""
    warned: dict[str, object] = getattr(app, "registry", {}).setdefault(_WARNED, {})
    mine = object()
    # setdefault() lets one of several threads through.
    if warned.setdefault(text, mine) is mine:
        logger.warning("%s", text)


def active_config() -> Mapping[str, Any]:
    """Return the session configuration of the active application; without one, the defaults."""
    import webapp2

    try:
        app = webapp2.get_app()
    except (AssertionError, RuntimeError):  # webapp2's ways of saying that there is none
        return default_config
    return load_config(app, CONFIG_KEY, None) if CONFIG_KEY in app.config else default_config


def backend_config(store: Any) -> Mapping[str, Any]:
    """Return the configuration by which a store's backends work.

    A store of the application's own may have no more than ``cookie_args`` in its configuration;
    the active application's stands in.
    """
    config: Mapping[str, Any] = store.config
    return config if config.get("secret_key") else active_config()
