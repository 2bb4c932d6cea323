"""Results of benchmarks that are kept on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benchmarks._cells import Cells, code_version


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    calls = []

    def work() -> dict[str, object]:
        calls.append(1)
        return {"test": 0.5}

    first = Cells(tmp_path / "now", "set-0")
    assert first.get("a", work)["test"] == 0.5
    assert first.get("a", work)["test"] == 0.5
    with first.file.open("a") as file:
        file.write('{"key": "b", "te')  # killed while it wrote
    again = Cells(tmp_path / "now", "set-0")
    again.get("a", work)
    again.get("b", work)
    assert len(calls) == 2
    assert Cells(tmp_path / "now", "set-0").known.keys() == {"a", "b"}
    assert not Cells(tmp_path / "changed", "set-0").known


def test_arrays_are_kept_beside_the_records(tmp_path: Path) -> None:
    cells = Cells(tmp_path, "set-0")
    one = cells.keep("one", np.arange(3, dtype=np.float32))
    two = cells.keep("two", np.zeros(2, np.float32))
    assert one != two
    assert Cells(tmp_path, "set-0").kept(one).tolist() == [0, 1, 2]


def test_changed_files_are_another_version(tmp_path: Path) -> None:
    file, other = tmp_path / "a.py", tmp_path / "b.py"
    file.write_text("1")
    other.write_text("2")
    versions = {code_version((), files) for files in ((file,), (other,), (file, other))}
    assert len(versions) == 3
    assert code_version(("metrics",), (file,)) not in versions
