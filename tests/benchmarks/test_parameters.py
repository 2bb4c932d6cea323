"""The benchmark of the smallest bytes: every way keeps the budgets that it names, largest first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.planted import small_data

from benchmarks import _contestants, _parameters_cells
from recprune.pipeline import Effort

WAYS = ("combined", "trivial", "neurons_activity", "rows_norm_count", "bits_int4_row")


def test_ways_keep_their_budgets(
    small_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, budgets = small_data(1_500), (1 / 2, 1 / 2.5)
    monkeypatch.setattr(_parameters_cells, "parameters_task", lambda name, quick: data)
    monkeypatch.setattr(_parameters_cells, "results", lambda benchmark, quick: tmp_path)
    monkeypatch.setattr(_contestants, "EFFORT", Effort(epochs=1))
    monkeypatch.setattr(_parameters_cells, "BUDGETS", budgets)
    monkeypatch.setattr(_parameters_cells, "HOPELESS", 1.0)
    found = _parameters_cells.levels(
        {"small": small_settings}, ("small", 0, WAYS, False), np.random.default_rng()
    )
    ways = found["ways"]
    assert {*WAYS, "narrower dense"} - ways.keys() == {"trivial"}
    for way, records in ways.items():
        assert [record["budget"] for record in records] == list(range(len(records)))
        for record in records if way != "int8 alone" else ():
            assert record["bytes"] <= found["full"]["bytes"] * budgets[record["budget"]]
            assert len(np.load(record["logits"])) == len(data.test)
    # One unit alone leaves the others as they were.
    assert {record["neurons"][0] for record in ways["rows_norm_count"]} == {8}
    assert ways["neurons_activity"][-1]["rows"] == found["full"]["rows"]
    assert ways["combined"][-1]["bytes"] < found["full"]["bytes"] * budgets[-1]
