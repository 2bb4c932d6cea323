"""Down from a full model: noise goes first, stops are kept, and nothing else than what is asked."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from recprune.artifact import stored_size
from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.metrics import auc
from recprune.models import LR, DeepFM, Ranker, Training
from recprune.pipeline import Effort
from recprune.pipeline.descent import Course, CutModel, Descent, _Cost, _multiplications
from recprune.pruning import BITS, encode
from tests.planted import STRONG, planted_frame

TRAINING = Training(epochs=4, learning_rate=3e-3, batch_size=512)
TUNING = Effort(epochs=1)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.from_frame(planted_frame(8000, noise=6), label="y").split(by="random")


@pytest.fixture(scope="module")
def full(data: Dataset) -> DeepFM:
    return DeepFM(8, (32, 16), training=TRAINING).fit(data.train, data.tune)


def descended(full: Ranker, data: Dataset, shares: tuple[float, ...], **options) -> list[CutModel]:
    size = stored_size(full.artifact())
    stops = [int(size * share) for share in shares]
    return list(Descent(full, data, TUNING.tuning(full, data), Course(stops, **options)))


@pytest.fixture(scope="module")
def steps(full: DeepFM, data: Dataset) -> list[CutModel]:
    return descended(full, data, (1 / 8, 1 / 30))


def test_every_step_is_smaller_and_the_last_keeps_the_last_stop(
    steps: list[CutModel], full: DeepFM
) -> None:
    sizes = [step.bytes for step in steps]
    assert all(after < before for before, after in itertools.pairwise(sizes))
    assert sizes[-1] <= stored_size(full.artifact()) / 30 < sizes[-2]


def test_a_step_is_what_it_says(steps: list[CutModel], data: Dataset) -> None:
    for step in steps:
        stored = encode(step.model, *BITS[step.bits])
        assert step.bytes == stored_size(stored.artifact())
        rows = stored.aligned(data.tune)
        assert step.score == auc(rows.label, stored.logits(rows.rows))
    for before, after in itertools.pairwise(steps):
        assert after.drop == pytest.approx(before.score - after.score)
        assert after.measured >= 1


def test_noise_goes_before_what_matters(steps: list[CutModel], full: DeepFM) -> None:
    left = steps[-1].model.encoder.schema.names
    assert set(STRONG) <= set(left)
    sizes = dict(zip(left, steps[-1].model.encoder.sizes, strict=True))
    whole = dict(zip(full.encoder.schema.names, full.encoder.sizes, strict=True))
    # Nearly all bytes are rows of noise with 1,000 and 10,000 values.
    for name in ("noise3", "noise4"):
        assert sizes.get(name, 0) < 0.3 * whole[name]
    assert steps[-1].score > steps[0].score - 0.01


def test_the_full_model_stays_as_it_was(full: DeepFM, data: Dataset) -> None:
    before = {name: array.copy() for name, array in full.state.items()}
    descended(full, data, (0.2,))
    for name, array in full.state.items():
        np.testing.assert_array_equal(array, before[name])


def test_the_same_seed_takes_the_same_way(
    steps: list[CutModel], full: DeepFM, data: Dataset
) -> None:
    again = descended(full, data, (1 / 8, 1 / 30))
    assert [(s.label, s.bytes, s.score) for s in again] == [
        (s.label, s.bytes, s.score) for s in steps
    ]


def test_protected_fields_stay(full: DeepFM, data: Dataset) -> None:
    steps = descended(full, data, (1 / 60,), protect=("noise4", "noise3"))
    assert {"noise3", "noise4"} <= set(steps[-1].model.encoder.schema.names)


def test_it_ends_where_nothing_is_left_to_cut(data: Dataset) -> None:
    linear = LR(training=TRAINING).fit(data.train, data.tune)
    steps = descended(linear, data, (1e-4,))
    assert len(steps[-1].model.encoder.schema.names) == 1
    assert not any(step.label in ("dims", "neurons") for step in steps)


def test_where_speed_counts_layers_go_sooner(full: DeepFM, data: Dataset) -> None:
    small, fast = (descended(full, data, (1 / 6,), speed=speed)[-1].model for speed in (0.0, 3.0))
    assert sum(fast.neurons) < sum(small.neurons)


def test_no_more_counts_than_what_is_needed() -> None:
    large, small = _Cost(0.02, math.log(4)), _Cost(0.004, math.log(1.25))
    assert large.price(math.log(8)) < small.price(math.log(8))
    assert large.price(math.log(1.2)) > small.price(math.log(1.2))


@pytest.mark.parametrize("wrong", [{"stops": []}, {"stops": [5, 9]}, {"stops": [9, 0]}])
def test_stops_fall(wrong: dict) -> None:
    with pytest.raises(ParameterError, match="'stops' parameter of Course"):
        Course(**wrong)
    with pytest.raises(ParameterError, match="no bits 'int4'"):
        Course([9], bits=("int8", "int4"))


def test_multiplications_of_a_row(full: DeepFM) -> None:
    fields, dims = len(full.encoder.schema.names), 8
    layers = fields * dims * 32 + 32 * 16 + 16
    extra = 32 + 16 + 1  # biases
    assert _multiplications(full) == fields * (1 + dims) + layers + extra
