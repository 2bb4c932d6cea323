"""What every method that scores fields promises, over the whole registry.

A method's own file holds it against an oracle; here all stand before the same small tables.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset, Split
from recprune.data.extras import Extras
from recprune.importance import METHODS, Evidence, Scores, importance
from recprune.models import DeepFM, Ranker, Training

FIELD_METHODS = sorted(m.name for m in METHODS.values() if "field" in m.units)
REAL = [m for m in FIELD_METHODS if m != "random"]

#: Options that make a method quick enough for small tables.
OPTIONS: dict[str, dict[str, Any]] = {
    "autofield": {"steps": 100},
    "dropout": {"steps": 100},
    "lpfs": {"steps": 100},
    "lpfs++": {"steps": 100},
    "shuffle_gate": {"steps": 100},
    "boruta": {"rounds": 8},
    "drop_and_retrain": {"seeds": 1},
    "integrated_gradients": {"steps": 4},
    "mutual_information": {"shuffles": 4},
    "drift": {"shuffles": 4},
    "lightgbm_gain": {"trees": 40},
    "lightgbm_permutation": {"trees": 40, "repeats": 3},
    "random_forest": {"trees": 30},
    "recursive_elimination": {"share": 0.5},
}
#: Of these, a copy of every column in another order changes nothing but the last bits.
IN_ANY_ORDER = {"chi_square", "drift", "group_lasso", "l1_logistic", "mutual_information"}
IN_ANY_ORDER |= {"random", "single_field_auc"}
#: What weights do not turn round, and why.
NOT_BY_WEIGHT = {
    "random": "draws, and looks at no row",
    "sfs": "an absolute slope tells how far a field moves the output, not whether to the good",
    "shark": "likewise",
}
#: What a copy knows too, nobody misses: it is the method's very question.
BLIND_TO_COPIES = {"drop_and_retrain"}

USEFUL = {"colour", "gap", "size", "tags"}
NOISE = {"empty", "flat", "many", "number", "vector"}
#: Few and long steps: methods that train again do so ten times in a test.
TRAINING = Training(epochs=3, learning_rate=1e-2)


@cache
def table(n: int = 3_000) -> pl.DataFrame:
    """Four useful fields of all kinds (``gap`` by what is missing), five useless ones, of which one is all but empty."""
    draws = np.random.default_rng(0)
    colour = draws.choice(["red", "green", "blue"], n)
    size = draws.normal(0, 1, n)
    missing = draws.random(n) < 0.4
    sale = draws.random(n) < 0.5
    tags = [["sale"] * int(s) + draws.choice(list("abc"), 2).tolist() for s in sale]
    logit = 1.6 * (colour == "red") - 1.2 * (colour == "blue") + 1.5 * np.sin(2 * size)
    logit += 2.4 * (missing - 0.4) + 2.2 * (sale - 0.5)
    return pl.DataFrame(
        {
            "colour": colour,
            "size": size,
            "gap": np.where(missing, None, draws.choice(list("xyz"), n)).tolist(),
            "tags": tags,
            "flat": draws.choice(list("pq"), n),
            "many": draws.choice([f"m{i}" for i in range(60)], n),
            "number": draws.normal(0, 1, n),
            "vector": draws.normal(0, 1, (n, 3)),
            "empty": pl.Series([1.0, 2.0, 3.0] + [None] * (n - 3)),
            "y": (draws.random(n) < 1 / (1 + np.exp(-logit))).astype(int),
        }
    )


def read(frame: pl.DataFrame) -> Dataset:
    return Dataset.from_frame(frame, label="y").split(by="random", seed=0)


@cache
def base() -> tuple[Dataset, Ranker]:
    return fitted(read(table()))


def fitted(data: Dataset) -> tuple[Dataset, Ranker]:
    return data, DeepFM(4, (8,), training=TRAINING).fit(data.train, data.tune)


def scored(method: str, data: Dataset | Evidence, model: Ranker, seed: int = 0) -> Scores:
    given = model if METHODS[method].needs_model else None
    return importance(given, data, "fields", method, seed, **OPTIONS.get(method, {}))


@cache
def by_name(method: str) -> dict[str, float]:
    data, model = base()
    return named(data, scored(method, data, model))


def named(data: Dataset, scores: Scores) -> dict[str, float]:
    return dict(zip(data.encoder.schema.names, scores.score.tolist(), strict=True))


def best(scores: dict[str, float], names: set[str]) -> float:
    return max(scores[n] for n in names)


@pytest.mark.parametrize("method", REAL)
def test_useful_fields_rank_above_noise(method: str) -> None:
    scores = by_name(method)
    assert set(scores) == USEFUL | NOISE
    assert min(scores[n] for n in USEFUL) > best(scores, NOISE), scores


@pytest.mark.parametrize("method", REAL)
def test_column_order_does_not_matter(method: str) -> None:
    frame = table()
    columns = frame.columns[:-1]
    data, model = fitted(read(frame.select([*columns[::-1], "y"])))
    scores = named(data, scored(method, data, model))
    if method in IN_ANY_ORDER:
        assert scores == pytest.approx(by_name(method), rel=1e-5, abs=1e-9)
    assert min(scores[n] for n in USEFUL) > best(scores, NOISE), scores


@cache
def duplicated() -> tuple[Dataset, Ranker]:
    return fitted(read(table().with_columns(pl.col("colour").alias("again"))))


@pytest.mark.parametrize("method", REAL)
def test_of_a_column_that_is_there_twice_one_is_found(method: str) -> None:
    data, model = duplicated()
    scores = named(data, scored(method, data, model))
    if method in BLIND_TO_COPIES:
        assert best(scores, {"colour", "again"}) < by_name(method)["colour"] / 2
    else:
        assert best(scores, {"colour", "again"}) > best(scores, NOISE), scores


@pytest.mark.parametrize("method", FIELD_METHODS)
def test_the_same_seed_gives_the_same_bytes_and_the_model_is_unchanged(method: str) -> None:
    data, model = base()
    before = model.logits(data.test.rows).tobytes()
    again = named(data, scored(method, data, model))
    assert again == by_name(method)
    assert model.logits(data.test.rows).tobytes() == before


@cache
def two_halves() -> tuple[Dataset, Ranker]:
    """In half of the rows ``left`` decides, in the other half ``right``; noise beside them."""
    draws = np.random.default_rng(1)
    n = 3_000
    columns = {name: draws.choice(list("abc"), n) for name in ("left", "right", "flat")}
    half = np.arange(n) % 2 == 0
    logit = 2.5 * np.where(half, columns["left"] == "a", columns["right"] == "a") - 0.8
    label = (draws.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
    schema = {"fields": {name: {"kind": "categorical"} for name in columns}}
    frame = pl.DataFrame({**columns, "half": half.astype(float), "y": label})
    data = Dataset.from_frame(frame, label="y", schema={**schema, "weight": "half"})
    data = data.split(by="random", seed=0)
    alike = weighed(data.train, np.ones(len(data.train)))
    return data, DeepFM(4, (8,), training=TRAINING).fit(alike)


def weighed(split: Split, weight: np.ndarray) -> Split:
    return replace(split, extras=Extras(weight.astype(np.float32)))


@pytest.mark.parametrize("method", REAL)
def test_rows_of_weight_zero_do_not_matter(method: str) -> None:
    data, model = two_halves()
    both = []
    for part in (data.train, data.tune):
        kept = part.take(part.extras.weight > 0)
        # Whatever such rows hold: here the opposite of every label.
        wrong = np.where(part.extras.weight > 0, part.label, 1 - part.label)
        both.append(
            (replace(part, label=wrong.astype(np.float32)), weighed(kept, np.ones(len(kept))))
        )
    ours, theirs = (Evidence(train, tune) for train, tune in zip(*both, strict=True))
    np.testing.assert_allclose(
        scored(method, ours, model).score, scored(method, theirs, model).score, rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("method", FIELD_METHODS)
def test_weights_say_which_rows_decide(method: str) -> None:
    """The field that decides in heavy rows is the important one, of the same rows and model."""
    data, model = two_halves()
    leads = []
    for heavy in (1.0, 0.0):
        parts = []
        for part in (data.train, data.tune):
            weight = np.where((part.extras.weight > 0) == heavy, 1.95, 0.05)
            parts.append(weighed(part, weight))
        score = scored(method, Evidence(*parts), model).score
        leads.append(score[0] - score[1])
    if method in NOT_BY_WEIGHT:
        assert (leads[0] == leads[1]) == (method == "random")
    else:
        assert leads[0] > 0 > leads[1], leads
