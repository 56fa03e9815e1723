"""The account page of the demo: where somebody is signed in, signing out there, another password.

In each place where a session can be, on real servers. What people see is in tests/browser.
"""

from __future__ import annotations

import html
import itertools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import ModuleType

import pytest
from support.demo_pages import flashes_in, levels_in
from support.examples import Browser, payload_of
from support.servers import DatastoreEmulator, Memcached, Redis, Server

PLACES = ("securecookie", "encryptedcookie", "memcache", "redis", "datastore")
LISTING = ("redis", "datastore")
NOT_LISTING = ("securecookie", "encryptedcookie", "memcache")

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
EDGE = f"{CHROME} Edg/140.0.0.0"

#: Numbers that keep the users of tests on one Redis and one Datastore apart.
_numbers = itertools.count()

#: Signs in with a browser of its own: ``(demo, place, agent=FIREFOX, **fields)``.
SignIn = Callable[..., Browser]


@pytest.fixture
def name() -> str:
    """A user whom no other test has."""
    return f"ada{os.getpid()}x{next(_numbers)}"


@pytest.fixture
def open_with_datastore(
    open_demo: Callable[..., Browser],
    memcached: Memcached,
    datastore: DatastoreEmulator,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Browser]:
    """Open a demo with memcached and Datastore, and with Redis if it is told of one."""
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", datastore.address)
    return lambda **options: open_demo(memcached=memcached.address, project="test", **options)


@pytest.fixture
def demo(open_with_datastore: Callable[..., Browser], redis_server: Redis) -> Browser:
    """A demo with all servers."""
    return open_with_datastore(redis_url=redis_server.url)


@pytest.fixture
def without_redis(open_with_datastore: Callable[..., Browser]) -> Browser:
    """A demo with all servers but Redis."""
    return open_with_datastore()


@pytest.fixture
def sign_in(name: str) -> Iterator[SignIn]:
    """Sign the user in with a browser that was never there."""
    with ExitStack() as at_end:

        def sign_in(demo: Browser, place: str, agent: str = FIREFOX, **fields: str) -> Browser:
            browser = at_end.enter_context(Browser(demo.site))
            browser.headers["User-Agent"] = agent
            browser.get("/")
            browser.submit("/backends/use", place=place)
            browser.submit("/sign-in", **{"name": name, "password": "demo"} | fields)
            browser.get("/account")
            return browser

        yield sign_in


def is_signed_in(browser: Browser) -> bool:
    """Whether somebody is, as the next page shows it."""
    return "Signed in as" in browser.get("/").text


def listed(page: str) -> list[str]:
    """What the list of sessions shows, without markup."""
    found = re.search(r'<ul class="sessions">(.*?)</ul>', page, re.DOTALL)
    assert found, page
    items = re.findall(r"<li>(.*?)</li>", found[1], re.DOTALL)
    return [" ".join(html.unescape(re.sub(r"<[^>]*>", " ", each)).split()) for each in items]


def handles_in(page: str) -> list[str]:
    """The handles that the buttons of a page send."""
    return re.findall(r'name="handle" value="(\w+)"', page)


@pytest.mark.parametrize("place", LISTING)
def test_each_browser_is_listed_by_its_name_and_the_present_one_first(
    demo: Browser, sign_in: SignIn, place: str
) -> None:
    phone, laptop = sign_in(demo, place, SAFARI), sign_in(demo, place, FIREFOX)
    first, second = listed(phone.get("/account").text)
    assert re.match(r"Safari on iPhone this one Signed in .+ saved ", first)
    assert re.match(r"Firefox on Linux Signed in .+ saved .+ Sign out there$", second)
    assert listed(laptop.get("/account").text)[0].startswith("Firefox on Linux this one")


