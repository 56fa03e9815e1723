"""A real browser: Chromium, driven by its chromedriver."""

from __future__ import annotations

import http.client
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.proxy import Proxy, ProxyType
from selenium.webdriver.remote.client_config import ClientConfig

from support.processes import HOST
from support.servers import Server

__all__ = ["Chromium"]


class Chromium(Server):
    """A chromedriver, which starts a Chromium for each session that it is asked for."""

    name = "Chromium"
    startup_seconds = 30.0

    @classmethod
    def missing(cls) -> str | None:
        """None, or how to install Chromium and its driver."""
        if shutil.which("chromium") and shutil.which("chromedriver"):
            return None
        return "chromium or chromedriver is not installed: apt-get install chromium chromium-driver"

    def command(self, folder: Path) -> list[str]:
        """Chromedriver listens on 127.0.0.1 only, by itself."""
        return ["chromedriver", f"--port={self.port}"]

    def environment(self, folder: Path) -> dict[str, str]:
        """Temporary files go with the server."""
        return {"TMPDIR": str(folder)}

    def answers(self) -> bool:
        """Return whether it says that it is ready."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=1.0)
        try:
            connection.request("GET", "/status")
            status = json.loads(connection.getresponse().read())["value"]
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        self.version = status["build"]["version"].partition(" ")[0]
        return bool(status["ready"])

    @contextmanager
    def browser(
        self, profile: Path, *switches: str, logs: Sequence[str] = ()
    ) -> Iterator[webdriver.Remote]:
        """A browser with that folder as its profile; every host name leads to 127.0.0.1.

        It keeps the logs that are named: ``browser`` (the console), ``performance`` (requests).
        """
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        options.accept_insecure_certs = True
        for switch in (
            "--headless=new",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--no-proxy-server",
            f"--host-resolver-rules=MAP * {HOST}",
            f"--user-data-dir={profile}",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            *switches,
        ):
            options.add_argument(switch)
        if logs:
            options.set_capability("goog:loggingPrefs", dict.fromkeys(logs, "ALL"))
        address = f"http://{self.address}"
        direct = ClientConfig(address, proxy=Proxy({"proxyType": ProxyType.DIRECT}))
        driver = webdriver.Remote(address, options=options, client_config=direct)
        try:
            yield driver
        finally:
            driver.quit()
