"""The count of test uses: several processes, damaged and unwritable folders."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from recprune.errors import RecpruneWarning
from recprune.evaluation import TestUses
from recprune.executor import Executor

LABEL = np.tile([0.0, 1.0], 50)


def test_a_second_model_on_one_test_set_warns(tmp_path: Path) -> None:
    uses = TestUses(tmp_path / "deep" / "uses")
    assert uses.count(LABEL, b"first") == 1
    assert uses.count(LABEL, b"first") == 1  # the same comparison again is no new use
    with pytest.warns(RecpruneWarning, match="judged 2 models"):
        assert TestUses(uses.path).count(LABEL.astype(np.float32), b"second") == 2
    assert uses.count(1 - LABEL, b"second") == 1  # other rows


def test_the_folder_is_that_of_the_users_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    TestUses().count(LABEL, b"model")
    assert [f.name for f in (tmp_path / "recprune").iterdir()] == ["test_uses"]


def use(path: Path, model: int, _: np.random.Generator) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecpruneWarning)
        return TestUses(path).count(LABEL, str(model).encode())


def test_no_use_is_lost_when_processes_write_at_once(tmp_path: Path) -> None:
    Executor(3).map(use, list(range(60)), shared=tmp_path / "uses")
    with pytest.warns(RecpruneWarning, match="judged 61 models"):
        assert TestUses(tmp_path / "uses").count(LABEL, b"one more") == 61


def test_strange_files_are_no_uses(tmp_path: Path) -> None:
    uses = TestUses(tmp_path)
    uses.count(LABEL, b"model")
    (folder,) = tmp_path.iterdir()
    (folder / ".DS_Store").write_bytes(b"\x00")
    (folder / "notes.txt").write_text("mine")
    assert uses.count(LABEL, b"model") == 1


def test_a_file_in_the_folders_place_is_no_failure(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    for path in (blocker, blocker / "uses"):
        assert TestUses(path).count(LABEL, b"model") == 1
    assert blocker.read_text() == ""


def test_a_use_is_a_file_named_by_the_model_in_a_folder_named_by_the_rows(tmp_path: Path) -> None:
    label = np.tile([0.0, 1.0], 5)
    uses = TestUses(tmp_path)
    assert uses.count(label, b"one") == 1
    (folder,) = tmp_path.iterdir()
    (use,) = folder.iterdir()
    assert (len(folder.name), len(use.name)) == (16, 16)
    (folder / "notes.txt").touch()  # what is no use does not count
    (folder / (use.name[:15] + "zz")).touch()
    assert uses.count(label.astype(np.float32), b"one") == 1
    with pytest.warns(RecpruneWarning, match="judged 2 models"):
        assert uses.count(label, b"two") == 2
    (tmp_path / "file").write_text("")
    assert TestUses(tmp_path / "file").count(label, b"one") == 1  # cannot be remembered
