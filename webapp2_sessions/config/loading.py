"""Loading of an application's configuration, validated once and then cached."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from webapp2_sessions.config import CONFIG_KEY, UPSTREAM_MODULES, SessionConfig, default_config
from webapp2_sessions.config.checks import NEW_SECRET, weak_keys

logger: logging.Logger = logging.getLogger(__name__)

#: Key in the application's registry of the warnings that were logged already.
_WARNED = "webapp2_sessions.warned"


def response_class_of(app: Any) -> Any:
    """Return the response class of an application."""
    if hasattr(app, "response_class"):
        return app.response_class
    import webapp2

    return webapp2.Response


def load_config(app: Any, key: str, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the validated configuration of an application.

    Validate it on first use, log likely mistakes, and keep it in the application's config. A
    wrong one raises each time.

    :param app: the application.
    :param key: the key of the session configuration in ``app.config``.
    :param values: override the application's values for one store.
    """
    # All four by name, as upstream: a load_config() of the application's own may want them.
    given: dict[str, Any] = app.config.load_config(
        key, default_values=default_config, user_values=values, required_keys=()
    )
    if not values and isinstance(given, SessionConfig):
        return given
    place = f"config[{key!r}]"
    if values and "secret_key" in values:
        place = "SessionStore(request, config=...)"
    config = SessionConfig({**given, **(values or {})}, response_class_of(app), place)
    # Not so if a custom load_config() makes a new one each time.
    if not values and app.config.get(key) is given:
        app.config[key] = config
    _warn(app, config, place)
    return config


def _warn(app: Any, config: SessionConfig, place: str) -> None:
    """Log likely mistakes, once per application; never a secret key."""
    from webapp2_sessions.config.oversights import oversights  # needed once per process

    weak = ", ".join(weak_keys(config))
    if weak:
        advice = f"who guesses a key can sign in as anybody. Make a good one with {NEW_SECRET}"
        _warn_once(app, f"{place}: {weak}; {advice}")
    for each in oversights(config):
        _warn_once(app, f"{place}: {each.key} {each.text}")


def warn_of_foreign_store(app: Any, store: object) -> None:
    """Warn, once per application, if a request uses the store of ``webapp2_extras``."""
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
    """Log a warning, once per application; each time if it has no registry."""
    warned: dict[str, object] = getattr(app, "registry", {}).setdefault(_WARNED, {})
    mine = object()
    if warned.setdefault(text, mine) is mine:  # atomic: only one of several threads logs
        logger.warning("%s", text)


def active_config() -> Mapping[str, Any]:
    """Return the session configuration of the active application, or the defaults without one."""
    app = active_app()
    has_config = app is not None and CONFIG_KEY in app.config
    return load_config(app, CONFIG_KEY, None) if has_config else default_config


def active_app() -> Any:
    """Return the active application, ``None`` if there is none."""
    import webapp2

    try:
        return webapp2.get_app()
    except (AssertionError, RuntimeError):
        return None


def backend_config(store: Any) -> Mapping[str, Any]:
    """Return the configuration for a store's backends.

    A custom store may configure no more than ``cookie_args``; fall back to the active application.
    """
    config: Mapping[str, Any] = store.config
    return config if config.get("secret_key") else active_config()
