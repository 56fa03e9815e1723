"""The Sphinx site builds without a warning, and nothing public is missing from it."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import runpy
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import webapp2_sessions
from webapp2_sessions.sessions import interfaces

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
#: Pages other than the index, by their names in the site.
NAMES = [
    page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES if page.name != "index.md"
]

#: Modules of which everything public is documented, besides the package itself.
MODULES = [
    "sessions",
    "securecookie",
    "sessions_memcache",
    "sessions_redis",
    "sessions_ndb",
    "handlers",
    "middleware",
    "dropin",
    "sessions_ndb.purging",
    "users.auth_models",
    "sessions.encrypted",
    "errors",
    "testing",
]
PUBLIC = [
    (module, name)
    for module in ["webapp2_sessions", *(f"webapp2_sessions.{module}" for module in MODULES)]
    for name in importlib.import_module(module).__all__
]

#: How many characters of a message the page has at least.
_TOLD = 25


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; the build is the one of ``make docs``."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    line = re.search(r"^docs:.*\n\t\$\(BIN\)/sphinx-build (.*)$", makefile, re.MULTILINE)
    assert line is not None
    folder = tmp_path_factory.mktemp("site")
    arguments = line[1].replace("docs/_build", str(folder)).split()
    assert arguments[-2:] == ["docs", f"{folder}/html"]
    assert {"-W", "--keep-going", "-n"} < set(arguments)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "sphinx", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


def test_each_page_is_built(site: Path) -> None:
    """Each Markdown file has its page."""
    assert [name for name in ["index", *NAMES] if not (site / f"{name}.html").is_file()] == []


def listed() -> list[str]:
    """What the tables of contents of the index name, in order."""
    index = (DOCS / "index.md").read_text("utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```$", index, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for tree in trees for line in tree.splitlines()]
    names = [line for line in lines if line and not line.startswith(":")]
    return [re.sub(r".*<(.*)>", r"\1", name) for name in names]


def test_each_page_is_in_the_table_of_contents() -> None:
    """Once, and no page is named that is not there."""
    assert len(listed()) == len(set(listed()))
    assert set(NAMES) == set(listed())


def test_readme_names_the_pages() -> None:
    """The README's list leads to each page, or to the page of its folder."""
    readme = (ROOT / "README.md").read_text("utf-8")
    unnamed = [name for name in NAMES if f"(docs/{name}.md)" not in readme]
    known = {"changelog", *(name for name in NAMES if "/" in name)}
    assert set(unnamed) - known == set()


def test_table_of_modules_is_current() -> None:
    """`python docs/conf.py` writes it."""
    page = (DOCS / "architecture.md").read_text("utf-8")
    assert page == runpy.run_path(str(DOCS / "conf.py"))["with_modules"](page)


def test_protocols_are_on_the_page_of_types() -> None:
    """All that an application's own objects may be checked against."""
    page = (DOCS / "types.md").read_text("utf-8")
    assert [name for name in interfaces.__all__ if f"`{name}`" not in page] == []


@pytest.fixture(scope="module")
def documented(site: Path) -> dict[str, Any]:
    """What the API reference has, by dotted name: the object itself, where it can be had."""
    # Four lines of text, and then one for each name, compressed.
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    entries = [line.split() for line in zlib.decompress(packed).decode().splitlines()]
    return {entry[0]: resolved(entry[0]) for entry in entries if entry[1].startswith("py:")}


def resolved(dotted_name: str) -> Any:
    """The object of a dotted name; ``None`` for what only instances have."""
    parts = dotted_name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for part in parts[end:]:
            found = getattr(found, part, None)
        return found
    raise AssertionError(dotted_name)


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=[".".join(each) for each in PUBLIC])
def test_public_name_is_in_the_reference(
    module: str, name: str, documented: dict[str, Any]
) -> None:
    """Under one of the names by which it can be imported."""
    value = getattr(importlib.import_module(module), name)
    assert any(found is value for found in documented.values())


