"""Down from a full model: noise goes first, stops are kept, and nothing else than what is asked."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from recprune.artifact import stored_size
from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.metrics import auc
from recprune.models import LR, DeepFM, Ranker, Training
from recprune.pipeline import Effort, descent
from recprune.pipeline.budget import Sizes
from recprune.pipeline.descent import Course, CutModel, Descent, _Cost, ladder
from recprune.pipeline.trial import Scale
from recprune.pipeline.trial_store import TrialStore
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


class Multiplications:
    """A host on which a multiplication of a layer takes a microsecond, and nothing else any time."""

    def latency_us(self, model: Ranker, rows: int = 1) -> float:
        shapes = model.layout.shapes.items()
        return rows * sum(math.prod(s) for name, s in shapes if name.endswith(".weight"))

    def to_json(self) -> dict:
        return {}


SCALE = Scale(Multiplications(), 1)


def descended(
    full: Ranker,
    data: Dataset,
    shares: tuple[float, ...],
    scale: Scale = SCALE,
    store: TrialStore | None = None,
    **options,
) -> list[CutModel]:
    size = stored_size(full.artifact())
    course = Course([Sizes(bytes=int(size * share)) for share in shares], **options)
    tuning = TUNING.tuning(full, data)
    return list(Descent(full, data, tuning, course, scale, store or TrialStore()))


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
        assert step.trial.auc_tune == auc(rows.label, stored.logits(rows.rows))
        assert step.trial.sizes == SCALE.sizes(step.model, step.bits)
    for before, after in itertools.pairwise(steps):
        lost = before.trial.auc_tune - after.trial.auc_tune
        assert after.trial.drop == pytest.approx(lost)
        assert after.measured >= 1


def test_noise_goes_before_what_matters(steps: list[CutModel], full: DeepFM) -> None:
    left = steps[-1].model.encoder.schema.names
    assert set(STRONG) <= set(left)
    sizes = dict(zip(left, steps[-1].model.encoder.sizes, strict=True))
    whole = dict(zip(full.encoder.schema.names, full.encoder.sizes, strict=True))
    assert all(sizes[name] == whole[name] for name in STRONG)
    # Nearly all bytes are rows of noise with 1,000 and 10,000 values; which of the two goes first
    # is a matter of rounding.
    many = ("noise3", "noise4")
    assert sum(sizes.get(name, 0) for name in many) < 0.3 * sum(whole[name] for name in many)
    assert steps[-1].trial.auc_tune > steps[0].trial.auc_tune - 0.01


def test_the_full_model_stays_as_it_was(full: DeepFM, data: Dataset) -> None:
    before = {name: array.copy() for name, array in full.state.items()}
    descended(full, data, (0.2,))
    for name, array in full.state.items():
        np.testing.assert_array_equal(array, before[name])


def test_the_same_seed_takes_the_same_way(
    steps: list[CutModel], full: DeepFM, data: Dataset
) -> None:
    again = descended(full, data, (1 / 8, 1 / 30))
    assert [(s.label, s.bytes, s.trial.auc_tune) for s in again] == [
        (s.label, s.bytes, s.trial.auc_tune) for s in steps
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
    large, small = _Cost(0.02, (math.log(4), 0, 0)), _Cost(0.004, (math.log(1.25), 0, 0))
    far, near = (math.log(8), 0, 0), (math.log(1.2), 0, 0)
    assert large.price(far) < small.price(far)
    assert large.price(near) > small.price(near)
    # What needs nothing has no price; where speed counts, time saved has.
    assert _Cost(0.0, (0.5, 0.5, 0.5)).price((0, 0, 0)) == math.inf
    assert _Cost(0.1, (0.5, 0.5, 0.5)).price((0, 0, 0), speed=1.0) == pytest.approx(0.2)


def test_a_limit_of_latency_or_of_weights_is_kept(full: DeepFM, data: Dataset) -> None:
    whole = SCALE.sizes(full, "fp32")
    for limit in (
        Sizes(latency_us=whole.latency_us / 6),
        Sizes(params=whole.params / 4),
        Sizes(whole.bytes / 8, whole.latency_us / 3, whole.params / 3),
    ):
        course = Course(ladder(whole, limit))
        *before, last = Descent(full, data, TUNING.tuning(full, data), course, SCALE)
        assert last.trial.sizes.within(limit)
        assert not any(step.trial.sizes.within(limit) for step in before)
    assert last.bits == "int8" or last.bits == "int4_row"


def test_latency_without_a_profile_is_refused(full: DeepFM, data: Dataset) -> None:
    tuning = TUNING.tuning(full, data)
    for course in (Course([Sizes(latency_us=5)]), Course([Sizes(bytes=500)], speed=1.0)):
        with pytest.raises(ParameterError, match="'scale' parameter of Descent must be one with"):
            Descent(full, data, tuning, course)


@pytest.mark.parametrize("given", [[], [Sizes(5), Sizes(9)], [Sizes(9), Sizes(9)], [Sizes(0)]])
def test_stops_fall(given: list[Sizes]) -> None:
    with pytest.raises(ParameterError, match="'stops' parameter of Course"):
        Course(given)


def test_bits_are_known() -> None:
    with pytest.raises(ParameterError, match="no bits 'int4'"):
        Course([Sizes(9)], bits=("int8", "int4"))


def test_a_ladder_ends_at_its_limit_and_never_leaves_out_a_size() -> None:
    start = Sizes(1_000_000, 80.0, 250_000)
    stops = ladder(start, Sizes(20_000, 40.0))
    assert stops[-1] == Sizes(20_000, 40.0)
    for above, below in itertools.pairwise(stops):
        assert below.within(above)
        assert below.bytes >= 0.59 * above.bytes
        assert below.latency_us <= above.latency_us
    assert ladder(start, Sizes(bytes=2_000_000)) == [Sizes(bytes=2_000_000)]


def test_what_is_kept_is_not_made_again(
    steps: list[CutModel], full: DeepFM, data: Dataset, tmp_path: Path
) -> None:
    kept = TrialStore(tmp_path / "trials")
    first = descended(full, data, (1 / 8,), store=kept)
    journal = tmp_path / "trials" / "trials.jsonl"
    # Killed: the last line cut short, and the weights of the trial before gone.
    lines = journal.read_text().rstrip().split("\n\n")
    journal.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:40])
    sorted((tmp_path / "trials").glob("*.safetensors"))[0].unlink()
    again = descended(full, data, (1 / 8,), store=TrialStore(tmp_path / "trials"))
    assert [s.trial.auc_tune for s in again] == [s.trial.auc_tune for s in first]
    for one, two in zip(first, again, strict=True):
        for name, array in one.model.state.items():
            np.testing.assert_array_equal(two.model.state[name], array)


def test_known_trials_are_not_fine_tuned(
    full: DeepFM, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = descended(full, data, (1 / 4,), store=TrialStore(tmp_path / "trials"))

    def never(*_: object) -> Ranker:
        raise AssertionError("fine-tuned again")

    monkeypatch.setattr(descent, "fine_tune", never)
    store = TrialStore(tmp_path / "trials")
    again = descended(full, data, (1 / 4,), store=store)
    assert [s.trial for s in again[1:]] == [s.trial for s in first[1:]]
    assert store.seconds_before == pytest.approx(
        sum(s.trial.seconds for s in first[1:]), abs=sum(s.measured for s in first) * 60
    )
    assert store.seconds_before > 0
