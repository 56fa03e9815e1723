"""What somebody sees and does in the demo, with nothing but a browser.

No page of it may complain in the console, ask another host for anything, or be wider than the
screen: that is looked at at the end of every story.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from support.demo import DemoBrowser
from support.servers import DatastoreEmulator, Memcached, Redis

DESKTOP, PHONE = (1280, 800), (390, 844)
PAGES = ("/", "/sign-in", "/backends", "/inspector", "/account")

STORED = "session_memcache"
SIGNED = "session_securecookie"


@pytest.fixture
def demo(open_demo: Callable[..., DemoBrowser], memcached: Memcached) -> Iterator[DemoBrowser]:
    """A demo with a memcached, on its first page."""
    demo = open_demo(memcached=memcached.address)
    demo.emulate(*DESKTOP)
    demo.open("/")
    yield demo
    check_manners(demo)


def check_manners(demo: DemoBrowser) -> None:
    """Nothing was complained of, and nobody else was asked."""
    assert demo.console() == []
    assert demo.hosts() == {urlsplit(demo.site).netloc}


def use(demo: DemoBrowser, title: str) -> None:
    """Have the shop keep the session there."""
    demo.open("/backends")
    demo.press(f"Use {title} for the shop")


def copy(demo: DemoBrowser, name: str) -> str:
    """The value of a cookie, as somebody who stole it has it."""
    return str(demo.cookies[name]["value"])


def paste(demo: DemoBrowser, name: str, value: str) -> None:
    """Put a copied cookie into the browser."""
    demo.driver.add_cookie({"name": name, "value": value, "path": "/"})


def test_sign_in_gives_a_new_id_and_keeps_the_cart(demo: DemoBrowser) -> None:
    """The id from before leads nowhere, whoever has planted it in this browser."""
    use(demo, "memcached")
    demo.open("/")
    demo.press("Add Sencha to the cart")
    planted = copy(demo, STORED)
    demo.open("/inspector")
    before = demo.sight(STORED, ".sid")

    assert "Signed in as Ada" in demo.sign_in()
    assert demo.texts(".cart .count") == ["1"]
    demo.open("/inspector")
    assert demo.sight(STORED, ".sid") != before

    paste(demo, STORED, planted)
    assert "Signed in as" not in demo.open("/")
    assert demo.texts(".cart .count") == []


def test_wrong_password(demo: DemoBrowser) -> None:
    """It is told, and nobody is signed in."""
    demo.open("/sign-in")
    demo.fill("Name", "Ada")
    demo.fill("Password", "engine")
    assert "Signed in as" not in demo.press("Sign in button")
    assert [level for level, _ in demo.flashes] == ["error"]


@pytest.mark.parametrize("title", ["Signed cookie", "Encrypted cookie", "memcached"])
def test_cart_is_changed_in_place(demo: DemoBrowser, title: str) -> None:
    """Each button changes a number inside of one value, and the next page has it."""
    if title != "Signed cookie":
        use(demo, title)
    demo.open("/")
    demo.press("Add Assam to the cart")
    demo.press("One Assam more")
    demo.press("Add Oolong to the cart")
    assert demo.texts(".cart .count") == ["2", "1"]
    assert "€ 22.60" in demo.texts(".total")[0]
    demo.press("One Assam less")
    demo.press("Remove Oolong")
    assert demo.texts(".cart .count") == ["1"]
    demo.press("One Assam less")
    assert "It is empty." in demo.open("/")


def test_message_appears_once(demo: DemoBrowser) -> None:
    """With its level, also in words, on the next page and not on the one after it."""
    demo.press("Add Rooibos to the cart")
    assert demo.flashes == [("success", "Done Rooibos is in your cart.")]
    demo.open("/")
    assert demo.flashes == []


def test_message_waits_for_its_page(demo: DemoBrowser) -> None:
    """Reloading the page that showed it, by the browser, shows none."""
    demo.press("Add Rooibos to the cart")
    demo.driver.refresh()
    assert demo.flashes == []
    assert demo.texts(".cart .count") == ["1"]


@pytest.mark.parametrize("title", ["Signed cookie", "memcached"])
def test_remember_me(demo: DemoBrowser, title: str) -> None:
    """The browser keeps the cookie for 30 days, also after later changes."""
    if title == "memcached":
        use(demo, title)
    name = STORED if title == "memcached" else SIGNED
    demo.sign_in()
    assert "expiry" not in demo.cookies[name]
    demo.press("Sign out")
    demo.sign_in(remember=True)
    assert [level for level, _ in demo.flashes] == ["success", "info"]
    demo.press("Add Assam to the cart")
    days = (demo.cookies[name]["expiry"] - time.time()) / 86400
    assert 29 < days < 31
    demo.open("/inspector")
    assert "Max-Age=2592000" in demo.sight(name, ".flags li")


def test_sign_out_leaves_nothing_behind(demo: DemoBrowser) -> None:
    """Neither cookie nor record; a copy of the cookie opens nothing."""
    use(demo, "memcached")
    demo.open("/")
    demo.press("Add Assam to the cart")
    demo.sign_in()
    copied = copy(demo, STORED)
    page = demo.press("Sign out")
    assert "nothing of your session is left" in page
    assert "It is empty." in page
    assert list(demo.cookies) == ["settings"]

    paste(demo, STORED, copied)
    page = demo.open("/")
    assert "It is empty." in page
    assert "Signed in as" not in page
    demo.open("/inspector")
    assert "opens nothing" in demo.sight(STORED, ".verdict")[0]


def test_back_button_shows_no_former_page(demo: DemoBrowser) -> None:
    """Pages are not kept: after signing out the one before it is asked for again."""
    demo.sign_in("Ada")
    demo.open("/inspector")
    demo.press("Sign out")
    demo.driver.back()
    assert demo.driver.current_url == f"{demo.site}/inspector"
    assert "Ada" not in demo.text


def test_inspector_shows_what_the_browser_holds(demo: DemoBrowser) -> None:
    """Each cookie that the browser has, with its size, its ends and its flags."""
    demo.press("Add Assam to the cart")
    use(demo, "memcached")
    demo.press("Count up in Encrypted cookie")
    demo.sign_in()
    demo.open("/inspector")  # messages were shown before; nothing changes any more
    demo.open("/inspector")
    held = demo.cookies
    assert len(held) == 4
    for name, cookie in held.items():
        value = cookie["value"].strip('"')
        [raw] = demo.sight(name, ".raw")
        shown = raw.removeprefix(f"{name}=").strip()
        assert value.startswith(shown.partition("…")[0])
        assert value.endswith(shown.rpartition("…")[2])
        assert demo.sight(name, ".size") == [str(len(name) + 1 + len(cookie["value"]))]
        flags = demo.sight(name, ".flags li")
        assert cookie["httpOnly"]
        assert "HttpOnly" in flags
        assert f"SameSite={cookie['sameSite']}" in flags
        assert f"Path={cookie['path']}" in flags
        assert ("no Secure" in flags) is not cookie["secure"]
        assert ("no Max-Age" in flags) is ("expiry" not in cookie)
        assert value not in demo.driver.page_source
    assert int(demo.sight(STORED, ".record-size")[0]) > 20


def test_inspector_without_a_session(demo: DemoBrowser) -> None:
    """Who has only looked has no session, and is told how to get one."""
    assert "No session yet" in demo.open("/inspector")
    assert list(demo.cookies) == ["settings"]


def test_renew_and_destroy(demo: DemoBrowser) -> None:
    """A new id with the same data, and then none."""
    use(demo, "memcached")
    demo.press("Count up in memcached")
    demo.open("/inspector")
    before, data = demo.sight(STORED, ".sid"), demo.sight(STORED, ".data")
    demo.press("Renew the session in memcached")
    assert demo.sight(STORED, ".data") == data
    assert demo.sight(STORED, ".sid") != before
    demo.press("Destroy the session in memcached")
    assert [level for level, _ in demo.flashes] == ["info"]
    assert STORED not in demo.cookies
    assert "No session yet" in demo.text


def test_backends_side_by_side(
    open_demo: Callable[..., DemoBrowser],
    memcached: Memcached,
    redis_server: Redis,
    datastore: DatastoreEmulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five sessions at once, each with a counter and a cookie of its own."""
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", datastore.address)
    demo = open_demo(memcached=memcached.address, redis_url=redis_server.url, project="test")
    titles = ["Signed cookie", "Encrypted cookie", "memcached", "Redis", "Datastore"]
    demo.open("/backends")
    for times, title in enumerate(titles, 1):
        for _ in range(times):
            demo.press(f"Count up in {title}")
    assert demo.texts(".shelf dd.count") == ["1", "2", "3", "4", "5"]
    assert len(demo.cookies) == 6

    use(demo, "Datastore")
    assert demo.texts(".shelf .badge") == [*["ready"] * 4, "used by the shop"]
    demo.sign_in()
    demo.open("/backends")
    shelves = [demo.shelf(place) for place in ("datastore", "memcache", "redis")]
    assert ["Ada" in shelf for shelf in shelves] == [True, False, False]
    demo.open("/inspector")
    assert demo.texts(".sight h2")[0] == "Datastore"
    assert 'Key("Session"' in demo.sight("session_datastore", ".facts")[1]
    for cookie in (STORED, "session_redis"):
        record = demo.sight(cookie, ".facts")[1]
        assert re.search(r"session:\w{4}….*[0-9a-f]{6}…[0-9a-f]{4} HMAC", record, re.DOTALL), record
    check_manners(demo)


