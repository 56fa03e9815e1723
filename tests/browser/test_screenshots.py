"""The pictures of the demo in the documentation: made when they are asked for, by SCREENSHOTS=1.

Without it they are made all the same, and only not written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
from support.demo import DemoBrowser
from support.examples import EXAMPLES
from support.servers import Memcached, Redis

PICTURES = EXAMPLES.parent / "docs" / "screenshots"

#: Bytes of a picture at most.
LIMIT = 200_000

DESKTOP, PHONE = (1280, 800), (390, 844)

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def shop(demo: DemoBrowser) -> None:
    """Somebody has just come back to her cart."""
    for tea in ("Assam", "Sencha", "Assam"):
        demo.open("/")
        demo.press(f"Add {tea} to the cart")
    demo.sign_in()


def backends(demo: DemoBrowser) -> None:
    """Sessions in four places, and a server that is missing."""
    demo.open("/backends")
    for title in ("Signed cookie", "Encrypted cookie", "Encrypted cookie", "memcached", "Redis"):
        demo.press(f"Count up in {title}")


def inspector(demo: DemoBrowser) -> None:
    """A stored session, and one in a cookie."""
    demo.open("/backends")
    demo.press("Count up in Encrypted cookie")
    demo.press("Use memcached for the shop")
    demo.open("/")
    demo.press("Add Oolong to the cart")
    demo.sign_in(remember=True)
    demo.open("/inspector")


def account(demo: DemoBrowser) -> None:
    """Signed in on a phone, on an old computer, and here."""
    for agent in (IPHONE, WINDOWS, LINUX):
        demo.driver.delete_all_cookies()
        demo.be_called(agent)
        demo.open("/backends")
        demo.press("Use Redis for the shop")
        demo.sign_in("Grace")
    demo.open("/account")


def sign_in(demo: DemoBrowser) -> None:
    """The form, filled in."""
    demo.open("/sign-in")
    demo.fill("Name", "Ada")
    demo.fill("Password", "demo")
    demo.fill("Remember me for 30 days", "yes")


#: Name, story, screen, what its owner likes, and how many pixels of the page are shown.
SHOTS = [
    ("shop", shop, DESKTOP, "light", 800),
    ("shop-phone", shop, PHONE, "light", 1300),
    ("shop-dark", shop, DESKTOP, "dark", 800),
    ("sign-in", sign_in, DESKTOP, "light", 800),
    ("backends", backends, DESKTOP, "light", 1375),
    ("inspector", inspector, DESKTOP, "light", 930),
    ("inspector-dark", inspector, DESKTOP, "dark", 1402),
    ("inspector-phone-dark", inspector, PHONE, "dark", 1740),
    ("account", account, DESKTOP, "light", 900),
    ("account-phone-dark", account, PHONE, "dark", 1458),
]


@pytest.mark.parametrize(("name", "story", "size", "scheme", "longest"), SHOTS)
def test_screenshot(
    open_demo: Callable[..., DemoBrowser],
    memcached: Memcached,
    redis_server: Redis,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    story: Callable[[DemoBrowser], None],
    size: tuple[int, int],
    scheme: str,
    longest: int,
) -> None:
    """The page is there, nothing of it is cut off, and its picture is small enough."""
    monkeypatch.delenv("DATASTORE_EMULATOR_HOST", raising=False)
    redis_server.flush()  # or those who were signed in for another picture would be listed
    demo = open_demo(memcached=memcached.address, redis_url=redis_server.url)
    demo.emulate(*size, scheme=scheme)
    story(demo)
    assert demo.size()[0] == size[0]
    picture = demo.picture(longest)
    if os.environ.get("SCREENSHOTS") == "1":
        PICTURES.mkdir(parents=True, exist_ok=True)
        (PICTURES / f"{name}.png").write_bytes(picture)


def test_every_picture_is_shown() -> None:
    """docs/demo.md has those that are made, each of them is there, and none is too large."""
    page = (PICTURES.parent / "demo.md").read_text("utf-8")
    files = {path.stem: path.stat().st_size for path in PICTURES.iterdir()}
    shown = set(re.findall(r"\(screenshots/([\w-]+)\.png\)", page))
    assert {name for name, *_ in SHOTS} == set(files) == shown
    assert max(files.values()) < LIMIT
