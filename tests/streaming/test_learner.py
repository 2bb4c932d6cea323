"""Learning from events: against the trainer's step, before labels are seen, and after a stop."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from recprune.data.encode import encode_frame
from recprune.errors import InputError, ParameterError
from recprune.lookups import UNKNOWN
from recprune.metrics import auc
from recprune.models import (
    DLRM,
    LR,
    DCNv2,
    DeepFM,
    SharedBottom,
    ranker_of,
)
from recprune.models.layers import Hidden
from recprune.models.step import tensors
from recprune.streaming.adagrad import BEGUN
from recprune.streaming.learner import Learner
from tests.streaming.world import COLUMNS, frame_of, label_of, reference, trained

MODELS: list[tuple[type, dict[str, Any]]] = [
    (LR, {}),
    (DeepFM, {"dim": 3, "hidden": (8,)}),
    (DCNv2, {"dim": 2, "hidden": (4,), "crosses": 1}),
    (DLRM, {"dim": 2, "hidden": (4,), "bottom": (3,)}),
]
ALL = pytest.mark.parametrize(
    ("model", "options"), MODELS, ids=lambda m: getattr(m, "__name__", "")
)
BYTES = "200 kB"


@ALL
def test_a_step_is_torchs(model: type, options: dict[str, Any]) -> None:
    """Of the network as training has it: Adagrad on the table, Adam on the rest."""
    given = reference(model, **options)
    frame = frame_of(300, 5)
    label = label_of(frame)
    learner = Learner(given, bytes=BYTES, batch=100, learning_rate=1e-3)
    learner.learn(learner.encode(frame), label)

    ranker = ranker_of(given)
    rows, net = encode_frame(given.encoder, frame), ranker.net
    first_order = model is LR
    table = [net.table, net.bias] if first_order else [net.table]
    rate = 0.1 if first_order else 0.05
    adagrad = torch.optim.Adagrad(table, lr=rate, initial_accumulator_value=1.0, eps=0)
    dense = [] if first_order else [torch.optim.Adam(net.dense_parameters(), 1e-3)]
    for start in range(0, 300, 100):
        codes, shares = tensors(rows[start : start + 100])
        net.zero_grad()
        own = torch.from_numpy(label[start : start + 100])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(codes, shares), own)
        loss.backward()
        for parameter in table:
            parameter.grad *= 100
        for optimiser in (adagrad, *dense):
            optimiser.step()
    learned = learner.artifact(given)
    assert learned.encoder.sizes == given.encoder.sizes  # no value was new
    for name, expected in ranker.state.items():
        np.testing.assert_allclose(learned.state[name], expected, atol=2e-6, err_msg=name)


@ALL
def test_logits_do_not_know_the_labels_of_their_own_batch(model: type, options: Any) -> None:
    given, frame = reference(model, **options), frame_of(300, 6)

    def logits(label: np.ndarray) -> np.ndarray:
        learner = Learner(given, bytes=BYTES, batch=100, learning_rate=1e-3)
        return learner.learn(learner.encode(frame), label)

    label = label_of(frame)
    other = np.concatenate([label[:100], 1 - label[100:]])
    assert logits(label)[:200].tobytes() == logits(other)[:200].tobytes()
    assert np.abs(logits(label)[200:] - logits(other)[200:]).max() > 1e-3


def test_what_is_new_is_learned() -> None:
    """Ids of which the reference knows none: a stream learns what a first model cannot."""
    given = reference(LR)
    learner, out, labels = Learner(given, bytes=BYTES, batch=50, learning_rate=2e-3), [], []
    for chunk in range(12):
        frame = frame_of(2_000, 20 + chunk, first=1000)
        labels.append(label_of(frame))
        out.append(learner.learn(learner.encode(frame), labels[-1]))
    late = slice(6, None)
    known = learner.encode(frame).rows[:, 1] != learner.rows.starts[1] + UNKNOWN
    assert known.all()
    scored = auc(np.concatenate(labels[late]), np.concatenate(out[late]))
    first = ranker_of(given).logits(encode_frame(given.encoder, frame))
    assert scored > auc(labels[-1], first) + 0.03


def test_an_admitted_value_begins_as_the_unknown_row() -> None:
    learner = Learner(reference(LR), bytes=BYTES, batch=10)
    frame = frame_of(10, 7).with_columns(pl.lit("newcomer").alias("item"))
    encoded = learner.encode(frame)
    assert encoded.renewed.texts[2].tobytes() == b"newcomer"
    learner.learn(encoded, label_of(frame))
    row, unknown = encoded.renewed.rows[0], learner.rows.starts[1] + UNKNOWN
    table = learner.table
    assert table.weights[row] == table.weights[unknown] != 0
    assert table.optimiser.sums[unknown] > BEGUN == table.optimiser.sums[row]


@pytest.mark.parametrize(
    ("model", "options"),
    [*MODELS[:2], (DeepFM, {"dim": 2, "hidden": Hidden((6,), dropout=0.3, batch_norm=True)})],
    ids=["LR", "DeepFM", "dropout and batch norm"],
)
def test_it_goes_on_from_a_state_as_if_never_stopped(model: type, options: Any) -> None:
    given = reference(model, **options)

    def run(stops: bool) -> tuple[np.ndarray, Learner]:
        learner, out = Learner(given, bytes=60_000, batch=64, half_life=700), []
        for chunk in range(9):
            if stops and chunk in (2, 3, 7):
                rows, learned = learner.rows.state(), learner.state()
                learner = Learner(given, bytes=60_000, batch=64, half_life=700)
                learner.rows.restore(rows)
                learner.restore(learned)
            frame = frame_of(301, chunk, first=40 * chunk)
            out.append(learner.learn(learner.encode(frame), label_of(frame)))
        return np.concatenate(out), learner

    (through, learner), (resumed, other) = run(False), run(True)
    assert learner.rows.used == learner.rows.capacity  # rows changed hands
    assert through.tobytes() == resumed.tobytes()
    mine, theirs = learner.state(), other.state()
    assert {n: a.tobytes() for n, a in mine.items()} == {n: a.tobytes() for n, a in theirs.items()}
    assert learner.events == other.events == 9 * 301


def test_the_other_thread_may_run_ahead() -> None:
    given, frames = reference(LR), [frame_of(400, c, first=50 * c) for c in range(5)]
    turns, ahead = (Learner(given, bytes=60_000, batch=64) for _ in range(2))
    one = [turns.learn(turns.encode(f), label_of(f)) for f in frames]
    encoded = [ahead.encode(f) for f in frames]
    two = [ahead.learn(e, label_of(f)) for e, f in zip(encoded, frames, strict=True)]
    assert np.concatenate(one).tobytes() == np.concatenate(two).tobytes()


def test_a_shuffled_field_moves_alone_and_selected_events_are_theirs() -> None:
    learner, frame = Learner(reference(DeepFM, dim=2, hidden=(4,)), bytes=BYTES), frame_of(200, 8)
    encoded = learner.encode(frame)
    order = np.random.default_rng(0).permutation(200)
    for name in COLUMNS:
        moved = frame.with_columns(frame[name].gather(order))
        expected = learner.score(learner.encode(moved))
        np.testing.assert_array_equal(learner.score(encoded.shuffled(name, order)), expected)
    np.testing.assert_array_equal(learner.score(encoded[order]), learner.score(encoded)[order])


def test_columns_of_other_types_read_as_their_texts() -> None:
    frame = frame_of(50, 9).with_columns(colour=pl.Series(["1", "0"] * 25))
    given = reference(LR)

    def rows(**columns: pl.Series) -> np.ndarray:
        learner = Learner(given, bytes=BYTES, batch=10)
        return learner.encode(frame.with_columns(**columns)).rows

    expected = rows()
    assert len(np.unique(expected[-10:, 2])) == 2  # both were admitted
    numbers = pl.Series([1, 0] * 25)
    for other in (numbers, numbers.cast(pl.Float64), frame["colour"].cast(pl.Categorical)):
        np.testing.assert_array_equal(rows(colour=other), expected)


def test_an_absent_column_is_missing() -> None:
    learner, frame = Learner(reference(LR), bytes=BYTES), frame_of(50, 9)
    null = frame.with_columns(colour=pl.lit(None, pl.String), tags=pl.lit(None, pl.List(pl.String)))
    null = null.with_columns(
        size=pl.lit(None, pl.Float64), vector=pl.lit(None, frame["vector"].dtype)
    )
    absent = learner.encode(frame.drop("colour", "tags", "size", "vector"))
    np.testing.assert_array_equal(learner.encode(null).rows, absent.rows)
    np.testing.assert_array_equal(learner.encode(null).shares, absent.shares)


def test_lists_read_as_the_encoder_reads_them() -> None:
    given = reference(LR, ("tags", "size"))
    lists = [
        ["t1", None, "t2", ""],
        [],
        None,
        ["t3"] * 9,
        [""],
        ["never"],
        ["t1", "t2", "t3", "t4"],
    ]
    frame = pl.DataFrame({"tags": lists, "size": [0.5] * len(lists)})
    learner = Learner(given, bytes=BYTES)
    logits = learner.score(learner.encode(frame))
    rows = given.encoder.encode({"tags": lists, "size": [0.5] * len(lists)})
    np.testing.assert_allclose(logits, ranker_of(given).logits(rows), atol=1e-6)


def test_no_events_are_no_trouble() -> None:
    learner, frame = Learner(reference(DeepFM, dim=2, hidden=(4,)), bytes=BYTES), frame_of(5)[:0]
    assert learner.learn(learner.encode(frame), label_of(frame)).shape == (0,)
    assert learner.events == 0


def test_wrong_arguments_are_named() -> None:
    given = reference(LR)
    with pytest.raises(ParameterError, match="bytes"):
        Learner(given, bytes=1_000)
    with pytest.raises(ParameterError, match="half_life"):
        Learner(given, bytes=BYTES, half_life=0)
    with pytest.raises(ParameterError, match="learning_rate"):
        Learner(given, bytes=BYTES, learning_rate=2.0)
    learner, frame = Learner(given, bytes=BYTES), frame_of(10)
    with pytest.raises(ParameterError, match="label"):
        learner.learn(learner.encode(frame), label_of(frame)[:9])
    with pytest.raises(InputError, match="one label"):
        Learner(trained(SharedBottom(dim=2, hidden=(4,), own=(2,))).artifact(), bytes=BYTES)
