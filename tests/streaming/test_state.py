"""A stream's state: whole or not at all, and refused where it is not sound."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from recprune.errors import InputError, RunError
from recprune.streaming.state import PAGE, Commit, DeadLetter, StreamState, state_hash

SETTINGS = {"chunk": 8192, "source": ["a", "b"]}


def test_what_is_committed_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    big = np.arange(PAGE // 4 + 5, dtype=np.float64)
    given_arrays = {"a/b": big, "empty": np.empty((0, 3), np.int32), "one": np.array(7)}
    letter = DeadLetter("a", "17", "not JSON", b"{\xff")
    alarm = (5, "inputs", "age", {"psi": 0.5})
    with StreamState(tmp_path / "s", SETTINGS) as state:
        assert state.saved() is None
        commit = Commit({"a": "17"}, given_arrays, {"read": 9}, [letter], [alarm])
        state.commit(commit)
        made = state.hash
    with StreamState(tmp_path / "s", SETTINGS) as state:
        saved = state.saved()
        assert saved is not None
        assert (saved.positions, saved.counts) == ({"a": "17"}, {"read": 9})
        assert saved.arrays.keys() == given_arrays.keys()
        for name, array in given_arrays.items():
            assert (saved.arrays[name].dtype, saved.arrays[name].shape) == (
                array.dtype,
                array.shape,
            )
            np.testing.assert_array_equal(saved.arrays[name], array)
        assert state.hash == made == state_hash(given_arrays)
        (dead,) = state.rows("dead_letters")
        assert dead == {
            "partition": "a",
            "position": "17",
            "reason": "not JSON",
            "payload": b"{\xff",
        }
        assert state.rows("alarms")[0]["detail"] == '{"psi": 0.5}'
        saved.arrays["a/b"][0] = 1  # and goes on being changed in place


def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "stream.sqlite"
    with sqlite3.connect(file) as other:
        other.execute("create table notes (text)")
    other.close()
    before = file.read_bytes()
    for settings in (SETTINGS, None):
        with pytest.raises(InputError, match="another program"):
            StreamState(tmp_path, settings)
    assert file.read_bytes() == before


def test_partitions_may_be_added(tmp_path: Path) -> None:
    more = {**SETTINGS, "source": ["a", "b", "c"]}
    StreamState(tmp_path, SETTINGS).close()
    with pytest.raises(InputError, match="chunk was 8192 and is 1"):
        StreamState(tmp_path, {**more, "chunk": 1})
    StreamState(tmp_path, more).close()
    with pytest.raises(InputError, match="source was"):
        StreamState(tmp_path, SETTINGS)
    StreamState(tmp_path, more).close()


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abc"),
            arrays(st.sampled_from([np.uint8, np.float32]), array_shapes(max_dims=2, max_side=40)),
            max_size=3,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_pages_that_change_and_arrays_that_grow_shrink_and_go(
    commits: list[dict[str, Any]],
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("recprune.streaming.state.PAGE", 64)
        for number, each in enumerate(commits):
            with StreamState(Path(folder) / "s", SETTINGS) as state:
                state.commit(Commit({}, each, {"n": number}))
            with StreamState(Path(folder) / "s", SETTINGS) as state:
                saved = state.saved()
                assert saved is not None
                assert saved.counts == {"n": number}
                assert state_hash(saved.arrays) == state_hash(each)


WRITER = """
import sys, numpy as np
from pathlib import Path
from recprune.streaming.state import Commit, StreamState
with StreamState(Path(sys.argv[1]), {}) as state:
    saved = state.saved()
    n = saved.counts["n"] if saved else 0
    print("open", flush=True)
    while True:
        n += 1
        array = np.full(300_000, n)
        state.commit(Commit({"p": str(n)}, {"a": array, "b": array[:n % 7]}, {"n": n}))
