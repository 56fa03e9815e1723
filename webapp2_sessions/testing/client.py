"""A test client that keeps cookies, and access to the session of a client."""

from __future__ import annotations

import email.message
import http.cookiejar
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import webapp2

from webapp2_sessions.config import CONFIG_KEY, _default_value
from webapp2_sessions.config.loading import load_config, response_class_of
from webapp2_sessions.errors import ConfigError
from webapp2_sessions.sessions import SessionStore
from webapp2_sessions.sessions.changes import Snapshot
from webapp2_sessions.sessions.session_dict import SessionDict
from webapp2_sessions.sessions.store import _default_backend

#: Attributes in which WSGI middleware and test clients have the application that they wrap.
_WRAPPED = ("app", "application", "wsgi_app")
_MAX_DEPTH = 50


class Client:
    """Sends requests to an application, and keeps its cookies.

    Domain, path and age of cookies count as in a browser, which sends ``secure`` ones to localhost
    too.

    :param app: the application, also in middleware.
    :param base_url: scheme and host of requests for which only a path is given.
    """

    #: The application.
    app: Any
    #: Scheme and host of requests for which only a path is given.
    base_url: str
    #: The cookies, of Python's :mod:`http.cookiejar`.
    cookiejar: http.cookiejar.CookieJar

    def __init__(self, app: Any, base_url: str = "http://localhost") -> None:
        self.app = app
        self.base_url = base_url
        policy = http.cookiejar.DefaultCookiePolicy(secure_protocols=("https", "http"))
        self.cookiejar = http.cookiejar.CookieJar(policy)

    @property
    def cookies(self) -> dict[str, str]:
        """A copy of the values of all cookies, by name."""
        return {cookie.name: cookie.value or "" for cookie in self.cookiejar}

    def get_response(self, path: str, **kwargs: Any) -> Any:
        """Return the response to a request, as ``app.get_response()`` does.

        :param path: a path with its query, or a whole URL.
        :param kwargs: of ``webapp2.Request.blank()``: ``headers``, ``POST``, ``method`` ... A
            Cookie header replaces the client's cookies.
        """
        if "://" not in path.partition("?")[0]:
            kwargs.setdefault("base_url", self.base_url)
        request = webapp_of(self.app).request_class.blank(path, **kwargs)
        if "Cookie" not in request.headers:
            _add_cookies(self.cookiejar, request)
        response = request.get_response(self.app)
        _keep_cookies(self.cookiejar, request, response)
        return response

    def get(self, path: str, **kwargs: Any) -> Any:
        """Send a GET request; arguments as of :meth:`get_response`."""
        return self.get_response(path, method="GET", **kwargs)

    def post(self, path: str, data: Any = None, **kwargs: Any) -> Any:
        """Send a form by POST; arguments as of :meth:`get_response`.

        :param data: the form's fields, as a dictionary or a list of pairs.
        """
        return self.get_response(path, method="POST", POST=data or {}, **kwargs)


@contextmanager
def session_transaction(
    client: Any,
    name: str | None = None,
    *,
    backend: str = _default_backend,
    max_age: float | None = _default_value,
    factory: Callable[..., Any] | None = None,
    app: Any = None,
    url: str | None = None,
    store: Callable[[Any], Any] = SessionStore,
) -> Iterator[SessionDict]:
    """Open the session of a client's next request; save it when the block ends.

    Changes are saved as at the end of a request, those inside values included, and the client gets
    the cookie. Without changes nothing is written and no cookie set; an exception in the block, or
    while the session is saved, leaves the client's cookies alone.

    :param client: WebTest's ``TestApp``, a :class:`Client`, or a cookie jar of
        :mod:`http.cookiejar`, such as ``requests.Session().cookies``.
    :param name: as of ``get_session()``, and so are ``backend``, ``max_age`` and ``factory``.
    :param app: the application, where it cannot be found in the client.
    :param url: the URL or path whose cookies count; by default the path of the session's cookie at
        the client's own host.
    :param store: makes the session store of a request.
    :raises TypeError: the client has no cookie jar, or its application is not found.
    :raises ConfigError: the client's jar refuses the cookie, because its domain or path does not
        match ``url``.
    :raises BackendError: the backend's server failed.
    """
    webapp = webapp_of(client if app is None else app)
    jar = _jar_of(client)
    request = webapp.request_class.blank(_address(client, webapp, url))
    request.app = webapp
    _add_cookies(jar, request)
    opened = store(request)
    with _active(webapp, request):
        session = opened.get_session(name, max_age=max_age, factory=factory, backend=backend)
    before = Snapshot(session, **getattr(session.container, "_codec", {}))
    yield session
    if not (session.modified or session._destroyed) and before.differs(session):
        session.mark_changed()
    if any(_should_save(each.session) for each in opened.sessions.values()):
        response = response_class_of(webapp)()
        with _active(webapp, request):
            opened.save_sessions(response)
        _keep_cookies(jar, request, response)
        _check_kept(jar, request, response)


