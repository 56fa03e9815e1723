"""What a real browser makes of our cookies: Chromium visits applications on waitress.

Every host name leads to 127.0.0.1 in it, since browsers treat 127.0.0.1 and localhost as safe in
ways that no other site is.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
import trustme
import webapp2
from selenium.webdriver.support.wait import WebDriverWait
from support.chromium import Chromium
from support.processes import HOST
from support.servers import Memcached
from support.visits import SECRET
from support.wsgi import served

from webapp2_sessions import SessionHandler, SessionMiddleware, get_store


class CounterHandler(SessionHandler):
    """Counts the visits of its page."""

    def count(self) -> None:
        self.session["n"] = self.session.get("n", 0) + 1
        self.response.content_type = "text/html"
        self.response.write(f"<p>{self.session['n']}</p>")

    get = post = count


class ShowHandler(SessionHandler):
    """Shows the counter as it is."""

    def get(self) -> None:
        self.response.write(f"<p>{self.session.get('n')}</p>")


class EndHandler(SessionHandler):
    """Ends the session."""

    def get(self) -> None:
        self.session.destroy()
        self.redirect("/show", abort=True)


class AbortHandler(SessionHandler):
    """Counts, and ends by an exception of webapp2's."""

    def get(self) -> None:
        self.session["n"] = self.session.get("n", 0) + 1
        if "to" in self.request.GET:
            self.redirect(self.request.GET["to"], abort=True)
        self.abort(403)


#: An answer that is the same for all visitors.
OK = webapp2.Response(b"ok", content_type="text/plain")


class SharedHandler(SessionHandler):
    """Remembers who comes, or tells who is there; the answer is the same object for all."""

    def get(self) -> Any:
        if "who" in self.request.GET:
            self.session["n"] = self.request.GET["who"]
            return OK
        self.session.get("n")
        return OK


class DocumentedHandler(webapp2.RequestHandler):
    """The same with the base handler of webapp2's documentation."""

    def dispatch(self) -> None:
        self.session_store = get_store(request=self.request)
        try:
            webapp2.RequestHandler.dispatch(self)
        finally:
            self.session_store.save_sessions(self.response)

    def get(self) -> None:
        session = self.session_store.get_session()
        session["n"] = session.get("n", 0) + 1
        self.abort(403)


class LargeHandler(SessionHandler):
    """Makes a session too large for a cookie."""

    def get(self) -> None:
        self.session.update(n=1000, large="x" * 5000)


class ElsewhereHandler(webapp2.RequestHandler):
    """A page of another site, with a link and a form that lead to ours."""

    def get(self) -> None:
        to = self.request.GET["to"]
        self.response.write(
            f'<a href="{to}">link</a> <form method="post" action="{to}"><button>go</button></form>'
        )


class SmallHandler(SessionHandler):
    """Makes it small again."""

    def get(self) -> None:
        del self.session["large"]


def make_app(options: dict[str, Any] | None = None, **cookie_args: Any) -> webapp2.WSGIApplication:
    """The application; every page is there at the root and below /shop."""
    pages = {
        "count": CounterHandler,
        "show": ShowHandler,
        "end": EndHandler,
        "abort": AbortHandler,
        "shared": SharedHandler,
        "documented": DocumentedHandler,
        "large": LargeHandler,
        "small": SmallHandler,
        "elsewhere": ElsewhereHandler,
    }
    config = {"secret_key": SECRET, "cookie_args": {"path": "/", **cookie_args}, **(options or {})}
    return webapp2.WSGIApplication(
        [(rf"(?:/shop)?/{path}", handler) for path, handler in pages.items()],
        config={"webapp2_extras.sessions": config},
    )


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Keep the test's output free of requests."""


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, *args: Any) -> None:
        """A browser may open connections that it never uses."""


