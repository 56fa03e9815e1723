"""The recipes of docs/recipes.md as applications, and a provider of accounts beside them."""

from __future__ import annotations

import html
import json
import re
import secrets
import urllib.parse
from pathlib import Path
from typing import Any

import webapp2

__all__ = ["Provider", "load_recipe"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"


def load_recipe(heading: str, *changes: tuple[str, str]) -> dict[str, Any]:
    """Execute the code of a section, after that of the page's beginning; return its names.

    :param heading: how the section's heading begins.
    :param changes: what is replaced in the code, and by what.
    """
    beginning, *sections = PAGE.read_text("utf-8").split("\n## ")
    [section] = [each for each in sections if each.startswith(heading)]
    blocks = re.findall(r"^```python\n(.*?)^```$", beginning + section, re.MULTILINE | re.DOTALL)
    code = "".join(blocks)
    for before, after in changes:
        assert code.count(before) == 1, before
        code = code.replace(before, after)
    names: dict[str, Any] = {}
    exec(code, names)
    return names


class Provider:
    """A WSGI application that takes everybody who presses the button for the same user.

    :param user: the user's name there.
    """

    def __init__(self, user: str) -> None:
        self.user = user
        #: The secret of the only client.
        self.client_secret = ""
        self._codes: set[str] = set()
        self._tokens: set[str] = set()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer one of its three addresses."""
        request = webapp2.Request(environ)
        answer = getattr(self, f"_{request.path.strip('/')}")(request)
        return answer(environ, start_response)

    def _authorize(self, request: Any) -> webapp2.Response:
        """Ask the visitor, on a page that leads back."""
        self._codes.add(code := secrets.token_urlsafe())
        query = urllib.parse.urlencode({"code": code, "state": request.GET.get("state", "")})
        address = html.escape(f"{request.GET['redirect_uri']}?{query}")
        return webapp2.Response(f'<a href="{address}">Allow</a>')

    def _token(self, request: Any) -> webapp2.Response:
        """Change a code for a token, once."""
        form = request.POST
        if form["client_secret"] != self.client_secret or form["code"] not in self._codes:
            return webapp2.Response(status=400)
        self._codes.remove(form["code"])
        self._tokens.add(token := secrets.token_urlsafe())
        return webapp2.Response(json.dumps({"access_token": token, "token_type": "Bearer"}))

    def _userinfo(self, request: Any) -> webapp2.Response:
        """Tell who has pressed the button."""
        if request.headers["Authorization"].removeprefix("Bearer ") not in self._tokens:
            return webapp2.Response(status=401)
        return webapp2.Response(json.dumps({"sub": self.user}))
