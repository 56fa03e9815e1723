"""Numbers about sessions for Prometheus, by prometheus_client."""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from webapp2_sessions import SessionEvent

#: Upper bounds of what is counted together: from a cookie to a server that is silent.
SECONDS = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
BYTES = (128, 256, 512, 1024, 2048, 4096, 16384, 65536, 262144, 1048576)


class SessionMetrics:
    """Counts events by kind, backend and error, with times and sizes; is an `on_event`.

    :param registry: where Prometheus finds the numbers.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        labels = ["kind", "backend"]
        self.events = Counter(
            "session_events",
            "What happened to sessions.",
            [*labels, "error"],
            registry=registry,
        )
        self.seconds = Histogram(
            "session_seconds",
            "How long a session was waited for.",
            labels,
            registry=registry,
            buckets=SECONDS,
        )
        self.bytes = Histogram(
            "session_bytes",
            "How large stored sessions and cookies are.",
            labels,
            registry=registry,
            buckets=BYTES,
        )

    def __call__(self, event: SessionEvent) -> None:
        self.events.labels(event.kind, event.backend, event.error or "").inc()
        if event.seconds is not None:
            self.seconds.labels(event.kind, event.backend).observe(event.seconds)
        if event.size is not None:
            self.bytes.labels(event.kind, event.backend).observe(event.size)


def page_of(registry: CollectorRegistry = REGISTRY) -> bytes:
    """Return the numbers for Prometheus: this process's, or all processes' if they share them.

    They share what is in the directory that PROMETHEUS_MULTIPROC_DIR names.
    """
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it has no types
    return generate_latest(registry)