@pytest.mark.parametrize("place", LISTING)
def test_signing_out_there_ends_that_session_alone(
    demo: Browser, sign_in: SignIn, place: str
) -> None:
    phone, laptop = sign_in(demo, place, SAFARI), sign_in(demo, place, FIREFOX)
    tablet = sign_in(demo, place, CHROME)
    handle = re.search(r'value="(\w+)" aria-label="Sign out there: Safari', tablet.page)
    assert handle
    tablet.submit("/account/end", handle=handle[1])
    assert levels_in(tablet.page) == ["success"]
    assert [each.split(" Signed in")[0] for each in listed(tablet.page)] == [
        "Chrome on Windows this one",
        "Firefox on Linux",
    ]
    assert [is_signed_in(each) for each in (phone, laptop, tablet)] == [False, True, True]


@pytest.mark.parametrize("place", PLACES)
def test_signing_out_everywhere_else_keeps_this_session(
    demo: Browser, sign_in: SignIn, place: str
) -> None:
    phone, laptop = sign_in(demo, place), sign_in(demo, place)
    laptop.submit("/cart", do="add assam")
    laptop.submit("/account/end-all", keep="this")
    assert levels_in(laptop.page) == ["success"]
    assert [is_signed_in(each) for each in (phone, laptop)] == [False, True]
    assert '<li data-tea="assam">' in laptop.page


@pytest.mark.parametrize("place", PLACES)
def test_signing_out_everywhere_ends_this_session_too(
    demo: Browser, sign_in: SignIn, place: str
) -> None:
    phone, laptop = sign_in(demo, place), sign_in(demo, place)
    laptop.submit("/account/end-all")
    assert levels_in(laptop.page) == ["info"]
    assert [is_signed_in(each) for each in (phone, laptop)] == [False, False]


@pytest.mark.parametrize("place", LISTING)
def test_everywhere_is_in_the_other_places_too(demo: Browser, sign_in: SignIn, place: str) -> None:
    elsewhere = [sign_in(demo, each) for each in PLACES if each != place]
    sign_in(demo, place).submit("/account/end-all", keep="this")
    assert [is_signed_in(each) for each in elsewhere] == [False] * 4


@pytest.mark.parametrize("place", PLACES)
def test_a_new_password_ends_all_other_sessions(demo: Browser, sign_in: SignIn, place: str) -> None:
    phone, laptop = sign_in(demo, place), sign_in(demo, place)
    laptop.submit("/cart", do="add assam")
    laptop.submit("/account/password", present="demo", new="engine")
    assert levels_in(laptop.page) == ["success"]
    assert [is_signed_in(each) for each in (phone, laptop)] == [False, True]
    assert '<li data-tea="assam">' in laptop.page
    assert is_signed_in(sign_in(demo, place, password="engine"))
    assert not is_signed_in(sign_in(demo, place, password="demo"))


def test_a_new_password_ends_a_copy_of_the_cookie_of_this_session(
    demo: Browser, sign_in: SignIn
) -> None:
    browser = sign_in(demo, "securecookie")
    copied = browser.cookies["session_securecookie"]
    browser.submit("/account/password", present="demo", new="engine")
    browser.cookies.set("session_securecookie", None)
    page = browser.get("/", headers={"Cookie": f"session_securecookie={copied}"}).text
    assert "Signed in as" not in page


def test_a_new_password_is_that_of_one_user(demo: Browser, sign_in: SignIn, name: str) -> None:
    other = sign_in(demo, "securecookie", name=f"not {name}")
    sign_in(demo, "securecookie").submit("/account/password", present="demo", new="engine")
    assert is_signed_in(other)
    assert is_signed_in(sign_in(demo, "securecookie", name=f"nor {name}", password="demo"))


@pytest.mark.parametrize(
    ("present", "new"), [("wrong", "engine"), ("", "engine"), ("demo", "abc"), ("demo", "")]
)
def test_a_password_that_is_wrong_or_short_changes_nothing(
    demo: Browser, sign_in: SignIn, present: str, new: str
) -> None:
    phone, laptop = sign_in(demo, "redis"), sign_in(demo, "redis")
    laptop.submit("/account/password", present=present, new=new)
    assert levels_in(laptop.page) == ["error"]
    assert [is_signed_in(each) for each in (phone, laptop)] == [True, True]
    assert is_signed_in(sign_in(demo, "redis", password="demo"))


