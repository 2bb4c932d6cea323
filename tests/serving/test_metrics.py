"""What a service counts."""

from __future__ import annotations

import pytest

from recprune.serving.metrics import FOLDER, Metrics


def test_the_mean_time_is_that_of_the_models_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    metrics = Metrics()
    assert metrics.figures().mean == 0
    metrics.answered("/v1/recommend", 200, 0.002)
    metrics.answered("/v1/score", 200, 0.004)
    for route in ("/", "/metrics", "/try/recommend", "other"):
        metrics.answered(route, 200, 7.0)
    assert metrics.figures().mean == pytest.approx(0.003)
    assert metrics.figures().requests == 6


def test_who_hung_up_was_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    metrics = Metrics()
    for status in (200, 303, 0, 401, 503):
        metrics.answered("/v1/recommend", status, 0.001)
    assert (metrics.figures().requests, metrics.figures().refused) == (2, 3)
