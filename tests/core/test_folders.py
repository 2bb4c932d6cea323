"""A folder appears whole or not at all, and nothing foreign is touched."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recprune.artifact import read_artifact, write_artifact
from recprune.errors import ArtifactError, InputError
from recprune.folders import file_written_whole, folder_written_whole

from .samples import artifact


def write_mark(folder: Path, text: str = "new") -> None:
    (folder / "report.json").write_text(json.dumps({"recprune": "0.1.0", "text": text}))


def fail_after_writing(target: Path, error: BaseException) -> None:
    with folder_written_whole(target) as folder:
        write_mark(folder)
        raise error


def entries(folder: Path) -> list[str]:
    return sorted(f.name for f in folder.iterdir())


@pytest.fixture(scope="module")
def dead() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_folder_is_there_at_the_end_and_not_before(tmp_path: Path) -> None:
    target = tmp_path / "new" / "run"
    with folder_written_whole(target) as folder:
        write_mark(folder)
        assert not target.exists()
    assert entries(target) == ["report.json"]
    assert entries(target.parent) == ["run"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_when_the_writing_fails(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        fail_after_writing(tmp_path / "run", error())
    assert entries(tmp_path) == []


def test_an_older_run_is_replaced_and_only_on_success(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with folder_written_whole(target) as folder:
        write_mark(folder, "old")
        (folder / "gone.txt").write_text("")
    with pytest.raises(ValueError), folder_written_whole(target) as folder:
        raise ValueError
    assert entries(target) == ["gone.txt", "report.json"]
    with folder_written_whole(target) as folder:
        write_mark(folder)
    assert entries(target) == ["report.json"]
    assert entries(tmp_path) == ["run"]


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    with folder_written_whole(tmp_path) as folder:
        write_mark(folder)
    assert entries(tmp_path) == ["report.json"]


@pytest.mark.parametrize(
    "name, text",
    [("notes.txt", "mine"), ("config.json", '{"model_type": "bert"}'), ("config.json", "[")],
)
def test_a_foreign_folder_is_refused_and_untouched(tmp_path: Path, name: str, text: str) -> None:
    target = tmp_path / "work"
    target.mkdir()
    (target / name).write_text(text)
    with (
        pytest.raises(InputError, match="not a recprune folder; it is left as it is"),
        folder_written_whole(target),
    ):
        pytest.fail("the body must not run")
    assert (target / name).read_text() == text
    assert entries(tmp_path) == ["work"]


def test_a_file_in_the_place_is_refused_and_untouched(tmp_path: Path) -> None:
    target = tmp_path / "run"
    target.write_text("mine")
    with pytest.raises(InputError, match="left as it is"), folder_written_whole(target):
        pytest.fail("the body must not run")
    assert target.read_text() == "mine"


def test_a_link_stays_and_its_folder_is_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    with folder_written_whole(real) as folder:
        write_mark(folder, "old")
    link.symlink_to(real)
    with folder_written_whole(link) as folder:
        write_mark(folder, "new")
    assert link.is_symlink()
    assert json.loads((real / "report.json").read_text())["text"] == "new"
    assert entries(tmp_path) == ["link", "real"]


def test_what_dead_runs_left_goes_and_what_live_ones_write_stays(tmp_path: Path, dead: int) -> None:
    alive = os.getppid()
    for name in (f".run[1].{dead}.partial", f".run[1].{alive}.partial", f".other.{dead}.partial"):
        (tmp_path / name).mkdir()
    with folder_written_whole(tmp_path / "run[1]") as folder:
        write_mark(folder)
    assert entries(tmp_path) == sorted(
        [f".other.{dead}.partial", f".run[1].{alive}.partial", "run[1]"]
    )


def test_a_run_killed_while_replacing_is_put_back(tmp_path: Path, dead: int) -> None:
    moved = tmp_path / f".run.{dead}.old"
    moved.mkdir()
    write_mark(moved, "old")
    with pytest.raises(ValueError), folder_written_whole(tmp_path / "run"):
        raise ValueError
    assert entries(tmp_path) == ["run"]
    assert json.loads((tmp_path / "run" / "report.json").read_text())["text"] == "old"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target, why in (
        (tmp_path / "file" / "run", "a file is in the way"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with (
            pytest.raises(InputError, match=f"cannot be written: {why}"),
            folder_written_whole(target),
        ):
            pytest.fail("the body must not run")
    assert entries(tmp_path) == ["file"]


def test_a_full_disk_leaves_nothing_and_keeps_the_older_run(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with folder_written_whole(target) as folder:
        write_mark(folder, "old")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        fail_after_writing(target, full)
    assert json.loads((target / "report.json").read_text())["text"] == "old"
    assert entries(tmp_path) == ["run"]


def test_an_input_that_fails_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), folder_written_whole(tmp_path / "run"):
        (tmp_path / "input.csv").read_text()
    assert entries(tmp_path) == []


def test_a_file_is_replaced_at_the_end_and_only_on_success(tmp_path: Path, dead: int) -> None:
    target = tmp_path / "new" / "file"
    with file_written_whole(target) as partial:
        partial.write_text("old")
        assert not target.exists()
    left = target.parent / f".file.{dead}.partial"
    left.write_text("half")
    with pytest.raises(ValueError), file_written_whole(target):
        raise ValueError
    assert target.read_text() == "old"
    with file_written_whole(target) as partial:
        partial.write_text("new")
    assert target.read_text() == "new"
    assert entries(target.parent) == ["file"]


def test_a_folder_in_a_files_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"), file_written_whole(tmp_path):
        pytest.fail("the body must not run")
    with (
        pytest.raises(InputError, match="cannot be written: a file is in the way"),
        file_written_whole(Path(__file__) / "x"),
    ):
        pytest.fail("the body must not run")


WRITER = """
import sys, pathlib
sys.path.insert(0, sys.argv[2])
from core.samples import artifact
from recprune.artifact import write_artifact
from recprune.folders import file_written_whole, folder_written_whole
print("ready", flush=True)
while True:
    with folder_written_whole(pathlib.Path(sys.argv[1])) as folder:
        write_artifact(folder, artifact(), "0.1.0")
"""


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_a_sound_artefact_or_none(tmp_path: Path) -> None:
    target, tests = tmp_path / "run", Path(__file__).parents[1]
    for delay in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(target), str(tests)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.003 * delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        try:
            read_artifact(target)
        except ArtifactError as error:
            # Killed before the first folder was whole, or between the two moves of a replacement.
            assert not target.exists(), error  # noqa: PT017
    with folder_written_whole(target) as folder:
        write_artifact(folder, artifact(), "0.1.0")
    assert entries(tmp_path) == ["run"]
