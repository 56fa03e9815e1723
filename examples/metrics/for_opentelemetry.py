"""Numbers about sessions for OpenTelemetry, by its API; an application chooses where they go.

For instance, with ``opentelemetry-sdk`` and an exporter of your own::

    provider = MeterProvider([PeriodicExportingMetricReader(exporter)])
    config = {"on_event": SessionMetrics(provider.get_meter("webapp2_sessions")), ...}
"""

from __future__ import annotations

from opentelemetry.metrics import Meter

from webapp2_sessions import SessionEvent


class SessionMetrics:
    """Counts events by kind, backend and error, with times and sizes; is an `on_event`.

    :param meter: makes the instruments.
    """

    def __init__(self, meter: Meter) -> None:
        self.events = meter.create_counter(
            "session.events", "{event}", "What happened to sessions."
        )
        self.seconds = meter.create_histogram(
            "session.duration", "s", "How long a session was waited for."
        )
        self.bytes = meter.create_histogram(
            "session.size", "By", "How large stored sessions and cookies are."
        )

    def __call__(self, event: SessionEvent) -> None:
        labels = {"session.event": event.kind, "session.backend": event.backend}
        error = {} if event.error is None else {"error.type": event.error}
        self.events.add(1, {**labels, **error})
        if event.seconds is not None:
            self.seconds.record(event.seconds, labels)
        if event.size is not None:
            self.bytes.record(event.size, labels)
