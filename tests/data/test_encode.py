"""Encoding in Polars equals the runtime's encoding, row by row, for any values."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.data.encode import encode_frame
from recprune.data.fit import fit_encoder
from recprune.data.frames import plain
from recprune.data.rules import FieldRule
from recprune.data.vocabulary import fit_vocabulary
from recprune.schema import Field, Schema
from recprune.texts import text

TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "text": (pl.String, st.text(st.characters(exclude_categories=("Cs",)), max_size=4)),
    "whole": (pl.Int64, st.integers(-(2**62), 2**62) | st.integers(-3, 3)),
    "float": (pl.Float64, st.floats(allow_nan=True) | st.sampled_from([0.0, -0.0, 3.0, 0.1])),
    "short": (pl.Float32, st.floats(width=32) | st.sampled_from([1.0, 2.5])),
    "flag": (pl.Boolean, st.booleans()),
}
NUMERIC = ("whole", "float", "short", "flag")
SCHEMA = Schema(
    (
        *(Field(name, "categorical") for name in TYPES),
        *(Field(f"{name} number", "numeric") for name in NUMERIC),
    ),
    label="y",
)


@st.composite
def tables(draw: st.DrawFn, rows: int) -> pl.DataFrame:
    columns = []
    for name, (dtype, values) in TYPES.items():
        column = draw(st.lists(values | st.none(), min_size=rows, max_size=rows))
        columns.append(pl.Series(name, column, dtype=dtype))
    numbers = [c.alias(f"{c.name} number") for c in columns if c.name in NUMERIC]
    return plain(pl.DataFrame([*columns, *numbers]))


@settings(max_examples=30)
@given(tables(12), tables(7), st.integers(1, 3))
def test_frames_encode_as_rows_do(train: pl.DataFrame, test: pl.DataFrame, least: int) -> None:
    encoder, dropped = fit_encoder(train, SCHEMA, dict.fromkeys(TYPES, FieldRule(least)))
    assert {f.column for f in dropped} | set(encoder.schema.names) == set(SCHEMA.names)
    for frame in (train, test):
        expected = encoder.encode({n: frame[n].to_list() for n in encoder.schema.names})
        rows = encode_frame(encoder, frame)
        assert np.array_equal(rows.codes, expected.codes)
        assert np.array_equal(rows.shares, expected.shares)
        assert (rows.codes < np.array(encoder.sizes)).all()


@given(st.lists(st.none() | st.integers(0, 5), max_size=30), st.integers(1, 4))
def test_vocabulary_order_is_count_then_value(values: list[int | None], least: int) -> None:
    found = fit_vocabulary(pl.Series(values, dtype=pl.Int64), least).values
    counts = {text(v): values.count(v) for v in set(values)}
    assert set(found) == {v for v, c in counts.items() if c >= least}
    order = [(-counts[v], v is None, v or "") for v in found]
    assert order == sorted(order)


def test_an_absent_column_counts_as_missing() -> None:
    frame = pl.DataFrame({"c": ["a", None, "a"], "x": [1.0, 2.0, 3.0]})
    schema = Schema((Field("c", "categorical"), Field("x", "numeric")), label="y")
    encoder, _ = fit_encoder(frame, schema)
    rows = encode_frame(encoder, pl.DataFrame({"other": [0, 0]}))
    assert np.array_equal(rows.codes, encoder.encode({"c": [None] * 2, "x": [None] * 2}).codes)
    assert rows.codes[0].tolist() == [3, 1]
