"""Requests of any kind, very many: a score, or an error that names the field."""

from __future__ import annotations

import datetime
import decimal
import fractions
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from recprune._support import stream
from recprune.errors import DataError, InputError, ParameterError
from recprune.runtime import Scorer

from .drafts import MODELS, random_model
from .factory import (
    KINDS,
    MIXED,
    plain_schema,
    random_artifact,
    random_encoder,
    random_shop,
)
from .test_broken import MADE

#: What may stand for one value. A surrogate has no UTF-8; 10⁴⁰⁰ has no float.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 7, 10**400, -(10**400), 1 << 64, 0.5, -0.0, 1e300, -1e300, 5e-324,
    float("nan"), float("inf"), float("-inf"), "", " ", "1", "1.5", "nan", "1e999", "new", "x" * 5000,
    "\ud800", "\x00", "é", b"", b"1", bytearray(b"1"), 1j, ..., object(), int, [], [1], [None, "1"],
    ["1", ["2"]], [[1.0, 2.0, 3.0]], [1.0, 2.0, 3.0], [1.0, "x", None], (1, 2, 3), [1e308] * 3, {},
    {"1": 2}, {"1": "x"}, {None: 1}, set(), frozenset({1}), range(3), decimal.Decimal("1.5"),
    decimal.Decimal("sNaN"), fractions.Fraction(1, 3), datetime.date(2024, 1, 1),
    datetime.datetime(2024, 1, 1), datetime.timedelta(1), datetime.time(1), np.float32(3),
    np.float16("nan"), np.int8(-1), np.uint64(1 << 63), np.bool_(True), np.str_("1"), np.bytes_("1"),
    np.datetime64("2020-01-01"), np.datetime64("NaT"), np.timedelta64(1, "D"), np.array(1.0),
    np.array([1.0, 2.0, 3.0]), np.array([]), np.zeros((2, 2)), np.array(["1", None], object),
    np.complex64(1), np.ma.masked, pd.NA, pd.NaT, pd.Timestamp("2024-01-01"), pd.Interval(0, 1),
    pl.Series([1.0, 2.0, 3.0]), pd.Series([1.0, 2.0, 3.0]),
)  # fmt: skip
#: What may stand for a whole column.
COLUMNS: tuple[Any, ...] = (
    np.array([1, 2], np.uint8), np.array([1.0, np.nan]), np.array(["a", "1"]), np.zeros((2, 2)),
    np.zeros((2, 3)), np.zeros((2, 0)), np.zeros(0), np.zeros((0, 3)), np.array(3.0),
    np.array([1j, 2j]), np.array([None, 1], object), np.array([b"a", b"b"]),
    np.array(["2024-01-01", "NaT"], "datetime64[D]"), np.array([True, False]),
    np.ma.masked_array([1.0, 2.0], [True, False]), np.array([(1, 2.0)] * 2, "i4,f8"),
    pd.Series([1.5, None]), pd.Series(["a", None]), pd.Series(["a", "b"], dtype="category"),
    pd.Series([1, None], dtype="Int64"), pd.Index([1, 2]), pd.Series(dtype=float),
    pl.Series([1.5, None]), pl.Series(["x", None]), pl.Series([[1.0], None]),
    pl.Series([[1.0, 2.0, 3.0], None]), pl.Series([datetime.date(2024, 1, 1), None]),
    range(2), "ab", b"ab", memoryview(b"ab"), {"a": 1, "b": 2}, iter([1, 2]), 3, None,
)  # fmt: skip

SCORERS = {
    "plain": Scorer(random_artifact(random_encoder(plain_schema(6, 3), 0), KINDS[2], 0)),
    "mixed": Scorer(random_model(random_encoder(MIXED, 0), MODELS["mlp_norm"], 0)),
    "hashed": Scorer(MADE["hashed"]),
}
RANKERS = {
    "shop": Scorer(random_shop(KINDS[2], 0).artifact),
    "towers": Scorer(random_shop(MODELS["towers"], 0).artifact),
}


def any_of(draws: np.random.Generator, choices: tuple[Any, ...]) -> Any:
    return choices[int(draws.integers(len(choices)))]


