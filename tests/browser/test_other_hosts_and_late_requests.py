"""What another host, a former path or a late request does to a visitor, in a real browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import webapp2
from selenium.webdriver.support.wait import WebDriverWait
from support.chromium import Chromium
from support.implementations import Clock, stopped_clock
from support.servers import Memcached
from support.visits import SECRET
from support.wsgi import served

from webapp2_sessions import SessionHandler

#: Seconds after which a request that hangs is a failure.
PATIENCE = 30.0


class SignInHandler(SessionHandler):
    """Signs the visitor in, as the user that the address names."""

    def get(self, user: str) -> None:
        self.session.regenerate_id()
        self.session["user"] = user


class WhoHandler(SessionHandler):
    """Tells who is signed in."""

    def get(self) -> None:
        self.response.content_type = "text/html"
        self.response.write(f"<p>{self.session.get('user')}</p>")


class VisitHandler(SessionHandler):
    """Gives the visitor a session."""

    def get(self) -> None:
        self.session["visits"] = 1


class TossHandler(webapp2.RequestHandler):
    """A page of another host of the domain, which sets a cookie for all of them."""

    def get(self) -> None:
        self.response.headers.add(
            "Set-Cookie", f"{self.request.GET['cookie']}; Domain=site.test; Path=/"
        )


class LateHandler(SessionHandler):
    """Takes the session only when somebody has signed in meanwhile."""

    arrived = threading.Event()
    may_go_on = threading.Event()

    def get(self) -> None:
        self.arrived.set()
        assert self.may_go_on.wait(PATIENCE)
        self.session["theme"] = "dark"


def make_app(**config: Any) -> webapp2.WSGIApplication:
    """The application, at the root and below /app."""
    pages = {
        r"in/(\w+)": SignInHandler,
        "who": WhoHandler,
        "visit": VisitHandler,
        "toss": TossHandler,
        "late": LateHandler,
    }
    return webapp2.WSGIApplication(
        [(rf"(?:/app)?/{path}", handler) for path, handler in pages.items()],
        config={"webapp2_extras.sessions": {"secret_key": SECRET, **config}},
    )


class Site:
    """An application on any host of site.test, and the browser that visits it."""

    def __init__(self, driver: Any, at_end: ExitStack) -> None:
        self.driver = driver
        self._at_end = at_end
        self._port = ""

    def serve(self, app: Any) -> None:
        """Serve another application from now on, with the browser's cookies as they are."""
        self._port = self._at_end.enter_context(served(app)).rpartition(":")[2]

    def open(self, page: str, host: str = "site.test") -> str:
        """Go to a page; the text that it shows."""
        self.driver.get(f"http://{host}:{self._port}/{page}")
        return str(self.driver.find_element("tag name", "body").text)


@pytest.fixture
def site(chromium: Chromium, tmp_path: Path) -> Iterator[Site]:
    """A browser that has never been anywhere."""
    with ExitStack() as at_end:
        driver = at_end.enter_context(chromium.browser(tmp_path / "profile"))
        yield Site(driver, at_end)


def attackers_cookie(app: webapp2.WSGIApplication) -> str:
    """The pair of a valid cookie with which the attacker is signed in."""
    header: str = app.get_response("/in/attacker").headers["Set-Cookie"]
    return header.partition(";")[0]


@pytest.mark.parametrize("before", ["x ", "[", "x=1, ", "\xa0", "\u2000"])
def test_cookie_of_another_name_is_not_the_session(site: Site, before: str) -> None:
    """Another host of the domain can set one whose name or value ends like the session's."""
    app = make_app()
    site.serve(app)
    site.open("in/ada")
    tossed = before.encode("utf-8").decode("latin-1") + attackers_cookie(app)
    site.driver.get(f"http://evil.site.test:{site._port}/visit")
    site.driver.execute_script(
        "document.cookie = arguments[0] + '; domain=site.test; path=/'", tossed
    )
    assert site.open("who") == "ada"
    assert site.open("who", "other.site.test") == "None"


def test_quotes_of_another_cookie_hide_nothing(site: Site) -> None:
    """One that begins with a quote, and one that ends with it, stand around the session's."""
    site.serve(make_app())
    # Browsers send cookies in the order in which they were made.
    site.open('toss?cookie=a="1', "evil.site.test")
    site.open("in/ada")
    site.open('toss?cookie=z=1"', "evil.site.test")
    assert site.open("who") == "ada"


def test_visitor_with_a_cookie_of_a_former_path_can_sign_in(site: Site) -> None:
    """The browser sends the cookie of the longer path first, and the former one as well."""
    site.serve(make_app(cookie_args={"path": "/"}))
    site.open("in/ada")
    site.serve(make_app(cookie_args={"path": "/app"}, former_cookie_args=[{"path": "/"}]))
    assert site.open("app/who") == "ada"
    with stopped_clock(Clock(time.time() + 1)):  # a cookie's time is in whole seconds
        site.open("app/in/bob")
    assert site.open("app/who") == "bob"
    names = [cookie["path"] for cookie in site.driver.get_cookies()]
    assert names == ["/app"]


def test_late_request_does_not_sign_the_visitor_out(site: Site, memcached: Memcached) -> None:
    """It was on its way with the former cookie when the visitor signed in."""
    LateHandler.arrived.clear()
    LateHandler.may_go_on.clear()
    server = {"servers": [memcached.address], "key_prefix": "late:"}
    site.serve(make_app(default_backend="memcache", memcache=server))
    site.open("visit")
    site.driver.execute_script("fetch('/late').then(() => { window.done = true })")
    assert LateHandler.arrived.wait(PATIENCE)
    site.driver.execute_async_script("fetch('/in/ada').then(arguments[0])")
    LateHandler.may_go_on.set()
    WebDriverWait(site.driver, PATIENCE, poll_frequency=0.02).until(
        lambda driver: driver.execute_script("return window.done === true")
    )
    assert site.open("who") == "ada"
