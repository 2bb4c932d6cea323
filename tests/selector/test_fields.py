"""FeatureSelector around rankers: raw columns of texts, dates and missing values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import recprune as rp
from recprune.errors import ParameterError
from recprune.importance import METHODS
from recprune.models import Training

RANKER = rp.DeepFM(4, (8,), training=Training(epochs=4))
ALONE = sorted(m.name for m in METHODS.values() if "field" in m.units and not m.needs_model)


def raw(n: int = 4000, seed: int = 0) -> tuple[pl.DataFrame, np.ndarray]:
    """Two useful columns of text and one of numbers with gaps, noise, dates, and a constant."""
    draws = np.random.default_rng(seed)
    colour = draws.choice(["red", "green", "blue"], n)
    size = draws.normal(size=n)
    day = draws.integers(0, 200, n)
    logit = 2.0 * (colour == "red") - 1 + 1.5 * np.sin(2 * size) + 1.5 * (day % 7 == 3)
    frame = pl.DataFrame(
        {
            "shape": draws.choice([f"s{i}" for i in range(20)], n).tolist(),
            "colour": np.where(draws.random(n) < 0.03, None, colour).tolist(),
            "always": ["x"] * n,
            "size": pl.Series(np.where(draws.random(n) < 0.05, np.nan, size)).fill_nan(None),
            "day": pl.Series(np.datetime64("2024-01-01") + day),
            "noise": draws.normal(size=n),
        }
    )
    return frame, np.where(draws.random(n) < 1 / (1 + np.exp(-logit)), "buys", "leaves")


@pytest.fixture(scope="module")
def table() -> tuple[pl.DataFrame, np.ndarray]:
    return raw()


@pytest.mark.parametrize("kind", ["polars", "pandas", "objects"])
def test_a_ranker_reads_raw_columns(kind: str, table: tuple[pl.DataFrame, np.ndarray]) -> None:
    frame, y = table
    selector = rp.FeatureSelector(RANKER, keep_count=3)
    if kind == "objects":
        frame = frame.drop("day")
        selector.keep_count = 2
    made = {"polars": frame, "pandas": frame.to_pandas(), "objects": None}[kind]
    if kind == "objects":
        made = frame.to_pandas().to_numpy(dtype=object)
    out = selector.fit(made, y).transform(made)
    assert type(out) is type(made)
    want = [c for c in frame.columns if c in ("colour", "size", "day")]
    assert [frame.columns[i] for i in selector.get_support(indices=True)] == want
    assert not RANKER.fitted


def test_the_automatic_mode_drops_what_a_ranker_does_not_need(
    table: tuple[pl.DataFrame, np.ndarray],
) -> None:
    frame, y = table
    selector = rp.FeatureSelector(RANKER, tolerance=0.01, protect=["always"]).fit(frame, y)
    assert set(selector.get_feature_names_out()) == {"colour", "size", "day", "always"}


@pytest.mark.parametrize("method", [m for m in ALONE if m != "random"])
def test_methods_that_ask_no_model_serve_every_estimator(
    method: str, table: tuple[pl.DataFrame, np.ndarray]
) -> None:
    frame, y = table
    frame = frame.drop("day", "always")
    for estimator in (LogisticRegression(), RANKER):
        selector = rp.FeatureSelector(estimator, method=method, keep_count=2).fit(frame, y)
        rivals = set(selector.ranking_.fields[:2])
        # One-hot coefficients under L1 spread over the values of a useless column, as published.
        rivals |= {selector.ranking_.fields[2]} if method == "l1_logistic" else set()
        assert {"colour", "size"} <= rivals
        assert selector.estimator_ is None


def test_a_matrix_needs_no_names(table: tuple[pl.DataFrame, np.ndarray]) -> None:
    draws = np.random.default_rng(0)
    x = draws.normal(size=(2000, 4))
    y = (x[:, 2] > draws.normal(size=2000)).astype(int)
    selector = rp.FeatureSelector(LogisticRegression(), method="l1_logistic", keep_count=1)
    assert make_pipeline(selector).fit(x, y)[0].get_feature_names_out().tolist() == ["x2"]


def test_weights_reach_the_ranker() -> None:
    draws = np.random.default_rng(0)
    n = 4000
    counts, y = draws.random(n) < 0.3, draws.integers(0, 2, n)
    told = np.where(draws.random(n) < 0.9, y, 1 - y)
    other = draws.integers(0, 2, n)
    frame = pd.DataFrame(
        {"right": np.where(counts, told, other), "wrong": np.where(counts, other, told)}
    ).map("v{}".format)
    weight = np.where(counts, 1.0, 0.01)
    selector = rp.FeatureSelector(RANKER, keep_count=1)
    assert list(clone(selector).fit(frame, y).get_feature_names_out()) == ["wrong"]
    weighted = clone(selector).fit(frame, y, sample_weight=weight)
    assert list(weighted.get_feature_names_out()) == ["right"]


def test_a_ranker_needs_two_classes(table: tuple[pl.DataFrame, np.ndarray]) -> None:
    frame, _ = table
    with pytest.raises(ParameterError, match="A ranker needs a target of two classes, not 3"):
        rp.FeatureSelector(RANKER, keep_count=1).fit(frame, np.arange(len(frame)) % 3)
