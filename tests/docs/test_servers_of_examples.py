"""examples/compose.yaml has the servers that the examples look for, and the one for Redis is asked.

The images themselves are not run.
"""

from __future__ import annotations

import importlib
import inspect
import runpy
from pathlib import Path
from typing import Any

import webapp2
from support.servers import Redis

from webapp2_sessions.testing import Client

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SECRET = "of the tests of examples, long and random"


def published() -> list[str]:
    """Return where the services can be reached, as ``host:port``."""
    yaml: Any = importlib.import_module("yaml")
    services = yaml.safe_load((EXAMPLES / "compose.yaml").read_text("utf-8"))["services"]
    return [port.rpartition(":")[0] for each in services.values() for port in each["ports"]]


def test_servers_are_where_the_examples_look_for_them() -> None:
    """On this machine only, and at the addresses that hold without an argument."""
    make_app = runpy.run_path(str(EXAMPLES / "backends" / "app.py"))["make_app"]
    defaults = {key: each.default for key, each in inspect.signature(make_app).parameters.items()}
    redis = defaults["redis_url"].removeprefix("redis://").removesuffix("/0")
    emulator = runpy.run_path(str(EXAMPLES / "demo" / "probes.py"))["EMULATOR"]
    assert sorted(published()) == sorted([defaults["memcached"], redis, emulator])


def test_commands_of_the_comment_are_those_of_the_example() -> None:
    """Each backend that the file tells to try is one."""
    comment = (EXAMPLES / "compose.yaml").read_text("utf-8").partition("services:")[0]
    named = [line.split()[-1] for line in comment.splitlines() if "backends/app.py" in line]
    known = runpy.run_path(str(EXAMPLES / "backends" / "app.py"))["BACKENDS"]
    assert named == list(known[1:])


def test_backends_count_in_redis(redis_server: Redis) -> None:
    """A real Redis has the counter."""
    make_app = runpy.run_path(str(EXAMPLES / "backends" / "app.py"))["make_app"]
    app: webapp2.WSGIApplication = make_app(SECRET, "redis", redis_url=redis_server.url)
    client = Client(app)
    assert [client.get("/").text for _ in range(2)] == [
        "Visit number 1, kept by redis.\n",
        "Visit number 2, kept by redis.\n",
    ]
    redis_server.flush()
    assert client.get("/").text == "Visit number 1, kept by redis.\n"
