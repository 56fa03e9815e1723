"""How Sphinx builds the documentation; ``make docs`` calls it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx

import webapp2_sessions

PACKAGE = Path(webapp2_sessions.__file__).parent

project = "webapp2_sessions"
version = release = webapp2_sessions.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]

# The pages are read in the repository as well: Markdown with plain links, to headings too.
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
myst_enable_extensions = ["tasklist"]

html_theme = "furo"
html_title = f"webapp2_sessions {version}"
html_copy_source = False
html_show_copyright = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_default_options = {"members": True, "show-inheritance": True}

# Names of other projects, whose documentation would have to be fetched to link them.
# And type variables, which autodoc names and does not describe.
nitpick_ignore_regex = [
    ("py:.*", r"(?!webapp2_sessions\b).*"),
    ("py:class", r"webapp2_sessions\.sessions\.(session_dict\.Other|store\.AnyStore)"),
]


def _rows(folder: Path) -> Iterator[str]:
    """Yield a row of Markdown for each module, those of a wing together."""
    yield "| module | concern |\n|---|---|"
    paths = [path for path in folder.rglob("*.py") if "_pyinstaller" not in path.parts]
    for path in sorted(paths, key=lambda path: (path.parent, path.stem)):
        name = ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
        first = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
        yield f"| `{name}` | {first.replace('``', '`').rstrip('.')} |"


def _add_modules(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the table of modules in the place of the comment that says so."""
    if page == "architecture":
        table = "\n".join(_rows(PACKAGE))
        source[0], found = re.subn("<!-- docs/conf.py .* -->", lambda _: table, source[0])
        assert found == 1


def setup(app: Sphinx) -> None:
    """Connect what is made here."""
    app.connect("source-read", _add_modules)