def test_missing_servers_are_shown(
    open_demo: Callable[..., DemoBrowser], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing but Python all pages work, and say what could be started."""
    monkeypatch.delenv("DATASTORE_EMULATOR_HOST", raising=False)
    demo = open_demo()
    demo.open("/backends")
    states = ["used by the shop", "ready", *["not available"] * 3]
    assert demo.texts(".shelf .badge") == states
    [memcached, redis, datastore, again] = demo.texts(".commands pre")
    assert re.fullmatch(r"memcached -l 127\.0\.0\.1 -p \d+", memcached)
    assert re.fullmatch(r"redis-server --bind 127\.0\.0\.1 --port \d+ --save ''", redis)
    assert datastore.startswith("gcloud beta emulators datastore start")
    assert again.endswith(" make demo")
    demo.sign_in()
    assert all(demo.open(page) for page in PAGES)
    check_manners(demo)


def test_lost_server(
    open_demo: Callable[..., DemoBrowser], launch: Callable[[Memcached], Memcached]
) -> None:
    """The page says what has happened, and its button leads on."""
    server = launch(Memcached())
    demo = open_demo(memcached=server.address)
    use(demo, "memcached")
    demo.sign_in()
    server.kill()
    assert "Your session cannot be reached" in demo.open("/")
    assert "used by the shop" in demo.press("Go on with a signed cookie")
    # The browser itself notes each answer of 503.
    assert all("503" in message for message in demo.console())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_pages_fit_the_screen(demo: DemoBrowser, size: tuple[int, int], scheme: str) -> None:
    """Nothing is cut off or has to be scrolled to the side, and all text can be read."""
    demo.press("Add Assam to the cart")
    demo.open("/backends")
    demo.press("Count up in memcached")
    demo.sign_in("A name of thirty characters ..")
    demo.emulate(*size, scheme=scheme)
    for page in PAGES:
        demo.open(page)
        assert demo.size()[0] == size[0], page
        assert demo.too_wide() == [], page
        assert demo.faint() == [], page


def test_pages_are_for_everybody(demo: DemoBrowser) -> None:
    """One h1, landmarks, a name for whatever can be used, and a visible focus."""
    demo.press("Add Assam to the cart")
    for page in PAGES:
        demo.open(page)
        found = [len(demo.texts(tag)) for tag in ("h1", "header.top", "nav", "main", "footer")]
        assert found == [1] * 5
        controls = demo.driver.find_elements(
            "css selector", "a, button, input:not([type=hidden]), nav, meter"
        )
        assert all(control.accessible_name for control in controls)
        assert demo.without_focus_ring() == []


def test_works_without_javascript(
    open_demo: Callable[..., DemoBrowser], memcached: Memcached
) -> None:
    """There is none to miss: no page has a script or would be allowed one."""
    demo = open_demo(memcached=memcached.address)
    for page in PAGES:
        demo.open(page)
        assert demo.texts("script") == []
        assert demo.driver.execute_script("return document.scripts.length") == 0
