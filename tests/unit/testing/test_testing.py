"""Cookies made and read, clients, and the sessions of their next requests."""

from __future__ import annotations

import http.cookiejar
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests
import webapp2
import webtest
from support.implementations import OURS, UPSTREAM, records_factory
from support.servers import PROJECT
from support.visits import SECRET, Visitor, make_app
from support.wsgi import served

import webapp2_sessions.testing
from webapp2_sessions import (
    BackendUnavailable,
    ConfigError,
    SessionHandler,
    SessionMiddleware,
    SessionStore,
)
from webapp2_sessions.errors import BadSignature, MalformedCookie
from webapp2_sessions.testing import (
    Client,
    MemorySessionFactory,
    make_cookie,
    memory_of,
    read_cookie,
    session_transaction,
    travel,
)

CONFIG = {"secret_key": SECRET}
START = 1_900_000_000


class Page(SessionHandler):
    """Shows the session of the backend and name that are asked for; a POST updates it."""

    def session_asked_for(self) -> Any:
        get = self.request.GET.get
        return self.get_session(get("name"), backend=get("backend", "securecookie"))

    def get(self) -> None:
        session = self.session_asked_for()
        self.response.write(sorted(session.items()))

    def post(self) -> None:
        # Not by request.POST, which leaves a file open where WebTest is strict about the body.
        body = self.request.environ["wsgi.input"].read(self.request.content_length or 0)
        self.session_asked_for().update(parse_qsl(body.decode()))


def pages(**config: Any) -> webapp2.WSGIApplication:
    """An application with a page, below any path."""
    backends = {"memory": MemorySessionFactory, "custom": records_factory(OURS, {})}
    app = make_app(**{"backends": backends, **config})
    app.router.add((r"/.*", Page))
    return app


def sent_in(config: Any, *args: Any, **options: Any) -> Any:
    """The cookie that is found in a response or header."""
    sent = read_cookie(config, *args, **options)
    assert sent is not None
    return sent


# Cookies that are made


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"cookie_name": "other"},
        {"digest": "sha256"},
        {"digest": "sha512", "secret_key": b"another key of the tests"},
        {"absolute_max_age": 60},
        {"secret_key_fallbacks": ["an older key of the tests"]},
    ],
)
@pytest.mark.parametrize("backend", ["securecookie", "encryptedcookie"])
@pytest.mark.parametrize("by_app", [False, True])
def test_cookie_is_accepted_by_an_application_of_its_configuration(
    config: Any, backend: str, by_app: bool
) -> None:
    app = make_app(**config)
    data = {"a": [1, "ü"]}
    with travel(START):
        cookie = make_cookie(app if by_app else {**CONFIG, **config}, data, backend=backend)
        visitor = Visitor(app, backend=backend)
        name, _, value = cookie.partition("=")
        visitor.cookies[name] = value
        assert visitor.read() == data
        assert name == config.get("cookie_name", "session")
        visitor.write({"b": 2})
        sent = sent_in(app, cookie, backend=backend)
    assert (sent.data, sent.signed_at) == (data, START)
    assert sent.began == (START if "absolute_max_age" in config else None)


def test_cookie_is_upstreams_as_well() -> None:
    upstream = UPSTREAM.securecookie.SecureCookieSerializer(SECRET)
    cookie = make_cookie(CONFIG, {"a": 1}, "upstream")
    assert upstream.deserialize("upstream", cookie.partition("=")[2]) == {"a": 1}


def test_cookie_has_an_age_of_its_own_as_by_set_max_age() -> None:
    app = make_app(session_max_age=10)
    with travel() as clock:
        cookie = make_cookie(app, {"a": 1}, max_age=100)
        visitor = Visitor(app)
        visitor.cookies["session"] = cookie.partition("=")[2]
        clock.advance(100)
        assert visitor.read() == {"a": 1}
        clock.advance(1)
        assert visitor.read() == {}
    sent = sent_in(app, cookie)
    assert (sent.data, sent.own_max_age) == ({"a": 1}, 100)


def test_cookie_of_a_stored_session_holds_an_id_and_a_made_up_one_opens_nothing() -> None:
    app = pages()
    sid = Visitor(app, backend="memory").write({"a": 1})
    for each, text in ((sid, "[('a', 1)]"), ("x" * 22, "[]")):
        cookie = make_cookie(app, {"_sid": each})
        assert Client(app).get("/?backend=memory", headers={"Cookie": cookie}).text == text