@contextmanager
def served_by_tls(app: Any) -> Iterator[int]:
    """Serve an application by HTTPS, which waitress cannot; yields the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("site.test").configure_cert(context)
    with make_server(HOST, 0, app, _ThreadingServer, _QuietHandler) as server:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(10)


class Browser:
    """A browser with a profile of its own, and applications on hosts of any name."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.at_end = ExitStack()

    def serve(self, app: Any) -> int:
        """Serve an application until the test ends; its port."""
        return int(self.at_end.enter_context(served(app)).rpartition(":")[2])

    def open(self, url: str) -> str:
        """Go to a page; the text that it shows."""
        self.driver.get(url)
        return self.text

    @property
    def text(self) -> str:
        """What the page shows."""
        return str(self.driver.find_element("tag name", "body").text)

    @property
    def cookie(self) -> Any:
        """What the browser keeps as the session's cookie for this page; None if nothing."""
        return self.driver.get_cookie("session")

    def follow(self, selector: str, url: str) -> str:
        """Click a link or button that leads to a page of another host."""
        self.driver.find_element("css selector", selector).click()
        # A click returns before the next page is there.
        WebDriverWait(self.driver, 20, poll_frequency=0.02).until(
            lambda driver: driver.execute_script(
                "return document.readyState == 'complete' && location.href == arguments[0]", url
            )
        )
        return self.text


@pytest.fixture
def browser(chromium: Chromium, tmp_path: Path) -> Iterator[Browser]:
    """A browser that has never been anywhere."""
    with chromium.browser(tmp_path / "profile") as driver:
        browser = Browser(driver)
        with browser.at_end:
            yield browser


def test_session_goes_over_several_pages(browser: Browser) -> None:
    """Each page finds what the one before it left."""
    site = f"http://site.test:{browser.serve(make_app())}"
    assert [browser.open(f"{site}/{page}") for page in ("count", "count", "show")] == [
        *("1", "2", "2")
    ]


@pytest.mark.parametrize("httponly", [False, True])
def test_httponly_hides_the_cookie_from_scripts(browser: Browser, httponly: bool) -> None:
    """The browser has and sends it, JavaScript sees it only without the attribute."""
    site = f"http://site.test:{browser.serve(make_app(httponly=httponly))}"
    browser.open(f"{site}/count")
    seen = browser.driver.execute_script("return document.cookie")
    assert seen.startswith("session=") is not httponly
    assert browser.open(f"{site}/count") == "2"


def test_path_and_domain(browser: Browser) -> None:
    """The cookie goes to subdomains and below the path, and nowhere else; destroy() finds it."""
    port = browser.serve(make_app(domain="site.test", path="/shop", httponly=True))
    shop = f"http://www.site.test:{port}/shop"
    assert browser.open(f"{shop}/count") == "1"
    shown = {
        url: browser.open(f"http://{url}/show".replace(".test", f".test:{port}"))
        for url in ("site.test/shop", "a.site.test/shop", "site.test", "mysite.test/shop")
    }
    assert list(shown.values()) == ["1", "1", "None", "None"]
    browser.open(f"{shop}/end")
    assert browser.open(f"{shop}/show") == "None"
    assert browser.cookie is None


def test_destroy_removes_the_cookie(browser: Browser) -> None:
    """With the usual attributes, by a redirect that ends the handler."""
    site = f"http://site.test:{browser.serve(make_app(max_age=3600))}"
    browser.open(f"{site}/count")
    assert browser.cookie
    assert browser.open(f"{site}/end") == "None"
    assert browser.cookie is None


@pytest.mark.parametrize(
    ("samesite", "by_link", "by_form"),
    [("strict", "1", "1"), ("lax", "2", "1"), (None, "2", "2")],
)
def test_samesite(browser: Browser, samesite: str | None, by_link: str, by_form: str) -> None:
    """Strict keeps the cookie from links of other sites, Lax from their forms.

    Chromium takes a cookie without the attribute for one with Lax, but sends it with forms for
    two minutes.
    """
    port = browser.serve(make_app(samesite=samesite))
    url = f"http://site.test:{port}/count"
    elsewhere = f"http://other.test:{port}/elsewhere?to={url}"
    counted = []
    for selector in ("a", "button"):
        browser.open(url)
        browser.driver.delete_all_cookies()
        assert browser.open(url) == "1"
        browser.open(elsewhere)
        counted.append(browser.follow(selector, url))
    assert counted == [by_link, by_form]


def test_secure_cookie_needs_https(browser: Browser) -> None:
    """By HTTP the browser refuses it; by HTTPS it is kept, and not sent by HTTP."""
    app = make_app(secure=True)
    plain = f"http://site.test:{browser.serve(app)}"
    assert [browser.open(f"{plain}/count") for _ in range(2)] == ["1", "1"]
    port = browser.at_end.enter_context(served_by_tls(app))
    assert [browser.open(f"https://site.test:{port}/count") for _ in range(2)] == ["1", "2"]
    assert browser.open(f"{plain}/show") == "None"


