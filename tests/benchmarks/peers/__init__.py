"""The libraries that are compared; one that is not installed is left out."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from benchmarks.sites import Site

__all__ = ["BASELINE", "CONTROL", "OURS", "Codec", "Peers"]

#: How reports call webapp2_extras, a second one of it which shows the noise, and this package.
BASELINE = "webapp2_extras"
CONTROL = f"{BASELINE} again"
OURS = "webapp2_sessions"

#: Modules of this package. The first has the baseline and is never missing.
WEBAPP2 = "webapp2_peer"
MODULES = (
    WEBAPP2,
    "webob_peer",
    "flask_peer",
    "django_peer",
    "beaker_peer",
    "pyramid_peer",
    "starlette_peer",
    "bottle_peer",
)


@dataclass(frozen=True)
class Codec:
    """A signed cookie value's way there and back."""

    name: str
    serialize: Callable[[Any], Any]
    deserialize: Callable[[Any], Any]


@dataclass
class Peers:
    """The modules that can be imported.

    :param everybody: False for webapp2_extras and this package alone.
    """

    everybody: bool = True
    #: A line for each module that is left out.
    missing: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Import what is installed."""
        self._modules: list[ModuleType] = []
        for name in MODULES if self.everybody else (WEBAPP2,):
            try:
                self._modules.append(importlib.import_module(f"benchmarks.peers.{name}"))
            except ImportError as error:
                self._leave_out(name.removesuffix("_peer"), error)

    def cookie_sites(self) -> list[Site]:
        """Webapps that keep the session in a signed cookie."""
        return list(self._of_each("cookie_sites"))

    def memcached_sites(self, address: str) -> list[Site]:
        """Webapps that keep the session in a memcached."""
        return list(self._of_each("memcached_sites", address))

    def redis_sites(self, url: str) -> list[Site]:
        """Webapps that keep the session in Redis."""
        return list(self._of_each("redis_sites", url))

    def codecs(self) -> list[Codec]:
        """What signs cookies."""
        return list(self._of_each("codecs"))

    def _of_each(self, function: str, *args: Any) -> Iterable[Any]:
        for module in self._modules:
            if not hasattr(module, function):
                continue
            try:
                yield from getattr(module, function)(*args)
            except ImportError as error:
                self._leave_out(f"{function} of {module.__name__}", error)

    def _leave_out(self, what: str, error: ImportError) -> None:
        line = f"left out: {what} ({error})"
        if line not in self.missing:
            self.missing.append(line)