@pytest.mark.parametrize("backend", ["securecookie", "encryptedcookie"])
def test_id_that_the_application_has_put_into_a_session_is_data(backend: str) -> None:
    """As read and as made again, and opens no stored session."""
    app = pages()
    sid = Visitor(app, backend="memory").write({"a": 1})
    response = Client(app).post(f"/?backend={backend}", {"_sid": sid})
    sent = sent_in(app, response, backend=backend)
    assert sent.data == {"_sid": sid}
    cookie = make_cookie(app, sent.data, backend=backend)
    for asked_for, text in (("memory", "[]"), (backend, f"[('_sid', '{sid}')]")):
        response = Client(app).get(f"/?backend={asked_for}", headers={"Cookie": cookie})
        assert response.text == text


def test_id_in_an_encrypted_cookie_that_is_made_is_data() -> None:
    """No backend reads it as an id."""
    cookie = make_cookie(CONFIG, {"_sid": "x" * 22}, backend="encryptedcookie")
    sent = sent_in(CONFIG, cookie, backend="encryptedcookie")
    assert sent.data.attributes == {"is_data": True}


@pytest.mark.parametrize("backend", ["securecookie", "encryptedcookie"])
def test_cookie_of_a_session_that_was_too_large_leads_to_the_server(backend: str) -> None:
    """And so does one that is made of what was read."""
    app = pages(on_oversize="memory")
    text = "x" * 5000
    response = Client(app).post(f"/?backend={backend}", {"a": text})
    cookie = make_cookie(app, sent_in(app, response, backend=backend).data, backend=backend)
    response = Client(app).get(f"/?backend={backend}", headers={"Cookie": cookie})
    assert response.text == f"[('a', '{text}')]"


def test_data_that_was_given_and_read_stays_as_it_is() -> None:
    data = {"a": [1]}
    cookie = make_cookie({**CONFIG, "absolute_max_age": 60}, data, max_age=5)
    assert data == {"a": [1]}
    assert read_cookie(CONFIG, cookie) == read_cookie(CONFIG, cookie)


