"""Any table, any shares, any way to split: what must hold of the parts, or a clear refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.data import Dataset
from recprune.data.split import halves
from recprune.errors import DataError
from recprune.lookups import Vocabulary
from tests.data.test_split import interactions

PARTS = ("train", "valid", "test")


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    """Rows of few or many users and times, with some or few positives."""
    n = draw(st.integers(30, 250))
    draws = np.random.default_rng(draw(st.integers(0, 10**6)))
    users, times = draw(st.sampled_from([3, 20, 10**6])), draw(st.sampled_from([2, 5, 10**6]))
    time = np.sort(draws.integers(0, times, n))
    return pl.DataFrame(
        {
            "number": np.arange(n) + 0.5,
            "user": draws.integers(0, users, n),
            "time": time if draw(st.booleans()) else time[::-1].copy(),
            "word": [f"w{i}" for i in draws.integers(0, 40, n)],
            "y": (draws.random(n) < draw(st.sampled_from([0.05, 0.3, 0.5]))).astype(int),
        }
    )


@given(
    tables(),
    st.sampled_from(["time", "user", "last-n", "last-3", "random", "stratified"]),
    st.sampled_from([(0.15, 0.15), (0.3, 0.3), (0.1, 0.4), (0.49, 0.49)]),
    st.integers(0, 5),
    st.booleans(),
)
def test_what_holds_of_every_split(
    table: pl.DataFrame, by: str, shares: tuple[float, float], seed: int, owned: bool
) -> None:
    user = "user" if owned or by.startswith(("user", "last")) else None
    options: dict[str, Any] = {"label": "y", "user": user, "time": "time"}
    try:
        split = Dataset.from_frame(table, **options).split(by, *shares, seed)
    except DataError as error:
        known = ("both classes", "different values", "one class", "No user has")
        if not any(word in str(error) for word in known):
            raise
        return
    at = {
        part: (getattr(split, part).columns["number"].to_numpy() - 0.5).astype(int)
        for part in (*PARTS, "tune", "gate")
    }
    assert sorted(np.concatenate([at[p] for p in PARTS]).tolist()) == list(range(len(table)))
    assert sorted([*at["tune"], *at["gate"]]) == sorted(at["valid"])
    for part, rows in at.items():
        label = getattr(split, part).label
        assert np.array_equal(label, table["y"].to_numpy()[rows])
        assert 0 < label.sum() < len(label)
    owner, time = table["user"].to_numpy(), table["time"].to_numpy()
    if user is not None:
        assert not set(owner[at["tune"]]) & set(owner[at["gate"]])
    if by == "user":
        groups = [set(owner[at[p]]) for p in PARTS]
        assert len(set.union(*groups)) == sum(map(len, groups))
    elif by == "time":
        assert time[at["train"]].max() < time[at["valid"]].min()
        assert time[at["valid"]].max() < time[at["test"]].min()
    elif by.startswith("last"):
        assert_last(owner, time, at, 3 if by == "last-3" else 1)
    else:
        for part, share in zip(PARTS[1:], shares, strict=True):
            assert abs(len(at[part]) - share * len(table)) <= 2
    words = split.encoder.parts["word"]
    assert isinstance(words, Vocabulary)
    assert set(words.values) == set(table["word"].to_numpy()[at["train"]].tolist())
    unseen = ~np.isin(table["word"].to_numpy()[at["test"]], list(words.values))
    codes = split.test.rows.codes[:, split.schema.names.index("word")]
    assert np.array_equal(codes == 1, unseen)


def assert_last(owner: Any, time: Any, at: dict[str, Any], n: int) -> None:
    """A plain loop over users: the last n rows test, the n before validate, the rest train."""
    part = {row: p for p in PARTS for row in at[p].tolist()}
    for user in set(owner.tolist()):
        rows = sorted(np.flatnonzero(owner == user).tolist(), key=lambda r: (time[r], r))
        short = len(rows) < 2 * n + 1
        expected = ["train"] * (len(rows) - (0 if short else 2 * n))
        expected += [] if short else ["valid"] * n + ["test"] * n
        assert [part[r] for r in rows] == expected


@settings(max_examples=20)
@given(tables(), st.sampled_from(["user", "last-n", "random", "stratified"]), st.integers(0, 3))
def test_a_seed_draws_the_same_parts_again(table: pl.DataFrame, by: str, seed: int) -> None:
    try:
        data = Dataset.from_frame(table, label="y", user="user")
        first, again = data.split(by, seed=seed), data.split(by, seed=seed)
    except DataError:
        return
    for part in (*PARTS, "tune", "gate"):
        a, b = getattr(first, part), getattr(again, part)
        assert a.columns.equals(b.columns)
        assert np.array_equal(a.rows.codes, b.rows.codes)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=80))
def test_halves_have_like_sizes_where_users_allow(rows: list[tuple[int, bool]]) -> None:
    users = np.array([u for u, _ in rows])
    label = np.array([y for _, y in rows], np.float32)
    tune, gate = halves(label, users, 0)
    assert sorted([*tune, *gate]) == list(range(len(rows)))
    assert not set(users[tune]) & set(users[gate])
    heaviest = int(np.bincount(users).max())
    assert abs(len(tune) - len(gate)) <= 2 * heaviest


@settings(max_examples=25)
@given(tables(), st.sampled_from(["time", "user", "last-2"]), st.integers(0, 10**6))
def test_an_order_of_rows_changes_no_part(table: pl.DataFrame, by: str, seed: int) -> None:
    # Distinct times: rows of one time stay in their order, which is another after shuffling.
    table = table.with_columns(time=pl.col("number"))
    parts = []
    for frame in (table, table.sample(fraction=1.0, shuffle=True, seed=seed)):
        try:
            split = Dataset.from_frame(frame, label="y", user="user", time="time").split(by)
        except DataError as error:
            parts.append(type(error))
            continue
        parts.append([set(getattr(split, p).columns["number"].to_list()) for p in PARTS])
    assert parts[0] == parts[1]


@pytest.mark.parametrize("by", ["time", "user", "last-n", "random", "stratified"])
def test_an_order_of_columns_changes_no_part(by: str) -> None:
    table = interactions()
    parts = []
    for columns in (table.columns, table.columns[::-1]):
        whole = Dataset.from_frame(
            table.select(columns), label="bought", user="user", item="item", time="day"
        )
        split = whole.split(by, seed=2)
        parts.append(
            {
                n: split.test.rows.codes[:, split.schema.names.index(n)]
                for n in columns
                if n in split.schema.names
            }
        )
    assert parts[0].keys() == parts[1].keys()
    for name, codes in parts[0].items():
        assert np.array_equal(codes, parts[1][name])
