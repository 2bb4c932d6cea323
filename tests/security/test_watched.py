"""A file that is read again when it changes, also while several threads ask for it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from recprune.security import Watched
from recprune.security import watched as watched_module


def put(file: Path, content: bytes) -> None:
    """Replace a file by a rename."""
    fresh = file.with_name("fresh")
    fresh.write_bytes(content)
    fresh.rename(file)


def test_what_a_file_holds_is_told_as_it_changes(tmp_path: Path) -> None:
    file, read = tmp_path / "file", list[bytes]()

    def parsed(content: bytes) -> bytes:
        read.append(content)
        if content == b"damaged":
            raise ValueError(content)
        return content

    watched = Watched(file, parsed, b"missing")
    assert watched.get() == b"missing"
    put(file, b"one")
    assert [watched.get(), watched.get()] == [b"one"] * 2
    assert read == [b"one"], "it is read once"
    put(file, b"damaged")
    for _ in range(2):
        with pytest.raises(ValueError, match="damaged"):
            watched.get()
    put(file, b"two")
    assert watched.get() == b"two"
    file.unlink()
    assert watched.get() == b"missing"


class Slow:
    """What ``fstat`` tells, with something that happens between two threads' steps."""

    def __init__(self, about: os.stat_result, between: Any) -> None:
        self._about, self._between = about, between

    def __getattr__(self, name: str) -> Any:
        self._between()
        return getattr(self._about, name)


def test_a_thread_that_is_late_hides_no_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread reads the old content, and is done with it while another notes the new one."""
    file = tmp_path / "file"
    put(file, b"old")
    opened, go_on = threading.Event(), threading.Event()
    main = threading.current_thread()

    def parsed(content: bytes) -> bytes:
        if threading.current_thread() is not main:
            opened.set()
            go_on.wait(30)
        return content

    watched = Watched(file, parsed, b"missing")
    late = threading.Thread(target=watched.get)

    def between() -> None:
        if threading.current_thread() is main:
            go_on.set()
            late.join(30)

    fstat = os.fstat
    late.start()
    assert opened.wait(30)
    put(file, b"new")
    monkeypatch.setattr(watched_module.os, "fstat", lambda handle: Slow(fstat(handle), between))
    watched.get()
    monkeypatch.undo()
    assert watched.get() == b"new"
