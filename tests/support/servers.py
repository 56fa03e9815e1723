"""Real servers for the tests: memcached and Google's Datastore and Firestore emulators.

Each server runs in a process group of its own (the emulators are trees of gcloud, a shell
and Java), so that every signal reaches all of it and nothing else.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import redis

from support import google_sdk
from support.processes import HOST, free_port, group_is_stopped, group_members, wait_until

__all__ = [
    "PROJECT",
    "PROXY_VARIABLES",
    "DatastoreEmulator",
    "Emulator",
    "FirestoreEmulator",
    "Memcached",
    "Redis",
    "Server",
    "ServerError",
    "Valkey",
    "free_port",
    "group_is_stopped",
    "group_members",
    "wait_until",
]

#: The project every test uses; emulators accept any.
PROJECT = "test"

#: gRPC obeys these even for a server on 127.0.0.1.
PROXY_VARIABLES = tuple(
    spelling
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
    for spelling in (name, name.upper())
)

#: The oldest Java that the emulators accept.
JAVA_VERSION = 11


class ServerError(RuntimeError):
    """A server did not start or did not end; the message holds what it printed."""


class Server:
    """A server process with its own process group, port and folder.

    Subclasses tell the command line and how to find out that the server answers.
    """

    #: What reports call the server.
    name: ClassVar[str]
    #: Seconds that a start may take.
    startup_seconds: ClassVar[float] = 10.0
    #: Seconds that an orderly end may take before the processes are killed.
    shutdown_seconds: ClassVar[float] = 10.0
    #: What asks the server to end.
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    #: Whether its tests may be skipped where all other servers have to be there.
    is_optional: ClassVar[bool] = False

    def __init__(self) -> None:
        self.port = free_port()
        #: The server's version, once it has been started and where it can be known.
        self.version: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The id of the process and of its group; None while the server does not run."""
        return None if self._process is None else self._process.pid

    @classmethod
    def missing(cls) -> str | None:
        """None when the server can be started, else what is missing and how to install it."""
        raise NotImplementedError

    def command(self, folder: Path) -> list[str]:
        """Return the command line; `folder` is a directory that goes when the server stops."""
        raise NotImplementedError

    def environment(self, folder: Path) -> dict[str, str]:
        """Environment variables beyond the inherited ones."""
        return {}

    def answers(self) -> bool:
        """Return whether the server answers requests now."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server and return when it answers.

        :raises ServerError: something is missing, or it did not come up in time.
        """
        if self._process is not None:
            raise ServerError(f"{self.name} runs already, at {self.address}.")
        if reason := self.missing():
            raise ServerError(reason)
        self._launch()
        if not wait_until(self._answers_or_ended, self.startup_seconds, 0.02):
            self._fail(f"did not answer within {self.startup_seconds:g} s")
        if self._exit_code() is not None:
            self._fail(f"ended with code {self._exit_code()}")

    def stop(self) -> None:
        """End the server in an orderly way and wait until all its processes are gone."""
        if self._process is None:
            return
        self._signal(self.stop_signal)
        self._signal(signal.SIGCONT)  # a frozen process takes the signal when it goes on
        if not self._wait_for_end(self.shutdown_seconds):
            self._signal(signal.SIGKILL)
            self._wait_for_end(self.shutdown_seconds)
        self._ended()

    def kill(self) -> None:
        """End the server at once, as a crash would, and wait until it is gone."""
        if self._process is None:
            return
        self._signal(signal.SIGKILL)
        self._wait_for_end(self.shutdown_seconds)
        self._ended()

    def restart(self) -> None:
        """Stop, then start at the same port; what was stored is lost."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Pause every process of the server: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)
        # The signal stops one thread after the other; until then they still answer.
        if not wait_until(lambda: group_is_stopped(self.pid or 0), self.shutdown_seconds, 0.001):
            raise ServerError(f"{self.name}: some processes of it did not stop.")

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def output(self) -> str:
        """Return what the running server has printed so far."""
        if self._folder is None:
            return ""
        return (Path(self._folder.name) / "output").read_text("utf-8", "replace")

    def _launch(self) -> None:
        """Start the process in a session, and so a process group, of its own."""
        self._folder = tempfile.TemporaryDirectory(prefix="server-")
        folder = Path(self._folder.name)
        with (folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                self.command(folder),
                cwd=folder,  # not the checkout, which Python programs would import from
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment(folder)},
                start_new_session=True,
            )

    def _exit_code(self) -> int | None:
        """Return the exit code of the process; None while it runs."""
        return None if self._process is None else self._process.poll()

    def _answers_or_ended(self) -> bool:
        """Return whether there is nothing to wait for any more."""
        return self._exit_code() is not None or self.answers()

    def _fail(self, what: str) -> None:
        """Clean up after a start that failed and tell why."""
        printed = self.output().strip() or "(nothing)"
        self.kill()
        raise ServerError(f"{self.name} at {self.address} {what}; it printed:\n{printed}")

    def _signal(self, number: int) -> None:
        """Send a signal to the whole process group."""
        if self._process is None:
            raise ServerError(f"{self.name} does not run.")
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _wait_for_end(self, seconds: float) -> bool:
        """Wait until no process of the group is left."""

        def ended() -> bool:
            return self._exit_code() is not None and not group_members(self.pid or 0)

        return wait_until(ended, seconds)

    def _ended(self) -> None:
        """Forget the process and remove its folder."""
        left = group_members(self.pid or 0)
        if left:
            raise ServerError(f"{self.name}: processes {left} survived SIGKILL.")
        self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


class Memcached(Server):
    """A memcached.

    :param memory_mb: megabytes it may use for values.
    :param item_mb: megabytes that one item may have; a fraction is kilobytes.
    """

    name = "memcached"
    # It has nothing to save, and an orderly end takes it a second.
    stop_signal = signal.SIGKILL

    def __init__(self, memory_mb: int = 64, item_mb: float = 1) -> None:
        super().__init__()
        self.memory_mb = memory_mb
        self.item_mb = item_mb

    @classmethod
    def missing(cls) -> str | None:
        """None, or how to install memcached."""
        if shutil.which("memcached"):
            return None
        return "memcached is not installed: apt-get install memcached"

    def command(self, folder: Path) -> list[str]:
        """TCP on 127.0.0.1 only; root has to name the user to become."""
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        sizes = ["-m", str(self.memory_mb), "-I", f"{int(self.item_mb * 1024)}k"]
        return ["memcached", "-l", HOST, "-p", str(self.port), "-U", "0", *sizes, *user]

    def answers(self) -> bool:
        """Return whether this very memcached, and not another at its port, gives statistics."""
        statistics = self._ask(b"stats\r\n", end=b"END\r\n")
        self.version = statistics.get("version")
        return statistics.get("pid") == str(self.pid)

    def flush(self) -> None:
        """Drop everything that is stored."""
        self._ask(b"flush_all\r\n", end=b"OK\r\n")

    def _ask(self, request: bytes, *, end: bytes) -> dict[str, str]:
        """Send one command and give the STAT lines of the answer; {} when none comes."""
        answer = b""
        try:
            with socket.create_connection((HOST, self.port), timeout=1.0) as connection:
                connection.sendall(request)
                while not answer.endswith(end) and (received := connection.recv(65536)):
                    answer += received
        except OSError:
            return {}
        lines = [line.split(" ", 2) for line in answer.decode("ascii", "replace").splitlines()]
        return {line[1]: line[2] for line in lines if len(line) == 3 and line[0] == "STAT"}


class Redis(Server):
    """A redis-server, or what `REDIS_SERVER` names; it keeps nothing over a restart.

    :param options: further ones of its command line.
    """

    #: The program; the package that has it is called the same.
    program: ClassVar[str] = os.environ.get("REDIS_SERVER", "redis-server")
    name = Path(program).name.removesuffix("-server")
    # It has nothing to save.
    stop_signal = signal.SIGKILL

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.options = options

    @property
    def url(self) -> str:
        """Its URL."""
        return f"redis://{self.address}/0"

    @classmethod
    def missing(cls) -> str | None:
        """None, or how to install it."""
        if shutil.which(cls.program):
            return None
        return f"{cls.program} is not installed: apt-get install {cls.program}"

    def command(self, folder: Path) -> list[str]:
        """TCP on 127.0.0.1 only, and nothing on disk."""
        place = ["--bind", HOST, "--port", str(self.port), "--dir", str(folder)]
        return [self.program, *place, "--save", "", "--appendonly", "no", *self.options]

    def answers(self) -> bool:
        """Return whether this very server, and not another at its port, gives statistics."""
        statistics = self._statistics()
        self.version = statistics.get(f"{self.name}_version")
        return statistics.get("process_id") == str(self.pid)

    def flush(self) -> None:
        """Drop everything that is stored."""
        self.ask("FLUSHALL")

    def ask(self, *command: Any) -> Any:
        """Send one command, and return what answers it."""
        with redis.Redis(port=self.port, socket_timeout=5.0) as client:
            return client.execute_command(*command)

    def _statistics(self) -> dict[str, str]:
        try:
            found = self.ask("INFO", "server")
        except redis.RedisError:
            return {}
        return {str(key): str(value) for key, value in found.items()}


class Valkey(Redis):
    """A valkey-server, which keeps nothing over a restart."""

    program = "valkey-server"
    name = "valkey"
    # Debian 12, on which `.ci/run` has to pass, has no package of it.
    is_optional = True


class Emulator(Server):
    """An emulator of the Google Cloud SDK, started by gcloud."""

    #: The component of the SDK, which is also its folder there.
    component: ClassVar[str]
    #: The command group and flags that start it.
    arguments: ClassVar[tuple[str, ...]]

    startup_seconds = 60.0

    @classmethod
    def missing(cls) -> str | None:
        """None, or how to install the emulator or what it needs."""
        install = f"gcloud components install beta {cls.component}"
        sdk = google_sdk.root()
        if sdk is None:
            return f"gcloud (Google Cloud SDK) is not installed: install it, then {install}"
        if not (sdk / "platform" / cls.component).is_dir():
            return f"{cls.component} of the Google Cloud SDK is not installed: {install}"
        if google_sdk.java_version() < JAVA_VERSION:
            return (
                f"{cls.component} needs Java {JAVA_VERSION} or later: "
                "apt-get install default-jre-headless"
            )
        return None

    def command(self, folder: Path) -> list[str]:
        """Return the gcloud command that starts the emulator."""
        return ["gcloud", *self.arguments, f"--project={PROJECT}", f"--host-port={self.address}"]

    def environment(self, folder: Path) -> dict[str, str]:
        """Settings that keep gcloud silent and the user's configuration out of it.

        The emulators keep their data below gcloud's configuration folder.
        """
        return {
            "CLOUDSDK_CONFIG": str(folder / "gcloud"),
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
        }

    def answers(self) -> bool:
        """Return whether `GET /` answers."""
        return self._request("GET", "/") == 200

    def start(self) -> None:
        """Start the emulator; its version is the SDK component's."""
        super().start()
        self.version = google_sdk.component_version(self.component)

    def reset(self) -> None:
        """Drop all entities."""
        status = self._request("POST", "/reset", timeout=30.0)
        if status != 200:
            raise ServerError(f"{self.name}: POST /reset answered {status}.")

    def _request(self, method: str, path: str, timeout: float = 1.0) -> int | None:
        """Return the status of one HTTP request, sent without any proxy; None without answer."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return response.status


class DatastoreEmulator(Emulator):
    """Google's Datastore emulator, in memory and strongly consistent."""

    name = "Datastore emulator"
    component = "cloud-datastore-emulator"
    arguments = (
        *("beta", "emulators", "datastore", "start"),
        "--no-store-on-disk",
        "--consistency=1.0",
    )


class FirestoreEmulator(Emulator):
    """Google's Firestore emulator in Datastore mode."""

    name = "Firestore emulator (Datastore mode)"
    component = "cloud-firestore-emulator"
    arguments = ("emulators", "firestore", "start", "--database-mode=datastore-mode")
