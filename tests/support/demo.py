"""The demo in a real browser, as somebody uses it who sees names and no markup."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlsplit

from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

__all__ = ["DemoBrowser"]

#: Seconds that a page may take.
TIMEOUT = 20


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

    def be_called(self, user_agent: str) -> None:
        """Send this User-Agent from now on."""
        self._command("Network.setUserAgentOverride", userAgent=user_agent)

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

    def sign_in(self, name: str = "Ada", *, password: str = "demo", remember: bool = False) -> str:
        """By the form; everybody has the same password until it is changed."""
        self.open("/sign-in")
        self.fill("Name", name)
        self.fill("Password", password)
        if remember:
            self.fill("Remember me for 30 days", "yes")
        return self.press("Sign in button")

    def named(self, selector: str, name: str) -> Any:
        """Return the element whose accessible name, which a screen reader would say, is this.

        "... button" where a link has the same name.
        """
        if name.endswith(" button"):
            selector, name = "button", name.removesuffix(" button")
        names = []
        for element in self.driver.find_elements("css selector", selector):
            names.append(element.accessible_name)
            if names[-1] == name:
                return element
        raise AssertionError(f"{name!r} is none of {names}")

    def texts(self, selector: str) -> list[str]:
        """Return what the elements show."""
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
        """Return what the page of backends shows of a place, by its keyword."""
        return self.texts(f"#{place}")[0]

    def sight(self, cookie: str, selector: str = "*") -> list[str]:
        """Texts in what the inspector shows of a cookie."""
        return self.texts(f'[data-cookie="{cookie}"] {selector}')

    def size(self) -> tuple[int, int]:
        """Width and height of the whole page in pixels."""
        size = self._command("Page.getLayoutMetrics")["cssContentSize"]
        return int(size["width"]), int(size["height"])

    def too_wide(self) -> list[str]:
        """Elements that stick out of the screen, but for what is hidden from the eye."""
        return self._ask(_TOO_WIDE)

    def faint(self) -> list[str]:
        """Texts with less contrast than 4.5:1 (WCAG 2.2, 1.4.3)."""
        return self._ask(_FAINT)

    def without_focus_ring(self) -> list[str]:
        """Return what the Tab key reaches without a visible sign of it."""
        found = []
        for _ in self.driver.find_elements("css selector", _FOCUSABLE):
            active = self.driver.switch_to.active_element
            active.send_keys(Keys.TAB)
            found += self._ask(_NO_RING)
        return found

    def _ask(self, script: str) -> list[str]:
        found: list[str] = self.driver.execute_script(script)
        return found

    def console(self) -> list[str]:
        """Return what has been complained of in the console since this was asked."""
        return [entry["message"] for entry in self._log("browser")]

    def hosts(self) -> set[str]:
        """Return the hosts that have been asked for something since this was asked.

        The browser's own pages, such as that of a new tab, are asked for by other schemes.
        """
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        urls = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return {urlsplit(url).netloc for url in urls if url.startswith(("http", "ws"))}

    def picture(self, longest: int) -> bytes:
        """Return a PNG of the page, of the first `longest` pixels if it is longer."""
        width, height = self.size()
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, longest), "scale": 1}
        taken = self._command("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(taken["data"])

    def _command(self, command: str, **params: Any) -> Any:
        """Return a command of Chromium's own protocol."""
        answer = self.driver.execute("executeCdpCommand", {"cmd": command, "params": params})
        return answer["value"]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.driver.execute("getLog", {"type": kind})["value"]
        return found


_FOCUSABLE = "a[href], button:enabled, input:not([type=hidden]), [tabindex]"

_NO_RING = """
const style = getComputedStyle(document.activeElement);
const isSeen = style.outlineStyle != "none" && parseFloat(style.outlineWidth) >= 2;
return isSeen || document.activeElement == document.body ? [] : [document.activeElement.outerHTML];
"""

_TOO_WIDE = """
return [...document.querySelectorAll("main *, header *, footer *")]
    .filter(each => each.getBoundingClientRect().right > innerWidth + 1
                 && !each.closest("pre"))
    .map(each => each.outerHTML.slice(0, 200));
"""

#: Backgrounds are opaque or fully transparent; of disabled controls nothing is asked.
_FAINT = """
function light(color) {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map(part => {
        const value = part / 255;
        return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
}
function behind(element) {
    for (let each = element; each; each = each.parentElement) {
        const color = getComputedStyle(each).backgroundColor;
        if (color != "rgba(0, 0, 0, 0)") return color;
    }
    return "rgb(255, 255, 255)";
}
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || element.closest(":disabled")) continue;
    const pair = [getComputedStyle(element).color, behind(element)].map(light);
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${element.outerHTML.slice(0, 200)}`);
}
return found;
"""
