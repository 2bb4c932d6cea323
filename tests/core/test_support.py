"""Random streams and progress."""

from __future__ import annotations

import logging

import pytest

from recprune._support import logger, progress, stream
from recprune.errors import ParameterError


def test_a_stream_depends_on_its_seed_and_keys_alone() -> None:
    first = stream(3, "split").integers(2**62)
    stream(3, "weights").integers(10)
    assert stream(3, "split").integers(2**62) == first
    others = [stream(4, "split"), stream(3, "splits"), stream(3, "split", 1), stream(3)]
    assert len({first, *(s.integers(2**62) for s in others)}) == 5


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"'seed' parameter of recprune must be an int ≥ 0"):
        stream(-1, "split")


def test_progress_is_silent_when_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(iter([1, 2]), "working")) == [1, 2]
    assert capsys.readouterr() == ("", "")


def test_the_library_prints_no_log_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    logger.warning("something")
    assert capsys.readouterr() == ("", "")
    assert any(isinstance(h, logging.NullHandler) for h in logger.handlers)
