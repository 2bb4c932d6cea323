"""Requests as they come: anything gives a score or an error that names the field."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.errors import DataError, InputError
from recprune.runtime import Scorer
from recprune.runtime.request import RequestEncoder

from .factory import (
    KINDS,
    plain_schema,
    random_artifact,
    random_columns,
    random_encoder,
    random_shop,
)

SCHEMA = plain_schema(6, 3)
SCORER = Scorer(random_artifact(random_encoder(SCHEMA, 0), KINDS[2], 0))
SHOP = random_shop(KINDS[2], 0)
RANKER = Scorer(SHOP.artifact)

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(),
    st.text(max_size=4),
    st.binary(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=1), st.integers(), max_size=1),
    st.just(np.float32(3)),
    st.just(np.datetime64("2020-01-01")),
    st.just(pd.NA),
    st.just(1j),
)
COLUMNS = st.one_of(
    st.lists(VALUES, min_size=2, max_size=2),
    st.lists(st.one_of(st.none(), st.floats()), min_size=2, max_size=2),
    st.lists(VALUES, max_size=3),
    VALUES,
    st.just(np.zeros((2, 2))),
    st.just(np.array(["a", "b"])),
    st.just(np.array([1, 2], np.uint8)),
    st.just(pd.Series([1.5, None])),
    st.just(pl.Series(["x", None])),
)


def _answer(ask: Callable[[], Any]) -> tuple[Any, str]:
    try:
        return ask(), ""
    except InputError as error:
        return None, str(error)


@given(st.dictionaries(st.sampled_from([*SCHEMA.names, "other"]), COLUMNS))
@settings(max_examples=400, deadline=None)
def test_any_columns(columns: dict[str, Any]) -> None:
    scores, message = _answer(lambda: SCORER.score(columns))
    if scores is None:
        assert any(repr(name) in message for name in [*SCHEMA.names, "other"])
        return
    assert scores.ndim == 1
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()


@given(
    st.dictionaries(st.sampled_from([*SHOP.artifact.encoder.schema.names, "other"]), VALUES),
    st.lists(VALUES, max_size=2),
    st.one_of(st.none(), st.lists(VALUES, max_size=3)),
)
@settings(max_examples=300, deadline=None)
def test_any_record(record: dict[str, Any], seen: list[Any], candidates: list[Any] | None) -> None:
    answer, message = _answer(
        lambda: RANKER.recommend(record, 3, seen=seen, candidates=candidates, strict=False)
    )
    if answer is None:
        assert any(repr(name) in message for name in record)
        return
    assert np.isfinite(answer.scores).all()
    assert len(answer.items) == len(answer.scores) <= 3


@pytest.mark.parametrize("seed", range(5))
def test_one_row_is_encoded_like_many(seed: int) -> None:
    encoder = random_encoder(plain_schema(9, 5), seed)
    request = RequestEncoder(encoder)
    columns = random_columns(encoder.schema, 200, seed)
    columns["f0"][:6] = [np.inf, -np.inf, "", "1.5", True, np.nan]
    columns["f2"][: len(encoder.parts["f2"].points)] = encoder.parts["f2"].points.tolist()  # type: ignore[union-attr]
    rows = encoder.encode(columns)
    for i in range(200):
        one = request.table({n: c[i : i + 1] for n, c in columns.items()})
        np.testing.assert_array_equal(one.codes[0], rows.codes[i])
        np.testing.assert_array_equal(one.shares[0], rows.shares[i])
    assert len(request.table({})) == 1


def test_only_kept_fields_are_needed() -> None:
    columns = random_columns(SCHEMA, 4, 1)
    scores = SCORER.score(columns)
    assert SCORER.fields == SCHEMA.names
    np.testing.assert_array_equal(SCORER.score({**columns, "dropped": ["?"]}), scores)
    missing = {**columns, "f1": [None] * 4}
    del columns["f1"]
    np.testing.assert_array_equal(SCORER.score(columns), SCORER.score(missing))
    nothing = {n: [None] * 3 for n in SCHEMA.names}
    np.testing.assert_array_equal(SCORER.score({"dropped": [1, 2, 3]}), SCORER.score(nothing))


def test_frames_are_read_like_mappings() -> None:
    columns = random_columns(SCHEMA, 20, 2)
    expected = SCORER.score(columns)
    for frame in (pd.DataFrame(columns), pl.DataFrame(columns)):
        np.testing.assert_allclose(SCORER.score(frame), expected, atol=1e-6)


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"f0": [1], "f1": ["a", "b"]}, "'f0': 1, 'f1': 2"),
        ({"f0": ["one"]}, "'f0' is numeric"),
        ({"f1": "abc"}, "'f1' must be a list or array"),
        ({"f1": np.zeros((1, 1))}, "'f1' must be one-dimensional"),
        ([1, 2], "must be a mapping"),
    ],
)
def test_errors_name_the_field(columns: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        SCORER.score(columns)


def test_probabilities_do_not_overflow() -> None:
    from recprune.runtime.answers import probability

    got = probability(np.array([-1e30, -100, 0, 100, 1e30], np.float32))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [0, 3.8e-44, 0.5, 1, 1], atol=1e-40)


def test_import_leaves_the_heavy_libraries_out() -> None:
    code = (
        "import sys, recprune.runtime;"
        "print(sorted({m.split('.')[0] for m in sys.modules}"
        " & {'torch', 'polars', 'sklearn', 'scipy', 'pandas', 'numba', 'narwhals', 'rich'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
