"""Fewer bits on top of any plan: every ranker, every encoding, and rows by their use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load

import recprune as rp
from recprune.artifact import read_artifact, stored_size, stored_weights
from recprune.data import Dataset
from recprune.errors import ParameterError, PlanError
from recprune.layout import Plan
from recprune.models import DeepFM, Hidden, Ranker, Training
from recprune.models.loading import ranker_of
from recprune.models.step import tensors
from recprune.pruning import BITS, cut, encode, encoding_plan
from recprune.pruning.encode import _runs
from recprune.runtime import Scorer
from tests.planted import small_data
from tests.runtime.test_torch import CLASSES, OPTIONS, data, halved, randomised

__all__ = ["data"]  # a fixture

#: From the widest to the narrowest.
WIDTHS = ["fp32", "fp16", "int8", "int8_row", "int4_row"]


@pytest.mark.parametrize("name, options", OPTIONS, ids=str)
def test_every_ranker_in_every_encoding_answers_as_rounded(
    name: str, options: dict[str, Any], data: Dataset, tmp_path: Path
) -> None:
    fitted = CLASSES[name](training=Training(epochs=0), **options).fit(data.train)
    whole = randomised(fitted, 0)
    small = whole.apply(halved(whole, 0))
    for bits, (tables, layers) in BITS.items():
        model = encode(small, tables, layers, data.train)
        size = model.save(tmp_path / bits)
        assert size == stored_size(model.artifact())
        read = read_artifact(tmp_path / bits)
        assert stored_weights(read) == stored_weights(model.artifact())
        again = encode(ranker_of(read), tables, layers, data.train)
        assert stored_weights(again.artifact()) == stored_weights(read)
        rows, scorer = model.aligned(data.test).rows, Scorer(read)
        torch = model.net(*tensors(rows)).detach().numpy().reshape(len(rows), -1)
        ours = np.stack([scorer.logits(rows, label=t) for t in scorer.labels], axis=1)
        most = 1e-5 * max(1, np.abs(torch).max())
        np.testing.assert_allclose(ours, torch, atol=most, rtol=0)
        # It compares the file's answers with the scorer's, and raises where they differ.
        assert rp.export_onnx(read, tmp_path / f"{bits}.onnx").difference <= 1e-5


# ---- rows by their use


@pytest.fixture(scope="module")
def planted() -> Dataset:
    return small_data()


@pytest.fixture(scope="module")
def model(planted: Dataset) -> Ranker:
    return DeepFM(4, (6,), training=Training(epochs=1)).fit(planted.train, planted.tune)


@given(
    counts=st.lists(st.integers(0, 50), min_size=2, max_size=12),
    shares=st.lists(st.floats(0.05, 1), min_size=1, max_size=3, unique=True),
    ordered=st.booleans(),
)
def test_no_row_has_fewer_bits_than_its_use_asks_for(
    counts: list[int], shares: list[float], ordered: bool
) -> None:
    counts = [0, *counts[:1], *sorted(counts[1:], reverse=True)] if ordered else [0, *counts]
    tiers: Any = dict(zip(WIDTHS, sorted(shares), strict=False))
    got = _runs(np.array(counts, float), tiers, np.arange(len(counts), dtype=np.int32))
    runs = [(0, got)] if isinstance(got, str) else list(got)
    assert len(runs) <= len(tiers)
    for row, count in enumerate(counts):
        width = next(name for start, name in reversed(runs) if start <= row)
        before = sum(c for c in counts if c > count) / max(sum(counts), 1)
        fits = [name for name, share in tiers.items() if before < share]
        asked = fits[0] if fits else list(tiers)[-1]
        assert WIDTHS.index(width) <= WIDTHS.index(asked)
        if ordered and row > 1:
            assert width == asked


def test_counts_are_thresholds_too(model: Ranker, planted: Dataset) -> None:
    field = model.encoder.schema.names.index("shape")
    uses = np.bincount(planted.train.rows.codes[:, field], minlength=model.encoder.sizes[field])
    many, some = int(uses[4]), int(uses[8])
    assert many > some > uses[-1]
    tiers: Any = {"fp16": many, "int8_row": some, "int4_row": 0}
    runs: Any = encode(model, tables=tiers, rows=planted.train).plan.encoding["table.shape"]
    for row in range(2, len(uses)):
        wanted = "fp16" if uses[row] >= many else "int8_row" if uses[row] >= some else "int4_row"
        assert next(name for start, name in reversed(runs) if start <= row) == wanted


def test_rows_keep_their_bits_when_others_are_cut(model: Ranker, planted: Dataset) -> None:
    mixed = encode(model, {"fp16": 0.3, "int8_row": 0.6, "int4_row": 1.0}, rows=planted.train)
    runs: Any = mixed.plan.encoding["table.shape"]
    assert len(runs) > 1
    small = cut(mixed, planted.train, {"rows": 12}, {"rows": "random"})
    assert small.plan.encoding["table.shape"] == runs
    units = small.layout.axes["rows.shape"].units
    own = small.plan.encodings(small.layout)["table.shape"]
    local = [(0, own)] if isinstance(own, str) else list(own)
    for position, unit in enumerate(units.tolist()):
        now = next(name for start, name in reversed(local) if start <= position)
        assert now == next(name for start, name in reversed(runs) if start <= unit)
    stored = load(stored_weights(small.artifact()))
    assert small.plan.predicted_bytes(model.layout) == sum(a.nbytes for a in stored.values())


def test_a_table_of_one_column_has_no_scale_a_row(planted: Dataset) -> None:
    rows = planted.train
    linear = rp.LR(training=Training(epochs=0)).fit(rows)
    for tables in ("int8_row", "int4_row", "mixed"):
        plan = encoding_plan(linear, tables, None, rows)
        assert set(plan.encoding.values()) == {"int8"}
    for widest in ("fp32", "fp16"):
        plan = encoding_plan(linear, {widest: 0.5, "int8_row": 0.8, "int4_row": 1.0}, None, rows)
        runs: Any = plan.encoding["table.shape"]
        assert [name for _, name in runs] == [widest, "int8"]
    assert set(encoding_plan(linear, {"fp16": 1.0}, None, rows).encoding.values()) == {"fp16"}
    assert not encoding_plan(linear, {"fp32": 1.0}, None, rows).encoding


def test_the_last_tier_takes_what_is_left(model: Ranker, planted: Dataset) -> None:
    tables = encoding_plan(model, {"fp16": 0.01}, None, planted.train).encoding
    assert set(tables.values()) == {"fp16"}


def test_batch_norm_stays_as_it_is(planted: Dataset) -> None:
    hidden = Hidden((6,), batch_norm=True)
    fitted = DeepFM(4, hidden, training=Training(epochs=0)).fit(planted.train)
    before = Plan(fitted.layout.hash, {}, {"mlp.0.norm.weight": "fp16"})
    fitted.plan = before  # as older artefacts have it
    for _, layers in BITS.values():
        plan = encode(fitted, None, layers).plan
        assert not [name for name in plan.encoding if ".norm." in name or name.endswith("bias")]
        assert layers == "fp32" or plan.encoding["mlp.0.weight"] == layers


def test_the_defaults_are_those_that_the_command_calls_int8(model: Ranker) -> None:
    assert encoding_plan(model).encoding == encoding_plan(model, *BITS["int8"]).encoding


def test_fp32_takes_encodings_back(model: Ranker) -> None:
    assert encode(encode(model, "int4_row", "int8_row"), "fp32", None).plan.encoding == {
        name: "int8_row" for name in model.layout.shapes if name.endswith(".weight")
    }


def test_plans_show_how_tensors_are_stored(model: Ranker, planted: Dataset) -> None:
    plan = encode(model, {"fp16": 0.3, "int4_row": 1.0}, "int8_row", planted.train).plan
    plan = plan | Plan(plan.layout_hash, {"neurons.0": np.arange(3, dtype=np.int32)})
    text = plan.to_text(model.layout)
    assert "stored as int8_row: mlp.0.weight, mlp.out.weight" in text
    start = plan.encoding["table.shape"][1][0]
    assert f"stored as fp16 to row {int(start) - 1}, then int4_row: " in text
    (record,) = plan.summary(model.layout)
    assert record["encoding"] == {"mlp.0.weight": "int8_row", "mlp.out.weight": "int8_row"}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"tables": "int4"}, r"'tables' parameter of encode must be one of fp32.*int4_row, mixed"),
        ({"layers": "mixed"}, r"'layers' parameter of encode must be one of fp32.*int4_row, or"),
        ({"tables": "mixed"}, "'rows' parameter of encode must be"),
        ({"tables": {"int5": 0.5}}, r"'tables' parameter of encode must be encodings \(fp32"),
        ({"tables": {"int8_row": 1.5}}, r"share of uses in \(0, 1\] or a count"),
        ({"tables": {"int8_row": True}}, r"share of uses in \(0, 1\] or a count"),
        ({"tables": {}}, "at least one tier"),
        ({"tables": {"int8_row": 0.8, "fp16": 1.0}}, r"tiers from the widest \(fp32, fp16, int8"),
    ],
)
def test_what_is_no_encoding_is_an_error_that_names_those_that_are(
    model: Ranker, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        encode(model, **options)


def test_runs_need_rows_that_are_units_of_one_axis(model: Ranker) -> None:
    plan = Plan(model.layout.hash, {}, {"mlp.out.weight": ((0, "fp16"), (1, "int8"))})
    with pytest.raises(PlanError, match=r"'mlp.out.weight' by runs of rows, but its rows are no"):
        plan.predicted_bytes(model.layout)
