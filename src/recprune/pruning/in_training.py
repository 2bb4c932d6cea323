"""Rows that come and go while the model is trained: no table is ever as large as the vocabulary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recprune.data import Dataset, Split
from recprune.errors import ParameterError
from recprune.lookups import FIRST
from recprune.models import Ranker, train
from recprune.models.admission import Admission
from recprune.models.batches import Order, in_windows, shuffled
from recprune.models.frequency import count_values
from recprune.models.held_out import held_out_score
from recprune.models.retrieval import Retriever
from recprune.models.trainer import PREDICT_BLOCK
from recprune.pruning.planning import unit_count

__all__ = ["in_training"]

Array = NDArray[np.int32]

#: Epochs after which a use counts half where values come and go.
HALF_LIFE = 0.05


def in_training(
    model: Ranker,
    data: Dataset,
    rows: float | int | None = None,
    *,
    table_bytes: int | None = None,
    half_life: float | None = None,
    renewals: int = 20,
    order: Literal["shuffled", "time"] = "shuffled",
) -> Ranker:
    """Train a ranker from the start with fewer table rows than values: ITEP, as TorchRec has it.

    Uses of values are counted and decay; at intervals the least used values are evicted, the most
    used admitted, and a value may come back. A row that changes hands starts anew, and so does what
    the optimiser keeps of it; the others keep all. A value without a row reads its field's unknown
    row. So tables, moments and means take the budget's memory from the first step to the
    last; what is kept of every value is 20 bytes.

    How many rows a field has is settled by how often its values occur in the training rows, all
    fields' values together by count, as a plan by ``activity`` would choose; within a field, values
    compete as training goes on. So a field of few values keeps them all, and no tensor is rebuilt.

    Args:
        model: says class, options, training and seed; fitted or not, and unchanged.
        data: a split data set.
        rows: of all values that could be cut, the share that has a row (float), or how many (int).
        table_bytes: instead of ``rows``: most bytes of all tables in fp32, those of knots, vectors
            and unknown values included. Training holds four times that.
        half_life: epochs after which a use counts half; None = 0.05 in order of time, else infinity:
            all count alike.
        renewals: an epoch, about; the first come sooner.
        order: in which an epoch reads the training rows: ``"shuffled"``, or by ``"time"``, shuffled
            between two renewals only, so that values of the past make room for those of late.

    Returns:
        An ordinary smaller ranker; ``.plan`` says which rows it holds of all.

    Raises:
        ParameterError: an option out of range, or a retriever.
    """
    if isinstance(model, Retriever):
        raise ParameterError.of(
            "model", "in_training", "a ranker that learns from all rows", type(model).__name__
        )
    if half_life is None:
        half_life = HALF_LIFE if order == "time" else math.inf
    if not half_life > 0:
        raise ParameterError.of("half_life", "in_training", "a number > 0", half_life)
    if isinstance(renewals, bool) or not isinstance(renewals, int) or renewals < 1:
        raise ParameterError.of("renewals", "in_training", "an int ≥ 1", renewals)
    encoder = data.train.encoder
    part = [encoder.parts[name] for name in encoder.schema.names]
    room = _room(model, data.train, rows, table_bytes)
    first = {
        name: np.arange(FIRST + n, dtype=np.int32)
        for name, lookup, n in zip(encoder.schema.names, part, room, strict=True)
        if lookup.prunable
    }
    n, training = len(data.train), model.training
    interval = math.ceil(math.ceil(n / training.batch_of(n)) / renewals)
    small = model.like().begin(data.train, kept_rows=first)
    admission = Admission(encoder, room, half_life * n, interval, small.seed)
    held: list[list[Array]] = []  # epoch by epoch, as it was scored

    def logits() -> NDArray[np.float32]:
        blocks = data.tune.rows.blocks(PREDICT_BLOCK)
        return np.concatenate([small.logits(admission.look_up(block)) for _, block in blocks])

    def score() -> float:
        held.append([admission.codes(field) for field in range(len(part))])
        return held_out_score(small.metric, data.tune, logits())

    small.history = train(
        small.net,
        data.train.rows,
        small.objective(data.train),
        training,
        score=score,
        seed=small.seed,
        order=_order(data.train, order, renewals),
        admission=admission,
    )
    best = held[training.best_of(small.history).epoch]
    return _settled(small, data.train, dict(zip(encoder.schema.names, best, strict=True)), first)


def _room(
    model: Ranker, rows: Split, wanted: float | int | None, table_bytes: int | None
) -> Sequence[int]:
    """Return how many values of each field have a row: of all values, those that occur most."""
    encoder = rows.encoder
    parts = [encoder.parts[name] for name in encoder.schema.names]
    sizes = [lookup.rows - FIRST for lookup in parts]
    free = [i for i, lookup in enumerate(parts) if lookup.prunable]
    total = sum(sizes[i] for i in free)
    if (wanted is None) == (table_bytes is None):
        raise ParameterError("in_training needs either rows or table_bytes, and not both.")
    if wanted is not None:
        count = unit_count(wanted, total, "rows") if total else 0
    else:
        assert table_bytes is not None
        row = 4 * (int(model.wide) + model.dim)
        fixed = row * (sum(lookup.rows for lookup in parts) - total)
        if isinstance(table_bytes, bool | str) or not table_bytes >= fixed:
            constraint = f"at least {fixed:,}: the rows that cannot be cut"
            raise ParameterError.of("table_bytes", "in_training", constraint, table_bytes)
        count = min(int((table_bytes - fixed) // row), total)
    widths = [lookup.width for lookup in parts]
    uses = count_values(encoder.sizes, widths, rows.rows)
    every = np.concatenate([uses[i][FIRST:] for i in free]) if free else np.empty(0, np.int64)
    field = np.repeat(free, [sizes[i] for i in free])
    most = np.argsort(-every, kind="stable")[:count]
    chosen = np.bincount(field[most].astype(np.int64), minlength=len(parts))
    return [int(chosen[i]) if lookup.prunable else sizes[i] for i, lookup in enumerate(parts)]


def _order(rows: Split, order: str, windows: int) -> Order:
    if order == "shuffled":
        return shuffled
    if order != "time":
        raise ParameterError.of("order", "in_training", "'shuffled' or 'time'", order)
    if rows.extras.time is None:
        raise ParameterError(
            "in_training cannot read rows in order of time: the data set has no time column. Name it "
            "with time=…, or leave order at 'shuffled'."
        )
    return in_windows(np.asarray(rows.extras.time), windows)


def _settled(
    small: Ranker, rows: Split, held: dict[str, Array], mapped: dict[str, Array]
) -> Ranker:
    """Return the ranker with each field's rows in the order of the values that they stand for.

    Args:
        small: as it was trained.
        rows: in the codes of all values.
        held: field → what its rows stand for; −1 = nothing.
        mapped: the fields whose rows do not all stand for themselves.
    """
    state, kept = dict(small.state), {}
    for name in mapped:
        codes = held[name]
        filled = np.flatnonzero(codes >= 0)
        filled = filled[np.argsort(codes[filled])]
        kept[name], table = codes[filled], f"table.{name}"
        state[table] = state[table][filled]
    final = small.like().begin(rows, kept_rows=kept)
    final.history = small.history
    return final.with_state(state)
