"""Every example, served by waitress and driven by a browser's part of requests."""

from __future__ import annotations

import base64
import html
import importlib.util
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
import webapp2
from support.servers import (
    PROXY_VARIABLES,
    DatastoreEmulator,
    Memcached,
    Server,
    free_port,
    wait_until,
)
from support.wsgi import served

import webapp2_sessions
from webapp2_sessions.securecookie import SecureCookieSerializer

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = "a secret of the tests"
#: Seconds after which a request counts as hanging.
TIMEOUT = 30
#: An id in the right form that no session has.
UNKNOWN_SID = "A" * 22

Load = Callable[[str], ModuleType]
Open = Callable[[Any], "Browser"]


class Browser(requests.Session):
    """A requests session with one site, its cookies and the last page."""

    def __init__(self, site: str) -> None:
        super().__init__()
        self.trust_env = False  # no proxy between the tests and 127.0.0.1
        self.site = site
        self.page = ""

    def request(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        """Ask for a path of the site, or a whole URL when a redirect is followed."""
        url = self.site + url if url.startswith("/") else url
        answer = super().request(method, url, timeout=TIMEOUT, **kwargs)
        self.page = answer.text
        return answer

    def submit(self, path: str, **fields: str) -> requests.Response:
        """Send a form with the token of the last page."""
        return self.post(path, data={"csrf": token_in(self.page), **fields})


def token_in(page: str) -> str:
    """The CSRF token in a page's form."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found, page
    return found[1]


def session_shown(page: str) -> str:
    """What the demo shows as the session's data."""
    found = re.search(r'<pre class="session-data">(.*?)</pre>', page, re.DOTALL)
    assert found, page
    return html.unescape(found[1])


def flashes_in(page: str) -> list[tuple[str, str]]:
    """Level and text of the messages on a page of the demo."""
    found = re.search(r'<ul class="flashes" role="status">(.*?)</ul>', page, re.DOTALL)
    return re.findall(r'<li class="(\w+)">(.*?)</li>', found[1]) if found else []


def payload_of(cookie: str) -> Any:
    """The JSON in a signed cookie."""
    return json.loads(base64.b64decode(cookie.strip('"').partition("|")[0]))


def sid_in(cookie: str) -> str:
    """The session id in a server-side session's cookie, which holds nothing else."""
    payload = payload_of(cookie)
    assert list(payload) == ["_sid"]
    return str(payload["_sid"])


def signed(name: str, payload: object) -> dict[str, str]:
    """The header with a cookie that the application signed, or somebody with its key."""
    value = SecureCookieSerializer(SECRET).serialize(name, payload)
    return {"Cookie": f"{name}={value.decode()}"}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Load an example's app.py from its file; its sibling modules go with the test."""
    before = set(sys.modules)

    def load_example(name: str) -> ModuleType:
        path = EXAMPLES / name / "app.py"
        monkeypatch.syspath_prepend(path.parent)
        spec = importlib.util.spec_from_file_location(f"example_{name}", path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    yield load_example
    for name in set(sys.modules) - before:
        origin = getattr(sys.modules[name], "__file__", None)
        if origin and EXAMPLES in Path(origin).parents:
            del sys.modules[name]


@pytest.fixture
def browse() -> Iterator[Open]:
    """Serve an application and give a browser without cookies that talks to it."""
    with ExitStack() as at_end:
        sites: dict[int, str] = {}

        def open_browser(app: Any) -> Browser:
            if id(app) not in sites:
                sites[id(app)] = at_end.enter_context(served(app))
            return at_end.enter_context(Browser(sites[id(app)]))

        yield open_browser


def test_every_example_has_a_test_and_a_line_in_the_readme() -> None:
    """No folder of examples/ is forgotten."""
    folders = {path.parent.name for path in EXAMPLES.glob("*/app.py")}
    listed = set(
        re.findall(r"^\| \[`(\w+)`\]", (EXAMPLES / "README.md").read_text("utf-8"), re.MULTILINE)
    )
    tested = set(re.findall(r'load\("(\w+)"\)', Path(__file__).read_text("utf-8")))
    assert folders == listed == tested


class TestHello:
    @pytest.fixture
    def app(self, load: Load) -> Any:
        return load("hello").make_app(SECRET)

    def test_counter_counts(self, app: Any, browse: Open) -> None:
        """Each visit is one more."""
        browser = browse(app)
        pages = [browser.get("/").text for _ in range(3)]
        assert pages == [f"Hello! This is your visit number {n}.\n" for n in (1, 2, 3)]

    def test_visitors_have_counters_of_their_own(self, app: Any, browse: Open) -> None:
        """A browser without the cookie starts at one."""
        browse(app).get("/")
        assert browse(app).get("/").text == "Hello! This is your visit number 1.\n"

    def test_returned_response_is_sent(self, load: Load, browse: Open) -> None:
        """The base handler hands on what a method returns."""
        example = load("hello")

        class OwnResponseHandler(example.BaseHandler):
            def get(self) -> webapp2.Response:
                return webapp2.Response("of its own")

        app = example.make_app(SECRET)
        app.router.add(("/own", OwnResponseHandler))
        assert browse(app).get("/own").text == "of its own"

    def test_forged_cookie_starts_anew(self, app: Any, browse: Open) -> None:
        """A cookie that was changed counts as none."""
        browser = browse(app)
        browser.get("/")
        value = browser.cookies["session"]
        browser.cookies.clear()
        answer = browser.get("/", headers={"Cookie": f"session=x{value}"})
        assert answer.text == "Hello! This is your visit number 1.\n"


class TestTesting:
    """The guest book on a real memcached; tests/unit/test_pytest_plugin.py runs its own tests."""

    def test_guests_write(
        self,
        load: Load,
        browse: Open,
        memcached: Memcached,
        launch: Callable[[Server], Server],
    ) -> None:
        """Whoever has signed in; while memcached is down the book is closed."""
        app = load("testing").make_app(SECRET)
        settings = app.config["webapp2_extras.sessions"].setdefault("memcache", {})
        settings["servers"] = [memcached.address]
        browser = browse(app)
        assert "Who are you?" in browser.get("/").text
        assert browser.post("/", data={"entry": "Buy!"}).status_code == 403
        assert "Hello, Ada!" in browser.post("/", data={"name": "Ada"}).text
        assert "<li>Ada: &lt;b&gt;</li>" in browser.post("/", data={"entry": "<b>"}).text
        assert "Who are you?" in browse(app).get("/").text

        server = launch(Memcached())
        app = load("testing").make_app(SECRET)
        app.config["webapp2_extras.sessions"]["memcache"] = {"servers": [server.address]}
        browser = browse(app)
        browser.post("/", data={"name": "Ada"})
        server.kill()
        answer = browser.get("/")
        assert (answer.status_code, "closed for a moment" in answer.text) == (503, True)


class TestForm:
    @pytest.fixture
    def browser(self, load: Load, browse: Open) -> Browser:
        return browse(load("form").make_app(SECRET))

    def test_value_is_shown_on_another_page(self, browser: Browser) -> None:
        """The name that was posted is in the greeting, now and later."""
        assert 'name="name"' in browser.get("/").text
        assert "Hello, Ada!" in browser.post("/", data={"name": " Ada "}).text
        assert "Hello, Ada!" in browser.get("/greeting").text
        assert "you are Ada" in browser.get("/").text

    def test_post_is_answered_by_a_redirect(self, browser: Browser) -> None:
        """303 leads to the greeting, so reloading it sends no form."""
        answer = browser.post("/", data={"name": "Ada"}, allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (
            303,
            f"{browser.site}/greeting",
        )

    def test_stranger_is_asked_for_a_name(self, browser: Browser) -> None:
        """The greeting knows nobody whose session has no name, and offers no start over."""
        page = browser.get("/greeting").text
        assert "I do not know you yet" in page
        assert "Start over" not in page

    def test_empty_name_is_not_kept(self, browser: Browser) -> None:
        """Blanks lead back to the form."""
        answer = browser.post("/", data={"name": "   "})
        assert answer.url == f"{browser.site}/"
        assert not browser.cookies

    def test_name_is_escaped(self, browser: Browser) -> None:
        """Markup in the name stays text."""
        page = browser.post("/", data={"name": "<b>Ada</b>"}).text
        assert "Hello, &lt;b&gt;Ada&lt;/b&gt;!" in page

    def test_start_over_forgets(self, browser: Browser) -> None:
        """The button empties the session."""
        assert "Start over" in browser.post("/", data={"name": "Ada"}).text
        assert "Ada" not in browser.post("/start-over").text
        assert "I do not know you yet" in browser.get("/greeting").text

    def test_start_over_needs_post(self, browser: Browser) -> None:
        """Following a link changes nothing."""
        browser.post("/", data={"name": "Ada"})
        assert browser.get("/start-over").status_code == 405
        assert "Hello, Ada!" in browser.get("/greeting").text


class TestFlashes:
    @pytest.fixture
    def browser(self, load: Load, browse: Open) -> Browser:
        return browse(load("flashes").make_app(SECRET))

    def test_message_is_shown_once(self, browser: Browser) -> None:
        """It is on the page after the redirect and not on the next."""
        assert "No news." in browser.get("/").text
        page = browser.post("/", data={"news": "sent"}).text
        assert '<li class="success">Success: Your parcel is on its way.</li>' in page
        assert "No news." in browser.get("/").text

    def test_messages_keep_level_and_order(self, browser: Browser) -> None:
        """Several messages of one request come in the order in which they were added."""
        page = browser.post("/", data={"news": ["lost", "delayed"]}).text
        assert re.findall(r'<li class="(\w+)">', page) == ["error", "warning"]

    def test_message_waits_for_its_page(self, browser: Browser) -> None:
        """Two posts before the page is looked at leave both messages."""
        for news in ("delayed", "sent"):
            browser.post("/", data={"news": news}, allow_redirects=False)
        assert re.findall(r'<li class="(\w+)">', browser.get("/").text) == ["warning", "success"]

    def test_unknown_news_is_no_message(self, browser: Browser) -> None:
        """A value that the form does not offer is ignored."""
        assert "No news." in browser.post("/", data={"news": "<b>"}).text


class TestSignIn:
    @pytest.fixture
    def browser(self, load: Load, browse: Open) -> Browser:
        return browse(load("sign_in").make_app(SECRET))

    def sign_in(self, browser: Browser, name: str = "ada", password: str = "engine") -> str:
        """The page that the form leads to."""
        return browser.post("/sign-in", data={"name": name, "password": password}).text

    def test_stranger_is_asked_to_sign_in_and_comes_back(self, browser: Browser) -> None:
        """The message and the page that was wanted go over the redirect that ends the handler."""
        asked = browser.get("/letters")
        assert asked.url == f"{browser.site}/sign-in"
        assert '<li class="warning">Warning: Sign in first, please.</li>' in asked.text
        page = self.sign_in(browser)
        assert '<li class="success">Success: Welcome, ada!</li>' in page
        assert "Charles: the wheels are here." in page

    def test_member_stays_signed_in(self, browser: Browser) -> None:
        """Until the button is pressed; messages are shown once."""
        assert "Welcome" in self.sign_in(browser)
        assert "Welcome" not in browser.get("/").text
        assert "Mary" in browser.get("/letters").text
        page = browser.post("/sign-out").text
        assert "Good-bye." in page
        assert "Sign out" not in page
        assert browser.get("/letters").url == f"{browser.site}/sign-in"

    @pytest.mark.parametrize(
        ("name", "password"), [("ada", "wrong"), ("ada", ""), ("bob", "engine"), ("", "")]
    )
    def test_wrong_password_is_refused(self, browser: Browser, name: str, password: str) -> None:
        """A name that is unknown gives the same message, and nobody is signed in."""
        page = self.sign_in(browser, name, password)
        assert '<li class="error">Error: That is not the password.</li>' in page
        assert "Sign out" not in page

    def test_sign_out_needs_post(self, browser: Browser) -> None:
        """Following a link changes nothing."""
        self.sign_in(browser)
        assert browser.get("/sign-out").status_code == 405
        assert "Sign out" in browser.get("/").text


class TestBackends:
    @pytest.fixture
    def make_app(self, load: Load) -> Callable[..., Any]:
        make_app: Callable[..., Any] = load("backends").make_app
        return make_app

    def test_securecookie(self, make_app: Callable[..., Any], browse: Open) -> None:
        """Signed cookies count."""
        check_counter(browse(make_app(SECRET)), "securecookie")

    def test_memcache(
        self, make_app: Callable[..., Any], browse: Open, memcached: Memcached
    ) -> None:
        """A real memcached counts."""
        app = make_app(SECRET, "memcache", memcached=memcached.address)
        check_counter(browse(app), "memcache")

    def test_memcache_is_where_the_data_is(
        self, make_app: Callable[..., Any], browse: Open, memcached: Memcached
    ) -> None:
        """When memcached loses the data the counter starts again, cookie or not."""
        browser = browse(make_app(SECRET, "memcache", memcached=memcached.address))
        check_counter(browser, "memcache")
        memcached.flush()
        assert browser.get("/").text == "Visit number 1, kept by memcache.\n"

    @pytest.mark.usefixtures("datastore")
    def test_datastore(self, make_app: Callable[..., Any], browse: Open) -> None:
        """A real Datastore emulator counts."""
        check_counter(browse(make_app(SECRET, "datastore", project="test")), "datastore")


def check_counter(browser: Browser, backend: str) -> None:
    """Three visits are counted."""
    pages = [browser.get("/").text for _ in range(3)]
    assert pages == [f"Visit number {n}, kept by {backend}.\n" for n in (1, 2, 3)]


class TestCustomBackend:
    @pytest.fixture
    def example(self, load: Load) -> ModuleType:
        return load("custom_backend")

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "sessions.sqlite"

    @pytest.fixture
    def browser(self, example: ModuleType, file: Path, browse: Open) -> Browser:
        return browse(example.make_app(SECRET, str(file)))

    def test_counter_counts(self, browser: Browser) -> None:
        """SQLite keeps the session."""
        pages = [browser.get("/").text for _ in range(3)]
        assert pages == [f"Visit number {n}, kept by SQLite.\n" for n in (1, 2, 3)]

    def test_sessions_outlive_a_restart(
        self, example: ModuleType, file: Path, browser: Browser, browse: Open
    ) -> None:
        """Another process with the same file and key goes on counting."""
        browser.get("/")
        restarted = browse(example.make_app(SECRET, str(file)))
        restarted.cookies.update(browser.cookies)
        assert restarted.get("/").text == "Visit number 2, kept by SQLite.\n"

    def test_cookie_holds_the_id_only(self, browser: Browser, file: Path) -> None:
        """The data is JSON in the file under the id that the cookie has."""
        browser.get("/")
        with closing(sqlite3.connect(file)) as connection:
            rows = connection.execute("SELECT sid, data FROM session").fetchall()
        sid = sid_in(browser.cookies["session"])
        assert rows == [(sid, '{"visits": 1}')]

    def test_forged_sid_is_not_taken_over(self, browser: Browser) -> None:
        """Not even an id with the right signature is used when no session has it."""
        answer = browser.get("/", headers=signed("session", {"_sid": UNKNOWN_SID}))
        assert answer.text == "Visit number 1, kept by SQLite.\n"
        assert sid_in(answer.cookies["session"]) != UNKNOWN_SID

    @pytest.mark.parametrize("sid", ["' OR '1'='1", "../../etc/passwd", "", None, 5, ["x"]])
    def test_sid_of_another_form_is_refused(self, browser: Browser, sid: object) -> None:
        """What is no id starts a new session, also when it is signed."""
        browser.get("/")
        browser.cookies.clear()
        answer = browser.get("/", headers=signed("session", {"_sid": sid}))
        assert answer.text == "Visit number 1, kept by SQLite.\n"

    def test_wrong_signature_starts_anew(self, browser: Browser) -> None:
        """A cookie that was changed counts as none."""
        browser.get("/")
        value = browser.cookies["session"]
        browser.cookies.clear()
        answer = browser.get("/", headers={"Cookie": f"session=x{value}"})
        assert answer.text == "Visit number 1, kept by SQLite.\n"

    def test_many_visitors_at_once(self, browser: Browser) -> None:
        """Threads of the server share the file without an error."""

        def two_visits(_: int) -> str:
            with Browser(browser.site) as visitor:
                visitor.get("/")
                return visitor.get("/").text

        with ThreadPoolExecutor(8) as pool:
            pages = set(pool.map(two_visits, range(24)))
        assert pages == {"Visit number 2, kept by SQLite.\n"}


class TestDemo:
    @pytest.fixture
    def example(self, load: Load, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        for variable in ("DATASTORE_EMULATOR_HOST", *PROXY_VARIABLES):
            monkeypatch.delenv(variable, raising=False)
        return load("demo")

    @pytest.fixture
    def open_demo(self, example: ModuleType, browse: Open) -> Callable[..., Browser]:
        """A browser on the first page of a demo that finds no server but those it is told."""

        def open_page(**options: Any) -> Browser:
            options.setdefault("memcached", f"127.0.0.1:{free_port()}")
            browser = browse(example.make_app(SECRET, probe_seconds=0, **options))
            browser.get("/")
            return browser

        return open_page

    @pytest.fixture
    def browser(self, open_demo: Callable[..., Browser]) -> Browser:
        return open_demo()

    def test_first_page_greets_a_stranger(self, browser: Browser) -> None:
        """One page view, nobody signed in, and no cookie to look at yet."""
        assert "Hello, stranger" in browser.page
        assert views_in(browser.page) == 1
        assert "No valid cookie for this session came" in browser.page

    def test_counter_counts(self, browser: Browser) -> None:
        """Each page is one more view."""
        assert [views_in(browser.get("/").text) for _ in range(3)] == [2, 3, 4]

    def test_sign_in(self, browser: Browser) -> None:
        """The name is greeted once and known from then on."""
        browser.submit("/sign-in", name="Ada", password="demo")
        assert flashes_in(browser.page) == [("success", "Welcome, Ada!")]
        browser.get("/")
        assert flashes_in(browser.page) == []
        assert "Signed in as <strong>Ada</strong>" in browser.page

    def test_every_form_is_answered_by_a_redirect(self, browser: Browser) -> None:
        """Reloading the page that follows a form sends nothing twice."""
        token = token_in(browser.page)
        forms = {
            "/sign-in": {"name": "Ada", "password": "demo"},
            "/note": {"note": "tea"},
            "/backend": {"backend": "securecookie"},
            "/sign-out": {},
        }
        for path, fields in forms.items():
            answer = browser.post(path, data={"csrf": token, **fields}, allow_redirects=False)
            assert (answer.status_code, answer.headers["Location"]) == (303, f"{browser.site}/")

    @pytest.mark.parametrize(
        ("name", "password"), [("Ada", "wrong"), ("Ada", "ä"), ("Ada", ""), ("  ", "demo")]
    )
    def test_sign_in_refused(self, browser: Browser, name: str, password: str) -> None:
        """Without the demo's password and a name nobody is signed in."""
        browser.submit("/sign-in", name=name, password=password)
        assert [level for level, _ in flashes_in(browser.page)] == ["error"]
        assert "Hello, stranger" in browser.page

    def test_name_is_escaped(self, browser: Browser) -> None:
        """Markup in the name stays text in all places that show it."""
        browser.submit("/sign-in", name="<i>Ada</i>", password="demo")
        assert "<i>" not in browser.page
        assert browser.page.count("&lt;i&gt;Ada") >= 4

    def test_sign_out_empties_the_session(self, browser: Browser) -> None:
        """Nothing of the visitor stays for the next one at the same browser."""
        browser.submit("/sign-in", name="Ada", password="demo")
        browser.submit("/note", note="tea")
        before = token_in(browser.page)
        browser.submit("/sign-out")
        assert [level for level, _ in flashes_in(browser.page)] == ["info"]
        assert "Ada" not in browser.page
        assert "tea" not in browser.page
        assert views_in(browser.page) == 1
        assert token_in(browser.page) != before

    def test_notes_are_kept(self, browser: Browser) -> None:
        """The last three, oldest first."""
        for note in ("one", "two", "three", "four"):
            browser.submit("/note", note=note)
        assert re.findall(r"<li>(.*?)</li>", browser.page) == ["two", "three", "four"]

    def test_empty_note_is_refused(self, browser: Browser) -> None:
        """Blanks are no note."""
        browser.submit("/note", note="  ")
        assert flashes_in(browser.page) == [("error", "That note was empty.")]

    @pytest.mark.parametrize("character", ["a", "ä", "\u20ac", "\U0001f36a"])
    def test_longest_input_fits_in_the_cookie(self, browser: Browser, character: str) -> None:
        """Whatever is typed, the browser keeps the cookie, that of the flash message included."""
        browser.submit("/sign-in", name=character * 99, password="demo")
        for _ in range(4):
            browser.submit("/note", note=character * 99)
        answer = browser.submit("/sign-in", name=character * 99, password="demo").history[0]
        largest = max(len(cookie.name) + 1 + len(cookie.value or "") for cookie in answer.cookies)
        assert largest <= 4093
        assert browser.page.count(character * 50) >= 3

    @pytest.mark.parametrize("token", ["", "wrong", "fälscht"])
    def test_wrong_csrf_token_changes_nothing(self, browser: Browser, token: str) -> None:
        """A form without the token of the page is refused and does nothing."""
        for path in ("/sign-in", "/sign-out", "/note", "/backend"):
            answer = browser.post(path, data={"csrf": token, "name": "Eve", "password": "demo"})
            assert answer.status_code == 403
            assert "That form was refused" in answer.text
        assert views_in(browser.get("/").text) == 2
        assert "Hello, stranger" in browser.page

    def test_missing_csrf_token_is_refused(self, browser: Browser) -> None:
        """No token is a wrong token, also for somebody without any cookie."""
        browser.cookies.clear()
        assert browser.post("/sign-in", data={"name": "Eve"}).status_code == 403

    def test_csrf_token_of_another_visitor_is_refused(
        self, browser: Browser, open_demo: Callable[..., Browser]
    ) -> None:
        """A token belongs to one browser."""
        token = token_in(open_demo().page)
        assert browser.post("/sign-out", data={"csrf": token}).status_code == 403

    @pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/note", "/backend"])
    def test_state_changes_need_post(self, browser: Browser, path: str) -> None:
        """Following a link changes nothing."""
        assert browser.get(path).status_code == 405

    def test_cookie_view_shows_what_was_sent(self, browser: Browser) -> None:
        """Payload, size and the beginning of the signature are those of the sent cookie."""
        browser.submit("/sign-in", name="Ada", password="demo")
        value = browser.cookies["session_securecookie"].strip('"')
        page = browser.get("/").text
        payload = payload_of(value)
        assert payload == {"visits": 2, "name": "Ada"}
        assert [json.loads(text) for text in shown_payloads(page)] == [payload]
        assert f"<strong>{len('session_securecookie=' + value)}</strong> of 4096 bytes" in page
        assert value.split("|")[2][:8] + "…" in page
        assert value.split("|")[2] not in page

    def test_cookie_view_believes_no_forged_cookie(self, browser: Browser) -> None:
        """A cookie with a wrong signature is not shown, and counts as none."""
        payload = base64.b64encode(b'{"name":"Eve"}').decode()
        header = {"Cookie": f"session_securecookie={payload}|1700000000|{'0' * 40}"}
        browser.cookies.clear()
        page = browser.get("/", headers=header).text
        assert "No valid cookie for this session came" in page
        assert "Eve" not in page

    def test_session_is_shown(self, browser: Browser) -> None:
        """The page shows the session as the handler has it, one view ahead of the cookie."""
        assert json.loads(session_shown(browser.get("/").text)) == {"visits": 2}
        assert [json.loads(text) for text in shown_payloads(browser.page)] == [{"visits": 1}]

    def test_servers_that_do_not_answer_cannot_be_chosen(self, browser: Browser) -> None:
        """They are greyed, with the reason beside them."""
        assert choices_in(browser.page) == {
            "securecookie": "in use",
            "memcache": "disabled",
            "datastore": "disabled",
        }
        assert "No memcached answers at 127.0.0.1:" in browser.page
        assert "Neither DATASTORE_EMULATOR_HOST nor GOOGLE_CLOUD_PROJECT is set." in browser.page

    @pytest.mark.parametrize("backend", ["memcache", "datastore"])
    def test_choosing_one_all_the_same_is_refused(self, browser: Browser, backend: str) -> None:
        """A form that the page does not offer leaves the visitor where she is."""
        browser.submit("/backend", backend=backend)
        assert [level for level, _ in flashes_in(browser.page)] == ["error"]
        assert choices_in(browser.page)["securecookie"] == "in use"

    def test_unknown_backend_is_a_bad_request(self, browser: Browser) -> None:
        """There are three."""
        assert browser.submit("/backend", backend="floppy").status_code == 400

    def test_memcache(self, open_demo: Callable[..., Browser], memcached: Memcached) -> None:
        """With a real memcached the whole story works there."""
        check_server_side(open_demo(memcached=memcached.address), "memcache", "memcached")

    def test_datastore(
        self,
        open_demo: Callable[..., Browser],
        datastore: DatastoreEmulator,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """With a real Datastore emulator the whole story works there."""
        monkeypatch.setenv("DATASTORE_EMULATOR_HOST", datastore.address)
        check_server_side(open_demo(project="test"), "datastore", "Datastore")

    def test_killed_memcached(
        self, open_demo: Callable[..., Browser], launch: Callable[[Server], Server]
    ) -> None:
        """Without its server the page is a tidy 503 with a way back to cookies."""
        server = launch(Memcached())
        check_killed(open_demo(memcached=server.address), "memcache", server)

    def test_killed_datastore(
        self,
        open_demo: Callable[..., Browser],
        launch: Callable[[Server], Server],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The same when the Datastore emulator is killed."""
        server = launch(DatastoreEmulator())
        monkeypatch.setenv("DATASTORE_EMULATOR_HOST", server.address)
        check_killed(open_demo(project="killed"), "datastore", server)

    def test_memcached_killed_while_the_page_is_made(
        self, example: ModuleType, browse: Open, launch: Callable[[Server], Server]
    ) -> None:
        """A server that goes between reading and saving the session gives the 503 page, too."""
        server = launch(Memcached())
        app = example.make_app(SECRET, memcached=server.address, probe_seconds=0)
        browser = browse(app)
        browser.get("/")
        browser.submit("/backend", backend="memcache")
        answer = app.registry["probes"]["securecookie"]()

        def kill_and_answer() -> Any:
            server.kill()
            return answer

        app.registry["probes"]["securecookie"] = kill_and_answer
        assert browser.get("/").status_code == 503
        assert "Your session cannot be reached" in browser.page
        assert "page views" not in browser.page

    def test_server_killed_while_it_is_chosen(self, example: ModuleType, browse: Open) -> None:
        """A new session that cannot be saved gives the 503 page and no redirect."""
        app = example.make_app(SECRET, memcached=f"127.0.0.1:{free_port()}", probe_seconds=0)
        browser = browse(app)
        browser.get("/")
        usable = example.probes.Answer(True, "It answered a moment ago.")
        app.registry["probes"]["memcache"] = lambda: usable
        answer = browser.submit("/backend", backend="memcache")
        assert answer.status_code == 503
        assert "Location" not in answer.headers
        assert browser.submit("/backend", backend="securecookie").status_code == 200
        assert choices_in(browser.page)["securecookie"] == "in use"

    def test_session_is_there_again_with_its_server(
        self, open_demo: Callable[..., Browser], launch: Callable[[Server], Server]
    ) -> None:
        """A server that hung and goes on has the session that it had."""
        server = launch(Memcached())
        browser = open_demo(memcached=server.address)
        browser.submit("/backend", backend="memcache")
        browser.submit("/note", note="tea")
        server.freeze()
        assert browser.get("/").status_code == 503
        server.thaw()
        assert wait_until(lambda: browser.get("/").status_code == 200, TIMEOUT)
        assert "<li>tea</li>" in browser.page

    def test_probe_gives_up_on_a_frozen_server(
        self, open_demo: Callable[..., Browser], launch: Callable[[Server], Server]
    ) -> None:
        """A server that accepts connections and says nothing is greyed like one that is gone."""
        server = launch(Memcached())
        browser = open_demo(memcached=server.address)
        assert choices_in(browser.page)["memcache"] == ""
        server.freeze()
        assert choices_in(browser.get("/").text)["memcache"] == "disabled"

    def test_probe_knows_another_server(
        self,
        open_demo: Callable[..., Browser],
        memcached: Memcached,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What answers at the emulator's address has to be an emulator."""
        monkeypatch.setenv("DATASTORE_EMULATOR_HOST", memcached.address)
        page = open_demo().page
        assert f"What answers at {memcached.address} is no Datastore emulator." in page
        assert choices_in(page)["datastore"] == "disabled"

    def test_probe_names_a_missing_library(
        self, open_demo: Callable[..., Browser], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where a library is missing the page says which."""
        monkeypatch.setitem(sys.modules, "pymemcache", None)
        monkeypatch.setitem(sys.modules, "google.cloud.ndb", None)
        page = open_demo().page
        assert "The library pymemcache is not installed." in page
        assert "The library google-cloud-ndb is not installed." in page

    @pytest.mark.parametrize("address", ["", "nonsense", "127.0.0.1:", "127.0.0.1:99999"])
    def test_probe_survives_a_wrong_address(self, example: ModuleType, address: str) -> None:
        """An address of another form is one where nothing answers."""
        answer = example.probes.memcached(address)
        assert (answer.usable, answer.reason) == (False, f"No memcached answers at {address}.")

    def test_probe_is_remembered(self, example: ModuleType) -> None:
        """Within its time an answer is used again."""
        answers = iter(["first", "second"])
        probe = example.probes.Remembered(lambda: next(answers), 1000.0)
        assert [probe(), probe()] == ["first", "first"]

    def test_probe_is_asked_again(self, example: ModuleType) -> None:
        """After its time an answer is forgotten."""
        answers = iter(["first", "second"])
        probe = example.probes.Remembered(lambda: next(answers), 0.0)
        assert [probe(), probe()] == ["first", "second"]

    @pytest.mark.parametrize(
        ("seconds", "words"),
        [
            (-5, "just now"),
            (0, "just now"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (7199, "1 hour ago"),
            (200000, "2 days ago"),
        ],
    )
    def test_age_is_in_words(self, example: ModuleType, seconds: int, words: str) -> None:
        """The largest unit that fits."""
        assert example.cookie_view.ago(seconds) == words

    @pytest.mark.parametrize("value", ["", "a|b", "!|1|c", "e30=|x|c", "e30=|1|c|d", "/w==|1|c"])
    def test_cookie_of_another_form_has_no_view(self, example: ModuleType, value: str) -> None:
        """What is no signed cookie is not taken apart."""
        assert example.cookie_view.view("session", value) is None

    def test_page_loads_nothing_from_elsewhere(self, browser: Browser) -> None:
        """Style comes from the application, and the policy forbids anything else."""
        answer = browser.get("/")
        assert re.findall(r'(?:src|href|action)="(?!/|data:)([^"]*)"', answer.text) == []
        assert "<script" not in answer.text
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")

    def test_style_sheet_is_cached(self, browser: Browser) -> None:
        """It sets no cookie, and is not sent again while it stays the same."""
        browser.cookies.clear()
        first = browser.get("/style.css")
        assert first.headers["Content-Type"].startswith("text/css")
        assert not first.cookies
        again = browser.get("/style.css", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.text) == (304, "")


def views_in(page: str) -> int:
    """The counter on the demo's page."""
    found = re.search(r'<p class="visits"><strong>(\d+)</strong>', page)
    assert found, page
    return int(found[1])


def shown_payloads(page: str) -> list[str]:
    """The cookie's payload as the demo shows it; several would be a mistake."""
    found = re.findall(r'<pre class="cookie-data">(.*?)</pre>', page, re.DOTALL)
    return [html.unescape(text) for text in found]


def choices_in(page: str) -> dict[str, str]:
    """Each backend's keyword with "in use", "disabled" or ""."""
    buttons = re.findall(r'<button name="backend" value="(\w+)"([^>]*)>', page)
    states = {' aria-pressed="true"': "in use", ' aria-pressed="false" disabled': "disabled"}
    return {keyword: states.get(attributes, "") for keyword, attributes in buttons}


def check_server_side(browser: Browser, backend: str, title: str) -> None:
    """Move to a server-side backend, use the session there, and come back."""
    browser.submit("/note", note="in the cookie")
    browser.submit("/backend", backend=backend)
    assert flashes_in(browser.page) == [("success", f"{title}: your session is kept here now.")]
    assert choices_in(browser.page)[backend] == "in use"
    assert views_in(browser.page) == 1

    before = sid_in(browser.cookies[f"session_{backend}"])
    browser.submit("/sign-in", name="Ada", password="demo")
    assert sid_in(browser.cookies[f"session_{backend}"]) != before
    browser.submit("/note", note="on the server")
    browser.get("/")
    assert json.loads(session_shown(browser.page)) == {
        "visits": 4,
        "name": "Ada",
        "notes": ["on the server"],
    }
    sid = sid_in(browser.cookies[f"session_{backend}"])
    assert sid not in browser.page
    assert [json.loads(text) for text in shown_payloads(browser.page)] == [{"_sid": sid[:4] + "…"}]

    browser.submit("/sign-out")
    assert views_in(browser.page) == 1
    assert "Hello, stranger" in browser.page

    browser.submit("/backend", backend="securecookie")
    assert "<li>in the cookie</li>" in browser.page


def check_killed(browser: Browser, backend: str, server: Server) -> None:
    """Lose the server with the session, and go on with a cookie."""
    browser.submit("/backend", backend=backend)
    browser.submit("/sign-in", name="Ada", password="demo")
    assert choices_in(browser.page)[backend] == "in use"
    server.kill()

    assert browser.get("/").status_code == 503
    assert "Your session cannot be reached" in browser.page
    assert server.address not in browser.page
    assert choices_in(browser.page) == {"securecookie": ""}
    assert browser.submit("/note", note="lost").status_code == 503

    assert browser.submit("/backend", backend="securecookie").status_code == 200
    assert choices_in(browser.page)["securecookie"] == "in use"
    assert choices_in(browser.page)[backend] == "disabled"
    assert "Hello, stranger" in browser.page


@pytest.mark.parametrize("name", ["hello", "form", "flashes", "backends", "custom_backend", "demo"])
def test_example_runs_as_its_docstring_says(name: str, tmp_path: Path) -> None:
    """`python examples/<name>/app.py` says where it serves, and serves there."""
    port = free_port()
    package = Path(webapp2_sessions.__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, EXAMPLES / name / "app.py"],
            cwd=tmp_path,
            env={**os.environ, "PORT": str(port), "PYTHONPATH": path},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        line = f"Serving on http://127.0.0.1:{port}\n"
        assert wait_until(lambda: process.poll() is not None or log.read_text(), TIMEOUT)
        assert log.read_text() == line
        with Browser(f"http://127.0.0.1:{port}") as browser:
            assert browser.get("/").status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT)
