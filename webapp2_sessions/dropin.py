"""Replace the modules of webapp2_extras by those of this package, for unchanged applications."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import logging
import sys
from types import FunctionType, ModuleType
from typing import Any

from webapp2_sessions.config import UPSTREAM_MODULES, UPSTREAM_USERS, default_config

__all__ = ["install_as_webapp2_extras"]

logger: logging.Logger = logging.getLogger(__name__)

#: Loaded at once: they need no optional dependency, and webapp2_extras.auth refers to the first.
_EAGER = ("webapp2_extras.sessions", "webapp2_extras.securecookie")

#: What the finder gives for a module of upstream.
_REPLACEMENTS = {**UPSTREAM_MODULES, **UPSTREAM_USERS}


def install_as_webapp2_extras() -> None:
    """Replace ``webapp2_extras.sessions`` and its backends, for the whole process.

    Call it before the first import of the application. Imports of ``webapp2_extras.sessions``,
    ``.securecookie``, ``.appengine.sessions_memcache``, ``.appengine.sessions_ndb`` and of their
    names before webapp2 3.0 then return modules of this package, also in ``webapp2_extras.auth``.
    A backend is loaded when the application imports it. A second call changes nothing.

    So it is with ``webapp2_extras.appengine.auth.models``, the users of ``webapp2_extras.auth``,
    unless App Engine's bundled ndb is installed: with that upstream's own model works.

    Logs a warning that names the modules which have imported upstream's classes or functions
    already.
    """
    is_late = any(_is_upstreams(sys.modules.get(upstream)) for upstream in UPSTREAM_MODULES)
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AliasFinder())
    defaults = getattr(sys.modules.get("webapp2_extras.sessions"), "default_config", {})
    for upstream, replacement in UPSTREAM_MODULES.items():
        loaded = sys.modules.get(upstream)
        if loaded is None or loaded is not sys.modules.get(replacement):
            _forget(upstream)
    for upstream in _EAGER:
        importlib.import_module(upstream)
    auth = sys.modules.get("webapp2_extras.auth")
    if auth is not None:
        auth.__dict__["sessions"] = sys.modules["webapp2_extras.sessions"]
    if is_late:
        _copy_defaults(defaults)
        _warn_of_users()


def _copy_defaults(defaults: dict[str, Any]) -> None:
    """Copy the values of upstream's ``default_config``, which the application may have changed."""
    backends = default_config["backends"]
    default_config.update(defaults, backends=backends)
    for keyword, backend in defaults.get("backends", {}).items():
        backends.setdefault(keyword, backend)


def _warn_of_users() -> None:
    """Log which modules have imported from upstream, and continue to use it."""
    users = [
        name
        for name, module in list(sys.modules.items())
        if type(module) is ModuleType and any(map(_is_upstreams, list(vars(module).values())))
    ]
    if users:
        logger.warning(
            "install_as_webapp2_extras() comes too late for these modules, which hold names of "
            "webapp2_extras' sessions and go on using them: %s. Call it before they are imported",
            ", ".join(sorted(users)),
        )


def _is_upstreams(value: Any) -> bool:
    """Return whether this is a module of upstream, or a class, function or object from one."""
    # Without attributes of the object itself, which may be a proxy with side effects.
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
    """Undo an import, so that the next one finds the module of this package."""
    sys.modules.pop(module_name, None)
    package, _, name = module_name.rpartition(".")
    if package in sys.modules:
        sys.modules[package].__dict__.pop(name, None)


def _has_bundled_ndb() -> bool:
    """Return whether App Engine's SDK is there, with the ndb on which upstream's users work."""
    try:
        return importlib.util.find_spec("google.appengine.ext.ndb") is not None
    except ModuleNotFoundError:
        return False
    except ValueError:
        return True  # something without a spec stands in for it


class _AliasFinder:
    """Finds and loads modules of this package under upstream's names."""

    # Optimization: no base class, because importlib.abc takes longer to load than this package.

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _REPLACEMENTS or (fullname in UPSTREAM_USERS and _has_bundled_ndb()):
            return None
        loader: Any = self
        return importlib.util.spec_from_loader(fullname, loader)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(_REPLACEMENTS[spec.name])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has replaced it by the spec of the alias.
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state
