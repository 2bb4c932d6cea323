"""Filters against scikit-learn and SciPy, field by field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.stats import chi2_contingency, norm
from sklearn.feature_selection import chi2
from sklearn.metrics import mutual_info_score, roc_auc_score

from recprune._support import stream
from recprune.data import Dataset, Split
from recprune.data.extras import Extras
from recprune.errors import ParameterError
from recprune.importance import Evidence, importance
from recprune.importance.design import Cells, one_hot, tree_columns
from recprune.lookups import FIRST
from recprune.metrics import auc
from tests.planted import small_data


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(3000)


@pytest.fixture(scope="module")
def bags() -> Dataset:
    """A list whose element ``sale`` decides, a vector whose second component does, and missing."""
    draws, n = np.random.default_rng(0), 3000
    sale = draws.random(n) < 0.5
    vector = draws.normal(0, 1, (n, 3))
    logit = 2 * (sale - 0.5) + 1.5 * vector[:, 1]
    lists = [["sale"] * int(s) + draws.choice(list("abc"), 2).tolist() for s in sale]
    lists = [None if draws.random() < 0.1 else x for x in lists]
    frame = pl.DataFrame(
        {
            "tags": lists,
            "vector": vector,
            "plain": draws.choice(list("ab"), n),
            "y": (draws.random(n) < 1 / (1 + np.exp(-logit))).astype(int),
        }
    )
    return Dataset.from_frame(frame, label="y").split(by="random", seed=0)


def halves(split: Split) -> np.ndarray:
    return np.array(Cells.fitted(split, 0)[1])


def test_mutual_information_is_that_of_sklearn_less_what_chance_gives(data: Dataset) -> None:
    split = data.train
    draws = stream(0, "shuffled labels")
    shuffled = [split.label[draws.permutation(len(split))] for _ in range(10)]
    scores = importance(None, data, "fields", "mutual_information")
    for i, codes in enumerate(halves(split).T):
        found = mutual_info_score(codes, split.label)
        chance = [mutual_info_score(codes, y) for y in shuffled]
        assert scores.std[i] == pytest.approx(np.std(chance, ddof=1))
        assert scores.score[i] == pytest.approx(found - np.mean(chance) - 2 * scores.std[i])


def test_information_beyond_chance_does_not_grow_with_the_number_of_values() -> None:
    """Alone, a useless field of 1,500 values has as much as a useful one of 2."""
    draws, n = np.random.default_rng(0), 6000
    weak = draws.choice(list("ab"), n)
    many = draws.integers(0, 1500, n)
    label = (draws.random(n) < 0.5 + 0.15 * np.where(weak == "a", 1, -1)).astype(int)
    frame = pl.DataFrame({"weak": weak, "many": [f"m{v}" for v in many], "y": label})
    data = Dataset.from_frame(frame, label="y").split(by="random", seed=0)
    codes = halves(data.train)
    plain = [mutual_info_score(c, data.train.label) for c in codes.T]
    assert plain[1] > 2 * plain[0]
    weak_score, many_score = importance(None, data, "fields", "mutual_information").score
    assert weak_score > 0.03
    assert many_score < 0.01


def test_chi_square_is_that_of_sklearn_and_scipy_as_a_deviate(data: Dataset) -> None:
    split = data.train
    ours = importance(None, data, "fields", "chi_square").score
    for i, codes in enumerate(halves(split).T):
        seen, place = np.unique(codes, return_inverse=True)
        table = np.zeros((len(seen), 2))
        np.add.at(table, (place, split.label.astype(int)), 1)
        statistic, p, free, _ = chi2_contingency(table, correction=False)
        assert chi2(np.eye(len(seen))[place], split.label)[0].sum() == pytest.approx(statistic)
        spread = 2 / (9 * free)
        deviate = ((statistic / free) ** (1 / 3) - 1 + spread) / np.sqrt(spread)
        assert ours[i] == pytest.approx(deviate)
        if p > 1e-12:
            assert deviate == pytest.approx(norm.isf(p), abs=0.1)


def test_weights_do_not_make_rows(data: Dataset) -> None:
    """A weight of 3 for all is no weight; uneven weights count as fewer rows, not as more."""
    split = data.train
    scores = []
    for weight in (None, np.full(len(split), 3.0), 1 + 8.0 * (np.arange(len(split)) % 10 == 0)):
        given = None if weight is None else weight.astype(np.float32)
        weighted = replace(split, extras=Extras(given))
        scores.append(importance(None, weighted, "fields", "chi_square").score)
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-6)
    assert scores[2][0] < 0.8 * scores[0][0]


def test_single_field_auc_scores_held_out_rows_by_training_rates(data: Dataset) -> None:
    scores = importance(None, data, "fields", "single_field_auc")
    cells, train = Cells.fitted(data.train, 0)
    held = cells.of(data.tune.rows)
    base = data.train.label.mean(dtype=np.float64)
    for i in (1, 2):
        rates = {}
        for value in np.unique(train[:, i]):
            label = data.train.label[train[:, i] == value].astype(np.float64)
            rates[value] = (label.sum() + 20 * base) / (len(label) + 20)
        guess = [rates.get(value, base) for value in held[:, i]]
        assert scores.score[i] == pytest.approx(roc_auc_score(data.tune.label, guess) - 0.5)
        draws = np.random.default_rng(0)
        again = []
        for _ in range(150):
            some = draws.integers(0, len(guess), len(guess))
            again.append(auc(data.tune.label[some], np.array(guess)[some]))
        assert scores.std[i] == pytest.approx(np.std(again), rel=0.25)


def moved_data(by_time: bool) -> Dataset:
    """``steady`` and ``moving`` say the same of the label; the values of ``moving`` change in time."""
    draws, n = np.random.default_rng(0), 4000
    label = draws.integers(0, 2, n)
    say = [np.where(draws.random(n) < 0.3, draws.integers(0, 2, n), label) for _ in range(2)]
    late = np.arange(n) > n // 2
    frame = pl.DataFrame(
        {
            "steady": [f"s{v}" for v in say[0]],
            "moving": [f"m{v}{int(w)}" for v, w in zip(say[1], late, strict=True)],
            "noise": draws.choice(list("ab"), n),
            "day": np.arange(n),
            "y": label,
        }
    )
    time = {"time": "day"} if by_time else {}
    data = Dataset.from_frame(frame, label="y", drop=[] if by_time else ["day"], **time)
    return data.split(by="time" if by_time else "random", seed=0)


def test_drift_takes_off_what_tells_early_rows_from_late_ones() -> None:
    data = moved_data(by_time=True)
    names = data.encoder.schema.names
    relevance = dict(
        zip(names, importance(None, data, "fields", "mutual_information").score, strict=True)
    )
    less = dict(zip(names, importance(None, data, "fields", "drift").score, strict=True))
    assert relevance["moving"] == pytest.approx(relevance["steady"], rel=0.2)
    assert less["steady"] == pytest.approx(relevance["steady"], abs=0.01)
    assert less["moving"] < 0 < less["steady"]
    free = importance(None, data, "fields", "drift", penalty=0.0).score
    np.testing.assert_allclose(free, list(relevance.values()))
    # One split: its later half. Without times its rows are in order, here a random one.
    alone = dict(zip(names, importance(None, data.train, "fields", "drift").score, strict=True))
    assert alone["moving"] < relevance["moving"] - 0.2
    mixed = moved_data(by_time=False)
    same = importance(None, mixed, "fields", "drift").score
    np.testing.assert_allclose(
        same, importance(None, mixed, "fields", "mutual_information").score, atol=0.01
    )


def test_drift_is_the_divergence_of_jensen_and_shannon() -> None:
    from scipy.spatial.distance import jensenshannon

    data = moved_data(by_time=True)
    cells, train = Cells.fitted(data.train, 0)
    held = cells.of(data.tune.rows)
    parts = [np.bincount(c[:, 1], minlength=cells.sizes[1]) for c in (train, held)]
    without, once = (
        importance(None, data, "fields", "drift", penalty=p).score[1] for p in (0.0, 1.0)
    )
    assert without - once == pytest.approx(jensenshannon(*parts) ** 2, abs=5e-3)


@pytest.mark.parametrize(
    "method", ["mutual_information", "chi_square", "single_field_auc", "drift"]
)
def test_lists_and_vectors_are_read_as_a_whole(method: str, bags: Dataset) -> None:
    tags, vector, plain = importance(None, bags, "fields", method).score
    assert min(tags, vector) > 5 * abs(plain)


def test_a_useless_bag_is_as_useless_as_any(bags: Dataset) -> None:
    """Its least squares are cross-fitted: labels learnt by heart do not come back as information."""
    draws = np.random.default_rng(1)
    scores = [
        importance(
            None,
            replace(bags.train, label=draws.permutation(bags.train.label)),
            "fields",
            "chi_square",
            seed,
        ).score
        for seed in range(12)
    ]
    assert np.abs(np.mean(scores, axis=0)).max() < 1.2
    assert np.abs(scores).max() < 4.5


def test_cells_put_a_number_to_its_nearest_knot(data: Dataset) -> None:
    codes = halves(data.train)
    knots = data.encoder.parts["size"].points
    raw = data.train.columns["size"].to_numpy().astype(float)
    known = ~np.isnan(raw)
    nearest = np.abs(np.clip(raw[known], knots[0], knots[-1])[:, None] - knots).argmin(axis=1)
    agree = codes[known, 2] == nearest + FIRST
    assert agree.mean() > 0.999  # halfway cases may round either way
    assert (codes[~known, 2] == 1).all()


def test_every_kind_has_columns(bags: Dataset, data: Dataset) -> None:
    matrix, owner = one_hot(bags.encoder, bags.train.rows)
    plain = np.zeros(matrix.shape)
    for i, slots in enumerate(bags.encoder.slots):
        start = np.flatnonzero(owner == i)[0]
        shares = bags.train.rows.shares[:, bags.encoder.share_slots[i]]
        for s in range(slots.stop - slots.start):
            value = shares[:, s] if shares.shape[1] else 1
            np.add.at(
                plain, (np.arange(len(plain)), start + bags.train.rows.codes[:, slots][:, s]), value
            )
    np.testing.assert_allclose(matrix.toarray(), plain, atol=1e-6)
    columns, owner = tree_columns(bags.encoder, bags.train.rows)
    vector = np.array(bags.train.columns["vector"].to_list())
    ours = columns[:, owner == 1]
    assert np.corrcoef(ours.T, vector.T)[:3, 3:] == pytest.approx(np.eye(3), abs=0.06)
    missing = np.array([v is None for v in bags.train.columns["tags"].to_list()])
    np.testing.assert_array_equal(np.isnan(columns[:, 0]), missing)
    np.testing.assert_allclose(columns[~missing][:, owner == 0].sum(axis=1), 1, rtol=1e-5)
    numbers, _ = tree_columns(data.encoder, data.train.rows)
    raw = data.train.columns["size"].to_numpy().astype(float)
    known = ~np.isnan(raw)
    np.testing.assert_array_equal(np.isnan(numbers[:, 2]), ~known)
    order = np.argsort(raw[known], kind="stable")
    assert (np.diff(numbers[known, 2][order]) >= -1e-4).all()


def test_options_are_checked(data: Dataset) -> None:
    with pytest.raises(ParameterError, match="'shuffles' parameter of drift"):
        importance(None, data, "fields", "drift", shuffles=1)
    with pytest.raises(ParameterError, match="'penalty' parameter of drift"):
        importance(None, data, "fields", "drift", penalty=-1.0)


def test_larger_tables_are_sampled(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from recprune.importance import filters

    whole = importance(None, data, "fields", "single_field_auc")
    monkeypatch.setattr(filters, "MAX_ROWS", 200)
    part = importance(None, Evidence(data.train, data.tune), "fields", "single_field_auc")
    assert (part.std > whole.std).all()
