"""Putting our modules in the place of upstream's, for applications that stay as they are."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import logging
import sys
from collections.abc import Sequence
from types import FunctionType, ModuleType
from typing import Any

from webapp2_sessions.config import UPSTREAM_MODULES, default_config

__all__ = ["install_as_webapp2_extras"]

logger: logging.Logger = logging.getLogger(__name__)

#: Loaded at once: without optional dependencies, and webapp2_extras.auth has a reference.
_EAGER = ("webapp2_extras.sessions", "webapp2_extras.securecookie")


def install_as_webapp2_extras() -> None:
    """Make ``webapp2_extras.sessions`` and its backends ours, for the whole process.

    Call it before the first import of the application. Imports of ``webapp2_extras.sessions``,
    ``.securecookie``, ``.appengine.sessions_memcache``, ``.appengine.sessions_ndb`` and of the
    names before webapp2 3.0 then give our modules, also to ``webapp2_extras.auth``. The backends
    are imported when the application imports them. Calling it again changes nothing.

    Modules that hold upstream's classes and functions already are named in a warning.
    """
    comes_late = any(_is_upstreams(sys.modules.get(upstream)) for upstream in UPSTREAM_MODULES)
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AliasFinder())
    defaults = getattr(sys.modules.get("webapp2_extras.sessions"), "default_config", {})
    for upstream, ours in UPSTREAM_MODULES.items():
        loaded = sys.modules.get(upstream)
        if loaded is None or loaded is not sys.modules.get(ours):
            _forget(upstream)
    for upstream in _EAGER:
        importlib.import_module(upstream)
    auth = sys.modules.get("webapp2_extras.auth")
    if auth is not None:
        auth.__dict__["sessions"] = sys.modules["webapp2_extras.sessions"]
    if comes_late:
        _take_over(defaults)
        _warn_of_holders()


def _take_over(defaults: dict[str, Any]) -> None:
    """Let what an application has put into upstream's ``default_config`` count here too."""
    backends = defaults.get("backends", {})
    for key, value in defaults.items():
        if key != "backends":
            default_config[key] = value
    for keyword, backend in backends.items():
        default_config["backends"].setdefault(keyword, backend)


def _warn_of_holders() -> None:
    """Log which modules hold what is upstream's, and so go on using it."""
    holders = [
        name
        for name, module in list(sys.modules.items())
        if type(module) is ModuleType and any(map(_is_upstreams, list(vars(module).values())))
    ]
    if holders:
        logger.warning(
            "install_as_webapp2_extras() comes too late for these modules, which hold names of "
            "webapp2_extras' sessions and go on using them: %s. Call it before they are imported",
            ", ".join(sorted(holders)),
        )


def _is_upstreams(value: Any) -> bool:
    """Whether it is one of upstream's modules, or a class, function or object of theirs."""
    # No attribute of an object is asked for: it may be a proxy that does something then.
    kind = type(value)
    if kind is ModuleType:
        return _is_name_of_upstreams(vars(value).get("__name__"))
    if kind is FunctionType:
        return _is_name_of_upstreams(value.__module__)
    classes = type.mro(value) if issubclass(kind, type) else kind.__mro__
    return any(_is_name_of_upstreams(vars(each).get("__module__")) for each in classes)


def _is_name_of_upstreams(name: object) -> bool:
    return isinstance(name, str) and name in UPSTREAM_MODULES


def _forget(module_name: str) -> None:
    """Undo an import, so that the next one finds our module."""
    sys.modules.pop(module_name, None)
    package, _, name = module_name.rpartition(".")
    if package in sys.modules:
        sys.modules[package].__dict__.pop(name, None)


class _AliasFinder:
    """Finds our modules under upstream's names.

    Without the base class of ``importlib.abc``, whose import takes longer than all of ours.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        ours = UPSTREAM_MODULES.get(fullname)
        if ours is None:
            return None
        loader: Any = _AliasLoader(ours)
        return importlib.util.spec_from_loader(fullname, loader)


class _AliasLoader:
    """Loads a module that has another name of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._spec: importlib.machinery.ModuleSpec | None = None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just given it the alias's spec.
        module.__spec__ = self._spec