def test_public_methods_are_in_the_reference(documented: dict[str, Any]) -> None:
    """Methods and properties of public classes that the package defines."""
    classes = {
        value
        for module, name in PUBLIC
        if inspect.isclass(value := getattr(importlib.import_module(module), name))
    }
    missing = [
        f"{cls.__name__}.{name}"
        for cls in classes
        for base in cls.__mro__
        # Of a base that has no place of its own in the reference, the methods are there.
        if base is cls or (base.__module__.startswith("webapp2_sessions.") and base not in classes)
        for name, member in own_members(base)
        if not any(dotted.endswith(f".{cls.__name__}.{name}") for dotted in documented)
    ]
    assert len(classes) > 20
    assert sorted(missing) == []


def own_members(cls: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that a class defines itself."""
    for name, member in vars(cls).items():
        is_method = inspect.isfunction(member) or isinstance(member, (classmethod, property))
        if is_method and not name.startswith("_") and not inherits_text(cls, name):
            yield name, member


def inherits_text(cls: type, name: str) -> bool:
    """Whether a method has no docstring of its own, only that of a base class."""
    return not getattr(vars(cls)[name], "__doc__", None)


def logged() -> Iterator[tuple[str, str]]:
    """Each message that the package logs, as its module and its text up to the first value."""
    package = ROOT / "webapp2_sessions"
    for source in sorted(package.rglob("*.py")):
        module = ".".join(source.relative_to(package).with_suffix("").parts)
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if is_call and ast.unparse(node.func).startswith("logger."):
                text = ast.literal_eval(node.args[0])
                if text != "%s":  # what is logged once in an application, by a name of its own
                    yield module.removesuffix(".__init__"), text


def test_each_logged_message_is_explained() -> None:
    """docs/operating.md has a row with the first words of each message, and its logger."""
    text = (DOCS / "operating.md").read_text("utf-8")
    rows = [row for row in text.splitlines() if row.startswith("| `")]
    messages = list(logged())
    assert len(messages) >= 6
    unexplained = [
        (module, message)
        for module, message in messages
        if not any(f"`{message[:_TOLD]}" in row and f"`{module}`" in row for row in rows)
    ]
    assert unexplained == []


def refusals() -> list[str]:
    """Why cookies are refused, in the words of the log, up to the first value."""
    found = []
    for source in (ROOT / "webapp2_sessions").rglob("*.py"):
        if source.stem == "signed_values":
            continue  # of memcached, where such a value counts as none and is not logged
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
                continue
            if ast.unparse(node.exc.func).endswith(("Cookie", "BadSignature")):
                [text] = node.exc.args
                first = text.values[0] if isinstance(text, ast.JoinedStr) else text
                found.append(ast.literal_eval(first).rstrip(" ("))
    return found


def test_each_refusal_is_explained() -> None:
    """docs/operating.md tells what each cause of a refused cookie means."""
    text = (DOCS / "operating.md").read_text("utf-8")
    assert len(refusals()) >= 8
    assert [cause for cause in refusals() if cause not in text] == []


def test_each_error_is_explained() -> None:
    """docs/migrating.md has a row for each error that reaches an application."""
    text = (DOCS / "migrating.md").read_text("utf-8").split("## Errors and what they mean")[1]
    # These are raised as one of the others, or are the cause of one.
    roots = {"SessionError", "BackendError", "RefusedFormat", "MissingClass"}
    errors = importlib.import_module("webapp2_sessions.errors")
    of_cookies = {
        name for name in errors.__all__ if issubclass(getattr(errors, name), errors.InvalidCookie)
    }  # logged, and raised by verify() only
    expected = set(errors.__all__) - roots - of_cookies
    assert [name for name in sorted(expected) if f"| `{name}" not in text] == []


def test_version_is_the_packages(site: Path) -> None:
    """The pages name the version that they were built of."""
    assert f"webapp2_sessions {webapp2_sessions.__version__}" in (site / "index.html").read_text(
        "utf-8"
    )
