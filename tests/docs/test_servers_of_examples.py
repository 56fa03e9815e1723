"""examples/compose.yaml has the servers that the examples look for. Its images are not run."""

from __future__ import annotations

import importlib
import inspect
import runpy
from typing import Any

import pytest
from support.examples import EXAMPLES, loaded_example


def published() -> list[str]:
    """Return where the services can be reached, as ``host:port``."""
    yaml: Any = importlib.import_module("yaml")
    services = yaml.safe_load((EXAMPLES / "compose.yaml").read_text("utf-8"))["services"]
    return [port.rpartition(":")[0] for each in services.values() for port in each["ports"]]


@pytest.mark.parametrize("name", ["backends", "demo"])
def test_servers_are_where_the_examples_look_for_them(name: str) -> None:
    """On this machine only, and at the addresses that hold without an argument."""
    with loaded_example(name) as example:
        parameters = inspect.signature(example.make_app).parameters
    memcached, redis_url = (parameters[each].default for each in ("memcached", "redis_url"))
    redis = redis_url.removeprefix("redis://").removesuffix("/0")
    emulator = runpy.run_path(str(EXAMPLES / "demo" / "probes.py"))["EMULATOR"]
    assert sorted(published()) == sorted([memcached, redis, emulator])


def test_commands_of_the_comment_are_those_of_the_example() -> None:
    """Each backend that the file tells to try is one."""
    comment = (EXAMPLES / "compose.yaml").read_text("utf-8").partition("services:")[0]
    named = [line.split()[-1] for line in comment.splitlines() if "backends/app.py" in line]
    known = runpy.run_path(str(EXAMPLES / "backends" / "app.py"))["BACKENDS"]
    assert named == list(known[1:])
