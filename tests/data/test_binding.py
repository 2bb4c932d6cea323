"""How far a column follows the item, against a plain loop over pairs of rows."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.binding import bind_to_items, follows

VALUES = st.none() | st.sampled_from(["a", "b", "c"])


@given(st.lists(st.tuples(st.integers(0, 4), VALUES), min_size=2, max_size=40))
def test_follows_counts_pairs_that_agree(rows: list[tuple[int, str | None]]) -> None:
    items, values = zip(*rows, strict=True)
    agree = []
    for i, (item, value) in enumerate(rows):
        others = [v for j, (k, v) in enumerate(rows) if j != i and k == item]
        if others:
            agree.append(sum(v == value for v in others) / len(others))
    every = [a == b for a, b in combinations(values, 2)]
    q = sum(every) / len(every)
    expected = max(0.0, (np.mean(agree) - q) / (1 - q)) if agree and q < 1 else 0.0
    found = follows(pl.Series(values, dtype=pl.String), pl.Series(items))
    assert found == pytest.approx(expected)


def test_numbers_agree_within_a_tenth_of_the_ranks() -> None:
    draws = np.random.default_rng(0)
    items = pl.Series(draws.integers(0, 100, 5000))
    level = items.to_numpy() ** 3.0  # ranks, not distances
    assert follows(pl.Series(level + draws.random(5000)), items) > 0.9
    assert follows(pl.Series(draws.normal(size=5000)), items) < 0.02
    holes = np.where(draws.random(5000) < 0.3, np.nan, level)
    assert 0.2 < follows(pl.Series(holes), items) < 0.7
    assert follows(pl.Series(level), pl.Series(np.arange(5000))) == 0  # no item comes twice


def test_only_context_is_bound_and_what_is_stated_stays() -> None:
    items = np.arange(400) % 20
    frame = pl.DataFrame({"item": items, "price": items * 2.0, "hour": np.arange(400) // 20 % 7})
    sources = {"price": "context", "hour": "context"}
    bound, found = bind_to_items(frame, sources, "item", ())  # type: ignore[arg-type]
    assert bound == {"price": "item", "hour": "context"}
    assert [f.column for f in found] == ["price"]
    kept, found = bind_to_items(frame, sources, "item", ("price",))  # type: ignore[arg-type]
    assert kept == sources
    assert "drop it, or state its source" in found[0].action
    assert bind_to_items(frame, {"price": "user"}, "item", ()) == ({"price": "user"}, [])