def test_max_age_outlives_the_browser(chromium: Chromium, tmp_path: Path) -> None:
    """A cookie with max_age is there when the browser is started again, another one is not."""
    with ExitStack() as at_end:
        sites = [
            at_end.enter_context(served(make_app(max_age=max_age))).rpartition(":")[2]
            for max_age in (3600, None)
        ]
        urls = [f"http://site{index}.test:{port}" for index, port in enumerate(sites)]
        for expected in (["1", "1"], ["2", "1"]):
            with chromium.browser(tmp_path / "profile") as driver:
                browser = Browser(driver)
                assert [browser.open(f"{url}/count") for url in urls] == expected


def test_abort_keeps_the_session(browser: Browser) -> None:
    """What was changed before abort() and redirect(abort=True) is there on the next page."""
    site = f"http://site.test:{browser.serve(make_app())}"
    assert "403" in browser.open(f"{site}/abort")
    assert browser.open(f"{site}/abort?to=/show") == "2"
    assert browser.open(f"{site}/show") == "2"


def test_abort_of_a_documented_handler(browser: Browser) -> None:
    """Alone it loses the session, in the middleware it keeps it."""
    alone = f"http://alone.test:{browser.serve(make_app())}"
    wrapped = f"http://wrapped.test:{browser.serve(SessionMiddleware(make_app()))}"
    shown = []
    for site in (alone, wrapped):
        browser.open(f"{site}/documented")
        shown.append(browser.open(f"{site}/show"))
    assert shown == ["None", "1"]


@pytest.mark.parametrize("wrap", [lambda app: app, SessionMiddleware], ids=["", "middleware"])
def test_shared_answer_does_not_hand_on_a_session(
    chromium: Chromium, tmp_path: Path, wrap: Any
) -> None:
    """Of two visitors who get the same object neither becomes the other."""
    with ExitStack() as at_end:
        site = at_end.enter_context(served(wrap(make_app()))).replace(HOST, "site.test")
        first, second = (
            Browser(at_end.enter_context(chromium.browser(tmp_path / name)))
            for name in ("first", "second")
        )
        assert first.open(f"{site}/shared?who=first") == "ok"
        assert first.open(f"{site}/show") == "first"
        assert second.open(f"{site}/shared") == "ok"
        assert second.cookie is None
        assert second.open(f"{site}/show") == "None"
        second.open(f"{site}/shared?who=second")
        assert [each.open(f"{site}/show") for each in (first, second)] == ["first", "second"]


def test_large_cookie_is_dropped_and_the_former_stays(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    """As the warning in the log says."""
    site = f"http://site.test:{browser.serve(make_app())}"
    browser.open(f"{site}/count")
    browser.open(f"{site}/large")
    assert "browsers drop it" in caplog.text
    assert browser.open(f"{site}/show") == "1"


def test_large_session_spills_and_returns(browser: Browser, memcached: Memcached) -> None:
    """With a server to go to nothing is dropped, and the cookie is small in between."""
    options = {"on_oversize": "memcache", "memcache": {"servers": [memcached.address]}}
    site = f"http://site.test:{browser.serve(make_app(options))}"
    sizes = []
    for page in ("count", "large", "small"):
        browser.open(f"{site}/{page}")
        assert browser.cookie is not None
        sizes.append(len(browser.cookie["value"]))
        assert browser.open(f"{site}/show") == ("1" if page == "count" else "1000")
    assert max(sizes) < 300


def test_encrypted_cookie(browser: Browser) -> None:
    """It goes back and forth like any other."""
    site = f"http://site.test:{browser.serve(make_app({'backends': {'securecookie': ENCRYPTED}}))}"
    assert [browser.open(f"{site}/count") for _ in range(3)] == ["1", "2", "3"]


def test_damaged_cookie_is_forgotten(browser: Browser) -> None:
    """The browser does not send it a second time."""
    site = f"http://site.test:{browser.serve(make_app({'on_damaged_cookie': 'expire'}))}"
    browser.open(f"{site}/show")
    browser.driver.add_cookie({"name": "session", "value": "a|b|c", "path": "/"})
    assert browser.open(f"{site}/show") == "None"
    assert browser.cookie is None


#: The backend of encrypted cookies, in place of the default one.
ENCRYPTED = "webapp2_sessions.sessions.encrypted.EncryptedCookieSessionFactory"
