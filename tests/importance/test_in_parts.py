"""Methods whose work falls into parts: the bits of one process, on every engine."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from recprune.data import Dataset
from recprune.executor import Executor
from recprune.importance import METHODS, Scores, importance, rank_fields, renewal
from recprune.importance.permutation import HeldOut
from recprune.models import DCNv2, DeepFM, Ranker, Training
from recprune.pipeline.seed_noise import seed_noise
from tests.planted import small_data

IN_PARTS = sorted(name for name, method in METHODS.items() if method.in_parts)
OPTIONS: dict[str, dict[str, Any]] = {
    "boruta": {"rounds": 3, "trees": 5},
    "drop_and_retrain": {"seeds": 1},
    "recursive_elimination": {"by": "permutation", "share": 0.8},
}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data()


@pytest.fixture(scope="module", params=[DeepFM, DCNv2])
def model(request: pytest.FixtureRequest, data: Dataset) -> Ranker:
    ranker: Ranker = request.param(4, (8, 4), training=Training(epochs=1))
    return ranker.fit(data.train, data.tune)


def scored(model: Ranker, data: Dataset, method: str, executor: Executor | None = None) -> Scores:
    return importance(model, data, "fields", method, 3, executor, **OPTIONS.get(method, {}))


def same(one: Scores, other: Scores) -> bool:
    return (one.score.tobytes(), one.std.tobytes(), one.by) == (
        other.score.tobytes(),
        other.std.tobytes(),
        other.by,
    )


def test_what_has_parts() -> None:
    assert IN_PARTS == [
        "boruta",
        "drop_and_retrain",
        "permutation",
        "recursive_elimination",
        "screened",
    ]


@pytest.mark.parametrize("kept", [True, False])
def test_what_is_sent_to_workers_shuffles_as_here(
    model: Ranker, data: Dataset, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the rows' sums are kept, and a part is a field, or not, and it is several."""
    if not kept:
        monkeypatch.setattr(renewal, "KEPT_BYTES", 0)
    here = HeldOut(model, data.tune, 3, 2, 1000)
    assert (here.renewal.kept is not None) == kept
    fields = range(len(model.encoder.sizes))
    there: HeldOut = pickle.loads(pickle.dumps(here))
    together = np.stack([drop for _, drop in there.drops_of(fields, range(2))])
    apart = [next(iter(there.drops_of([field], range(2))))[1] for field in fields]
    assert here.drops(fields).tobytes() == together.tobytes() == np.stack(apart).tobytes()


def test_two_processes_shuffle_as_one(data: Dataset) -> None:
    model = DeepFM(4, (8, 4), training=Training(epochs=1)).fit(data.train, data.tune)
    one, two = (rank_fields(model, data.tune, executor=Executor(n)) for n in (1, 2))
    assert one.fields == two.fields
    assert one.scores.tobytes() == two.scores.tobytes()


@pytest.fixture(scope="module")
def ray() -> Iterator[Executor]:
    pytest.importorskip("ray")
    with Executor(2, engine="ray", address="local") as executor:
        yield executor


@pytest.mark.slow
@pytest.mark.parametrize("method", IN_PARTS)
def test_ray_scores_as_one_process(
    method: str, model: Ranker, data: Dataset, ray: Executor
) -> None:
    """Trainings, too, on shared rows that nobody may write."""
    assert same(scored(model, data, method), scored(model, data, method, ray))


@pytest.mark.slow
def test_ray_trains_as_one_process(data: Dataset, ray: Executor) -> None:
    model = DeepFM(4, (8, 4), training=Training(epochs=1)).fit(data.train, data.tune)
    assert seed_noise(model, data, seeds=3, executor=ray) == seed_noise(model, data, seeds=3)
