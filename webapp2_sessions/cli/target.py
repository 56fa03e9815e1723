"""Configurations by the names that are given to commands: ``MODULE:CONFIG``."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import webapp2

from webapp2_sessions.config import CONFIG_KEY, SessionConfig
from webapp2_sessions.errors import ConfigError, SessionError

__all__ = ["Target", "importing_from_here", "load_target"]

#: Errors whose text is about names and places. That of others may hold what the application
#: was given, a secret for instance.
_TELLING = (AttributeError, ImportError, KeyError, NameError, SessionError, SyntaxError)


class Target(NamedTuple):
    """What a name stands for."""

    #: The session configuration as the application has it, unchecked.
    given: Mapping[str, Any]
    #: The application; one without handlers if the name is that of a dictionary.
    app: Any
    #: Whether the name is that of an application, whose other settings count as well.
    is_app: bool

    def __repr__(self) -> str:
        """Show no value: ``given`` has the secret key."""
        return f"{type(self).__name__}(is_app={self.is_app})"

    @property
    def response_class(self) -> Any:
        """The class of the application's responses."""
        return getattr(self.app, "response_class", webapp2.Response)

    def checked(self) -> SessionConfig:
        """Return the configuration, checked and complete with defaults.

        :raises ConfigError: a value is wrong.
        """
        return SessionConfig(self.given, self.response_class)


@contextlib.contextmanager
def importing_from_here() -> Iterator[None]:
    """Find modules in the current directory too, and keep what they print off our output."""
    here = os.getcwd()
    is_new = here not in sys.path and "" not in sys.path
    if is_new:
        sys.path.insert(0, here)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if is_new and here in sys.path:
            sys.path.remove(here)


def load_target(name: str) -> Target:
    """Return the configuration that ``MODULE:CONFIG`` names.

    :param name: a module, and in it the application's whole config, its session configuration,
        the application, or a function without arguments that returns one of them.
    :raises ConfigError: there is no such thing; the error says what is there.
    """
    module_name, colon, path = name.partition(":")
    if not (colon and all(map(str.isidentifier, [*module_name.split("."), *path.split(".")]))):
        raise ConfigError(
            "MODULE:CONFIG", "must be a module and a name in it, e.g. shop.config:CONFIG"
        )
    with importing_from_here():
        module = _import(module_name, name)
        found = _attribute(module, module_name, path)
        if not _is_app(found) and not isinstance(found, Mapping) and callable(found):
            found = _without_surprises(name, "calling it failed", found)
    if _is_app(found):
        return Target(_section(name, found.config), found, True)
    if isinstance(found, Mapping):
        return _target_of(found, name)
    raise ConfigError(
        name,
        "must be a dictionary, a webapp2.WSGIApplication or a function that returns one of them, "
        f"not {type(found).__name__}",
    )


def _target_of(found: Mapping[str, Any], name: str) -> Target:
    given = _section(name, found)
    return Target(given, webapp2.WSGIApplication(config={CONFIG_KEY: given}), False)


def _import(module_name: str, name: str) -> Any:
    return _without_surprises(
        name, "importing it failed", functools.partial(importlib.import_module, module_name)
    )


def _without_surprises(name: str, problem: str, action: Any) -> Any:
    """Call the application's code, of which nothing is known."""
    try:
        return action()
    except (Exception, SystemExit) as error:
        raise ConfigError(name, f"{problem}: {_described(error)}") from error


def _described(error: BaseException) -> str:
    """The type of an error, where it was raised, and its text if that is safe to show."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if frame.filename != __file__ and frame.filename[0] != "<"]
    inside = [frame for frame in theirs if "importlib" not in frame.filename]
    place = f", at {os.path.relpath(inside[-1].filename)}:{inside[-1].lineno}" if inside else ""
    text = f": {error}" if isinstance(error, _TELLING) else ""
    return f"{type(error).__name__}{text}{place}"


def _attribute(module: Any, module_name: str, path: str) -> Any:
    found, way = module, module_name
    for part in path.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{way}:{part}", f"is not there{_meant(part, dir(found))}")
        found, way = getattr(found, part), f"{way}.{part}"
    return found


def _is_app(found: Any) -> bool:
    """Whether it is an application of webapp2, also behind our middleware."""
    return isinstance(getattr(found, "config", None), Mapping) and hasattr(found, "router")


def _section(name: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the session configuration of an application's config, or of itself."""
    if CONFIG_KEY in config:
        section = config[CONFIG_KEY]
        if not isinstance(section, Mapping):
            raise ConfigError(
                f"{name}[{CONFIG_KEY!r}]", f"must be a dictionary, not {type(section).__name__}"
            )
        return section
    # A session configuration has keys without dots, and a whole one hardly any.
    is_whole = isinstance(config, webapp2.Config) or any("." in str(key) for key in config)
    if is_whole or not config:
        raise ConfigError(
            name, f"has no {CONFIG_KEY!r}{_meant(CONFIG_KEY, map(str, config), 0.85)}"
        )
    return config


def _meant(wanted: str, known: Iterable[str], likeness: float = 0.6) -> str:
    names = {each.lower(): each for each in known if each != wanted}
    found = difflib.get_close_matches(wanted.lower(), names, 1, likeness)
    return f"; did you mean {names[found[0]]!r}?" if found else ""
