"""docs/quickstart.md leads to a running application."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import requests
from support.servers import free_port, wait_until

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quickstart.md"


def block(language: str, containing: str) -> str:
    """The page's block of code that contains a text."""
    found: list[str] = re.findall(
        rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    [code] = [code for code in found if containing in code]
    return code


def test_first_application_counts_visits(tmp_path: Path) -> None:
    """`app.py` is served by the page's commands, and tells two visitors apart."""
    (tmp_path / "app.py").write_text(block("py", "serve_forever"), "utf-8")
    # The page's commands, with the server in the shell's place, so that it can be ended.
    commands = block("sh", "python app.py").replace("python app.py", "exec python app.py")
    port = free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["sh", "-c", commands],
        cwd=tmp_path,
        env={**os.environ, "PORT": str(port), "PATH": path},
        stderr=subprocess.DEVNULL,
    )
    try:
        site = f"http://127.0.0.1:{port}/"
        assert wait_until(lambda: answers(site), 30)
        visitor, other = requests.Session(), requests.Session()
        visitor.trust_env = other.trust_env = False
        counts = [each.get(site, timeout=30).text for each in (visitor, visitor, other)]
    finally:
        process.terminate()
        process.wait()
    assert counts == ["Visit number 1\n", "Visit number 2\n", "Visit number 1\n"]


def answers(site: str) -> bool:
    """Whether a server is there."""
    session = requests.Session()
    session.trust_env = False
    try:
        return session.get(site, timeout=30).ok
    except requests.ConnectionError:
        return False
