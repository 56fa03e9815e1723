"""The webapp: each visit tells what the session held, and a POST changes it.

The answer to a POST is written after the session has been saved: status 200 reports a save.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import webapp2
from support.visits import SECRET

import webapp2_sessions
from webapp2_sessions import BackendError, get_store

#: Seconds between two visits of a thread in the master.
PAUSE = 0.005


class Handler(webapp2.RequestHandler):
    """Opens the session with the application's backend and saves it."""

    def dispatch(self) -> None:
        store = get_store(request=self.request)
        self.session = store.get_session(backend=self.app.registry["backend"])
        self.found = dict(self.session)
        super().dispatch()
        store.save_sessions(self.response)
        self.response.headers["X-Worker"] = str(os.getpid())
        self.response.content_type = "application/json"
        self.response.write(json.dumps(self.found))

    def get(self) -> None:
        """Only read."""

    def post(self) -> None:
        """Set one value, and count."""
        wanted = self.request.GET
        self.session["visitor"] = int(wanted["visitor"])
        self.session[wanted["key"]] = wanted["value"]
        if wanted["count"] == "1":
            self.session["counter"] = self.session.get("counter", 0) + 1


def failed(request: webapp2.Request, response: webapp2.Response, error: Exception) -> None:
    """Tell the kind of an error; one that is no backend's goes into the log as well."""
    if not isinstance(error, BackendError):
        logging.getLogger(__name__).error("a visit failed", exc_info=error)
    response.clear()
    response.set_status(503 if isinstance(error, BackendError) else 500)
    response.headers["X-Error"] = type(error).__name__


def make_app(backend: str, config: dict[str, Any]) -> webapp2.WSGIApplication:
    """An application that keeps its sessions there."""
    values = {"secret_key": SECRET, **config}
    app = webapp2.WSGIApplication([("/.*", Handler)], config={"webapp2_extras.sessions": values})
    app.registry["backend"] = backend
    app.error_handlers[500] = failed
    return app


class Apps:
    """Gives a request to the application whose name its path begins with."""

    def __init__(self, apps: dict[str, webapp2.WSGIApplication]) -> None:
        self.apps = apps
        #: The visits that this process, or the one it was forked from, has made by itself.
        self.own_visits: list[str] = []

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        name = environ["PATH_INFO"].strip("/")
        if name in self.apps:
            answer: Iterable[bytes] = self.apps[name](environ, start_response)
            return answer
        start_response("200 OK", [("Content-Type", "application/json")])
        facts = {"package": webapp2_sessions.__file__, "own_visits": len(self.own_visits)}
        return [json.dumps(facts).encode()]

    def visit(self, name: str) -> None:
        """Write a session and read it, in this process."""
        path = f"/{name}?visitor=0&key=k0&value=0:0&count=0"
        first = webapp2.Request.blank(path, method="POST").get_response(self.apps[name])
        headers = {"Cookie": first.headers["Set-Cookie"].partition(";")[0]}
        second = webapp2.Request.blank(f"/{name}", headers=headers).get_response(self.apps[name])
        if second.json != {"visitor": 0, "k0": "0:0"}:
            raise RuntimeError(f"{name}: the session is not there again: {second.json}")
        self.own_visits.append(name)

    def visit_for_ever(self, name: str) -> None:
        """Go on visiting; an error ends that, and is written to stderr by Python."""
        while True:
            self.visit(name)
            threading.Event().wait(PAUSE)


def load(in_master: str) -> Apps:
    """The applications of the environment, used by this process as `in_master` tells."""
    wanted = json.loads(os.environ["LOAD_APPS"])
    apps = Apps({name: make_app(**options) for name, options in wanted.items()})
    if in_master:  # at once, so that the clients keep several connections
        with ThreadPoolExecutor(4 * len(wanted)) as pool:
            list(pool.map(apps.visit, 4 * list(wanted)))
    # Only now, with everything imported: what a thread is importing at the moment of a fork can
    # never be imported in the child, where nobody ends that import.
    for name in 2 * list(wanted) if in_master == "traffic" else ():
        threading.Thread(target=apps.visit_for_ever, args=(name,), daemon=True).start()
    return apps


app = load(os.environ["LOAD_IN_MASTER"])
