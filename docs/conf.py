"""How Sphinx builds the documentation; ``make docs`` calls it."""

import webapp2_sessions

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
    ("py:class", r"webapp2_sessions\.(session_dict\.Other|sessions\.AnyStore)"),
]
