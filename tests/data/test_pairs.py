"""Columns that say the same: found whatever they are called, in time that grows with their number."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data import read_spec
from recprune.data.checks import Sheet
from recprune.data.checks.pairs import near_duplicates
from recprune.data.draft import read_draft

N = 3000


def twins(columns: dict[str, object]) -> set[str]:
    sheet = Sheet.of_draft(read_draft(pl.DataFrame(columns), read_spec(None)))
    return {f.column for f in near_duplicates(sheet)}


@given(st.data())
def test_against_every_pair_of_categories(data: st.DataObject) -> None:
    """The fingerprint finds exactly what comparing all pairs finds."""
    n, values = 40, st.integers(0, 3)
    columns = {
        f"c{i}": [f"{i}{v}" for v in data.draw(st.lists(values, min_size=n, max_size=n))]
        for i in range(3)
    }
    name = data.draw(st.sampled_from(sorted(columns)))
    columns["renamed"] = ["new" + v for v in columns[name]]
    frame = pl.DataFrame(columns)
    sizes = {c: frame[c].n_unique() for c in columns}
    expected = {
        b
        for a, b in combinations(columns, 2)
        if 2 <= sizes[a] == sizes[b] == frame.select(a, b).n_unique()
    }
    assert twins(dict(columns)) == expected


def test_order_of_numbers_not_their_scale_counts() -> None:
    rng = np.random.default_rng(0)
    size = rng.normal(size=N)
    noise = rng.normal(size=N)
    columns = {
        "size": size,
        "monotone": np.exp(size) + 3,
        "opposite": -(size**3),
        "nearly": size + 0.01 * noise,
        "alike": size + 0.2 * noise,  # rank correlation 0.98
        "noise": noise,
    }
    assert twins(dict(columns)) == {"monotone", "opposite", "nearly"}


def test_a_mapping_that_breaks_in_one_row_is_none() -> None:
    rng = np.random.default_rng(1)
    n = 60_000  # more rows than the first look takes
    code = rng.integers(0, 50, n)
    name = np.array([f"n{c}" for c in code])
    assert twins({"code": [f"c{c}" for c in code], "name": name}) == {"name"}
    name[1] = "n0" if name[1] != "n0" else "n1"
    assert twins({"code": [f"c{c}" for c in code], "name": name}) == set()


@pytest.mark.parametrize("seed", range(3))
def test_three_thousand_columns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(3000, 400))
    values[2000:2010] = np.exp(values[:10])
    values[2500:2510] = -values[10:20] * 5
    columns = {f"x{i}": row for i, row in enumerate(values)}
    expected = {f"x{i}" for i in (*range(2000, 2010), *range(2500, 2510))}
    assert twins(dict(columns)) == expected


def test_many_values_beyond_the_first_look_are_no_mapping() -> None:
    """Every other row has few values, and these alone are looked at first."""
    n = 50_000
    rng = np.random.default_rng(0)
    columns = {}
    for name in ("one", "other"):
        values = rng.permutation(n)
        values[::3] = np.arange(n)[::3] % 7 + n  # the rows that the first look takes
        columns[name] = [f"{name}{v}" for v in values]
    assert twins(dict(columns)) == set()
