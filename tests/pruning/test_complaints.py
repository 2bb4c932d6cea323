"""What users of other pruning tools complain about, one test each, named after the complaint.

Those about importance stand in ``tests/importance/test_properties.py``: reordered and correlated
columns, weights, missing values, runs that differ. The unknown row that was never trained is in
``tests/models/ranker_suite.py``. Operations and bytes of every ranker are counted in
``test_costs.py``. The same complaints about a user's own module are in ``test_foreign_*.py``.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import recprune as rp
from recprune.artifact import stored_size
from recprune.data import Dataset
from recprune.errors import ParameterError, PlanError
from recprune.layout import Plan
from recprune.lookups import FIRST
from recprune.models import DeepFM, Hidden, Ranker, Training
from recprune.pruning import FineTuning, cut, encode, fine_tune, plan, prune
from recprune.pruning.planning import plan_from_scores
from recprune.pruning.weights import zeroed
from tests.planted import small_data


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(3_000)


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ranker:
    hidden = Hidden((32, 16), batch_norm=True)
    return DeepFM(8, hidden, Training(epochs=3, device="cpu")).fit(data.train, data.tune)


@pytest.fixture(scope="module")
def small(model: Ranker, data: Dataset) -> Ranker:
    keep = {"rows": 0.5, "dims": 0.5, "neurons": 0.25}
    return prune(model, data, keep, epochs=1)


def raw_rows(data: Dataset) -> dict[str, list]:
    return {n: data.test.columns[n].to_list() for n in data.schema.names}


def products(model: Ranker) -> int:
    """Multiplications of the dense layers a row."""
    return sum(a.size for n, a in model.state.items() if a.ndim == 2 and "table" not in n)


def test_masks_leave_size_and_speed_unchanged(model: Ranker, small: Ranker, tmp_path: Path) -> None:
    for array in small.state.values():
        if array.ndim == 2:
            assert array[:, 1:].any(axis=0).all()  # no unit is there as zeros
    assert products(small) < products(model) / 8
    assert small.save(tmp_path / "small") < 0.7 * model.save(tmp_path / "full")
    on_disk = {n: (tmp_path / n / "model.safetensors").stat().st_size for n in ("small", "full")}
    header = on_disk["full"] - sum(a.nbytes for a in model.state.values())
    predicted = small.plan.predicted_bytes(model.layout)
    assert abs(on_disk["small"] - predicted) <= header


def test_the_pruned_file_cannot_be_reloaded(small: Ranker, data: Dataset, tmp_path: Path) -> None:
    """A process that has neither the training script nor torch reads it, and scores alike."""
    small.save(tmp_path / "small")
    np.savez(tmp_path / "rows.npz", **{n: np.array(v, object) for n, v in raw_rows(data).items()})
    script = (
        "import sys, numpy as np, recprune as rp\n"
        f"rows = np.load(r'{tmp_path / 'rows.npz'}', allow_pickle=True)\n"
        f"scorer = rp.load(r'{tmp_path / 'small'}')\n"
        "p = scorer.score({n: rows[n].tolist() for n in rows.files})\n"
        "assert 'torch' not in sys.modules\n"
        f"np.save(r'{tmp_path / 'out.npy'}', p)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
    expected = small.predict(small.aligned(data.test).rows)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)


@pytest.mark.parametrize("rounds", [1, 3])
def test_asked_10_percent_got_20(rounds: int, model: Ranker, data: Dataset) -> None:
    keep = {"fields": 0.75, "rows": 0.1, "dims": 0.25, "neurons": 0.1}
    little = prune(model, data, keep, {"fields": "shark"}, rounds=rounds, epochs=0)
    sizes = {n: a.size for n, a in little.layout.axes.items()}
    rows = sum(sizes.get(f"rows.{f}", 2) - 2 for f in ("colour", "shape"))
    every = sum(model.layout.axes[f"rows.{f}"].size - 2 for f in ("colour", "shape"))
    assert sizes["fields"] == 3
    assert rows == round(0.1 * every)
    assert {n for a, n in sizes.items() if a.startswith("dims.")} == {2}
    assert little.neurons == (3, 2)


def test_whole_layers_are_removed_silently(model: Ranker, data: Dataset) -> None:
    little = cut(model, data.train, {"neurons": 1e-9, "dims": 1e-9, "rows": 1e-9})
    assert little.neurons == (1, 1)
    assert all(a.size == 1 for a in little.layout.axes.values() if a.unit == "dim")
    # Scores that all but empty a layer empty none.
    scores = {"neurons.0": np.zeros(32), "neurons.1": np.ones(16)}
    made = plan_from_scores(model, {"neurons": 0.1}, scores)
    assert {n: len(u) for n, u in made.keep.items()} == {"neurons.0": 3, "neurons.1": 2}
    with pytest.raises(PlanError, match=r"keeps 0 units of axis 'neurons.1'; at least 1 must stay"):
        model.apply(Plan(model.layout.hash, {"neurons.1": np.empty(0, np.int32)}))
    with pytest.raises(ParameterError, match="int ≥ 1"):
        plan(model, data, {"neurons": 0})


def test_zeros_revive_after_a_momentum_step(model: Ranker, data: Dataset) -> None:
    holes = zeroed(model, 0.8, "layer")
    zero = {n: a == 0 for n, a in holes.state.items() if a.ndim == 2}
    training = replace(model.training, epochs=2, keep_zeros=True)
    holes.train_on(data.train, training=training)
    for name, mask in zero.items():
        assert not holes.state[name][mask].any()
    assert stored_size(holes.artifact(), zeros=False) < stored_size(model.artifact())


def test_the_optimiser_holds_stale_parameters(model: Ranker, small: Ranker, data: Dataset) -> None:
    """Every weight of the small model learns, and none of the model that it came from."""
    before = {n: a.copy() for n, a in model.state.items()}
    tuned = small.with_state(small.state)
    tuned.train_on(data.train, training=replace(model.training, epochs=1))
    for name, array in small.state.items():
        assert array.shape == tuned.state[name].shape
        assert not np.array_equal(tuned.state[name], array), name
    # Values of like frequency share a part of their rows; each has learnt one of its own, too.
    moved = (tuned.state["table.colour"] - small.state["table.colour"])[FIRST:]
    assert (np.ptp(moved, axis=0) > 1e-4).all()
    for name, array in model.state.items():
        np.testing.assert_array_equal(array, before[name])


def test_fine_tuning_made_it_worse_and_was_kept(
    model: Ranker, small: Ranker, data: Dataset
) -> None:
    """The model before fine-tuning is a candidate."""
    wild = replace(model.training, epochs=1, learning_rate=0.3)
    tuned = fine_tune(small, FineTuning(data.train.take(np.arange(200)), data.tune, None, wild))
    first, last = tuned.history[0].score, tuned.history[-1].score
    assert first is not None
    assert last is not None
    assert last < first
    for name, array in small.state.items():
        np.testing.assert_array_equal(tuned.state[name], array)


def test_a_name_that_does_not_match_is_a_silent_no_op(model: Ranker, data: Dataset) -> None:
    one = np.array([0], np.int32)
    for make, nearest in (
        (lambda: model.apply(Plan(model.layout.hash, {"neuron.0": one})), "neurons.0"),
        (
            lambda: model.apply(Plan(model.layout.hash, {}, {"table.color": "int8"})),
            "table.colour",
        ),
        (lambda: plan(model, data, {"neuron": 0.5}), "neurons"),
        (lambda: plan(model, data, {"neurons": 0.5}, {"neuron": "l2"}), "neurons"),
        (lambda: plan(model, data, {"neurons": 0.5}, {"neurons": "omps"}), "omp"),
        (lambda: plan(model, data, {"fields": ["color"]}), "colour"),
    ):
        with pytest.raises((ParameterError, PlanError), match=f"Did you mean '{nearest}"):
            make()
    with pytest.raises(ParameterError, match="scores row units, not neuron units"):
        plan(model, data, {"neurons": 0.5}, {"neurons": "pep"})


def test_what_is_exported_differs_from_the_model_since_batch_norm_was_not_cut(
    small: Ranker, data: Dataset, tmp_path: Path
) -> None:
    for number, size in enumerate(small.neurons):
        for what in ("weight", "bias", "mean", "var"):
            assert small.state[f"mlp.{number}.norm.{what}"].shape == (size,)
    for name, ranker in (("small", small), ("stored", encode(small))):
        rows = ranker.aligned(data.test).rows
        expected = ranker.predict(rows)  # by torch
        ranker.save(tmp_path / name)
        answers = rp.load(tmp_path / name).score(raw_rows(data))
        np.testing.assert_allclose(answers, expected, atol=1e-5)
        path = rp.export_onnx(ranker, tmp_path / f"{name}.onnx").path
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        given = {"codes": rows.codes, "shares": rows.shares}
        (exported,) = session.run(["probability"], given)
        np.testing.assert_allclose(exported[:, 0], expected, atol=1e-5)


def test_an_unseen_null_or_pruned_id_crashes_serving(
    model: Ranker, data: Dataset, tmp_path: Path
) -> None:
    little = cut(model, data.train, {"rows": 6})
    little.save(tmp_path / "little")
    left = set(little.encoder.parts["shape"].values)
    gone = next(v for v in model.encoder.parts["shape"].values if v not in left)
    shapes = [gone, "never seen", None, ""]
    answers = rp.load(tmp_path / "little").score(
        {"shape": shapes, "colour": ["red"] * 4, "size": [0.5, 0.5, 0.5, 0.5], "noise": [0.0] * 4}
    )
    assert np.isfinite(answers).all()
    assert answers[0] == answers[1] == answers[3]  # the unknown row's
    assert ((answers > 0) & (answers < 1)).all()


def test_the_selection_peeked_at_the_test_rows(model: Ranker, data: Dataset) -> None:
    """All is chosen, refitted and tuned without them: it works where there are none."""
    assert data.fitted is not None
    parts = {name: part for name, part in data.fitted.parts.items() if name != "test"}
    blind = replace(data, table=None, fitted=replace(data.fitted, parts=parts))
    with pytest.raises(KeyError, match="test"):
        _ = blind.test
    keep = {"fields": 0.75, "rows": 0.5, "dims": 0.5, "neurons": 0.5}
    one, two = (
        prune(model, rows, keep, {"rows": "gauss_newton"}, epochs=1) for rows in (data, blind)
    )
    assert one.layout.to_json() == two.layout.to_json()
    for name, array in one.state.items():
        np.testing.assert_array_equal(two.state[name], array)
    scores = [rp.rank_fields(model, rows).scores for rows in (data, blind)]
    np.testing.assert_array_equal(*scores)


MANY = """
import resource, sys, time
import numpy as np, polars as pl, recprune as rp
from recprune.data import Split
from recprune.encoding import Encoder, Rows
from recprune.lookups import Vocabulary
from recprune.models import DeepFM
from recprune.schema import Field, Schema
fields, n = int(sys.argv[1]), 4_000
names = [f"f{i}" for i in range(fields)]
values = dict.fromkeys(names, Vocabulary(("a", "b", "c")))
encoder = Encoder(Schema(tuple(Field(name, "categorical") for name in names), label="y"), values)
codes = np.random.default_rng(0).integers(1, 5, (n, fields)).astype(np.int32)
rows = Rows(codes, np.empty((n, 0), np.float32))
split = Split(rows, (codes[:, 7] > 2).astype(np.float32), encoder, pl.DataFrame({"y": codes[:, 7]}))
model = DeepFM(16, (8,)).begin(split)
state = {k: v.copy() for k, v in model.state.items()}
state["table.f7"][:, 0] = [0, -3, -3, 3, 3]
model = model.with_state(state)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
ranking = rp.rank_fields(model, split)
print(ranking.fields[0])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024)
print(time.process_time() - start, file=sys.stderr)
"""


@pytest.mark.slow
def test_importance_with_3_000_columns_never_ends_or_eats_all_memory() -> None:
    """All embeddings of these rows would take 816 MB, and whole passes for every shuffle hours."""
    run = [sys.executable, "-c", MANY, "3000"]
    told = subprocess.run(run, capture_output=True, text=True, check=True, timeout=120)
    best, peak = told.stdout.split()
    assert best == "f7"
    assert int(peak) < 4_000 * 3_000 * 17 * 4 / 2
