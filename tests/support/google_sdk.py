"""Where the Google Cloud SDK is, which components it has, and which Java there is."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

__all__ = ["component_version", "java_version", "root"]


def root() -> Path | None:
    """Return the folder of the Google Cloud SDK; None without one."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        return None
    found = Path(gcloud).resolve().parent.parent
    if (found / "platform").is_dir():
        return found
    # A wrapper script (snap, Homebrew): the SDK itself knows where it is.
    asked = _output_of(["gcloud", "info", "--format=value(installation.sdk_root)"]).strip()
    return Path(asked) if asked else None


def java_version() -> int:
    """Return the major version of the Java on the path; 0 without one."""
    java = shutil.which("java")
    quoted = _output_of([java, "-version"]).split('"')[1:2] if java else []
    numbers = (quoted[0] if quoted else "0").replace("-", ".").split(".")
    major = numbers[1] if numbers[0] == "1" and len(numbers) > 1 else numbers[0]
    return int(major) if major.isdigit() else 0


def _output_of(command: list[str]) -> str:
    """Return everything a command prints; "" when it fails."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout if done.returncode == 0 else ""


def component_version(component: str) -> str | None:
    """Return the version of an installed component of the SDK, from the SDK's own records."""
    sdk = root()
    snapshot = sdk / ".install" / f"{component}.snapshot.json" if sdk else None
    if snapshot is None or not snapshot.is_file():
        return None
    for entry in json.loads(snapshot.read_text("utf-8"))["components"]:
        if entry["id"] == component:
            return str(entry["version"]["version_string"])
    return None
