"""How Sphinx builds the documentation; ``make docs`` calls it.

Run as a program, it writes the table of modules into architecture.md.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import webapp2_sessions

PACKAGE = Path(webapp2_sessions.__file__).parent
#: The page with the table of modules, between two comments.
ARCHITECTURE = Path(__file__).with_name("architecture.md")

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


def with_modules(page: str) -> str:
    """Return the text of a page with the present table between its comments."""
    table = "\n".join(_rows(PACKAGE))
    comments = re.compile("(<!-- modules: .* -->\n).*(\n<!-- end of modules -->)", re.DOTALL)
    page, found = comments.subn(lambda match: f"{match[1]}\n{table}\n{match[2]}", page)
    assert found == 1
    return page


if __name__ == "__main__":
    ARCHITECTURE.write_text(with_modules(ARCHITECTURE.read_text("utf-8")), "utf-8")
