"""Several sites on one server: what gunicorn serves while visitors are counted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.peers import BASELINE
from benchmarks.peers.webapp2_peer import bare_app, cookie_sites, our_site

__all__ = ["BARE", "app"]

#: What stands for a site without sessions where the others have the keyword of their backend.
BARE = "none"


def _app(backend: str, config: dict[str, Any]) -> Callable[..., Iterable[bytes]]:
    if backend == BARE:
        bare: Callable[..., Iterable[bytes]] = bare_app()
        return bare
    if backend == BASELINE:
        return cookie_sites()[0].app
    return our_site(backend, **config).app


#: The sites by the first part of their paths, as the environment names them.
_SITES = {
    name: _app(**options) for name, options in json.loads(os.environ.get("LOAD_APPS", "{}")).items()
}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Give a request to its site, with the rest of the path."""
    name, _, path = environ["PATH_INFO"].removeprefix("/").partition("/")
    if name in _SITES:
        # Not into SCRIPT_NAME: webapp2's routes match both together.
        return _SITES[name]({**environ, "PATH_INFO": f"/{path}"}, start_response)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
    return [b"{}"]
