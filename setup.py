"""Metadata of the package; what its development needs is in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

# Lowest versions without known holes; tests/packaging/test_requirements.py has the advisories.
MEMCACHE = ["pymemcache>=4.0"]
# Not in "all": it wants older libraries than others do.
APPENGINE = [*MEMCACHE, "appengine-python-standard>=1.1"]
REDIS = ["redis>=5.0.1"]
DATASTORE = ["google-cloud-ndb>=2.3", "tqdm>=4.66.3"]
ENCRYPTION = ["cryptography>=50.0.0"]
EXAMPLES = ["waitress>=3.0.1", "jinja2>=3.1.6"]


def version() -> str:
    """The version that the package itself states, without importing it."""
    for line in (HERE / "webapp2_sessions" / "__init__.py").read_text("utf-8").splitlines():
        if line.startswith("__version__"):
            return line.split('"')[1]
    raise RuntimeError("webapp2_sessions/__init__.py states no __version__")


def description() -> str:
    """README.md without the links into the source tree, which a package index does not show."""
    text = (HERE / "README.md").read_text("utf-8")
    blocks = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    blocks[::2] = [_RELATIVE_LINK.sub(_in_words, _PICTURE.sub("", block)) for block in blocks[::2]]
    return "".join(blocks) + "\nFiles that are named here are in the source distribution.\n"


#: A picture of Markdown that is a link, on lines of its own.
_PICTURE = re.compile(r"^\[!\[[^\]]*\]\([^)]*\)\]\([^)]*\)\n\n", re.MULTILINE)

#: A link or picture of Markdown that leads to a file, and not to a URL or to the page itself.
_RELATIVE_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\((?![a-z]+:|#)([^)#\s]+)[^)]*\)")


def _in_words(link: re.Match[str]) -> str:
    picture, text, target = link.groups()
    if picture:
        return ""
    return f"`{target}`" if text.strip("`") == target else f"{text} (`{target}`)"


setup(
    name="webapp2_sessions",
    version=version(),
    description="webapp2_extras.sessions for Python 3: signed cookies, memcached, Redis, Datastore",
    long_description=description(),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["webapp2_sessions*"]),
    # Has setuptools put a plain path into editable installs: type checkers do not find packages by
    # the import hook that it would install otherwise, and that would count in measured imports.
    package_dir={"": "."},
    py_modules=["_webapp2_sessions_pytest"],
    entry_points={
        "console_scripts": ["webapp2-sessions = webapp2_sessions.cli:main"],
        "pytest11": ["webapp2_sessions = _webapp2_sessions_pytest"],
        "pyinstaller40": ["hook-dirs = webapp2_sessions._pyinstaller:get_hook_dirs"],
    },
    package_data={"webapp2_sessions": ["py.typed"]},
    zip_safe=False,
    python_requires=">=3.10",
    # Plain "webapp2" would install 2.5.2, which is Python 2 only; naming a
    # pre-release lets pip take 3.0.0b1.
    install_requires=["webapp2>=3.0.0b1", "WebOb>=1.8.11"],
    extras_require={
        "memcache": MEMCACHE,
        "appengine": APPENGINE,
        "redis": REDIS,
        "datastore": DATASTORE,
        "encryption": ENCRYPTION,
        "all": [*MEMCACHE, *REDIS, *DATASTORE, *ENCRYPTION],
        "examples": EXAMPLES,
    },
    keywords="webapp2 sessions cookies memcached redis valkey datastore appengine wsgi",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Web Environment",
        "Intended Audience :: Developers",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Programming Language :: Python :: 3.15",
        "Topic :: Internet :: WWW/HTTP :: Session",
        "Typing :: Typed",
    ],
)
