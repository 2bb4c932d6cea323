"""What a stream shows of itself: a file of metrics in Prometheus's form, written at each commit.

Its exporter for nodes reads such files from a folder (``--collector.textfile``); nothing listens on
a port, and nobody has to be let in.
"""

from __future__ import annotations

from pathlib import Path

from recprune._support import require
from recprune.folders import file_written_whole
from recprune.streaming.running import Running

__all__ = ["write_metrics"]


def write_metrics(running: Running, file: Path) -> None:
    """Write a stream's figures to a file, whole or not at all.

    Raises:
        MissingExtra: prometheus-client is not installed.
        InputError: the file cannot be written.
    """
    prometheus = require("prometheus_client", "stream")
    registry, flow = prometheus.CollectorRegistry(), running.flow
    events = prometheus.Gauge(
        "recprune_stream_events", "Events of the stream, by what became of them.", ["outcome"],
        registry=registry,
    )  # fmt: skip
    for outcome, count in running.counts.items():
        events.labels(outcome).set(count)
    gauges = {
        "events_per_second": ("Events learned from, by seconds since the start.", flow.rate),
        "lag_events": ("Events that wait in the source.", flow.lag),
        "source_waited_share": ("Share of the time in which reading waited.", flow.source_waited),
        "learner_waited_share": ("Share in which learning waited.", flow.learner_waited),
    }
    for name, (text, value) in gauges.items():
        if value is not None:
            prometheus.Gauge(f"recprune_stream_{name}", text, registry=registry).set(value)
    watched = prometheus.Gauge(
        "recprune_stream_watched", "Prequential metrics and drifts.", ["figure"], registry=registry
    )
    for figure, value in running.watch.figures().items():
        watched.labels(figure).set(value)
    alarms = prometheus.Gauge(
        "recprune_stream_alarms", "Alarms since the start.", ["kind", "field"], registry=registry
    )
    for alarm in running.alarms:
        alarms.labels(alarm.kind, alarm.field or "").inc()
    published = prometheus.Gauge(
        "recprune_stream_candidates", "Candidates since the start, by what became of them.",
        ["outcome", "published"], registry=registry,
    )  # fmt: skip
    for each in running.publications:
        published.labels(each.outcome, str(each.published).lower()).inc()
    with file_written_whole(file) as partial:
        partial.write_bytes(prometheus.generate_latest(registry))
