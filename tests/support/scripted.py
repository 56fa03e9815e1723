"""A fake server with scripted responses, asked as memcached is or as Redis."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from types import TracebackType

from support.processes import HOST

__all__ = ["SILENCE", "ScriptedServer"]

#: An answer that never comes.
SILENCE = None

#: Seconds after which a thread that hangs is a failure.
PATIENCE = 30.0


class ScriptedServer:
    """Answers each command, on any connection, with the next of the given answers.

    :param answers: bytes, SILENCE, or `b""` for hanging up.
    """

    def __init__(self, *answers: bytes | None) -> None:
        self._answers = list(answers)
        #: Waited for before anything is read; set unless a test clears it.
        self.go_on = threading.Event()
        self.go_on.set()
        #: What was asked, and how many connections there were.
        self.commands: list[bytes] = []
        self.connections = 0
        #: Released for each connection that has ended.
        self._closed = threading.Semaphore(0)
        self._listener = socket.create_server((HOST, 0))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"{HOST}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.go_on.set()
        # Closing alone does not end a call that waits in another thread.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def was_left(self) -> bool:
        """Return whether one more connection ends, by the client unless a script says so."""
        return self._closed.acquire(timeout=PATIENCE)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, _released(self._closed):
            while self.go_on.wait(PATIENCE) and (command := _read(connection)):
                self.commands.append(command)
                answer = self._answers.pop(0)
                if answer == b"":
                    return
                if answer is not None:
                    connection.sendall(answer)


@contextlib.contextmanager
def _released(semaphore: threading.Semaphore) -> Iterator[None]:
    try:
        yield
    finally:
        semaphore.release()


def _read(connection: socket.socket) -> bytes:
    """Return the next command, with its value if it has one; nothing at the end."""
    with connection.makefile("rb") as stream:
        line = stream.readline()
        if line.startswith(b"*"):
            parts = range(int(line[1:]))
            return b" ".join(stream.read(int(stream.readline()[1:]) + 2)[:-2] for _ in parts)
        words = line.split()
        stores = bool(words) and words[0] in (b"set", b"add", b"replace", b"cas")
        return line + (stream.read(int(words[4]) + 2) if stores else b"")
