"""A counter whose sessions are watched: numbers for Prometheus at /metrics.

Run it in a checkout::

    pip install ".[examples]" prometheus-client
    python examples/metrics/app.py

then open http://127.0.0.1:8080 a few times, and http://127.0.0.1:8080/metrics

`for_prometheus.py` and `for_opentelemetry.py` are what an application copies.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable
from typing import Any

import waitress
import webapp2
from for_prometheus import SessionMetrics, page_of
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from webapp2_sessions import SessionEvent, SessionHandler


class Home(SessionHandler):
    def get(self) -> None:
        self.session["visits"] = self.session.get("visits", 0) + 1
        self.response.content_type = "text/plain"
        self.response.write(f"Hello! This is your visit number {self.session['visits']}.\n")


class Metrics(webapp2.RequestHandler):  # type: ignore[misc]  # webapp2 has no types
    """The numbers, on a page that opens no session; show it to your Prometheus alone."""

    def get(self) -> None:
        self.response.headers["Content-Type"] = CONTENT_TYPE_LATEST
        self.response.body = page_of(self.app.config["prometheus_registry"])


def make_app(
    secret_key: str, on_event: Callable[[SessionEvent], Any] | None = None, **config: Any
) -> webapp2.WSGIApplication:
    """Return the application.

    :param on_event: is told of what happens to sessions; by default for Prometheus.
    :param config: more configuration of the sessions.
    """
    registry = CollectorRegistry()
    sessions = {
        "secret_key": secret_key,
        "on_event": on_event or SessionMetrics(registry),
        **config,
    }
    return webapp2.WSGIApplication(
        [("/", Home), ("/metrics", Metrics)],
        config={"webapp2_extras.sessions": sessions, "prometheus_registry": registry},
    )


if __name__ == "__main__":
    # A key made at start ends all sessions with the process.
    app = make_app(os.environ.get("SECRET_KEY") or secrets.token_hex(32))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    waitress.serve(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
