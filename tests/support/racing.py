"""Concurrent requests on one session, in threads of several processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import webapp2

from support.visits import Visitor, make_app
from webapp2_sessions import SessionDict, SessionStore

__all__ = ["PATIENCE", "Outcome", "Racers", "Step", "Task", "perform"]

#: Seconds after which a request or a process that hangs is a failure.
PATIENCE = 60.0

#: What a request does: the name of one of the functions below, and its arguments.
Step = tuple[Any, ...]


def _set(session: SessionDict, key: str, value: Any) -> None:
    session[key] = value


def _count(session: SessionDict, key: str) -> None:
    session[key] = session.get(key, 0) + 1


def _delete(session: SessionDict, key: str) -> None:
    session.pop(key, None)


def _clear(session: SessionDict) -> None:
    session.clear()


def _flash(session: SessionDict, message: str, key: str = "_flash") -> None:
    session.add_flash(message, key=key)


def _show(session: SessionDict, key: str = "_flash") -> list[str]:
    return [message for message, _level in session.get_flashes(key)]


def _destroy(session: SessionDict) -> None:
    session.destroy()


def _renew(session: SessionDict) -> None:
    session.regenerate_id()


def _label(session: SessionDict, text: str) -> None:
    session.set_label(text)


def _end_all(session: SessionDict, user: Any, **options: Any) -> list[str]:
    return [str(session.container.session_store.end_user_sessions(user, **options))]


_STEPS: dict[str, Callable[..., list[str] | None]] = {
    "set": _set,
    "count": _count,
    "delete": _delete,
    "clear": _clear,
    "flash": _flash,
    "show": _show,
    "destroy": _destroy,
    "renew": _renew,
    "label": _label,
    "end": lambda session, user: _end_all(session, user),
    "end others": lambda session, user: _end_all(session, user, keep=True),
    "end one": lambda session, user, handle: _end_all(session, user, handle=handle),
}


def perform(session: SessionDict, steps: Iterable[Step]) -> list[str]:
    """Do what the steps say; gives the flash messages, or the number of ends, that were shown."""
    shown: list[str] = []
    for name, *arguments in steps:
        shown += _STEPS[name](session, *arguments) or []
    return shown


@dataclass(frozen=True)
class Task:
    """Requests that come at once, on the session of one cookie, or each on its own."""

    config: Mapping[str, Any]
    backend: str
    #: Of all requests, or those of each.
    cookies: Mapping[str, str] | Sequence[Mapping[str, str]]
    #: The steps of each request, one request for each racer.
    requests: Sequence[Sequence[Step]]
    #: Whether all have loaded the session before the first one saves it.
    load_first: bool = False
    #: Environment variables of Google's clients.
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of one request."""

    shown: list[str]
    set_cookies: list[str]
    #: Class of the error that ended it.
    error: str | None = None


class Racers:
    """Worker processes, each with its own threads and clients.

    They are spawned, not forked, so that they can be started beside any thread.
    """

    PROCESSES = 3
    THREADS = 3

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        # Kept, because it is gone when the last of this process's references is.
        self._barrier = context.Barrier(self.count)
        self._pipes, self._processes = [], []
        for number in range(self.PROCESSES):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs, self._barrier, number), daemon=True
            )
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    @property
    def count(self) -> int:
        """How many requests come at once."""
        return self.PROCESSES * self.THREADS

    def run(self, task: Task) -> list[Outcome]:
        """Return the outcomes of a task's requests, in their order."""
        for pipe in self._pipes:
            pipe.send(task)
        outcomes: list[Outcome] = []
        for pipe in self._pipes:
            if not pipe.poll(PATIENCE):
                raise TimeoutError("a process of the race gave no answer")
            outcomes += pipe.recv()
        return outcomes

    def stop(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(PATIENCE / 6)
            process.kill()
            process.join()
            process.close()


def _serve(pipe: Any, barrier: Any, number: int) -> None:
    """Run this process's share of each task, until there are no more."""
    first = number * Racers.THREADS
    with ThreadPoolExecutor(Racers.THREADS) as threads:
        while True:
            try:
                task: Task = pipe.recv()
            except EOFError:
                return
            os.environ.update(task.environment)
            app = make_app(**task.config)
            share = range(first, first + Racers.THREADS)
            running = [threads.submit(_visit, app, task, number, barrier) for number in share]
            pipe.send([request.result() for request in running])


def _visit(app: webapp2.WSGIApplication, task: Task, number: int, barrier: Any) -> Outcome:
    """One request, which waits for the others before it loads, or before it saves."""
    visitor, cookies = Visitor(app), task.cookies
    visitor.cookies.update(cookies if isinstance(cookies, Mapping) else cookies[number])
    store = SessionStore(visitor.request())
    response = webapp2.Response()
    shown: list[str] = []
    try:
        if not task.load_first:
            barrier.wait(PATIENCE / 2)
        session = store.get_session(backend=task.backend)
        if task.load_first:
            barrier.wait(PATIENCE / 2)
        shown = perform(session, task.requests[number])
        store.save_sessions(response)
    except Exception as error:
        return Outcome([], [], type(error).__name__)
    return Outcome(shown, list(response.headers.getall("Set-Cookie")))
