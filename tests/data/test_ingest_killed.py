"""Killed at any moment and started again: the same bytes, and nothing else beside them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from recprune.data import ingest

#: Ends itself at its n-th step as a machine does that loses power: no handler runs. A step is a batch
#: read, a batch written, a column finished, a file written, a folder moved.
PROGRAM = """
import os, pathlib, shutil, signal, sys
from recprune.data import column_writer, stream, survey, ingest

source, output, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
stream.BATCH = 200
step = 0

def counted(owner, name):
    whole = getattr(owner, name)
    def call(*arguments, **options):
        global step
        step += 1
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*arguments, **options)
    setattr(owner, name, call)

counted(survey.ColumnSurvey, "begin")
for name in ("add", "finish", "vocabulary"):
    counted(column_writer.ColumnWriter, name)
for name in ("write_bytes", "write_text", "rename", "replace"):
    counted(pathlib.Path, name)
counted(shutil, "rmtree")
ingest(source, output, label="y", on_bad_rows="skip")
print(step)
"""


def run(source: Path, output: Path, last: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(source), str(output), str(last)],
        capture_output=True,
        text=True,
        timeout=120,
    )


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
        killed = run(source, output, step)
        assert killed.returncode == -9, (step, killed.stderr)
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
    total = int(run(source, source.parent / "whole.rp", 0).stdout)
    kill_and_restart(source, [2, total // 2, total - 1], first=True)


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False], ids=["new folder", "folder replaced"])
def test_killed_at_every_kind_of_step(source: Path, first: bool) -> None:
    if not first:
        ingest(source, source.parent / "whole.rp", label="y", on_bad_rows="skip")
    total = int(run(source, source.parent / "whole.rp", 0).stdout)
    steps = sorted({*range(1, total, total // 12), *range(total - 6, total + 1)})
    kill_and_restart(source, steps, first)
