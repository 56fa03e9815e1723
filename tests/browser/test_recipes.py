"""A sign-in with a provider on another site, in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.chromium import Chromium
from support.recipes import Provider, load_recipe
from support.servers import PROXY_VARIABLES
from support.wsgi import served

from webapp2_sessions import SessionHandler
from webapp2_sessions.testing import memory_sessions


class WhoHandler(SessionHandler):
    """Tells who is signed in."""

    def get(self) -> None:
        self.response.write(f"<p>Here is {self.session.get('user_id')}</p>")


@pytest.fixture
def sign_in(
    chromium: Chromium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], str]]:
    """Sign in with the recipe and a value of SameSite; what the last page shows."""
    for variable in PROXY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    with ExitStack() as at_end:
        provider = Provider("ada")
        accounts = at_end.enter_context(served(provider))

        def visit(samesite: str) -> str:
            recipe = load_recipe("Signing in with a provider")
            app, settings = recipe["app"], recipe["config"]["webapp2_extras.sessions"]
            settings["cookie_args"].update(samesite=samesite, secure=False)  # by HTTP
            app.router.add(("/", WhoHandler))
            at_end.enter_context(memory_sessions(app))
            port = at_end.enter_context(served(app)).rpartition(":")[2]
            recipe["PROVIDER"], provider.client_secret = accounts, recipe["CLIENT_SECRET"]
            recipe["CLIENT"]["redirect_uri"] = f"http://shop.test:{port}/callback"
            driver = at_end.enter_context(chromium.browser(tmp_path / "profile"))
            driver.get(f"http://shop.test:{port}/sign-in")
            driver.find_element("link text", "Allow").click()
            return str(driver.find_element("tag name", "body").text)

        yield visit


def test_lax_lets_the_visitor_come_back(sign_in: Callable[[str], str]) -> None:
    assert sign_in("lax") == "Here is ada"


def test_strict_does_not(sign_in: Callable[[str], str]) -> None:
    assert "was not begun here" in sign_in("strict")