@pytest.mark.parametrize(
    ("arguments", "backend", "error", "text"),
    [
        (({}, {"a": 1}), "securecookie", ConfigError, "secret_key"),
        ((CONFIG, {"a": 1}), "memcache", ConfigError, "'securecookie' or 'encryptedcookie'"),
        ((CONFIG, {"a": 1}, "a name"), "securecookie", ConfigError, "cannot be sent"),
        ((CONFIG, {"a": {1}}), "securecookie", TypeError, "JSON"),
        ((5, {"a": 1}), "securecookie", TypeError, r"webapp2\.WSGIApplication"),
    ],
    ids=["secret", "backend", "name", "data", "application"],
)
def test_wrong_arguments_are_refused_as_by_the_application(
    arguments: Any, backend: str, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        make_cookie(*arguments, backend=backend)


# Cookies that are read


def test_response_sets_data_time_and_attributes() -> None:
    """Of another name or none there is nothing."""
    arguments = {"max_age": 60, "path": "/", "httponly": True, "samesite": "Lax"}
    client = Client(app := pages(cookie_args=arguments))
    with travel(START):
        response = client.post("/", {"a": "1"})
    sent = sent_in(app, response)
    assert (sent.name, sent.data) == ("session", {"a": "1"})
    assert (sent.expired, sent.signed_at) == (False, START)
    assert sent.attributes == {
        "expires": "Sun, 17-Mar-2030 17:47:40 GMT",
        "max-age": "60",
        "path": "/",
        "httponly": True,
        "samesite": "Lax",
    }
    assert read_cookie(app, response, "other") is None
    assert read_cookie(app, client.get("/")) is None


@pytest.mark.parametrize("backend", ["securecookie", "encryptedcookie", "memory"])
def test_response_takes_the_cookie_of_a_destroyed_session_back(backend: str) -> None:
    app = pages()
    visitor = Visitor(app, backend=backend)
    visitor.write({"a": 1})
    with visitor.visit() as session:
        session.destroy()
    kind = "encryptedcookie" if backend == "encryptedcookie" else "securecookie"
    sent = sent_in(app, visitor.response, backend=kind)
    assert (sent.expired, sent.data, sent.signed_at) == (True, None, None)
    assert sent.attributes["path"] == "/"


def test_cookie_is_read_from_whatever_has_the_header() -> None:
    """Responses of WebTest, one header, several of them: the last of a name counts."""
    app = pages()
    assert sent_in(app, webtest.TestApp(app).post("/", {"a": "1"})).data == {"a": "1"}
    headers = [make_cookie(app, {"n": number}, name) for number, name in enumerate("aba")]
    assert [sent_in(app, headers, name).data for name in "ab"] == [{"n": 2}, {"n": 1}]


def test_older_keys_and_digests_are_accepted_as_configured() -> None:
    older = {"secret_key": "an older key of the tests"}
    cookie = make_cookie({**older, "digest": "sha512"}, {"a": 1})
    fallback = {**CONFIG, "secret_key_fallbacks": [older["secret_key"]]}
    assert sent_in({**fallback, "digest_fallbacks": ["sha512"]}, cookie).data == {"a": 1}
    for config in (CONFIG, older, fallback):
        with pytest.raises(BadSignature):
            read_cookie(config, cookie)


def test_cookie_that_the_application_has_not_made_is_an_error() -> None:
    encrypted = make_cookie(CONFIG, {"a": 1}, backend="encryptedcookie")
    for cookie in ("session=x", encrypted):
        with pytest.raises(MalformedCookie):
            read_cookie(CONFIG, cookie)
    renamed = make_cookie(CONFIG, {"a": 1}).replace("session=", "other=")
    with pytest.raises(BadSignature):
        read_cookie(CONFIG, renamed, "other")


# The client


def test_client_keeps_cookies_and_no_other_clients() -> None:
    client = Client(app := pages())
    client.post("/", {"a": "1"})
    assert client.get("/").text == "[('a', '1')]"
    assert list(client.cookies) == ["session"]
    assert Client(app).get("/").text == "[]"


def test_client_goes_by_path_domain_and_age() -> None:
    """As a browser does, which sends secure cookies to localhost, too."""
    client = Client(pages(cookie_args={"path": "/shop", "secure": True, "max_age": 60}))
    with travel() as clock:
        client.post("/shop/", {"a": "1"})
        assert [client.get(path).text for path in ("/shop/x", "/")] == ["[('a', '1')]", "[]"]
        clock.advance(60)
        assert client.get("/shop/x").text == "[]"
        assert client.cookies == {}
    client = Client(pages(cookie_args={"domain": "example.com", "path": "/"}))
    client.post("/", {"a": "1"})
    assert client.cookies == {}
    client.base_url = "https://www.example.com"
    client.post("/", {"a": "1"})
    assert client.get("https://example.com/").text == "[('a', '1')]"
    assert client.get("https://example.org/").text == "[]"


def test_client_takes_arguments_of_requests() -> None:
    client = Client(app := pages())
    client.post("/", {"a": "1"})
    other = {"Cookie": make_cookie(app, {"b": 2})}
    assert client.get("/", headers=other).text == "[('b', 2)]"
    assert client.get("/").text == "[('a', '1')]"
    assert client.get_response("/", method="PUT").status_int == 405
    assert client.post("/?name=empty").status_int == 200


# Transactions

MakeClient = Callable[[Any], Any]

CLIENTS: dict[str, MakeClient] = {
    "WebTest": webtest.TestApp,
    "WebTest without lint": lambda app: webtest.TestApp(app, lint=False),
    "WebTest of another host": lambda app: webtest.TestApp(app, {"HTTP_HOST": "example.com:8080"}),
    "Client": Client,
    "Client of another host": lambda app: Client(app, "https://example.com:8080"),
    "WebTest and middleware": lambda app: webtest.TestApp(SessionMiddleware(app)),
    "Client and middleware": lambda app: Client(SessionMiddleware(app)),
}


@pytest.fixture(params=CLIENTS)
def make_client(request: pytest.FixtureRequest) -> MakeClient:
    """Each kind of client."""
    return CLIENTS[request.param]


def set_key(client: Any, **options: Any) -> None:
    """A transaction with a change."""
    with session_transaction(client, **options) as session:
        session["a"] = 1


def session_of(client: Any, **options: Any) -> dict[Any, Any]:
    """A transaction that only reads."""
    with session_transaction(client, **options) as session:
        return dict(session)


BACKENDS = ("securecookie", "encryptedcookie", "memory", "custom", "memcache", "datastore")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [None, "other"])
def test_handler_and_test_find_what_the_other_has_put_into_the_session(
    backend: str, name: str | None, make_client: MakeClient, request: pytest.FixtureRequest
) -> None:
    config: dict[str, Any] = {}
    if backend == "memcache":
        config["memcache"] = {"servers": [request.getfixturevalue("memcached").address]}
    if backend == "datastore":
        request.getfixturevalue("datastore")
        config["datastore"] = {"project": PROJECT, "timeout": 60.0}
    client = make_client(pages(**config))
    path = f"/?backend={backend}" + (f"&name={name}" if name else "")
    with session_transaction(client, name, backend=backend) as session:
        assert (session, session.new) == ({}, True)
        session["a"] = 1
    assert list(client.cookies) == [name or "session"]
    assert client.get(path).text == "[('a', 1)]"
    client.post(path, {"b": "2"})
    with session_transaction(client, name, backend=backend) as session:
        assert (session, session.new) == ({"a": 1, "b": "2"}, False)
        session.clear()
    assert client.get(path).text == "[]"


