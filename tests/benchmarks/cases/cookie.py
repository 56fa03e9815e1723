"""Requests with a signed cookie."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.bench import KEYS, Bench
from benchmarks.data import SECRET
from benchmarks.peers import BASELINE, CONTROL, OURS
from benchmarks.results import Table, table_of

__all__ = ["BACKEND_LIBRARIES", "run", "run_idle"]

#: What only a backend needs.
BACKEND_LIBRARIES = ("google.cloud.ndb", "grpc", "pymemcache", "redis", "cryptography")

#: A request that does not touch its session, in a fresh process.
_IDLE_REQUEST = """
import json, sys, webapp2
from webapp2_sessions import sessions

class Handler(webapp2.RequestHandler):
    def dispatch(self):
        self.session_store = sessions.get_store(request=self.request)
        super().dispatch()
        self.session_store.save_sessions(self.response)

    def get(self):
        self.response.write("0")

config = {"webapp2_extras.sessions": {"secret_key": sys.argv[1]}}
app = webapp2.WSGIApplication([("/", Handler)], config=config)
assert app.get_response("/").text == "0"
print(json.dumps(sorted(sys.modules)))
"""


def run(bench: Bench) -> Table:
    """Measure requests that modify their session or only read it, with a cookie and without."""
    sites = bench.peers.cookie_sites()
    modify, read = bench.measure_sites(sites, ("/modify", "/read"))
    new, look = bench.measure_sites(sites, ("/modify", "/read"), new=True)
    return table_of(
        "cookie",
        f"A request with a session of {KEYS} keys in a signed cookie, less the same without",
        {
            "read + modify": modify,
            "read only": read,
            "new visitor": new,
            "new visitor, read only": look,
        },
        {site.name: site.note for site in sites},
    )


def run_idle(bench: Bench) -> Table:
    """A request whose handler makes a session store and does not ask it for a session."""
    sites = [site for site in bench.peers.cookie_sites() if site.name in (BASELINE, CONTROL, OURS)]
    [idle] = bench.measure_sites(sites, ("/idle",))
    loaded = [name for name in _modules() if name.startswith(BACKEND_LIBRARIES)]
    note = f"{OURS} has imported {', '.join(loaded) or 'no library of a backend'}."
    title = "A request that has a session store and never opens a session, less the same without"
    return table_of("idle", title, {"idle": idle}, notes=[note])


def _modules() -> list[str]:
    """The modules of a process after such a request; not run in the checkout."""
    line = [sys.executable, "-W", "ignore", "-c", _IDLE_REQUEST, SECRET]
    done = subprocess.run(line, cwd=Path(__file__).parent, capture_output=True, check=True)
    modules: list[str] = json.loads(done.stdout)
    return modules
