"""Numbers about sessions for OpenTelemetry, by its API; an application chooses where they go.

For instance, with ``opentelemetry-sdk`` and an exporter of your own::

    provider = MeterProvider([PeriodicExportingMetricReader(exporter)])
    config = {"on_event": SessionMetrics(provider.get_meter("webapp2_sessions")), ...}

It needs ``opentelemetry-api`` 1.30 or newer.
"""

from __future__ import annotations

from opentelemetry.metrics import Meter

from webapp2_sessions import SessionEvent

#: Upper bounds of what is counted together. OpenTelemetry's own are for milliseconds: the lowest
#: would hold everything that takes less than 5 seconds.
SECONDS = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
BYTES = (128, 256, 512, 1024, 2048, 4096, 16384, 65536, 262144, 1048576)


class SessionMetrics:
    """Counts events by kind, backend and error, with times and sizes; is an `on_event`.

    :param meter: makes the instruments.
    """

    def __init__(self, meter: Meter) -> None:
        self.events = meter.create_counter(
            "session.events", "{event}", "What happened to sessions."
        )
        self.seconds = meter.create_histogram(
            "session.duration",
            "s",
            "How long a session was waited for.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self.bytes = meter.create_histogram(
            "session.size",
            "By",
            "How large stored sessions and cookies are.",
            explicit_bucket_boundaries_advisory=BYTES,
        )

    def __call__(self, event: SessionEvent) -> None:
        labels = {"session.event": event.kind, "session.backend": event.backend}
        error = {} if event.error is None else {"error.type": event.error}
        self.events.add(1, {**labels, **error})
        if event.seconds is not None:
            self.seconds.record(event.seconds, labels)
        if event.size is not None:
            self.bytes.record(event.size, labels)
