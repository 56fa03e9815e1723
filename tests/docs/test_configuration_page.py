"""docs/configuration.md has each key with its right default, and an example of each."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from webapp2_sessions import default_config
from webapp2_sessions.config import (
    DATASTORE_DEFAULTS,
    MEMCACHE_DEFAULTS,
    REDIS_DEFAULTS,
    SessionConfig,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
TEXT = PAGE.read_text("utf-8")

#: Sections of the page, and the defaults of the keys that they have rows for.
SECTIONS: dict[str, dict[str, Any]] = {
    "## Keys": default_config,
    "### `cookie_args`": default_config["cookie_args"],
    "### `memcache`": MEMCACHE_DEFAULTS,
    "### `redis`": REDIS_DEFAULTS,
    "### `datastore`": DATASTORE_DEFAULTS,
}
ROWS = [(section, key) for section, defaults in SECTIONS.items() for key in defaults]

#: Defaults that are told in words.
IN_WORDS = {
    "cookie_args": "see [below](#cookie_args)",
    "backends": ", ".join(
        f"`{keyword}`" for keyword in SessionConfig({"secret_key": "x" * 32})["backends"]
    ),
}


def rows_of(section: str) -> dict[str, list[str]]:
    """The cells of a section's tables, by the key in their first one."""
    text = TEXT.split(f"\n{section}\n", 1)[1]
    text = re.split(r"^#{2,3} ", text, maxsplit=1, flags=re.MULTILINE)[0]
    lines = re.findall(r"^\| (`\w+`.*) \|$", text, re.MULTILINE)
    rows = [re.split(r" \| ", line) for line in lines]
    return {cells[0].strip("`"): cells[1:] for cells in rows}


@pytest.mark.parametrize(("section", "key"), ROWS, ids=lambda value: value.strip("#` "))
def test_default_is_right(section: str, key: str) -> None:
    """The second cell of a key's row is its default, and the other two are not empty."""
    default, *others = rows_of(section)[key]
    assert [len(others), all(cell.strip() for cell in others)] == [2, True]
    if section == "## Keys" and key in IN_WORDS:
        assert sorted(default.split(", ")) == sorted(IN_WORDS[key].split(", "))
    else:
        code = re.match(r"`([^`]+)`", default)
        assert code is not None
        assert ast.literal_eval(code[1]) == SECTIONS[section][key]


@pytest.mark.parametrize("section", SECTIONS)
def test_no_row_is_left_over(section: str) -> None:
    """Rows are of keys that there are."""
    webobs = {"samesite", "partitioned", "comment`, `overwrite`, ..."}
    assert set(rows_of(section)) - set(SECTIONS[section]) <= webobs


def example() -> dict[str, Any]:
    """What the page's example with all keys sets."""
    code = TEXT.split("\neverything = ", 1)[1].split("\nSessionConfig(", 1)[0]
    return ast.literal_eval(
        code.replace("ssl.create_default_context()", "...")
        .replace("7 * 24 * 3600", "604800")
        .replace('"on_event": print', '"on_event": ...')
        .replace('"user_stamp": len', '"user_stamp": ...')
        .replace('"on_sign_in": print', '"on_sign_in": ...')
    )


def test_example_has_all_keys() -> None:
    """No key is forgotten, and no key of ours has its default value there."""
    found = example()
    assert set(found) == set(default_config)
    for name in ("memcache", "redis", "datastore"):
        assert set(found[name]) == set(SECTIONS[f"### `{name}`"])
    assert set(default_config["cookie_args"]) < set(found["cookie_args"])
    assert [key for key in default_config if found[key] == default_config[key]] == []
