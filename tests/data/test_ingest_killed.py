"""Killed at any moment and started again: the same bytes, and nothing else beside them."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from recprune.data import column_writer, ingest, stream, survey
from tests.forked import Mortal, Steps


def reading(source: Path, output: Path, last: int = 0) -> Mortal:
    """Begin an ingest that ends at its n-th step.

    A step is a batch read, a batch written, a column finished, a file written, a folder moved.
    """
    return Mortal(partial(_ingest, source, output), last)


def _ingest(source: Path, output: Path, steps: Steps) -> None:
    stream.BATCH = 200
    steps.count(survey.ColumnSurvey, "begin")
    steps.count(column_writer.ColumnWriter, "add", "finish", "vocabulary")
    steps.count(Path, "write_bytes", "write_text", "rename", "replace")
    steps.count(shutil, "rmtree")
    ingest(source, output, label="y", on_bad_rows="skip")


def content(folder: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in folder.iterdir()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [f"v{i % 40},{i},{i / 3},{i % 2}" for i in range(1000)]
    rows[700] = "one,cell,too,many,here"
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c,y", *rows]))
    return tmp_path / "t.csv"


def kill_and_restart(source: Path, steps: list[int], first: bool) -> None:
    output = source.parent / "out" / "t.rp"
    beside = output.with_name("t.rp.bad_rows.csv")
    expected = content(ingest(source, source.parent / "t.rp", label="y", on_bad_rows="skip"))
    for step in steps:
        output.parent.mkdir(exist_ok=True)
        for old in output.parent.iterdir():
            assert old in (output, beside)
        if not first:
            ingest(source, output, label="y", on_bad_rows="skip")
        assert reading(source, output, step).killed, step
        if output.exists():
            assert content(output), "whole or not at all"
        ingest(source, output, label="y", on_bad_rows="skip")
        assert content(output) == expected, step
        assert sorted(p.name for p in output.parent.iterdir()) == [output.name, beside.name], step
        if first:
            for file in output.iterdir():
                file.unlink()
            output.rmdir()


def test_killed_while_reading_writing_and_finishing(source: Path) -> None:
    total = reading(source, source.parent / "whole.rp").steps
    kill_and_restart(source, [2, total // 2, total - 1], first=True)


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False], ids=["new folder", "folder replaced"])
def test_killed_at_every_kind_of_step(source: Path, first: bool) -> None:
    if not first:
        ingest(source, source.parent / "whole.rp", label="y", on_bad_rows="skip")
    total = reading(source, source.parent / "whole.rp").steps
    steps = sorted({*range(1, total, total // 12), *range(total - 6, total + 1)})
    kill_and_restart(source, steps, first)
