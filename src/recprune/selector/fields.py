"""Importance of columns as fields: a recommender's own methods, on any table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data import Dataset, Split
from recprune.data.fit import fit_encoder
from recprune.data.parts import encoded
from recprune.encoding import Encoder
from recprune.evaluation import choose_fields
from recprune.importance import Evidence, FieldRanking, Scores, importance
from recprune.models import Ranker
from recprune.schema import Schema
from recprune.selector.columns import ranked
from recprune.selector.judging import Judge

__all__ = ["FieldRows", "column_scores", "smallest_fields"]


@dataclass(frozen=True, eq=False)
class FieldRows:
    """A table read as a recommender's: encoded rows of each part.

    Args:
        train: rows to learn from; vocabularies and knots come from them alone.
        tune: rows to score on.
        gate: rows that neither trained nor ranked; None where no set is to be found by itself.
    """

    train: Split
    tune: Split
    gate: Split | None

    @classmethod
    def of(cls, frame: pl.DataFrame, judge: Judge, parts: Sequence[NDArray[np.int64]]) -> FieldRows:
        """Read a frame whose rows have the truth of ``judge``, two classes.

        Raises:
            DataError: fewer than 30 rows, no usable column, columns of e-mail addresses, phone or
                card numbers.
        """
        label, weight = _free("label", frame), _free("weight", frame)
        frame = frame.with_columns(pl.Series(label, judge.y.astype(np.int8)))
        schema: dict[str, Any] = {"label": label}
        if judge.weight is not None:
            frame = frame.with_columns(pl.Series(weight, judge.weight.astype(np.float64)))
            schema["weight"] = weight
        table = Dataset.from_frame(frame, schema=schema).whole_table
        encoder, _ = fit_encoder(table.frame[parts[0]], table.schema, table.rules)
        whole = encoded(table, encoder, None, None)
        if judge.groups is not None:
            whole = replace(whole, users=np.unique(judge.groups, return_inverse=True)[1].ravel())
        train, tune, *rest = (whole.take(at) for at in parts)
        return cls(train, tune, rest[0] if rest else None)

    @property
    def encoder(self) -> Encoder:
        """Of the fields; a column without use has none, one of dates several."""
        return self.train.encoder

    def rank(self, model: Ranker | None, method: str, seed: int) -> FieldRanking:
        """Return the fields' ranking by any of :data:`recprune.importance.METHODS`."""
        scores = importance(model, Evidence(self.train, self.tune), "fields", method, seed)
        return ranked(
            self.encoder.schema.names if model is None else model.encoder.schema.names,
            scores,
            method,
        )


def column_scores(ranking: FieldRanking, schema: Schema, names: Sequence[str]) -> Scores:
    """Return the columns' scores: that of the best field that is read from each, and minus
    infinity where there is none (a constant or empty column)."""
    score, std = np.full(len(names), -np.inf), np.zeros(len(names))
    place = {name: i for i, name in enumerate(names)}
    for name, own, error in zip(ranking.fields, ranking.scores, ranking.std, strict=True):
        i = place[schema[name].of or name]
        if own > score[i]:
            score[i], std[i] = own, error
    return Scores(score, std)


def smallest_fields(
    model: Ranker,
    ranking: FieldRanking,
    rows: FieldRows,
    tolerance: float,
    protect: Sequence[str],
) -> tuple[str, ...]:
    """Return the columns of the smallest set of fields that holds the promise on the gate rows;
    see :func:`recprune.evaluation.choose_fields`."""
    assert rows.gate is not None
    schema = rows.encoder.schema
    stay = tuple(f.name for f in schema.fields if (f.of or f.name) in protect)
    kept = choose_fields(model, ranking, rows.train, rows.tune, rows.gate, tolerance, stay)
    return tuple(dict.fromkeys((*(schema[f].of or f for f in kept), *protect)))


def _free(name: str, frame: pl.DataFrame) -> str:
    while name in frame.columns:
        name += "_"
    return name
