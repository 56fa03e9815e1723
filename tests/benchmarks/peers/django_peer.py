"""Django's sessions in signed cookies and in its cache."""

from __future__ import annotations

import functools
import sys
from typing import Any

import django
from django.conf import settings
from django.core import signing
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test.utils import override_settings
from django.urls import path as url

from benchmarks.data import SECRET
from benchmarks.peers import Codec
from benchmarks.sites import PATHS, Site, act

__all__ = ["codecs", "cookie_sites", "memcached_sites", "redis_sites", "urlpatterns"]

_MIDDLEWARE = "django.contrib.sessions.middleware.SessionMiddleware"


def _view(request: HttpRequest) -> HttpResponse:
    session = getattr(request, "session", None)
    if session is None:
        return HttpResponse("0")
    path = request.META["PATH_INFO"]
    keys = int(request.GET["keys"]) if path == "/fill" else 0
    return HttpResponse(act(session, path, keys))


urlpatterns = [url(path[1:], _view) for path in PATHS]


@functools.cache
def _configure() -> None:
    settings.configure(
        SECRET_KEY=SECRET, ALLOWED_HOSTS=["*"], ROOT_URLCONF=sys.modules[__name__], MIDDLEWARE=[]
    )
    django.setup()


def _site(name: str, engine: str) -> Site:
    """The handler reads the middleware when it is made, the middleware its engine."""
    _configure()
    with override_settings(MIDDLEWARE=[_MIDDLEWARE], SESSION_ENGINE=engine):
        app = WSGIHandler()
    return Site(name, app, WSGIHandler())


def cookie_sites() -> list[Site]:
    """JSON, signed with SHA-256."""
    return [_site("Django signed_cookies", "django.contrib.sessions.backends.signed_cookies")]


def memcached_sites(address: str) -> list[Site]:
    """The cache backend on PyMemcacheCache."""
    return [_cache_site("memcached.PyMemcacheCache", address)]


def redis_sites(url: str) -> list[Site]:
    """The cache backend on RedisCache."""
    return [_cache_site("redis.RedisCache", url)]


def _cache_site(backend: str, location: str) -> Site:
    """The site of a cache, which is Django's from here on."""
    _configure()
    cache = {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": location}
    override_settings(CACHES={"default": cache}).enable()
    return _site("Django cache", "django.contrib.sessions.backends.cache")


def codecs() -> list[Codec]:
    """What its signed cookies are made by."""
    _configure()
    dumps: Any = functools.partial(signing.dumps, salt="benchmarks", compress=True)
    return [Codec("Django signing", dumps, functools.partial(signing.loads, salt="benchmarks"))]
