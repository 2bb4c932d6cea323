"""The scorer and the network that was trained give the same logits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset
from recprune.encoding import Rows
from recprune.layout import Plan
from recprune.models import Ranker, Training
from recprune.models.layers import Hidden
from recprune.models.loading import RANKERS
from recprune.models.state import network_from_state
from recprune.models.step import tensors
from recprune.runtime import Scorer, load

from .drafts import MODELS, random_model
from .factory import MIXED, random_encoder, random_rows
from .test_parts import CUTS


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("cut", CUTS, ids="-".join)
def test_equals_the_network(model: Mapping[str, Any], cut: tuple[str, ...]) -> None:
    for seed in range(3):
        artifact = random_model(random_encoder(MIXED, seed), model, seed, cut=cut)
        rows, scorer = random_rows(artifact.encoder, 40, seed), Scorer(artifact)
        parts = [p for p in model["parts"] if p == "fm" or _left(artifact.state, p)]
        net = network_from_state(artifact.state, artifact.layout, artifact.encoder, parts, 0.0)
        expected = net(*tensors(rows)).detach().numpy().reshape(40, -1)
        _by_both_paths(scorer, rows, expected)


def _by_both_paths(scorer: Scorer, rows: Rows, expected: np.ndarray) -> None:
    """Hold the scorer, by NumPy and then by its kernels, to logits (n, labels)."""
    for warm in (False, True):
        assert not warm or scorer.warm_up()
        for wanted, label in zip(expected.T, scorer.labels, strict=True):
            # Single precision has seven digits: of the largest logit, where it is above 1.
            bound = 1e-5 * max(1.0, float(np.abs(wanted).max()))
            np.testing.assert_allclose(scorer.logits(rows, label=label), wanted, atol=bound, rtol=0)


def _left(state: Mapping[str, Any], part: str) -> bool:
    return any(name.startswith(f"{part}.") for name in state)


@pytest.fixture(scope="module")
def data() -> Dataset:
    draws, n = np.random.default_rng(0), 400
    columns: dict[str, Any] = {
        "user": [f"u{v}" for v in draws.integers(0, 20, n)],
        "item": [f"i{v}" for v in draws.integers(0, 9, n)],
        "price": draws.normal(0, 1, n),
        "club": draws.choice(["a", "b", "c"], n),
        "click": draws.integers(0, 2, n),
        "purchase": draws.integers(0, 2, n),
    }
    stated = {"club": {"source": "user"}, "price": {"source": "item"}}
    schema = {"fields": stated, "other_labels": ["purchase"]}
    roles = {"label": "click", "user": "user", "item": "item"}
    frame = pl.DataFrame(columns)
    return Dataset.from_frame(frame, schema=schema, **roles).split(by="random", seed=0)


def randomised(model: Ranker, seed: int) -> Ranker:
    draws = np.random.default_rng(seed)
    state = {n: draws.normal(0, 0.5, a.shape).astype(np.float32) for n, a in model.state.items()}
    return model.with_state({n: abs(a) if n.endswith(".var") else a for n, a in state.items()})


def halved(model: Ranker, seed: int) -> Plan:
    draws, keep = np.random.default_rng(seed), {}
    for name, axis in model.layout.axes.items():
        few = max(axis.min_keep, axis.size // 2, min(2, axis.size))
        kept = draws.permutation(axis.size)[:few]
        keep[name] = np.union1d(kept, np.arange(axis.pinned)).astype(np.int32)
    return Plan(model.layout.hash, keep)


CLASSES = {n: c for n, c in RANKERS.items() if n != "ALS"}  # ALS trains with an optional library
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in CLASSES),
    ("DCNv2", {"structure": "stacked", "hidden": Hidden((6, 4), batch_norm=True)}),
    ("DeepFM", {"hidden": Hidden((6, 4), batch_norm=True)}),
    ("FinalMLP", {"hidden": Hidden((8,), batch_norm=True), "second": (12, 4), "heads": 4}),
]


@pytest.mark.parametrize("name, options", OPTIONS, ids=str)
def test_every_class_is_served_as_trained(
    name: str, options: dict[str, Any], data: Dataset, tmp_path: Path
) -> None:
    fitted = CLASSES[name](training=Training(epochs=0), **options).fit(data.train)
    for seed in range(3):
        whole = randomised(fitted, seed)
        for number, model in enumerate((whole, whole.apply(halved(whole, seed)))):
            folder = tmp_path / f"{seed}-{number}"
            model.save(folder)
            scorer, rows = load(folder), model.aligned(data.test).rows
            expected = model.net(*tensors(rows)).detach().numpy().reshape(len(rows), -1)
            assert np.ptp(expected) > 0
            assert scorer.labels == model.labels
            _by_both_paths(scorer, rows, expected)
