"""A WSGI application on a real server, for the time of a test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from waitress import wasyncore
from waitress.server import create_server

__all__ = ["served"]

#: Seconds that the server's thread may take to end.
SHUTDOWN_SECONDS = 10.0


def closing_bodies(app: Callable[..., Any]) -> Callable[..., Any]:
    """Close the temporary file in which webapp2 keeps the body of every POST.

    It leaves that to the garbage collector, which would give a ResourceWarning in whatever test
    runs by then.
    """

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        received = environ["wsgi.input"]
        try:
            return app(environ, start_response)
        finally:
            if environ["wsgi.input"] is not received:
                environ["wsgi.input"].close()

    return wrapped


@contextmanager
def served(app: Callable[..., Any], *, threads: int = 4) -> Iterator[str]:
    """Serve `app` with waitress on a free port of 127.0.0.1; yields ``http://127.0.0.1:PORT``.

    The port is chosen by the system, and connections wait in its queue from then on, so there
    is nothing to wait for.
    """
    sockets: dict[int, Any] = {}
    server = create_server(
        closing_bodies(app), map=sockets, host="127.0.0.1", port=0, threads=threads
    )
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            # poll(), because select() knows no file beyond the 1,024th that a process has open.
            wasyncore.loop(timeout=30.0, use_poll=True, map=sockets, count=1)

    thread = threading.Thread(target=run, name="waitress")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        stopping.set()
        server.pull_trigger()
        thread.join(SHUTDOWN_SECONDS)
        server.task_dispatcher.shutdown()
        wasyncore.close_all(sockets)
        if thread.is_alive():
            raise RuntimeError(f"the WSGI server did not end within {SHUTDOWN_SECONDS:g} s")
