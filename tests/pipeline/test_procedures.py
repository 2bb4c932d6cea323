"""A way of pruning judged by several seeds: what it says, and that workers do not show."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import recprune as rp
from recprune.data import Dataset
from recprune.errors import ParameterError, RecpruneWarning
from recprune.evaluation import verdict
from recprune.executor import Executor
from recprune.models import DeepFM, Ranker, Training
from recprune.pipeline import Effort, compare_procedures
from recprune.pruning import encode, fine_tune
from tests.pipeline.test_run import own_state
from tests.planted import small_data

__all__ = ["own_state"]

FULL = DeepFM(4, (8,), Training(epochs=2))
NONE = Effort(epochs=0)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(4000)


def rounded(full: Ranker, data: Dataset) -> Ranker:
    """int8, which costs next to nothing."""
    return encode(full)


def without_reason(full: Ranker, data: Dataset) -> Ranker:
    """Leave the noise alone."""
    return rp.prune(full, data, {"fields": ["noise"]}, epochs=0)


def kept(full: Ranker, data: Dataset) -> Ranker:
    """The full model as it comes, whose scores go into a list."""
    SEEN.append(full)
    return full


SEEN: list[Ranker] = []


def test_it_tells_a_harmless_way_from_a_harmful_one(data: Dataset) -> None:
    good = compare_procedures(FULL, rounded, data, seeds=3, effort=NONE, tolerance=0.01)
    assert (good.outcome, good.estimand, good.n_seeds) == ("PASS", "procedure", 3)
    with pytest.warns(RecpruneWarning, match="judged 2 models"):
        bad = compare_procedures(FULL, without_reason, data, seeds=3, effort=NONE)
    assert bad.outcome == "FAIL"
    assert bad.test_uses == 2


def test_the_full_model_gets_the_same_fine_tuning(data: Dataset) -> None:
    SEEN.clear()
    effort = Effort(rounds=2, epochs=1)
    found = compare_procedures(FULL, kept, data, seeds=2, effort=effort)
    assert len({full.seed for full in SEEN}) == 2
    logits = []
    for full in SEEN:
        tuned, tuning = full, effort.tuning(full, data)
        for _ in range(2):
            tuned = fine_tune(tuned, tuning)
        logits.append([m.logits(data.test.rows) for m in (tuned, full)])
    wholes, smalls = np.stack(logits, axis=1)
    expected = verdict(data.test.label, wholes, smalls)
    assert found.difference == pytest.approx(expected.difference, abs=1e-6)
    assert found.ci == pytest.approx(expected.ci, abs=1e-6)


def test_a_library_call_is_a_way_too_and_workers_do_not_show(data: Dataset) -> None:
    way = partial(rp.prune, keep={"neurons": 0.5}, epochs=1)
    found = [
        compare_procedures(FULL, way, data, seeds=2, effort=Effort(epochs=1), executor=Executor(n))
        for n in (1, 2)
    ]
    assert found[0].to_json() == found[1].to_json()


@pytest.mark.parametrize("seeds", [1, True, 2.5])
def test_one_seed_is_no_procedure(data: Dataset, seeds: object) -> None:
    with pytest.raises(ParameterError, match="'seeds' parameter of compare_procedures"):
        compare_procedures(FULL, rounded, data, seeds=seeds)  # type: ignore[arg-type]
