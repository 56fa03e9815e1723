"""The examples in README and docs run, their links lead somewhere, and nothing is left out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.examples import without_key_warnings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(page for page in ROOT.glob("docs/**/*.md") if "_build" not in page.parts),
        *ROOT.glob("examples/*.md"),
    ]
)

_EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def page_id(page: Path) -> str:
    """Return a page's name in test reports."""
    return str(page.relative_to(ROOT))


def examples_of(page: Path) -> str:
    """Return a page's examples as one program, on the lines that they have in the page."""
    text = page.read_text("utf-8")
    lines = [""] * text.count("\n")
    for match in _EXAMPLE.finditer(text):
        start = text.count("\n", 0, match.start(1))
        code = match[1].splitlines()
        lines[start : start + len(code)] = code
    return "\n".join(lines)


#: Servers that examples ask, as they name them, and the fixtures that have one.
SERVERS = {"redis://127.0.0.1:6379/0": "redis_server"}


@pytest.mark.parametrize("page", [p for p in PAGES if examples_of(p).strip()], ids=page_id)
def test_examples_run(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A page's Python examples, in order and in a process of their own, raise nothing."""
    code = examples_of(page)
    for url, fixture in SERVERS.items():
        if url in code:
            code = code.replace(url, request.getfixturevalue(fixture).url)
    program = tmp_path / "examples.py"
    program.write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(program)],
        cwd=tmp_path,  # where a page may write files
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, without_key_warnings(done.stderr)) == (0, "")


def links_of(page: Path) -> list[tuple[Path, str]]:
    """Files that a page links to, each with the anchor, which may be empty."""
    links = _LINK.findall(_CODE.sub("", page.read_text("utf-8")))
    return [(page.parent / target if target else page, anchor) for target, anchor in links]


def anchors_of(page: Path) -> set[str]:
    """The anchors that the repository's web view and the site give the headings of a page."""
    headings = _HEADING.findall(_CODE.sub("", page.read_text("utf-8")))
    texts = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    """Files that a page links to are there."""
    assert [str(target) for target, _ in links_of(page) if not target.exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_anchors_lead_somewhere(page: Path) -> None:
    """Headings that a page links to are there."""
    links = [(target, anchor) for target, anchor in links_of(page) if anchor]
    assert [
        (target.name, anchor) for target, anchor in links if anchor not in anchors_of(target)
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_tables_are_whole(page: Path) -> None:
    """Each begins with a heading: a row behind an empty line is shown as text."""
    tables = re.findall(r"^(?:\|.*\n)+", _CODE.sub("", page.read_text("utf-8")), re.MULTILINE)
    assert [table for table in tables if not re.match(r".*\n\|[-:| ]+\|\n", table)] == []


def test_readme_begins_with_the_two_commands() -> None:
    """`make demo` and `make test` are on the first screen."""
    first_screen = "\n".join((ROOT / "README.md").read_text("utf-8").splitlines()[:24])
    assert "make demo" in first_screen
    assert "make test" in first_screen


def test_every_difference_is_listed() -> None:
    """docs/differences.md has a row for each of upstream's known defects and surprises."""
    text = (ROOT / "docs" / "differences.md").read_text("utf-8")
    assert sorted(set(re.findall(r"^\| (b\d\d) \|", text, re.MULTILINE))) == [
        f"b{number:02}" for number in range(1, 65)
    ]


def test_every_difference_is_shown() -> None:
    """Each number of docs/differences.md stands at a test of the conformance suite."""
    text = (ROOT / "docs" / "differences.md").read_text("utf-8")
    listed = set(re.findall(r"^\| (b\d\d) \|", text, re.MULTILINE))
    tests = "".join(page.read_text("utf-8") for page in ROOT.glob("tests/conformance/*.py"))
    # Of webapp2.cached_property and webapp2_extras.auth, which the page says are out of reach.
    assert sorted(listed - set(re.findall(r"b\d\d", tests))) == ["b51", "b57"]


def test_every_option_of_the_purge_is_documented(tmp_path: Path) -> None:
    """docs/purging.md has a row for each option that `purge --help` lists."""
    line = [sys.executable, "-m", "webapp2_sessions", "purge", "--help"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
    options = set(re.findall(r"^  (--[a-z-]+)", done.stdout, re.MULTILINE))
    rows = re.findall(
        r"^\| `(--[a-z-]+)", (ROOT / "docs" / "purging.md").read_text("utf-8"), re.MULTILINE
    )
    assert (sorted(rows), len(rows)) == (sorted(options), 9)


def test_every_test_that_is_named_exists() -> None:
    """docs/security.md names tests that are there."""
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) > 20
    missing = [
        (page, test)
        for page, test in named
        if not (ROOT / page).exists() or f"def {test}" not in (ROOT / page).read_text("utf-8")
    ]
    assert missing == []


def test_every_make_target_is_explained() -> None:
    """Each target that is no file tells what it does, in `make help`."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    [phony] = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    explained = re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE)
    assert sorted(explained) == sorted(phony.split())


def help_of(folder: Path, *command: str) -> str:
    """What `--help` of the command line prints."""
    line = [sys.executable, "-m", "webapp2_sessions", *command, "--help"]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_every_command_is_documented(tmp_path: Path) -> None:
    """docs/command-line.md has a section for each command, with a row for each argument."""
    commands = re.findall(r"^    ([a-z]+) ", help_of(tmp_path), re.MULTILINE)
    assert commands == ["keygen", "decode", "check", "show", "delete", "users", "purge"]
    page = (ROOT / "docs" / "command-line.md").read_text("utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    for command in commands[:-1]:  # the last one has a page of its own, and a test above
        shown = re.findall(r"^  (--[a-z-]+|[A-Z:]+)", help_of(tmp_path, command), re.MULTILINE)
        rows = re.findall(r"^\| `(--[a-z-]+|[A-Z:]+)", sections[command], re.MULTILINE)
        assert sorted(rows) == sorted(shown), command
    assert "purge" in sections
