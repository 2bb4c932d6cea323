"""Budgets: what is read, what is refused, and that words and Python say the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import ParameterError
from recprune.pipeline import Budget, RunConfig
from recprune.pipeline.budget import Sizes


def test_words_and_python_say_the_same() -> None:
    words = "bytes=200kB, latency_us=50, params=30000, max_drop.auc=0.001, max_drop.logloss=0.01"
    drops = {"auc": 0.001, "logloss": 0.01}
    budget = Budget("200 kB", 50, 30_000, drops)
    assert Budget.parse(words) == budget == Budget.of(budget.to_json())
    assert budget.limit == Sizes(200_000, 50, 30_000)
    assert Budget.parse("") == Budget()
    assert Budget.parse("max_drop=0.01") == Budget(max_drop={"auc": 0.01})
    assert Budget(params=np.int64(5)).limit.params == 5
    assert not Budget().limited
    assert Budget(params=1).limited


@given(
    st.none() | st.integers(1, 10**12),
    st.none() | st.floats(1e-6, 1e9),
    st.none() | st.integers(1, 10**12),
    st.dictionaries(st.sampled_from(["auc", "logloss", "accuracy"]), st.floats(1e-9, 0.499)),
)
def test_json_gives_the_budget_again(size, latency, params, drops) -> None:
    budget = Budget(size, latency, params, drops)
    assert Budget.of(budget.to_json()) == budget
    config = RunConfig.of(budget=budget)
    assert RunConfig.of(**config.model_dump()) == config
    assert config.limits.max_drop["auc"] == config.tolerance == drops.get("auc", 0.002)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("bytes", "'budget' parameter of recprune must be name=value"),
        ("byte=9", "no limit 'byte'. Did you mean 'bytes'"),
        ("bytes=0", "'bytes' parameter of Budget"),
        ("bytes=-3", "'bytes' parameter of Budget"),
        ("bytes=ten", "'bytes' parameter of Budget"),
        ("latency_us=0", "'latency_us' parameter of Budget must be a number > 0"),
        ("latency_us=nan", "'latency_us' parameter of Budget"),
        ("latency_us=inf", "'latency_us' parameter of Budget"),
        ("latency_us=fast", "'latency_us' parameter of Budget must be a number. Got 'fast'"),
        ("params=2.5", "'params' parameter of Budget must be a number"),
        ("params=-1", "'params' parameter of Budget must be a whole number > 0"),
        ("latency_rows=7", "'latency_rows' parameter of Budget must be 1 or 1000"),
        ("max_drop.acu=0.1", "no drop of 'acu'. Did you mean 'auc'"),
        ("max_drop.auc=0", r"'max_drop.auc' parameter of Budget must be a float in \(0, 0.5\)"),
        ("max_drop.auc=0.7", "'max_drop.auc' parameter of Budget"),
        ("bytes=1,bytes=2", "names 'bytes' twice"),
    ],
)
def test_what_is_no_budget_is_refused(words: str, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        Budget.parse(words)
    with pytest.raises(ParameterError, match=said):
        RunConfig.of(budget=words)


def test_a_budget_is_the_tolerance() -> None:
    assert RunConfig.of(budget="max_drop.auc=0.01").tolerance == 0.01
    assert RunConfig.of(budget="bytes=9", tolerance=0.01).limits.max_drop == {"auc": 0.01}
    with pytest.raises(ParameterError, match=r"AUC drop of 0\.01 and the tolerance 0\.02"):
        RunConfig.of(budget="max_drop.auc=0.01", tolerance=0.02)


def test_settings_are_read_from_their_own_file(tmp_path) -> None:
    config = RunConfig.of(budget=Budget("2 MB", max_drop={"auc": 0.004}), sampler="optuna")
    (tmp_path / "run.toml").write_text(config.to_toml())
    assert RunConfig.read(tmp_path / "run.toml") == config


def test_sizes() -> None:
    unknown = Sizes(10, math.nan, 5)
    assert unknown.within(Sizes(bytes=10))
    assert not unknown.within(Sizes(latency_us=3))
    assert unknown.ratios(Sizes(5, 3, 5))[1:] == (0.0, 0.0)
    assert Sizes().to_json() == {"bytes": None, "latency_us": None, "params": None}
