"""The demo in a real browser, as somebody uses it who sees names and no markup."""

from __future__ import annotations

import base64
import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from selenium.webdriver.support.wait import WebDriverWait

__all__ = ["EXAMPLES", "DemoBrowser", "loaded_example"]

EXAMPLES = Path(__file__).parents[2] / "examples"

#: Seconds that a page may take.
TIMEOUT = 20


@contextmanager
def loaded_example(name: str) -> Iterator[ModuleType]:
    """An example's app.py, loaded from its file; its sibling modules go with it."""
    path = EXAMPLES / name / "app.py"
    before = set(sys.modules)
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(f"example_{name}", path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(path.parent))
        for each in set(sys.modules) - before:
            origin = getattr(sys.modules[each], "__file__", None)
            if origin and EXAMPLES in Path(origin).parents:
                del sys.modules[each]


class DemoBrowser:
    """A browser on the demo. Its driver keeps the logs ``browser`` and ``performance``."""

    def __init__(self, driver: Any, site: str) -> None:
        self.driver = driver
        self.site = site

    def emulate(self, width: int, height: int, *, scheme: str = "light") -> None:
        """Be a screen of that size, in pixels, of somebody who likes light or dark."""
        self._command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._command("Emulation.setEmulatedMedia", features=[feature])

    def open(self, path: str) -> str:
        """Go to a page; the text that it shows."""
        self.driver.get(self.site + path)
        return self.text

    def press(self, name: str) -> str:
        """Press the button, or follow the link, of that name; the text of the next page."""
        button = self.named("button, a", name)
        # A click returns before the next page is there, which does not have this mark.
        self.driver.execute_script("document.documentElement.dataset.left = 'yes'")
        button.click()
        WebDriverWait(self.driver, TIMEOUT, poll_frequency=0.02).until(
            lambda driver: driver.execute_script(
                "return document.readyState == 'complete' && !document.documentElement.dataset.left"
            )
        )
        return self.text

    def fill(self, label: str, text: str) -> None:
        """Type into the field of that label; for a checkbox any text checks it."""
        field = self.named("input:not([type=hidden])", label)
        if field.get_attribute("type") == "checkbox":
            field.click()
        else:
            field.send_keys(text)

    def sign_in(self, name: str = "Ada", *, remember: bool = False) -> str:
        """By the form, with the password that the page tells."""
        self.open("/sign-in")
        self.fill("Name", name)
        self.fill("Password", "demo")
        if remember:
            self.fill("Remember me for 30 days", "yes")
        return self.press("Sign in button")

    def named(self, selector: str, name: str) -> Any:
        """The element whose accessible name, which a screen reader would say, is this.

        "... button" where a link has the same name.
        """
        if name.endswith(" button"):
            selector, name = "button", name.removesuffix(" button")
        found = self.driver.find_elements("css selector", selector)
        names = [each.accessible_name for each in found]
        assert name in names, names
        return found[names.index(name)]

    def texts(self, selector: str) -> list[str]:
        """What the elements show."""
        return [each.text for each in self.driver.find_elements("css selector", selector)]

    @property
    def text(self) -> str:
        """What the page shows."""
        return str(self.driver.find_element("tag name", "body").text)

    @property
    def flashes(self) -> list[tuple[str, str]]:
        """Level and text of the messages."""
        found = self.driver.find_elements("css selector", ".flashes li")
        return [(each.get_attribute("class"), each.text) for each in found]

    @property
    def cookies(self) -> dict[str, dict[str, Any]]:
        """What the browser keeps for the site, by name."""
        return {cookie["name"]: cookie for cookie in self.driver.get_cookies()}

    def shelf(self, place: str) -> str:
        """What the page of backends shows of a place, by its keyword."""
        return self.texts(f"#{place}")[0]

    def sight(self, cookie: str, selector: str = "*") -> list[str]:
        """Texts in what the inspector shows of a cookie."""
        return self.texts(f'[data-cookie="{cookie}"] {selector}')

    def size(self) -> tuple[int, int]:
        """Width and height of the whole page in pixels."""
        size = self._command("Page.getLayoutMetrics")["cssContentSize"]
        return int(size["width"]), int(size["height"])

    def console(self) -> list[str]:
        """What has been complained of in the console since this was asked."""
        return [entry["message"] for entry in self._log("browser")]

    def hosts(self) -> set[str]:
        """The hosts that have been asked for something since this was asked."""
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        urls = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return {urlsplit(url).netloc for url in urls}

    def picture(self, longest: int) -> bytes:
        """A PNG of the page, of the first `longest` pixels if it is longer."""
        width, height = self.size()
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, longest), "scale": 1}
        taken = self._command("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(taken["data"])

    def _command(self, command: str, **params: Any) -> Any:
        """A command of Chromium's own protocol."""
        answer = self.driver.execute("executeCdpCommand", {"cmd": command, "params": params})
        return answer["value"]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.driver.execute("getLog", {"type": kind})["value"]
        return found