"""


def test_killed_anywhere_all_of_a_commit_is_there_or_none(tmp_path: Path) -> None:
    draws, before = np.random.default_rng(0), 0
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        time.sleep(draws.uniform(0.05, 0.3))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        with StreamState(tmp_path / "s", {}) as state:
            saved = state.saved()
        if saved is None:
            continue
        n = saved.counts["n"]
        assert n >= before
        assert saved.positions == {"p": str(n)}
        np.testing.assert_array_equal(saved.arrays["a"], np.full(300_000, n))
        assert len(saved.arrays["b"]) == n % 7
        before = n
    assert before > 0


def test_a_full_disk_leaves_the_last_commit(tmp_path: Path) -> None:
    with StreamState(tmp_path / "s", SETTINGS) as state:
        state.commit(Commit({"a": "1"}, {"x": np.arange(10)}, {}))
        state._file.execute("pragma max_page_count = 100")
        with pytest.raises(RunError, match="full"):
            state.commit(Commit({"a": "2"}, {"x": np.arange(1_000_000)}, {}))
        state._file.execute("pragma max_page_count = 1000000")
        assert state.rows("dead_letters") == []
        first = state.hash
    with StreamState(tmp_path / "s", SETTINGS) as state:
        saved = state.saved()
        assert saved is not None
        assert (saved.positions, state.hash) == ({"a": "1"}, first)
        state.commit(Commit({"a": "2"}, {"x": np.arange(1_000_000)}, {}))


def test_one_process_alone(tmp_path: Path) -> None:
    with StreamState(tmp_path / "s", SETTINGS), pytest.raises(InputError, match="Another stream"):
        StreamState(tmp_path / "s", SETTINGS)
    StreamState(tmp_path / "s", SETTINGS).close()


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    StreamState(tmp_path / "s", SETTINGS).close()
    with pytest.raises(InputError, match="chunk was 8192 and is 1"):
        StreamState(tmp_path / "s", {**SETTINGS, "chunk": 1})
    with pytest.raises(InputError, match="new was None and is 1"):
        StreamState(tmp_path / "s", {**SETTINGS, "new": 1})


@pytest.mark.parametrize(
    "damage",
    [
        "update pages set data = zeroblob(length(data))",
        "delete from pages",
        "update arrays set shape = '[7]'",
        "update arrays set name = 'other'",
    ],
)
def test_damage_is_noticed(tmp_path: Path, damage: str) -> None:
    with StreamState(tmp_path / "s", SETTINGS) as state:
        state.commit(Commit({}, {"x": np.arange(10)}, {}))
    with sqlite3.connect(tmp_path / "s" / "stream.sqlite") as file:
        file.execute(damage)
    file.close()
    with StreamState(tmp_path / "s", SETTINGS) as state, pytest.raises(InputError, match="damaged"):
        state.saved()


def test_what_is_no_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "stream.sqlite").write_bytes(b"something else " * 1000)
    with pytest.raises(InputError, match="cannot be opened"):
        StreamState(tmp_path / "s", SETTINGS)


def test_another_format_is_refused_by_name(tmp_path: Path) -> None:
    StreamState(tmp_path / "s", SETTINGS).close()
    with sqlite3.connect(tmp_path / "s" / "stream.sqlite") as file:
        file.execute("update about set value = '9' where key = 'format'")
    file.close()
    with pytest.raises(InputError, match="of format 9"):
        StreamState(tmp_path / "s", SETTINGS)


def test_its_owner_alone_reads_it(tmp_path: Path) -> None:
    with StreamState(tmp_path / "s", SETTINGS) as state:
        state.commit(Commit({}, {"x": np.arange(10)}, {}))
        for file in (tmp_path / "s", tmp_path / "s" / "stream.sqlite"):
            assert not stat.S_IMODE(os.stat(file).st_mode) & 0o077, file


def test_a_lock_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "s" / "lock").mkdir(parents=True)
    with pytest.raises(InputError, match="lock' cannot be opened"):
        StreamState(tmp_path / "s", SETTINGS)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_file_that_the_disk_damaged_is_refused(part: float, tmp_path: Path) -> None:
    with StreamState(tmp_path / "s", SETTINGS) as state:
        state.commit(Commit({}, {"x": np.random.default_rng(0).random(100_000)}, {}))
    file = tmp_path / "s" / "stream.sqlite"
    data = bytearray(file.read_bytes())
    at = int(len(data) * part)
    data[at : at + 9_000] = b"\x55" * 9_000
    file.write_bytes(data)
    with StreamState(tmp_path / "s", SETTINGS) as state, pytest.raises(InputError, match="damaged"):
        state.saved()
