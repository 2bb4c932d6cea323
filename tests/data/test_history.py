"""Histories and negatives against plain-Python oracles; the future changes nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.history import History
from recprune.data.negatives import Drawn, Negatives, sample_negatives
from recprune.errors import DataError

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["u", "v", "w"]),
        st.integers(0, 4) | st.none(),
        st.sampled_from(["a", "b", None]),
        st.integers(0, 20),
    ),
    max_size=25,
)
DTYPES = {"user": pl.String, "item": pl.Int64, "kind": pl.String, "time": pl.Float64}
BY = ("item", "kind")


def frame(rows: list[tuple[str, int | None, str | None, int]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=DTYPES, orient="row", strict=False)


def oracle(
    rows: list[tuple[str, int | None, str | None, int]], by: int, until: int
) -> dict[tuple[str, object], list[int]]:
    met: dict[tuple[str, object], list[int]] = {}
    for row in rows:
        if row[3] <= until and row[by] is not None:
            met.setdefault((row[0], row[by]), []).append(row[3])
    return met


@given(EVENTS, EVENTS, st.integers(-1, 21))
def test_columns_are_counts_and_times_since(
    rows: list[tuple[str, int | None, str | None, int]],
    pairs: list[tuple[str, int | None, str | None, int]],
    until: int,
) -> None:
    history = History(frame(rows), "user", "time", BY)
    columns = history.columns(frame(pairs), until)
    for by, place in (("item", 1), ("kind", 2)):
        met = oracle(rows, place, until)
        for pair, count, recency in zip(
            pairs, columns[f"count_by_{by}"], columns[f"recency_by_{by}"], strict=True
        ):
            times = met.get((pair[0], pair[place]), [])
            assert count == len(times)
            assert recency == (until - max(times) if times else None)


@given(EVENTS, EVENTS, st.integers(0, 20))
def test_later_events_change_nothing(
    rows: list[tuple[str, int | None, str | None, int]],
    pairs: list[tuple[str, int | None, str | None, int]],
    until: int,
) -> None:
    past = [r for r in rows if r[3] <= until]
    asked = frame(pairs)
    everything = History(frame(rows), "user", "time", BY).columns(asked, until)
    assert everything.equals(History(frame(past), "user", "time", BY).columns(asked, until))


@given(EVENTS, st.integers(0, 20))
def test_tables_say_what_columns_say(
    rows: list[tuple[str, int | None, str | None, int]], until: int
) -> None:
    history = History(frame(rows), "user", "time", BY)
    users = pl.Series(["v", "u", "stranger"])
    values = {"item": pl.Series([3, 1, 0, None, 3]), "kind": pl.Series(["b", "a", None, "z", "a"])}
    for by, table in history.tables(users, values, until).items():
        known = values[by].drop_nulls().unique().sort()
        assert table.values == tuple(str(v) for v in known)
        pairs = pl.DataFrame({"user": users}).join(known.to_frame(by), how="cross")
        other = next(b for b in BY if b != by)
        pairs = pairs.with_columns(pl.Series(other, [None] * len(pairs), dtype=DTYPES[other]))
        columns = history.columns(pairs, until)
        for i, row in enumerate(pairs.iter_rows(named=True)):
            keys, numbers = table.of_user(users.to_list().index(row["user"]))
            at = np.flatnonzero(keys == table.values.index(str(row[by])))
            for name in (f"count_by_{by}", f"recency_by_{by}"):
                expected = columns[name][i]
                found = float(numbers[name][at[0]]) if len(at) else table.default(name)
                assert (expected is None and math.isnan(found)) or expected == found


def test_a_missing_event_column_is_named() -> None:
    with pytest.raises(DataError, match="no column 'when'"):
        History(frame([]), "user", "when", BY)


def sample(users: Any, items: Any, popularity: Any, how: Negatives, seed: int = 0) -> Drawn:
    return sample_negatives(users, items, popularity, how, np.random.default_rng(seed))


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=20),
    st.lists(st.integers(0, 5), min_size=10, max_size=10).filter(any),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_negatives_are_never_positives(
    pairs: list[tuple[int, int]], popularity: list[int], each: int, seed: int
) -> None:
    users, items = np.array(pairs).T
    weight = np.array(popularity, float)
    found = sample(users, items, weight, Negatives(each), seed)
    drawn = list(zip(found.users.tolist(), found.items.tolist(), strict=True))
    assert drawn == sorted(set(drawn))
    assert not set(drawn) & set(pairs)
    unobserved = 0
    for user in {u for u, _ in pairs}:
        own = {i for u, i in pairs if u == user}
        free = sum(w > 0 and i not in own for i, w in enumerate(popularity))
        assert sum(u == user for u, _ in drawn) == min(each * len(own), free)
        unobserved += free
    assert found.unobserved == unobserved
    assert all(popularity[i] for _, i in drawn)


def test_negatives_follow_popularity_to_the_power() -> None:
    users = np.arange(40_000)
    weight = np.array([1.0, 16.0, 81.0, 0.0])
    items = sample(users, np.full(40_000, 3), weight, Negatives(1)).items
    shares = np.bincount(items, minlength=4) / len(items)
    assert shares == pytest.approx(np.array([1, 8, 27, 0]) / 36, abs=0.01)


def test_negatives_repeat_with_their_seed() -> None:
    users, items = np.arange(100) % 7, np.arange(100) % 50
    first, again, other = (
        sample(users, items, np.arange(1.0, 201), Negatives(3), s) for s in (1, 1, 2)
    )
    assert np.array_equal(first.items, again.items)
    assert not np.array_equal(first.items, other.items)


@pytest.mark.parametrize("weight", [[0.0, 0.0], [1.0, -1.0], [1.0, float("nan")]])
def test_negatives_refuse_bad_popularity(weight: list[float]) -> None:
    with pytest.raises(DataError, match="Popularity"):
        sample(np.array([0]), np.array([0]), np.array(weight), Negatives(1))
