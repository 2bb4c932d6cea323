"""The public sets that benchmarks read: where they are looked for, and what is said without them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import _tasks, budget, parameters, quality, selection


@pytest.mark.parametrize(
    "measure", [budget.measure, parameters.measure, quality.measure, selection.measure]
)
def test_a_missing_set_is_one_line_before_anything_is_measured(
    measure: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tasks, "DATA", tmp_path / "data")
    monkeypatch.setattr(_tasks, "_ml_100k_folder", lambda: tmp_path)
    with pytest.raises(SystemExit) as ended:
        measure(True)
    said = str(ended.value.code)
    assert "The public data set '" in said
    assert f"into the folder {tmp_path / 'data'}" in said
    assert "\n" not in said


def test_a_set_that_is_there_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tasks, "DATA", tmp_path)
    file = tmp_path / _tasks.FILES["online_retail"]
    file.parent.mkdir()
    file.touch()
    assert _tasks.published("online_retail") == file
    _tasks.look_for(["online_retail", "demo"])
