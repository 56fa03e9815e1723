"""Examples served as applications, and a browser's part of requests."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import requests

from support.visits import SECRET
from webapp2_sessions.securecookie import SecureCookieSerializer

__all__ = [
    "EXAMPLES",
    "TIMEOUT",
    "Browser",
    "loaded_example",
    "payload_of",
    "sid_in",
    "signed",
    "token_in",
    "without_key_warnings",
]

EXAMPLES = Path(__file__).parents[2] / "examples"
#: Seconds after which a request counts as hanging.
TIMEOUT = 30


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
    """Return the CSRF token in a page's form."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found, page
    return found[1]


def payload_of(cookie: str) -> Any:
    """Return the JSON in a signed cookie."""
    return json.loads(base64.b64decode(cookie.strip('"').partition("|")[0]))


def sid_in(cookie: str) -> str:
    """Return the session id in a server-side session's cookie, which holds no other data."""
    payload = payload_of(cookie)
    data = payload[0] if isinstance(payload, list) else payload
    assert list(data) == ["_sid"]
    return str(data["_sid"])


def signed(name: str, payload: object) -> dict[str, str]:
    """Return the header with a cookie that the application signed, or somebody with its key."""
    value = SecureCookieSerializer(SECRET).serialize(name, payload)
    return {"Cookie": f"{name}={value.decode()}"}


def without_key_warnings(log: str) -> str:
    """Return what a program has logged besides that its key is one of the documentation."""
    return re.sub(
        r"^config\[.*\]: secret_key\S* is made of words .*\n", "", log, flags=re.MULTILINE
    )