@pytest.mark.parametrize("place", ["securecookie", "redis"])
def test_who_is_remembered_stays_so_with_another_password(
    demo: Browser, sign_in: SignIn, place: str
) -> None:
    browser = sign_in(demo, place, remember="yes")
    browser.submit("/account/password", present="demo", new="engine")
    [_, attributes] = payload_of(browser.cookies[f"session_{place}"])
    assert attributes["max_age"] == 30 * 24 * 3600


@pytest.mark.parametrize("place", NOT_LISTING)
def test_without_redis_the_page_says_what_is_missing(
    without_redis: Browser, sign_in: SignIn, place: str
) -> None:
    page = html.unescape(sign_in(without_redis, place).page)
    assert "nothing is there that could end them" in page
    assert re.search(r"redis-server --bind 127\.0\.0\.1 --port \d+", page)
    assert re.findall(r'action="(/account/[\w-]+)"', page) == ["/account/password"]


@pytest.mark.parametrize("place", NOT_LISTING)
@pytest.mark.parametrize("keep", ["this", ""])
def test_without_redis_a_form_that_is_not_offered_ends_nothing(
    without_redis: Browser, sign_in: SignIn, place: str, keep: str
) -> None:
    phone, laptop = sign_in(without_redis, place), sign_in(without_redis, place)
    laptop.submit("/account/end-all", keep=keep)
    assert levels_in(laptop.page) == ["error"]
    assert [is_signed_in(each) for each in (phone, laptop)] == [True, True]


@pytest.mark.parametrize("place", NOT_LISTING)
def test_without_redis_a_new_password_ends_the_others_all_the_same(
    without_redis: Browser, sign_in: SignIn, place: str
) -> None:
    phone, laptop = sign_in(without_redis, place), sign_in(without_redis, place)
    laptop.submit("/account/password", present="demo", new="engine")
    assert [is_signed_in(each) for each in (phone, laptop)] == [False, True]


def test_without_redis_everywhere_is_in_datastore(without_redis: Browser, sign_in: SignIn) -> None:
    phone, laptop = (sign_in(without_redis, "datastore") for _ in range(2))
    cookie = sign_in(without_redis, "securecookie")
    laptop.submit("/account/end-all", keep="this")
    assert flashes_in(laptop.page) == [
        ("success", "You are signed out everywhere else in Datastore.")
    ]
    assert [is_signed_in(each) for each in (phone, laptop, cookie)] == [False, True, True]


def test_a_redis_that_comes_later_ends_sessions_from_before(
    open_demo: Callable[..., Browser], launch: Callable[[Server], Server], sign_in: SignIn
) -> None:
    server = Redis()
    demo = open_demo(redis_url=server.url)
    phone, laptop = sign_in(demo, "securecookie"), sign_in(demo, "securecookie")
    assert "Sign out everywhere" not in laptop.page
    launch(server)
    assert "Sign out everywhere" in laptop.get("/account").text
    laptop.submit("/account/end-all", keep="this")
    assert [is_signed_in(each) for each in (phone, laptop)] == [False, True]


def test_when_redis_goes_away_no_session_is_opened_that_may_have_ended(
    open_demo: Callable[..., Browser], launch: Callable[[Server], Server], sign_in: SignIn
) -> None:
    server = Redis()
    launch(server)
    demo = open_demo(redis_url=server.url)
    phone, laptop = sign_in(demo, "securecookie"), sign_in(demo, "securecookie")
    laptop.submit("/account/end-all", keep="this")
    server.kill()
    for browser in (phone, laptop):
        assert browser.get("/").status_code == 503
        assert "Redis does not answer" in browser.page
    assert laptop.submit("/leave").status_code == 200
    assert "session_securecookie" not in laptop.cookies
    assert is_signed_in(laptop) is False


