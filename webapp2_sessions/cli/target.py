"""The configuration that a command is given as ``MODULE:CONFIG``."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from webapp2_sessions.config import (
    CONFIG_KEY,
    DATASTORE_DEFAULTS,
    MEMCACHE_DEFAULTS,
    REDIS_DEFAULTS,
    SessionConfig,
    default_config,
)
from webapp2_sessions.config.loading import response_class_of
from webapp2_sessions.config.value_checks import mapping, wrong
from webapp2_sessions.errors import ConfigError, SessionError

#: Errors whose text is about names and places. That of others may contain a value of the
#: application, a secret for instance.
_SAFE_ERRORS = (AttributeError, ImportError, KeyError, NameError, SessionError, SyntaxError)

#: What is said of an application that is wrapped by a function, as App Engine's SDK does it.
_NEEDS_ARGUMENTS = (
    "needs arguments to be called; if it is an application that something else wraps, name the "
    "webapp2.WSGIApplication inside, and otherwise a function without arguments"
)


class Target(NamedTuple):
    """A configuration and its application."""

    #: The session configuration as the application has it, unchecked.
    given: Mapping[str, Any]
    #: The application; one without handlers if only a configuration was named.
    app: Any

    def __repr__(self) -> str:
        """Show no value: ``given`` has the secret key."""
        return f"{type(self).__name__}(...)"

    @property
    def response_class(self) -> Any:
        """The class of the application's responses."""
        return response_class_of(self.app)

    def checked(self) -> SessionConfig:
        """Return the configuration, checked and complete with defaults.

        :raises ConfigError: a value is wrong.
        """
        return SessionConfig(self.given, self.response_class)


#: The sections of the backends that have servers. An application that has handled requests has all
#: of them in its configuration, with these values.
_SECTIONS: dict[str, Mapping[str, Any]] = {
    "memcache": MEMCACHE_DEFAULTS,
    "redis": REDIS_DEFAULTS,
    "datastore": DATASTORE_DEFAULTS,
}


@contextlib.contextmanager
def importing_from_here() -> Iterator[None]:
    """Find modules in the current directory too, and send what they print to standard error."""
    here = os.getcwd()
    is_missing = here not in sys.path and "" not in sys.path
    if is_missing:
        sys.path.insert(0, here)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if is_missing and here in sys.path:
            sys.path.remove(here)


def load_target(name: str) -> Target:
    """Import what ``MODULE:CONFIG`` names.

    :param name: a module, and in it the application's whole config, its session configuration,
        the application, or a function without arguments that returns one of them.
    :raises ConfigError: there is no such thing; the error says what there is.
    """
    module_name, colon, path = name.partition(":")
    if not (colon and all(map(str.isidentifier, [*module_name.split("."), *path.split(".")]))):
        problem = "must be a module and a name in it, e.g. shop.config:CONFIG"
        raise ConfigError("MODULE:CONFIG", problem)
    with importing_from_here():
        importing = functools.partial(importlib.import_module, module_name)
        module = _run(name, "importing it failed", importing)
        found = _attribute(module, module_name, path)
        if not _is_app(found) and not isinstance(found, Mapping) and callable(found):
            if _needs_arguments(found):
                raise ConfigError(name, _NEEDS_ARGUMENTS)
            found = _run(name, "calling it failed", found)
    if _is_app(found):
        return Target(_section(name, found.config), found)
    if isinstance(found, Mapping):
        import webapp2

        given = _section(name, found)
        return Target(given, webapp2.WSGIApplication(config={CONFIG_KEY: given}))
    one_of = "a dictionary, a webapp2.WSGIApplication or a function that returns one of them"
    raise wrong(name, found, one_of)


def _run(name: str, problem: str, function: Callable[[], Any]) -> Any:
    """Call code of the application, and raise only ConfigError."""
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise ConfigError(name, f"{problem}: {_describe(error)}") from error


def _needs_arguments(function: Callable[..., Any]) -> bool:
    """Whether a call without arguments cannot succeed, as far as Python can tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some that are written in C have none
        return False
    try:
        signature.bind()
    except TypeError:
        return True
    return False


def _describe(error: BaseException) -> str:
    """Return the type of an error, its text if that is safe to show, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if frame.filename != __file__ and frame.filename[0] != "<"]
    inside = [frame for frame in theirs if "importlib" not in frame.filename]
    place = f", at {os.path.relpath(inside[-1].filename)}:{inside[-1].lineno}" if inside else ""
    text = f": {error}" if isinstance(error, _SAFE_ERRORS) else ""
    return f"{type(error).__name__}{text}{place}"


def _attribute(module: Any, module_name: str, path: str) -> Any:
    found, parent = module, module_name
    for part in path.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{parent}:{part}", f"is not there{_suggest(part, dir(found))}")
        found, parent = getattr(found, part), f"{parent}.{part}"
    return found


def _is_app(found: Any) -> bool:
    """Whether it is an application of webapp2, also inside of ``SessionMiddleware``."""
    return isinstance(getattr(found, "config", None), Mapping) and hasattr(found, "router")


def _section(name: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the session configuration in an application's config, or ``config`` if it is one."""
    import webapp2

    if CONFIG_KEY in config:
        return mapping(f"{name}[{CONFIG_KEY!r}]", config[CONFIG_KEY])
    # A session configuration has keys without dots, and a whole one hardly any.
    is_whole = isinstance(config, webapp2.Config) or any("." in str(key) for key in config)
    if is_whole or not config:
        suggestion = _suggest(CONFIG_KEY, map(str, config), 0.85)
        raise ConfigError(name, f"has no {CONFIG_KEY!r}{suggestion}")
    return config


def _suggest(wanted: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    names = {each.lower(): each for each in known if each != wanted}
    found = difflib.get_close_matches(wanted.lower(), names, 1, cutoff)
    return f"; did you mean {names[found[0]]!r}?" if found else ""


def server_backends(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which backends with servers a configuration mentions.

    :param given: a session configuration as the application has it.
    """
    sections = {key: given.get(key) for key in _SECTIONS}
    used = {
        key: each
        for key, each in sections.items()
        if each and isinstance(each, Mapping) and each != _SECTIONS[key]
    }
    named = [*used, used.get("datastore", {}).get("cache")]
    used_by_name = [given.get("on_oversize"), given.get("default_backend")]
    backends = given.get("backends") or {}
    own = [key for key in backends if key in used_by_name and key not in default_config["backends"]]
    return (*(key for key in sections if key in (*named, *used_by_name)), *own)
