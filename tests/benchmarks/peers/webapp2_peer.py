"""webapp2_extras, twice, and this package, with the same handler."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

import webapp2
import webapp2_extras.securecookie
import webapp2_extras.sessions
from support.appengine import install

import webapp2_sessions.securecookie
import webapp2_sessions.sessions
from benchmarks.data import NAME, SECRET
from benchmarks.peers import BASELINE, CONTROL, OURS, Codec
from benchmarks.peers.clients import PickledMemcache
from benchmarks.sites import PATHS, Site, act

__all__ = ["bare_app", "codecs", "cookie_sites", "memcached_sites", "our_site", "redis_sites"]

_CONFIG_KEY = "webapp2_extras.sessions"


class BareHandler(webapp2.RequestHandler):
    """Answers without a session."""

    def get(self) -> None:
        """Answer any of the paths."""
        self.response.write("0")


def _handler(sessions: ModuleType, **options: Any) -> type[webapp2.RequestHandler]:
    """The base handler of webapp2's documentation, with what the paths stand for."""

    class Handler(webapp2.RequestHandler):
        def dispatch(self) -> None:
            self.session_store = sessions.get_store(request=self.request)
            try:
                super().dispatch()
            finally:
                self.session_store.save_sessions(self.response)

        @webapp2.cached_property
        def session(self) -> Any:
            return self.session_store.get_session(**options)

        def get(self) -> None:
            path = self.request.environ["PATH_INFO"]
            if path == "/idle":
                self.response.write("0")
                return
            keys = int(self.request.get("keys")) if path == "/fill" else 0
            self.response.write(act(self.session, path, keys))

    return Handler


def bare_app() -> webapp2.WSGIApplication:
    """The application without sessions."""
    return webapp2.WSGIApplication([(path, BareHandler) for path in PATHS])


def _site(name: str, sessions: ModuleType, config: Any = None, **options: Any) -> Site:
    handler = _handler(sessions, **options)
    values = {_CONFIG_KEY: {"secret_key": SECRET, "cookie_name": NAME, **(config or {})}}
    app = webapp2.WSGIApplication([(path, handler) for path in PATHS], config=values)
    return Site(name, app, bare_app())


def our_site(backend: str = "securecookie", **config: Any) -> Site:
    """This package's site, with any configuration."""
    return _site(OURS, webapp2_sessions.sessions, config, backend=backend)


def cookie_sites() -> list[Site]:
    """Sessions in signed cookies."""
    upstream = [_site(name, webapp2_extras.sessions) for name in (BASELINE, CONTROL)]
    return [*upstream, our_site()]


def memcached_sites(address: str) -> list[Site]:
    """webapp2_extras' own factory, on pymemcache in place of App Engine's memcache."""
    install()  # for the import of google.appengine
    upstream = [_upstream_memcached(name, address) for name in (BASELINE, CONTROL)]
    return [*upstream, our_site("memcache", memcache={"servers": [address]})]


def redis_sites(url: str) -> list[Site]:
    """This package alone: webapp2_extras has no sessions in Redis."""
    return [our_site("redis", redis={"url": url})]


def _upstream_memcached(name: str, address: str) -> Site:
    """A site with a copy of upstream's module, which talks to this memcached and no other."""
    spec: Any = importlib.util.find_spec("webapp2_extras.appengine.sessions_memcache")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.memcache = PickledMemcache(address)
    return _site(name, webapp2_extras.sessions, factory=module.MemcacheSessionFactory)


def codecs() -> list[Codec]:
    """The serializers, as a store uses them."""
    modules = (
        (BASELINE, webapp2_extras.securecookie),
        (CONTROL, webapp2_extras.securecookie),
        (OURS, webapp2_sessions.securecookie),
    )
    return [_codec(name, module.SecureCookieSerializer(SECRET)) for name, module in modules]


def _codec(name: str, serializer: Any) -> Codec:
    def deserialize(value: bytes) -> Any:
        return serializer.deserialize(NAME, value)

    return Codec(name, lambda data: serializer.serialize(NAME, data), deserialize)
