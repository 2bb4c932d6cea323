"""The harness of selection: its noise, its areas, and that a stopped run goes on."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from benchmarks._selection_tasks import _planted

from benchmarks import _selection_cells as cells
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


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    calls = []

    def work() -> dict[str, object]:
        calls.append(1)
        return {"test": 0.5}

    first = cells.Cells("set-0", quick=False)
    assert first.get("a", work)["test"] == 0.5
    assert first.get("a", work)["test"] == 0.5
    with first.file.open("a") as file:
        file.write('{"key": "b", "te')  # killed while it wrote
    again = cells.Cells("set-0", quick=False)
    again.get("a", work)
    again.get("b", work)
    assert len(calls) == 2
    assert cells.Cells("set-0", quick=False).known.keys() == {"a", "b"}
    assert not cells.Cells("set-0", quick=True).known
