"""The account page of the demo in two browsers: what one of them does is seen in the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from support.demo import DemoBrowser
from support.servers import Memcached, Redis

SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)

#: In the present Redis there are sessions of other tests' users, too.
TITLES = ("Redis", "memcached", "Signed cookie")

DESKTOP, PHONE = (1280, 800), (390, 844)


class Two(NamedTuple):
    """Two browsers of one person."""

    phone: DemoBrowser
    laptop: DemoBrowser

    def use(self, title: str, name: str) -> None:
        """Sign in with both, in that place."""
        for browser in self:
            browser.open("/backends")
            if title != "Signed cookie":
                browser.press(f"Use {title} for the shop")
            browser.sign_in(name)


@pytest.fixture
def two(
    open_demo: Callable[..., DemoBrowser],
    open_browser: Callable[[str], DemoBrowser],
    memcached: Memcached,
    redis_server: Redis,
) -> Two:
    """A phone and a laptop on one demo with memcached and Redis."""
    phone = open_demo(memcached=memcached.address, redis_url=redis_server.url)
    two = Two(phone, open_browser(phone.site))
    two.phone.be_called(SAFARI)
    return two


def is_signed_in_at_the_next_click(browser: DemoBrowser) -> bool:
    return "Signed in as" in browser.press("Backends")


def check_manners(browser: DemoBrowser) -> None:
    """Nothing was complained of, and nobody else was asked."""
    assert browser.console() == []
    assert browser.hosts() == {urlsplit(browser.site).netloc}


def test_signing_out_there_signs_out_the_other_browser(two: Two) -> None:
    two.use("Redis", "Ada of the first story")
    two.laptop.press("Account")
    here, there = two.laptop.texts(".sessions li")
    assert here.startswith("Chrome on ")
    assert "this one" in here
    assert there.startswith("Safari on iPhone")
    two.laptop.press("Sign out there: Safari on iPhone")
    assert two.laptop.flashes == [("success", "Done You are signed out there.")]
    assert len(two.laptop.texts(".sessions li")) == 1
    assert not is_signed_in_at_the_next_click(two.phone)
    assert is_signed_in_at_the_next_click(two.laptop)
    for browser in two:
        check_manners(browser)


@pytest.mark.parametrize("title", TITLES)
def test_signing_out_everywhere_else_signs_out_the_other_browser(two: Two, title: str) -> None:
    two.use(title, f"Ada with {title} 2")
    two.laptop.press("Account")
    two.laptop.press("Sign out everywhere else")
    assert [level for level, _ in two.laptop.flashes] == ["success"]
    assert [is_signed_in_at_the_next_click(each) for each in two] == [False, True]


@pytest.mark.parametrize("title", TITLES)
def test_a_new_password_signs_out_the_other_browser(two: Two, title: str) -> None:
    name = f"Ada with {title} 3"
    two.use(title, name)
    two.laptop.press("Account")
    two.laptop.fill("Present password", "demo")
    two.laptop.fill("New password", "analytical engine")
    two.laptop.press("Change password")
    assert [level for level, _ in two.laptop.flashes] == ["success"]
    assert [is_signed_in_at_the_next_click(each) for each in two] == [False, True]
    assert "Signed in as" not in two.phone.sign_in(name)
    assert "Signed in as" in two.phone.sign_in(name, password="analytical engine")


def test_the_browser_asks_for_a_password_that_is_long_enough(two: Two) -> None:
    two.laptop.sign_in()
    two.laptop.press("Account")
    two.laptop.fill("Present password", "demo")
    two.laptop.fill("New password", "abc")
    two.laptop.named("button", "Change password").click()
    assert two.laptop.texts("#new:invalid") == [""]
    assert two.laptop.flashes == []


@pytest.mark.parametrize(
    "agent",
    ["<script>document.title = 'taken'</script>", "<h1>" + "m" * 56],
    ids=["script", "long"],
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_hostile_name_of_a_browser_stays_text_that_fits(
    two: Two, size: tuple[int, int], scheme: str, agent: str
) -> None:
    two.phone.be_called(agent)
    two.use("Redis", f"Ada {size[0]} {scheme} {agent[1]}")
    two.laptop.emulate(*size, scheme=scheme)
    two.laptop.press("Account")
    assert two.laptop.texts(".sessions li:not(:first-child) strong") == [agent]
    assert two.laptop.driver.title.startswith("Account")
    assert two.laptop.too_wide() == []
    assert two.laptop.size()[0] == size[0]
    assert two.laptop.faint() == []
    check_manners(two.laptop)


@pytest.mark.parametrize("title", ["Signed cookie", "Redis"])
def test_the_account_is_for_everybody(two: Two, title: str) -> None:
    two.use(title, f"Ada with {title} 4")
    two.laptop.press("Account")
    assert len(two.laptop.texts("h1")) == 1
    controls = two.laptop.driver.find_elements(
        "css selector", "a, button, input:not([type=hidden])"
    )
    assert all(control.accessible_name for control in controls)
    assert two.laptop.without_focus_ring() == []
