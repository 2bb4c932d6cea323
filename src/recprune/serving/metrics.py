"""What a service counts, for Prometheus, over all its workers.

Workers write to files of one folder (``prometheus_client``'s mode for several processes), so that
whichever of them answers ``/metrics`` tells of all, those that are gone included. The folder is
named by the variable ``PROMETHEUS_MULTIPROC_DIR`` before the library is imported; without it, as in
a test, one process counts for itself.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from recprune.metrics import population_stability

__all__ = ["FOLDER", "Drift", "Figures", "Metrics"]

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
#: Routes whose time is a model's; others read files, or make a page.
ANSWERING = ("/v1/recommend", "/v1/score")
#: Scores that are compared at once, and the parts that they are counted in.
WINDOW, PARTS = 1000, 10


class Drift:
    """How far the scores of late have moved: :func:`~recprune.metrics.population_stability` of the
    last 1,000 over ten parts of the reference that hold a tenth each.

    Args:
        reference: scores that are usual, shape ``(n,)``; fewer than ten = the first 1,000 that come.
    """

    def __init__(self, reference: NDArray[np.float32] | None = None) -> None:
        self._reference = np.empty(0) if reference is None else reference
        self._late: list[float] = []

    def add(self, scores: Sequence[float]) -> float | None:
        """Take scores, and return the index where they fill a window, else None."""
        self._late += scores
        if len(self._late) < WINDOW:
            return None
        late, self._late = np.array(self._late), []
        if len(self._reference) < PARTS:
            self._reference = late
            return 0.0
        edges = np.asarray(np.quantile(self._reference, np.arange(1, PARTS) / PARTS), np.float64)
        return population_stability(_counts(late, edges), _counts(self._reference, edges))


def _counts(scores: NDArray[np.floating[Any]], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.bincount(np.searchsorted(edges, scores, side="right"), minlength=PARTS)


@dataclass(frozen=True)
class Figures:
    """What the page shows.

    Args:
        requests: answered with a status below 400.
        refused: with another, or not answered, since the client hung up.
        fallbacks: answers for users who are not known.
        mean: seconds of an answer of the routes that recommend and score.
        reloads: models that were put in place, the first ones included.
        drift: population stability index of late scores, the largest; None = too few scores yet.
    """

    requests: int
    refused: int
    fallbacks: int
    mean: float
    reloads: int
    drift: float | None = None


class Metrics:
    """The counters of one worker."""

    def __init__(self) -> None:
        self._shared = FOLDER in os.environ
        self._registry = CollectorRegistry()
        registry = None if self._shared else self._registry
        self.requests = Counter(
            "recprune_requests", "Requests.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "recprune_request_seconds",
            "Time of a request in the worker.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.users = Counter(
            "recprune_users",
            "Users who were asked for; the share of known=no is that of unknown ids.",
            ["known"],
            registry=registry,
        )
        self.fallbacks = Counter(
            "recprune_fallbacks", "Answers for users who are not known.", registry=registry
        )
        self.kept = Counter(
            "recprune_answers_kept",
            "Requests that were given an answer again that they got before.",
            registry=registry,
        )
        self.drift = Gauge(
            "recprune_score_drift",
            "Population stability index of late computed scores against usual ones; the largest worker's.",
            ["route"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.reloads = Counter(
            "recprune_model_loads",
            "Models put in place, by outcome.",
            ["outcome"],
            registry=registry,
        )
        self.audit = Gauge(
            "recprune_audit_waiting",
            "Entries of the audit log that could not be written yet.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._answered = functools.cache(self._of_answers)
        self._known = {True: self.users.labels("yes"), False: self.users.labels("no")}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer.

        Args:
            route: one of the service's own, or "other".
            status: of HTTP; 0 = there was none.
            seconds: that it took.
        """
        count, clock = self._answered(route, status)
        count.inc()
        clock.observe(seconds)

    def asked_for(self, known: bool) -> None:
        """Count a user who was asked for; one who is not known got a fallback."""
        self._known[known].inc()
        if not known:
            self.fallbacks.inc()

    def _of_answers(self, route: str, status: int) -> tuple[Counter, Histogram]:
        """Return what counts these; looking it up takes longer than counting."""
        return self.requests.labels(route, str(status)), self.seconds.labels(route)

    def registry(self) -> CollectorRegistry:
        """Return what all workers have counted."""
        if not self._shared:
            return self._registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry

    def text(self) -> bytes:
        """Return the answer to ``/metrics``."""
        return generate_latest(self.registry())

    def figures(self) -> Figures:
        """Return the figures of the page."""
        samples = [s for metric in self.registry().collect() for s in metric.samples]

        def total(name: str, **labels: str) -> float:
            found = [s for s in samples if s.name == name]
            return sum(s.value for s in found if _has(s.labels, labels))

        good = sum(
            s.value
            for s in samples
            if s.name == "recprune_requests_total" and "100" <= s.labels["status"] < "400"
        )
        count, spent = (
            sum(total(f"recprune_request_seconds_{part}", route=route) for route in ANSWERING)
            for part in ("count", "sum")
        )
        return Figures(
            int(good),
            int(total("recprune_requests_total") - good),
            int(total("recprune_fallbacks_total")),
            spent / count if count else 0.0,
            int(total("recprune_model_loads_total", outcome="loaded")),
            max((s.value for s in samples if s.name == "recprune_score_drift"), default=None),
        )


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())
