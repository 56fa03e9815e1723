"""gunicorn as a server of the tests, which serves `load.app` or another module of theirs."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from support.processes import HOST, group_members, wait_until
from support.servers import Server, ServerError

__all__ = ["Gunicorn"]

#: Beside this interpreter.
SCRIPT = Path(sys.executable).parent / "gunicorn"
TESTS = Path(__file__).resolve().parents[1]


class Gunicorn(Server):
    """A gunicorn with its workers.

    :param apps: for each name `{"backend": keyword, "config": session configuration}`; an
        application answers below the path of its name.
    :param workers: how many processes serve.
    :param threads: how many threads each of them has.
    :param preload: load the application in the master, before it forks.
    :param in_master: what the master does with the sessions before it forks: `""` nothing, `"read"`
        it writes and reads one, `"traffic"` its threads never stop doing so.
    :param variables: further environment variables.
    """

    name = "gunicorn"
    startup_seconds = 60.0
    #: Where the WSGI application is. It makes the applications that the environment names, and
    #: answers `/` with facts in JSON.
    application: ClassVar[str] = "load.app:app"

    def __init__(
        self,
        apps: Mapping[str, Any],
        *,
        workers: int = 2,
        threads: int = 4,
        preload: bool = False,
        in_master: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.workers, self.threads = workers, threads
        self.preload, self.in_master = preload, in_master
        # gRPC asks a proxy even for a server on 127.0.0.1.
        self._variables = {"no_proxy": HOST, "NO_PROXY": HOST, **(variables or {})}
        self._variables["LOAD_APPS"] = json.dumps(apps)
        self._variables["LOAD_IN_MASTER"] = in_master

    @classmethod
    def missing(cls) -> str | None:
        """None, or how to install gunicorn."""
        return None if SCRIPT.exists() else "gunicorn is not installed: pip install gunicorn"

    def command(self, folder: Path) -> list[str]:
        """Return the command line; keep-alive connections outlive the pauses of the clients."""
        counts = ["--workers", str(self.workers), "--threads", str(self.threads)]
        limits = ["--keep-alive", "75", "--graceful-timeout", "5", "--log-level", "warning"]
        preload = ["--preload"] if self.preload else []
        where = ["--bind", self.address, "--chdir", str(TESTS)]
        return [str(SCRIPT), *counts, *limits, *preload, *where, self.application]

    def environment(self, folder: Path) -> dict[str, str]:
        """gunicorn's control socket belongs into the server's folder."""
        return {**self._variables, "XDG_RUNTIME_DIR": str(folder)}

    def answers(self) -> bool:
        """Return whether a worker answers and all of them are there."""
        return self.facts() is not None and len(self.worker_ids()) == self.workers

    def facts(self) -> dict[str, Any] | None:
        """Return what one of the workers tells of itself; None without answer."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5.0)
        try:
            connection.request("GET", "/")
            facts: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        return facts

    def worker_ids(self) -> list[int]:
        """Return the process ids of the workers."""
        return [] if self.pid is None else [p for p in group_members(self.pid) if p != self.pid]

    def kill_worker(self, worker: int) -> None:
        """End the worker of this process id at once, as a crash would."""
        os.kill(worker, signal.SIGKILL)
        if not wait_until(lambda: worker not in self.worker_ids(), self.shutdown_seconds):
            raise ServerError(f"gunicorn: worker {worker} survived SIGKILL.")

    def resident_bytes(self) -> int | None:
        """Return the sum of the resident memory of the workers; None without /proc."""
        pages = 0
        for worker in self.worker_ids():
            try:
                pages += int(Path(f"/proc/{worker}/statm").read_text("ascii").split()[1])
            except OSError:
                return None
        return pages * os.sysconf("SC_PAGE_SIZE")