def any_columns(draws: np.random.Generator, names: tuple[str, ...]) -> dict[Any, Any]:
    """Return columns of a few rows: mostly lists of values, mostly of one length."""
    n, columns = int(draws.integers(0, 4)), dict[Any, Any]()
    sane = draws.random() < 0.6
    for name in (*names, "other", 3):
        if draws.random() < 0.4:
            continue
        if not sane and draws.random() < 0.2:
            columns[name] = any_of(draws, COLUMNS)
            continue
        few = n if sane or draws.random() < 0.9 else int(draws.integers(0, 4))
        usual = (None, 0.5, "1", "2", float("nan"), 10**20, [1.0, 2.0, 3.0], "2024-01-01")
        choices = usual if sane or draws.random() < 0.5 else VALUES
        columns[name] = [any_of(draws, choices) for _ in range(few)]
    return columns


def answered(ask: Callable[[], Any], names: tuple[str, ...], request: Any) -> Any:
    """Return the answer; or None, if it was an error that names a field or what was wrong."""
    try:
        return ask()
    except InputError as error:
        message = str(error)
        assert any(repr(name) in message for name in names), (request, message)
        return None


def scored(scorer: Scorer, seeds: range) -> int:
    """Score one request a seed; return how many were answered."""
    names, answers = scorer._request.columns, 0
    for seed in seeds:
        request = any_columns(stream(seed, "request"), names)
        try:
            scores = answered(lambda r=request: scorer.score(r), (*names, "other", "3"), request)
        except (AssertionError, Exception) as error:
            raise AssertionError(f"seed {seed}: {error!r} of {request!r}") from error
        if scores is not None:
            answers += 1
            assert scores.ndim == 1, request
            assert ((scores >= 0) & (scores <= 1)).all(), request
    return answers


def ranked(scorer: Scorer, seeds: range) -> int:
    """Recommend for one record a seed; return how many were answered."""
    answers = 0
    for seed in seeds:
        draws = stream(seed, "record")
        names = (*scorer._request.columns, "other")
        record = {n: any_of(draws, VALUES) for n in names if draws.random() < 0.15}
        seen = [any_of(draws, VALUES) for _ in range(3)]
        chosen = None if draws.random() < 0.5 else [any_of(draws, VALUES) for _ in range(3)]
        k = 3 if draws.random() < 0.9 else any_of(draws, VALUES)

        def ask(record: Any = record, seen: Any = seen, chosen: Any = chosen, k: Any = k) -> Any:
            return scorer.recommend(record, k, seen=seen, candidates=chosen, strict=False)

        try:
            best = answered(ask, (*record, "k"), (record, k))
        except (AssertionError, Exception) as error:
            raise AssertionError(f"seed {seed}: {error!r} of {record!r}, {k!r}") from error
        if best is not None:
            answers += 1
            assert len(best.items) == len(best.scores)
            assert ((best.scores >= 0) & (best.scores <= 1)).all()
    return answers


@pytest.mark.parametrize("name", SCORERS)
def test_any_columns_score_or_name_the_field(name: str) -> None:
    assert 40 < scored(SCORERS[name], range(400)) < 400


@pytest.mark.parametrize("name", RANKERS)
def test_any_record_is_answered_or_names_the_field(name: str) -> None:
    assert 40 < ranked(RANKERS[name], range(400)) < 400


@pytest.mark.parametrize(
    "name, columns, message",
    [
        ("mixed", {"picture": [["1", ["2"]]]}, "Field 'picture' is numeric"),
        ("mixed", {"tags": [object(), None]}, "Field 'tags' is a sequence"),
        ("mixed", {"picture": [np.array([1j, 0])]}, "Field 'picture' is numeric.*complex"),
        ("hashed", {"date": ["2024-01-01", None], "when": []}, "'date' has 2 dates for 0 times"),
    ],
)
def test_errors_that_were_foreign_ones(name: str, columns: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        SCORERS[name].score(columns)


@pytest.mark.parametrize("name", SCORERS)
def test_a_masked_value_is_a_missing_one(name: str) -> None:
    scorer = SCORERS[name]
    masked, missing = (
        scorer.score({column: [value, value] for column in scorer._request.columns})
        for value in (np.ma.masked, None)
    )
    assert np.array_equal(masked, missing)


@pytest.mark.parametrize("k", [np.timedelta64(2, "D"), True, 0, 1.0, "3", None])
def test_no_number_of_items_is_refused(k: Any) -> None:
    with pytest.raises(ParameterError, match="'k' parameter of recommend must be a whole number"):
        RANKERS["shop"].recommend({}, k)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SCORERS, *RANKERS])
def test_very_many_requests(name: str) -> None:
    """100,000 in all."""
    seeds = range(1000, 21000)
    count = scored(SCORERS[name], seeds) if name in SCORERS else ranked(RANKERS[name], seeds)
    assert 1000 < count < 20000
