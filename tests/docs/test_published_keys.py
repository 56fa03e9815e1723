"""Each key that documentation, examples and tests publish counts as one that many know."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from webapp2_sessions.securecookie.keys import weakness

ROOT = Path(__file__).resolve().parents[2]

#: A text where a key stands: behind a name that says so, or as the argument of the serializer.
_KEY = re.compile(
    r"""\b(?:secret(?:_key)?|SecureCookieSerializer|(?:secret_key_)?fallbacks)\b["']?\]?
        \s*(?::\s*[\w\s|]+)?(?:=|:|\()\s*[\[(]?\s*
        (b?(["'])(?:\\.|(?!\2)[^\\\n])+\2)""",
    re.VERBOSE | re.IGNORECASE,
)


def published() -> dict[str | bytes, str]:
    """All keys that can be read in the tree, and where."""
    places = [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.*"),
        *(ROOT / "tests").rglob("*.py"),
    ]
    found: dict[str | bytes, str] = {}
    for place in places:
        if place.suffix in (".html", ".md", ".py"):
            for match in _KEY.finditer(place.read_text("utf-8")):
                found.setdefault(ast.literal_eval(match[1]), place.relative_to(ROOT).as_posix())
    return found


PUBLISHED = published()


def test_keys_are_found() -> None:
    """In each of the places, in each form."""
    assert PUBLISHED["a long random string that nobody else knows"]
    assert PUBLISHED["the key of last year, long and random"]
    assert {place.partition("/")[0] for place in PUBLISHED.values()} >= {"docs", "tests"}


@pytest.mark.parametrize("key", PUBLISHED, ids=PUBLISHED.get)
def test_a_published_key_is_warned_of(key: str | bytes) -> None:
    """Whoever copies it is told."""
    assert weakness(key) is not None