def test_looking_at_a_session_changes_nothing(make_client: MakeClient) -> None:
    """No cookie is set, not even one that is due; nothing is written."""
    client = make_client(app := pages(refresh_after=1))
    with travel() as clock:
        client.post("/?backend=memory", {"a": "1"})
        before = client.cookies
        clock.advance(100)
        with memory_of(app).unavailable(reads=False):
            for backend in ("memory", "securecookie"):
                with session_transaction(client, backend=backend) as session:
                    assert session.modified is False
    assert client.cookies == before
    client = make_client(app)
    with session_transaction(client) as session:
        assert session.new is True
    assert client.cookies == {}


@pytest.mark.parametrize("backend", ["securecookie", "memory"])
def test_change_inside_a_value_is_saved_without_a_mark(
    make_client: MakeClient, backend: str
) -> None:
    client = make_client(pages())
    for number in range(2):
        with session_transaction(client, backend=backend) as session:
            session.setdefault("cart", []) if number == 0 else session["cart"].append(number)
    assert client.get(f"/?backend={backend}").text == "[('cart', [1])]"


@pytest.mark.parametrize("backend", ["securecookie", "memory", "custom"])
def test_destroyed_session_is_gone(make_client: MakeClient, backend: str) -> None:
    """And so is its cookie, where the backend can do that."""
    client = make_client(app := pages())
    set_key(client, backend=backend)
    with session_transaction(client, backend=backend) as session:
        session.destroy()
    assert client.get(f"/?backend={backend}").text == "[]"
    assert (client.cookies == {}) is (backend != "custom")
    assert len(memory_of(app)) == 0


def test_what_a_handler_can_do_with_a_session_a_test_can_do(make_client: MakeClient) -> None:
    client = make_client(app := pages(session_max_age=10))
    client.post("/?backend=memory", {"a": "1"})
    before = client.cookies
    with session_transaction(client, backend="memory") as session:
        session.regenerate_id()
    assert client.cookies != before
    assert client.get("/?backend=memory").text == "[('a', '1')]"
    with travel() as clock:
        with session_transaction(client, backend="memory") as session:
            session.set_max_age(1000)
        clock.advance(999)
        assert client.get("/?backend=memory").text == "[('a', '1')]"
        assert len(memory_of(app)) == 1


@pytest.mark.parametrize("backend", ["securecookie", "memory"])
def test_exception_leaves_session_and_cookies_as_they_were(
    make_client: MakeClient, backend: str
) -> None:
    client = make_client(app := pages())
    client.post(f"/?backend={backend}", {"a": "1"})
    before = client.cookies

    def fail() -> None:
        with session_transaction(client, backend=backend) as session:
            session["b"] = 2
            session.destroy()
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert client.cookies == before
    assert client.get(f"/?backend={backend}").text == "[('a', '1')]"
    assert len(memory_of(app)) == (backend == "memory")


def test_session_that_cannot_be_saved_is_an_error_and_the_cookies_stay(
    make_client: MakeClient,
) -> None:
    client = make_client(app := pages())
    client.post("/", {"a": "1"})
    before = client.cookies
    with pytest.raises(TypeError, match="JSON"), session_transaction(client) as session:
        session["b"] = object()
    with memory_of(app).unavailable(), pytest.raises(BackendUnavailable):
        set_key(client, backend="memory")
    assert client.cookies == before


def test_sessions_that_the_store_opens_are_saved_with_the_first(make_client: MakeClient) -> None:
    client = make_client(pages())
    with session_transaction(client) as session:
        store = session.container.session_store
        store.get_session("shop", backend="memory")["b"] = 2
    assert client.get("/").text == "[]"
    assert client.get("/?backend=memory&name=shop").text == "[('b', 2)]"


def test_requests_during_a_transaction_see_what_was_there_before(make_client: MakeClient) -> None:
    client = make_client(pages())
    set_key(client)
    with session_transaction(client) as session:
        assert client.get("/").text == "[('a', 1)]"
        session["a"] = 2
    assert client.get("/").text == "[('a', 2)]"
    with pytest.raises(AssertionError):
        webapp2.get_request()


