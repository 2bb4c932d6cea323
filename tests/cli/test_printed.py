"""What verbs print for people: names and values as the data have them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import polars as pl
import pytest
from rich.table import Table

from recprune.cli._options import emit
from tests.cli.inside import inside

NAMES = ("[/a]", "[b]", ":cat:")


def test_names_of_columns_are_no_markup(tmp_path: Path) -> None:
    frame = pl.DataFrame({name: ["x", "y"] * 30 for name in NAMES})
    frame.write_csv(tmp_path / "rows.csv")
    done = inside("ingest", tmp_path / "rows.csv", "-o", tmp_path / "rows.rp")
    assert done.returncode == 0, done.stderr
    assert [name for name in NAMES if name not in done.stdout] == []


def test_nor_are_titles_and_plain_results(capsys: pytest.CaptureFixture[str]) -> None:
    for name in NAMES:
        emit({"output": f"runs/{name}"}, False)
        emit({}, False, Table(name, title=f"of {name}"))
        shown = capsys.readouterr().out
        assert f"runs/{name}" in shown
        assert f"of {name}" in shown


def test_a_number_that_is_none_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"verdict": {"ci": (-math.inf, math.inf)}, "score": math.nan, "n": 2}, True)
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert told == {"verdict": {"ci": [None, None]}, "score": None, "n": 2}
