"""Process groups and ports, for the servers that tests start."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

__all__ = [
    "HOST",
    "free_port",
    "group_is_stopped",
    "group_members",
    "has_abandoned_connections",
    "has_connections",
    "wait_until",
]

HOST = "127.0.0.1"

#: A connection's state in /proc/net/tcp: it is open on both sides.
_ESTABLISHED = "01"

#: A connection's state in /proc/net/tcp: the other side has closed it, this side has not.
_CLOSE_WAIT = "08"


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], seconds: float, interval: float = 0.01) -> bool:
    """Poll `condition` until it holds; false when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True


def group_members(group: int) -> list[int]:
    """Return the ids of the living processes of a process group (zombies have ended)."""
    if not Path("/proc/self/stat").exists():
        return [group] if _group_exists(group) else []
    stats = map(_process_state, Path("/proc").glob("[0-9]*"))
    return [pid for pid, state, pgid in stats if pgid == group and state not in "ZX"]


def group_is_stopped(group: int) -> bool:
    """Return whether every thread of a process group is stopped; without /proc this is assumed."""
    threads = [
        thread
        for pid in group_members(group)
        for thread in Path(f"/proc/{pid}/task").glob("[0-9]*")
    ]
    return all(_process_state(thread)[1] in "TXZ" for thread in threads)


def has_abandoned_connections(port: int) -> bool:
    """Return whether a server has not yet noticed that clients have closed their connections.

    Until then it may still process their commands. Without /proc return False.
    """
    return _CLOSE_WAIT in _states(port)


def has_connections(port: int) -> bool:
    """Return whether a server has established connections; False without /proc."""
    return _ESTABLISHED in _states(port)


def _states(port: int) -> set[str]:
    """Return the states of a server's connections."""
    try:
        lines = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    except OSError:
        return set()
    fields = [line.split() for line in lines]
    return {line[3] for line in fields if line[1].endswith(f":{port:04X}")}


def _group_exists(group: int) -> bool:
    """Return whether any process of the group is left, asked without /proc."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _process_state(process: Path) -> tuple[int, str, int]:
    """Id, state letter and group of a process or thread of /proc; of an ended one: group 0."""
    try:
        # The second field, the name, may hold anything; the fields after it may not.
        state, _parent, group = (process / "stat").read_text("utf-8").rpartition(")")[2].split()[:3]
    except OSError:
        return int(process.name), "X", 0
    return int(process.name), state, int(group)