def _jar_of(client: Any) -> http.cookiejar.CookieJar:
    is_jar = isinstance(client, http.cookiejar.CookieJar)
    jar: http.cookiejar.CookieJar | None = client if is_jar else getattr(client, "cookiejar", None)
    if jar is None:
        raise TypeError(
            f"a {type(client).__name__} has no cookie jar; give a client, such as Client(app)"
        )
    return jar


def _should_save(session: Any) -> bool:
    return session is not None and (session.modified or session._destroyed)


def _address(client: Any, webapp: Any, url: str | None) -> str:
    """Return the URL whose cookies count."""
    base = getattr(client, "base_url", None)
    if base is None:
        host = getattr(client, "extra_environ", {}).get("HTTP_HOST", "localhost")
        base = f"https://{host}"  # to which secure cookies are sent too
    if url is None:
        url = load_config(webapp, CONFIG_KEY, None)["cookie_args"].get("path") or "/"
    return urllib.parse.urljoin(base, str(url))


@contextmanager
def _active(webapp: Any, request: Any) -> Iterator[None]:
    """Make an application and a request the active ones, as they are during a request."""
    before = [getattr(webapp2._local, name, None) for name in ("app", "request")]
    webapp.set_globals(app=webapp, request=request)
    try:
        yield
    finally:
        webapp.clear_globals()
        if before != [None, None]:
            webapp.set_globals(*before)


def _cookie_header(jar: http.cookiejar.CookieJar, request: Any) -> str | None:
    """Return the Cookie header with which a request gets the cookies of a jar."""
    asked = urllib.request.Request(request.url)
    jar.add_cookie_header(asked)
    return asked.get_header("Cookie")


def _add_cookies(jar: http.cookiejar.CookieJar, request: Any) -> None:
    """Send the cookies of a jar with a request."""
    header = _cookie_header(jar, request)
    if header is not None:
        request.headers["Cookie"] = header


def _keep_cookies(jar: http.cookiejar.CookieJar, request: Any, response: Any) -> None:
    """Keep the cookies of a response in a jar."""
    message = email.message.Message()
    for header in response.headers.getall("Set-Cookie"):
        message["Set-Cookie"] = header
    received: Any = SimpleNamespace(info=lambda: message)  # all that a jar needs of a response
    jar.extract_cookies(received, urllib.request.Request(request.url))


def _check_kept(jar: http.cookiejar.CookieJar, request: Any, response: Any) -> None:
    """Raise an error if a jar has refused a cookie."""
    pairs = (_cookie_header(jar, request) or "").split("; ")
    present = {pair.partition("=")[0] for pair in pairs}
    for header in response.headers.getall("Set-Cookie"):
        name = header.partition("=")[0]
        if name not in present and "; Max-Age=0" not in header:
            raise ConfigError(
                "url",
                f"the client does not take the cookie {name!r} at {request.path_url}, because its "
                "domain or path, by 'cookie_args', is another",
            )


def webapp_of(app: Any) -> Any:
    """Return the :class:`webapp2.WSGIApplication` inside of whatever wraps it.

    :param app: the application, middleware around it, WebTest's ``TestApp``, or a :class:`Client`.
    :raises TypeError: there is none.
    """
    found = app
    for _ in range(_MAX_DEPTH):
        if isinstance(found, webapp2.WSGIApplication):
            return found
        inside = (getattr(found, name, None) for name in _WRAPPED)
        found = next((each for each in inside if each is not None), None)
    raise TypeError(
        f"no webapp2.WSGIApplication is found in a {type(app).__name__}; give the application "
        "itself"
    )