def test_active_request_of_the_test_stays_active(make_client: MakeClient) -> None:
    client = make_client(app := pages())
    app.set_globals(app=app, request=webapp2.Request.blank("/mine"))
    try:
        with session_transaction(client):
            assert webapp2.get_request().path == "/mine"
        assert webapp2.get_request().path == "/mine"
        assert webapp2.get_app().config is app.config
    finally:
        app.clear_globals()


def test_session_is_that_of_the_pages_below_the_path_of_its_cookie(
    make_client: MakeClient,
) -> None:
    client = make_client(pages(cookie_args={"path": "/shop"}))
    set_key(client)
    assert [client.get(path).text for path in ("/shop/x", "/")] == ["[('a', 1)]", "[]"]
    assert session_of(client, url="/") == {}


def test_cookie_of_another_domain_is_an_error(make_client: MakeClient) -> None:
    """The client refuses it, and the test would look for the session in vain."""
    client = make_client(pages(cookie_args={"domain": "example.org", "path": "/"}))
    with pytest.raises(ConfigError, match="domain or path"):
        set_key(client)
    url = "https://www.example.org/"
    set_key(client, url=url)
    assert session_of(client, url=url) == {"a": 1}


def test_transaction_has_secure_cookies_whether_a_request_has_them_or_not() -> None:
    client = webtest.TestApp(pages(cookie_args={"secure": True, "path": "/"}))
    set_key(client)
    assert session_of(client) == {"a": 1}
    assert client.get("/").text == "[]"
    assert client.get("https://localhost/").text == "[('a', 1)]"


def test_cookie_that_the_test_has_put_into_the_jar_is_the_sessions() -> None:
    client = webtest.TestApp(app := pages())
    client.set_cookie("session", make_cookie(app, {"b": 2}).partition("=")[2])
    assert session_of(client) == {"b": 2}
    set_key(client)
    assert client.get("/").text == "[('a', 1), ('b', 2)]"


def test_transaction_takes_store_factory_and_age_as_handlers_do() -> None:
    class Store(SessionStore):
        made: list[Any] = []  # noqa: RUF012

        def __init__(self, request: Any) -> None:
            super().__init__(request, {"cookie_name": "mine"})
            self.made.append(request.app)

    client = Client(app := pages(session_max_age=10))
    options = {"store": Store, "factory": MemorySessionFactory}
    with travel() as clock:
        set_key(client, **options, max_age=None)
        clock.advance(11)
        assert session_of(client, **options, max_age=None) == {"a": 1}
        assert session_of(client, **options) == {}
    assert list(client.cookies) == ["mine"]
    assert Store.made == [app] * 3


def test_transaction_takes_the_jar_of_a_client_on_a_real_connection() -> None:
    app = pages()
    with served(app) as site, requests.Session() as browser:
        browser.trust_env = False
        options = {"app": app, "url": site, "backend": "memory"}
        set_key(browser.cookies, **options)
        assert browser.get(f"{site}/?backend=memory", timeout=60).text == "[('a', 1)]"
        browser.post(f"{site}/?backend=memory", {"b": "2"}, timeout=60)
        assert session_of(browser.cookies, **options) == {"a": 1, "b": "2"}


def test_application_is_found_behind_middleware_or_named() -> None:
    class Middleware:
        def __init__(self, inside: Any) -> None:
            self.application = inside

        def __call__(self, environ: Any, start_response: Any) -> Any:
            return self.application(environ, start_response)

    app = pages()
    client = webtest.TestApp(Middleware(SessionMiddleware(Middleware(app))))
    set_key(client)
    assert client.get("/").text == "[('a', 1)]"
    client = webtest.TestApp(lambda *args: app(*args))
    with pytest.raises(TypeError, match="in a TestApp"):
        set_key(client)
    set_key(client, app=app)
    assert client.get("/").text == "[('a', 1)]"
    with pytest.raises(TypeError, match="in a CookieJar"):
        set_key(http.cookiejar.CookieJar())


@pytest.mark.parametrize("wrap", [lambda app: app, SessionMiddleware])
def test_application_has_no_cookies(wrap: Any) -> None:
    """Its clients have, of which there may be many."""
    with pytest.raises(TypeError, match=r"has no cookie jar; .* such as Client\(app\)"):
        set_key(wrap(pages()))


def test_star_import_has_the_names_of_the_package_and_no_others() -> None:
    names: dict[str, Any] = {}
    exec("from webapp2_sessions.testing import *", names)
    assert set(names) - {"__builtins__"} == set(webapp2_sessions.testing.__all__)
