"""No lowest version that setup.py or pyproject.toml allows has a hole that is known."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.project import requirements


class Advisory(NamedTuple):
    """A hole that was found in a library."""

    library: str
    #: The first version without it.
    fixed: str
    name: str
    #: Year and month.
    published: str
    #: The first version that has it, where that is not the first of all.
    since: str = "0"


#: Of what the package needs, and of what its extras and its tests install. The other way to know
#: is pip-audit, where a database of advisories can be reached. Libraries of the benchmarks are not
#: here: they serve nobody.
ADVISORIES = [
    Advisory("WebOb", "1.8.8", "CVE-2024-42353", "2024-08"),
    Advisory("WebOb", "1.8.10", "CVE-2026-44889", "2026-06"),
    Advisory("WebOb", "1.8.11", "CVE-2026-54770", "2026-08"),
    Advisory("cryptography", "43.0.1", "GHSA-h4gh-qq45-vh27", "2024-09"),
    Advisory("cryptography", "44.0.1", "CVE-2024-12797", "2025-02"),
    Advisory("cryptography", "46.0.5", "CVE-2026-26007", "2026-02"),
    Advisory("cryptography", "46.0.6", "CVE-2026-34073", "2026-03"),
    Advisory("cryptography", "46.0.7", "CVE-2026-39892", "2026-04"),
    Advisory("cryptography", "48.0.1", "GHSA-537c-gmf6-5ccf", "2026-06"),
    Advisory("cryptography", "50.0.0", "CVE-2026-69247", "2026-07"),
    Advisory("tqdm", "4.66.3", "CVE-2024-34062", "2024-05"),
    Advisory("jinja2", "3.1.4", "CVE-2024-34064", "2024-05"),
    Advisory("jinja2", "3.1.5", "CVE-2024-56326", "2024-12"),
    Advisory("jinja2", "3.1.6", "CVE-2025-27516", "2025-03"),
    Advisory("waitress", "3.0.1", "CVE-2024-49768", "2024-10"),
    Advisory("requests", "2.32.4", "CVE-2024-47081", "2025-06"),
    Advisory("requests", "2.33.0", "CVE-2026-25645", "2026-03"),
    Advisory("gunicorn", "22.0.0", "CVE-2024-6827", "2024-04"),
    Advisory("gunicorn", "27.0.0", "CVE-2026-134820", "2026-11", since="25.2.0"),
    Advisory("setuptools", "78.1.1", "CVE-2025-47273", "2025-05"),
]


def lowest_versions() -> dict[str, list[Version]]:
    """Return the lower bounds of each library, wherever it is required."""
    found: dict[str, list[Version]] = {}
    for requirement in requirements():
        bounds = [each.version for each in requirement.specifier if each.operator != "<"]
        name = canonicalize_name(requirement.name)
        found.setdefault(name, []).append(max(map(Version, bounds)))
    return found


@pytest.mark.parametrize("advisory", ADVISORIES, ids=lambda each: f"{each.library}-{each.name}")
def test_the_lowest_version_is_without_the_hole(advisory: Advisory) -> None:
    """Whoever installs the package into an old environment gets a library that is repaired."""
    for lowest in lowest_versions()[canonicalize_name(advisory.library)]:
        assert lowest >= Version(advisory.fixed) or lowest < Version(advisory.since)


def test_advisories_are_in_order() -> None:
    """Each library's by their dates, so that a new one is put at its end."""
    for library in {each.library for each in ADVISORIES}:
        dates = [each.published for each in ADVISORIES if each.library == library]
        assert [re.fullmatch(r"20\d\d-[01]\d", date) for date in dates].count(None) == 0
        assert dates == sorted(dates)


def test_each_library_has_a_lower_bound() -> None:
    """Of those that the package itself and its extras need, too."""
    assert {"webob", "webapp2", "pymemcache", "redis", "google-cloud-ndb", "cryptography"} <= set(
        lowest_versions()
    )
