"""Every example, served by waitress and driven by a browser's part of requests.

The demo has tests of its own, in test_demo.py and in tests/browser; so have the applications that
keep users, in test_user_patterns.py.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import webapp2
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.examples import EXAMPLES, TIMEOUT, Browser, sid_in, signed
from support.servers import Memcached, Redis, Server, free_port, wait_until
from support.visits import SECRET

import webapp2_sessions

#: An id in the right form that no session has.
UNKNOWN_SID = "A" * 22

Load = Callable[[str], ModuleType]
Open = Callable[[Any], Browser]


def test_every_example_has_a_test_and_a_line_in_the_readme() -> None:
    """No folder of examples/ is forgotten."""
    folders = {path.parent.name for path in EXAMPLES.glob("*/*.py")}
    listed = set(
        re.findall(r"^\| \[`(\w+)`\]", (EXAMPLES / "README.md").read_text("utf-8"), re.MULTILINE)
    )
    names = ("test_examples.py", "conftest.py", "test_user_patterns.py")
    tests = "".join(Path(__file__).with_name(name).read_text("utf-8") for name in names)
    tested = set(re.findall(r'(?:load\(|EXAMPLES / )"(\w+)"', tests))
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
        """A real memcached counts, and when it loses the data the counter starts again."""
        browser = browse(make_app(SECRET, "memcache", memcached=memcached.address))
        check_server_counts(browser, "memcache", memcached)

    def test_redis(self, make_app: Callable[..., Any], browse: Open, redis_server: Redis) -> None:
        """A real Redis does the same."""
        browser = browse(make_app(SECRET, "redis", redis_url=redis_server.url))
        check_server_counts(browser, "redis", redis_server)

    @pytest.mark.usefixtures("datastore")
    def test_datastore(self, make_app: Callable[..., Any], browse: Open) -> None:
        """A real Datastore emulator counts."""
        check_counter(browse(make_app(SECRET, "datastore", project="test")), "datastore")


def check_counter(browser: Browser, backend: str) -> None:
    """Three visits are counted."""
    pages = [browser.get("/").text for _ in range(3)]
    assert pages == [f"Visit number {n}, kept by {backend}.\n" for n in (1, 2, 3)]


def check_server_counts(browser: Browser, backend: str, server: Memcached | Redis) -> None:
    """The server has the data: when it loses that the counter starts again, cookie or not."""
    check_counter(browser, backend)
    server.flush()
    assert browser.get("/").text == f"Visit number 1, kept by {backend}.\n"


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


class TestMetrics:
    @pytest.fixture
    def example(self, load: Load) -> ModuleType:
        return load("metrics")

    def test_prometheus_finds_what_happened(
        self, example: ModuleType, browse: Open, memcached: Memcached
    ) -> None:
        """Two visits load once and save twice; the page of numbers itself opens no session."""
        settings = {"servers": [memcached.address], "key_prefix": f"metrics{free_port()}:"}
        config = {"default_backend": "memcache", "memcache": settings}
        browser = browse(example.make_app(SECRET, **config))
        assert browser.get("/").text == "Hello! This is your visit number 1.\n"
        assert browser.get("/").text == "Hello! This is your visit number 2.\n"
        numbers = browser.get("/metrics").text
        for line in (
            'session_events_total{backend="memcache",error="",kind="save"} 2.0',
            'session_events_total{backend="memcache",error="",kind="load"} 1.0',
            'session_seconds_count{backend="memcache",kind="load"} 1.0',
            'session_bytes_count{backend="memcache",kind="save"} 2.0',
            'session_bytes_bucket{backend="memcache",kind="save",le="512.0"} 2.0',
        ):
            assert f"{line}\n" in numbers

    def test_prometheus_finds_what_all_processes_counted(self, tmp_path: Path) -> None:
        """Each worker of a server shows the numbers of all of them."""
        package = Path(webapp2_sessions.__file__).parents[1]
        path = os.pathsep.join([str(package), str(EXAMPLES / "metrics")])
        env = {**os.environ, "PYTHONPATH": path, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        visit = f"from app import make_app\napp = make_app({SECRET!r})\napp.get_response('/')\n"
        show = "print(app.get_response('/metrics').text)"
        run = [sys.executable, "-c"]
        subprocess.run([*run, visit], env=env, check=True, timeout=TIMEOUT)
        second = subprocess.run(
            [*run, visit + show], env=env, check=True, timeout=TIMEOUT, capture_output=True
        )
        line = 'session_events_total{backend="securecookie",error="",kind="save"} 2.0'
        assert f"{line}\n" in second.stdout.decode()

    @pytest.mark.usefixtures("example")  # its folder is where Python looks
    def test_opentelemetry_tells_a_millisecond_from_a_second(self) -> None:
        """Its default bounds are for milliseconds, and would put both into one bucket."""
        reader = InMemoryMetricReader()
        meter = MeterProvider([reader]).get_meter("webapp2_sessions")
        on_event = importlib.import_module("for_opentelemetry").SessionMetrics(meter)
        for seconds, size in [(0.0008, 300), (0.8, 300_000)]:
            on_event(webapp2_sessions.SessionEvent("load", "redis", seconds=seconds, size=size))
        data: Any = reader.get_metrics_data()
        for metric in data.resource_metrics[0].scope_metrics[0].metrics:
            if metric.name != "session.events":
                (point,) = metric.data.data_points
                assert sorted(filter(None, point.bucket_counts)) == [1, 1], metric.name

    def test_opentelemetry_gets_the_same(self, example: ModuleType, browse: Open) -> None:
        """Numbers of a visit, and of a server that does not answer."""
        reader = InMemoryMetricReader()
        meter = MeterProvider([reader]).get_meter("webapp2_sessions")
        on_event = importlib.import_module("for_opentelemetry").SessionMetrics(meter)
        assert browse(example.make_app(SECRET, on_event)).get("/").status_code == 200
        nobody = {"url": f"redis://127.0.0.1:{free_port()}"}
        app = example.make_app(SECRET, on_event, default_backend="redis", redis=nobody)
        answer = app.get_response("/", headers=signed("session", {"_sid": UNKNOWN_SID}))
        assert answer.status_int == 500
        assert self.numbers(reader) == {
            ("session.events", "save", "securecookie", None): 1,
            ("session.events", "error", "redis", "BackendUnavailable"): 1,
            ("session.duration", "save", "securecookie", None): 1,
            ("session.size", "save", "securecookie", None): 1,
        }

    def numbers(self, reader: InMemoryMetricReader) -> dict[tuple[Any, ...], int]:
        """What was counted, or how often it was measured, by instrument and labels."""
        found = {}
        data: Any = reader.get_metrics_data()
        for metric in data.resource_metrics[0].scope_metrics[0].metrics:
            for point in metric.data.data_points:
                names = ("session.event", "session.backend", "error.type")
                labels = (metric.name, *(point.attributes.get(name) for name in names))
                found[labels] = point.count if hasattr(point, "count") else point.value
        return found


@pytest.mark.parametrize(
    "name", ["hello", "form", "flashes", "backends", "custom_backend", "metrics", "demo"]
)
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
