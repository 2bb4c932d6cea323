"""Random streams and progress."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest

from recprune._support import compiled, kernel_cache, logger, progress, stream
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


def test_a_bar_within_a_bar_yields_all_and_shows_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    pairs = [(a, b) for a in progress("ab", "outer") for b in progress("cd", "inner")]
    assert pairs == [("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")]
    shown = capsys.readouterr().err
    assert "outer" in shown
    assert "inner" not in shown
    assert list(progress("e", "after")) == ["e"]
    assert "after" in capsys.readouterr().err


def test_progress_is_silent_when_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(iter([1, 2]), "working")) == [1, 2]
    assert capsys.readouterr() == ("", "")


def test_the_library_prints_no_log_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    logger.warning("something")
    assert capsys.readouterr() == ("", "")
    assert any(isinstance(h, logging.NullHandler) for h in logger.handlers)


def total(values: np.ndarray, factor: float) -> float:
    out = 0.0
    for value in values:
        out += factor * value
    return out


def test_a_compiled_function_gives_what_the_plain_one_gives() -> None:
    values, kernel = np.arange(5.0), compiled(total)
    with ThreadPoolExecutor(4) as pool:  # the first call compiles, whoever makes it
        found = list(pool.map(lambda _: kernel(values, 2.0), range(4)))
    assert found == [total(values, 2.0)] * 4


def test_without_a_folder_for_its_cache_it_compiles_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("cannot cache function 'total': no locator available")

    monkeypatch.setattr(numba.core.caching.FunctionCache, "__init__", refuse)
    assert compiled(total)(np.arange(3.0), 1.0) == 3.0
    assert kernel_cache() is None


@compiled
def halves(values: np.ndarray) -> float:
    return float(values.sum() / 2)


def test_a_compiled_function_may_call_another() -> None:
    assert compiled(twice)(np.arange(4.0)) == 6.0


def twice(values: np.ndarray) -> float:
    return halves(values) + halves(values)


def test_the_folder_of_compiled_functions_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert Path(str(kernel_cache())).is_relative_to(tmp_path)