def test_backends_tell_who_does_not_answer(
    open_demo: Callable[..., Browser], launch: Callable[[Server], Server], sign_in: SignIn
) -> None:
    server = Redis()
    launch(server)
    browser = sign_in(open_demo(redis_url=server.url), "securecookie")
    browser.submit("/backends/use", place="encryptedcookie")
    server.kill()
    page = browser.get("/backends").text
    shelf = page.partition('id="securecookie"')[2].partition("</section>")[0]
    assert "Redis does not answer any more." in shelf


@pytest.mark.parametrize("agent", ["<script>alert(1)</script>", '"><b id="x">', "&lt;b&gt;"])
def test_what_a_browser_calls_itself_is_escaped(demo: Browser, sign_in: SignIn, agent: str) -> None:
    sign_in(demo, "redis", agent)
    page = sign_in(demo, "redis").page
    assert agent not in page
    assert agent in html.unescape(page)


def test_a_handle_ends_nobody_elses_session(demo: Browser, sign_in: SignIn, name: str) -> None:
    for _ in range(2):
        ada = sign_in(demo, "redis")
    bob = sign_in(demo, "redis", name=f"bob of {name}")
    [handle] = handles_in(ada.page)
    bob.submit("/account/end", handle=handle)
    assert levels_in(bob.page) == ["info"]
    assert len(listed(ada.get("/account").text)) == 2


@pytest.mark.parametrize("handle", ["", "no handle", "0" * 32])
def test_a_handle_that_there_is_not_ends_nothing(
    demo: Browser, sign_in: SignIn, handle: str
) -> None:
    phone, laptop = sign_in(demo, "redis"), sign_in(demo, "redis")
    laptop.submit("/account/end", handle=handle)
    assert levels_in(laptop.page) == ["info"]
    assert [is_signed_in(each) for each in (phone, laptop)] == [True, True]


def test_the_handle_of_this_session_signs_out_here(demo: Browser, sign_in: SignIn) -> None:
    phone, laptop = sign_in(demo, "redis"), sign_in(demo, "redis")
    [handle] = handles_in(phone.get("/account").text)
    laptop.submit("/account/end", handle=handle)
    assert flashes_in(laptop.page) == [("info", "It was this session: you are signed out.")]
    assert [is_signed_in(each) for each in (phone, laptop)] == [True, False]


@pytest.mark.parametrize("place", NOT_LISTING)
def test_a_place_that_does_not_list_ends_no_single_session(
    demo: Browser, sign_in: SignIn, place: str
) -> None:
    assert sign_in(demo, place).submit("/account/end", handle="0" * 32).status_code == 400


@pytest.mark.parametrize("path", ["/account/end", "/account/end-all", "/account/password"])
def test_who_was_signed_out_meanwhile_is_told(demo: Browser, sign_in: SignIn, path: str) -> None:
    phone, laptop = sign_in(demo, "redis"), sign_in(demo, "redis")
    laptop.submit("/account/end-all", keep="this")
    phone.submit(path, present="demo", new="engine", keep="this")
    assert flashes_in(phone.page) == [("error", "You are not signed in any more.")]
    assert is_signed_in(laptop)


def test_passwords_are_kept_as_salted_hashes(example: ModuleType) -> None:
    passwords = example.Passwords()
    passwords.change("ada", "engine")
    passwords.change("bob", "engine")
    ada, bob = passwords.stamp("ada"), passwords.stamp("bob")
    assert ada != bob
    assert b"engine" not in ada
    assert [passwords.fits("ada", each) for each in ("engine", "demo", "ä")] == [True, False, False]


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        (SAFARI, "Safari on iPhone"),
        (CHROME, "Chrome on Windows"),
        (EDGE, "Edge on Windows"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("x" * 100, "x" * 60),
        ("", ""),
    ],
)
def test_a_browser_is_called_by_its_name_and_system(
    example: ModuleType, agent: str, name: str
) -> None:
    assert example.sign_in.browser_in(agent) == name
