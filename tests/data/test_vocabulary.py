"""Which values get a row of their own, and which read the unknown one."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset
from recprune.lookups import UNKNOWN


def people(n: int = 2000, seed: int = 0) -> pl.DataFrame:
    """Countries by a power law, so that some have few people; a plain column with the same values."""
    draws = np.random.default_rng(seed)
    country = [f"c{v}" for v in np.minimum(draws.pareto(0.7, n), 60).astype(int)]
    label = (draws.random(n) < 0.4).astype(int)
    return pl.DataFrame({"home": country, "shop": country, "x": draws.random(n), "y": label})


def read(**fields: dict[str, Any]) -> Dataset:
    schema = {"label": "y", "fields": fields}
    return Dataset.from_frame(people(), schema=schema).split("random", seed=0)


def counts(data: Dataset, name: str) -> dict[str, int]:
    return dict(data.train.columns[name].value_counts().iter_rows())


@pytest.mark.parametrize("stated, least", [({}, 10), ({"min_count": 3}, 3), ({"min_count": 1}, 1)])
def test_a_personal_value_of_few_people_has_no_row(stated: dict[str, int], least: int) -> None:
    data = read(home={"sensitive": True, **stated})
    known = counts(data, "home")
    expected = {v for v, c in known.items() if c >= least}
    assert set(data.encoder.parts["home"].values) == expected  # type: ignore[union-attr]
    assert set(data.encoder.parts["shop"].values) == set(known)  # type: ignore[union-attr]
    rare = sum(c for c in known.values() if c < least)
    assert [f.rows for f in data.findings if f.kind == "rare personal values"] == [rare] * (
        rare > 0
    )
    at = data.schema.names.index("home")
    assert (data.train.rows.codes[:, at] == UNKNOWN).sum() == rare


def test_the_most_frequent_values_stay() -> None:
    data = read(shop={"max_size": 5})
    known = counts(data, "shop")
    order = sorted(known, key=lambda v: (-known[v], v))
    assert data.encoder.parts["shop"].values == tuple(order[:5])  # type: ignore[union-attr]


def test_a_fields_own_rule_wins_over_the_tables() -> None:
    schema = {"label": "y", "max_size": 4, "min_count": 2, "fields": {"shop": {"max_size": 7}}}
    parts = Dataset.from_frame(people(), schema=schema).split("random").encoder.parts
    assert len(parts["home"].values) == 4  # type: ignore[union-attr]
    assert len(parts["shop"].values) == 7  # type: ignore[union-attr]
