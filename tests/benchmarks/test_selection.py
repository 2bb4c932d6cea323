"""The harness of selection: its noise, its areas, and that a stopped run goes on."""

from __future__ import annotations

import polars as pl
import pytest
from benchmarks._selection_tasks import _planted

from benchmarks import selection
from recprune.schema import Field


def test_planted_noise_looks_like_the_real_columns() -> None:
    frame = pl.DataFrame({"a": ["x", "y", "z", "x"] * 50, "b": list(range(200))})
    fields = (Field("a", "categorical"), Field("b", "numeric"))
    found = [_planted(frame, fields * 4, seed) for seed in range(6)]
    for columns, noise in found:
        assert len(columns) == len(noise) == 4
        for column, field in zip(columns, noise, strict=True):
            _, _, model = column.name.rpartition("_")
            assert field.kind == {"a": "categorical", "b": "numeric"}[model]
            if column.name.startswith("copy_of"):
                assert column.sort().to_list() == frame[model].sort().to_list()
                assert column.to_list() != frame[model].to_list()
            elif model == "a":
                assert column.n_unique() == 3
    names = [[column.name for column in columns] for columns, _ in found]
    assert len({tuple(each) for each in names}) > 1


def test_the_area_is_the_trapezoids() -> None:
    # Heights ½ (0.65), 1 (0.8), 1 (0.8) over widths 2 and 4.
    assert selection.aukc([2, 4, 8], [0.65, 0.8, 0.8], 0.8) == pytest.approx((1.5 + 4) / 6)
    assert selection.aukc([1, 5], [0.7, 0.7], 0.7) == pytest.approx(1)
