"""What the package says of itself: on which Pythons it runs, and with which libraries."""

from __future__ import annotations

import email
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

__all__ = ["Metadata", "lowest", "read"]

_CLASSIFIER = re.compile(r"Programming Language :: Python :: (\d\.\d+)\Z")


class Metadata(NamedTuple):
    """Of a wheel, and thereby of setup.py."""

    #: "3.10" and so on, in order.
    pythons: list[str]
    #: Lines as "pymemcache>=4.0; extra == 'test'".
    requirements: list[str]


def read(wheel: Path) -> Metadata:
    """Return the metadata of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        message = email.message_from_string(archive.read(name).decode("utf-8"))
    found = map(_CLASSIFIER.match, message.get_all("Classifier", []))
    return Metadata([match[1] for match in found if match], message.get_all("Requires-Dist", []))


def lowest(requirements: Iterable[str], python: str, extra: str) -> list[str]:
    """Return constraints by which pip takes the lowest versions that are allowed.

    :raises ValueError: a requirement has no lower bound.
    """
    found: dict[str, Version] = {}
    for line in requirements:
        requirement = Requirement(line)
        if _applies(requirement, python, extra):
            name = canonicalize_name(requirement.name)
            version = _lower_bound(requirement)
            found[name] = max(version, found.get(name, version))
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _applies(requirement: Requirement, python: str, extra: str) -> bool:
    marker = requirement.marker
    where = {"python_version": python, "python_full_version": f"{python}.0"}
    return marker is None or any(marker.evaluate({**where, "extra": each}) for each in (extra, ""))


def _lower_bound(requirement: Requirement) -> Version:
    bounds = [each.version for each in requirement.specifier if each.operator in (">=", "==", "~=")]
    if not bounds:
        raise ValueError(f"{requirement.name} has no lower bound in setup.py")
    return max(map(Version, bounds))
