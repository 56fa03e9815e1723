"""A purge of many sessions, killed halfway and run again: how fast, in how much memory.

    make load-purge

Each emulator gets 100,000 old sessions of 1 kB and 1,000 young ones. The command runs in a
process of its own, is killed by SIGKILL after half of them, and runs again. Numbers go to the
standard output; the exit code is 1 if a run fails, or a session too many or too few is gone.

On the emulators a page takes the longer the more entities there are, so the rates tell little of
the service's.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import webapp2_sessions

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import entities
from support.servers import PROJECT, PROXY_VARIABLES, DatastoreEmulator, Emulator, FirestoreEmulator

NOW = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
AGE = datetime.timedelta(days=40)
YOUNG = 1000

#: Seconds between two samples of the memory.
SAMPLE_EVERY = 0.1

#: The process that runs the command shows each page, so that it can be killed at any of them.
COMMAND = (
    "import sys; from webapp2_sessions import cli; from webapp2_sessions.cli import purge;"
    "purge._INTERVAL = 0.0;"
    "sys.exit(cli.main(['purge', '--older-than', '30d']))"
)


def say(text: str) -> None:
    """Print a line now."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Run:
    """The command in a process of its own, with samples of its resident memory in kB."""

    def __init__(self, kill_at: float) -> None:
        self.samples: list[int] = []
        #: The first and the last number that it told.
        self.first = self.count = 0
        with subprocess.Popen(
            [sys.executable, "-c", COMMAND],
            cwd=Path(webapp2_sessions.__file__).parents[1],  # not in the checkout
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            sampler = threading.Thread(target=self._sample, args=(process,))
            sampler.start()
            #: From the first page to the last, without the start and the import of ndb.
            self.seconds = self._follow(process, kill_at)
            process.wait()
            sampler.join()
            self.code = process.returncode
            self.result = process.stdout.read().strip() if process.stdout else ""

    def _follow(self, process: subprocess.Popen[str], kill_at: float) -> float:
        """Read the progress, and kill the process at that number; the seconds it took."""
        times = []
        for line in process.stderr or ():
            told = re.match(r"(\d+) sessions? deleted so far", line)
            if told is None:
                say(f"  standard error: {line.rstrip()}")
                continue
            times.append(time.monotonic())
            self.count = int(told[1])
            self.first = self.first or self.count
            if self.count >= kill_at:
                process.kill()
                break
        return times[-1] - times[0] if times else 0.0

    def _sample(self, process: subprocess.Popen[str]) -> None:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            found = re.search(r"^VmRSS:\s+(\d+) kB", status.read_text("ascii"), re.MULTILINE)
            if found:
                self.samples.append(int(found[1]))
            time.sleep(SAMPLE_EVERY)

    def describe(self) -> str:
        """The figures in a line."""
        quarter = max(1, len(self.samples) // 4)
        early, late = max(self.samples[: 2 * quarter]), max(self.samples[-quarter:])
        rate = (self.count - self.first) / self.seconds if self.seconds else 0.0
        return (
            f"exit code {self.code}, {self.count} sessions told, {self.seconds:.1f} s, "
            f"{rate:.0f}/s, peak memory in the first half {early / 1024:.1f} MiB, "
            f"in the last quarter {late / 1024:.1f} MiB"
        )


def fill(old: int) -> None:
    """Store the sessions, the old ones a second apart."""
    data = os.urandom(1000)
    second = datetime.timedelta(seconds=1)
    times = ((f"old{number:07}", NOW - AGE - number * second) for number in range(old))
    while part := list(itertools.islice(times, 5000)):
        entities.put_aged(part, data=data)
    # The youngest that may go would be 30 days old; these are younger by a minute and more.
    limit = NOW - datetime.timedelta(days=30) + datetime.timedelta(hours=1)
    entities.put_aged(
        {f"young{number:07}": limit + number * second for number in range(YOUNG)}, data=data
    )


def measure(emulator: Emulator, old: int) -> bool:
    """Run it all on one emulator; whether exactly the old sessions are gone."""
    emulator.start()
    os.environ["DATASTORE_EMULATOR_HOST"] = emulator.address
    say(f"{emulator.name} {emulator.version}")
    try:
        started = time.monotonic()
        fill(old)
        say(f"  stored {old} old and {YOUNG} young ones in {time.monotonic() - started:.0f} s")
        first = Run(kill_at=old / 2)
        say(f"  killed halfway: {first.describe()}")
        left = len(entities.names_of()) - YOUNG
        say(f"  left: {left} old ones")
        second = Run(kill_at=float("inf"))
        say(f"  run again: {second.describe()}; {second.result!r}")
        names = entities.names_of()
        young = sum(name.startswith("young") for name in names)
        say(f"  at the end: {len(names) - young} old and {young} young ones")
    finally:
        emulator.stop()
    # A page that was in flight when the process was killed may be deleted and not told.
    in_time = first.code == -9 and 0 <= old - first.count - left <= 500
    return (
        in_time and (second.count, second.code) == (left, 0) and (len(names), young) == (YOUNG,) * 2
    )


def main() -> int:
    """Measure on both emulators, or on one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--emulator", choices=["datastore", "firestore"])
    options = parser.parse_args()
    os.environ["GOOGLE_CLOUD_PROJECT"] = PROJECT
    for variable in PROXY_VARIABLES:
        os.environ.pop(variable, None)
    kinds = {"datastore": DatastoreEmulator, "firestore": FirestoreEmulator}
    chosen = [kinds[options.emulator]] if options.emulator else list(kinds.values())
    results = [measure(kind(), options.sessions) for kind in chosen]
    wrong = "WRONG: a run failed, or other sessions are gone than should be"
    say("right" if all(results) else wrong)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
