"""FeatureSelector: what it keeps, in which kinds of tables, and within scikit-learn's tools."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC

import recprune as rp
from recprune.errors import DataError, ParameterError

NAMES = [f"noise{i}" for i in range(6)] + ["strong", "weak"]


def planted(n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Six columns of noise, a strong and a weak one; and the score they give."""
    draws = np.random.default_rng(seed)
    x = draws.normal(size=(n, 8))
    return x, 2 * x[:, 6] + 0.8 * x[:, 7] + draws.logistic(size=n)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.DataFrame(planted()[0], columns=NAMES)


@pytest.fixture(scope="module")
def y() -> np.ndarray:
    return np.where(planted()[1] > 0, "yes", "no")


def kept(selector: rp.FeatureSelector) -> set[str]:
    return set(selector.get_feature_names_out())


@pytest.mark.parametrize("method", ["permutation", "drop_and_retrain", "l1_logistic"])
def test_useful_columns_are_kept(method: str, frame: pd.DataFrame, y: np.ndarray) -> None:
    selector = rp.FeatureSelector(LogisticRegression(), method=method, keep_count=2)
    assert kept(selector.fit(frame, y)) == {"strong", "weak"}
    assert selector.ranking_.fields[0] == "strong"


@pytest.mark.parametrize(
    ("estimator", "cuts", "tolerance"),
    [
        (LogisticRegression(), [0.0], 0.01),
        (LinearSVC(), [0.0], 0.01),
        (LogisticRegression(), [-1.0, 1.0], 0.03),
        (LinearRegression(), None, 0.01),
    ],
    ids=["binary", "no probabilities", "three classes", "numbers"],
)
def test_the_automatic_mode_drops_noise_alone(
    estimator: Any, cuts: list[float] | None, tolerance: float, frame: pd.DataFrame
) -> None:
    target = planted()[1]
    y = target if cuts is None else np.digitize(target, cuts)
    selector = rp.FeatureSelector(estimator, tolerance=tolerance)
    assert kept(selector.fit(frame, y)) == {"strong", "weak"}


def test_of_two_copies_the_automatic_mode_keeps_one(frame: pd.DataFrame, y: np.ndarray) -> None:
    twice = frame.assign(strong_copy=frame["strong"])
    found = kept(rp.FeatureSelector(LogisticRegression(), tolerance=0.01).fit(twice, y))
    assert len(found & {"strong", "strong_copy"}) == 1
    assert "weak" in found


def test_many_columns_go_several_at_once(frame: pd.DataFrame, y: np.ndarray) -> None:
    fitted = 0

    class Counting(LogisticRegression):
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            nonlocal fitted
            fitted += 1
            return super().fit(X, y, sample_weight)

    wide = np.hstack([frame.to_numpy(), np.random.default_rng(0).normal(size=(len(frame), 92))])
    found = kept(rp.FeatureSelector(Counting(), tolerance=0.01).fit(wide, y))
    assert found == {"x6", "x7"}  # strong and weak
    assert fitted < 50


KINDS: dict[str, Any] = {
    "pandas": lambda f: f,
    "polars": pl.from_pandas,
    "arrow": pa.Table.from_pandas,
    "numpy": lambda f: f.to_numpy(),
    "csr": lambda f: sparse.csr_matrix(f.to_numpy()),
    "csc array": lambda f: sparse.csc_array(f.to_numpy()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_out_is_of_the_kind_that_went_in(
    kind: str, frame: pd.DataFrame, y: np.ndarray
) -> None:
    made = KINDS[kind](frame)
    selector = rp.FeatureSelector(LogisticRegression(), keep_ratio=0.25).fit(made, y)
    out = selector.transform(made)
    assert type(out) is type(made) or (sparse.issparse(out) and sparse.issparse(made))
    values = out.toarray() if sparse.issparse(out) else np.asarray(out)
    if kind == "arrow":
        values = np.asarray(out.to_pandas())
    np.testing.assert_array_equal(values, frame[["strong", "weak"]].to_numpy())
    assert selector.get_support(indices=True).tolist() == [6, 7]
    named = ["strong", "weak"] if kind in ("pandas", "polars", "arrow") else ["x6", "x7"]
    assert selector.get_feature_names_out().tolist() == named


def test_pandas_keeps_types_and_index(y: np.ndarray) -> None:
    x, _ = planted()
    frame = pd.DataFrame({"a": x[:, 6].astype("float32"), 7: x[:, 7], "c": x[:, 0]})
    frame.columns = frame.columns.map(str)
    frame.index = pd.RangeIndex(5, 5 + len(frame))
    out = rp.FeatureSelector(LogisticRegression(), keep_count=2).fit(frame, y).transform(frame)
    pd.testing.assert_frame_equal(out, frame[["a", "7"]])


@pytest.mark.parametrize("container", ["pandas", "polars"])
@pytest.mark.parametrize("kind", ["pandas", "polars", "numpy"])
def test_set_output(kind: str, container: str, frame: pd.DataFrame, y: np.ndarray) -> None:
    made = KINDS[kind](frame)
    selector = rp.FeatureSelector(LogisticRegression(), keep_count=1).set_output(
        transform=container
    )
    out = selector.fit_transform(made, y)
    assert isinstance(out, pd.DataFrame if container == "pandas" else pl.DataFrame)
    assert list(out.columns) == selector.get_feature_names_out().tolist()
    np.testing.assert_array_equal(out.to_numpy().ravel(), frame["strong"].to_numpy())


def test_within_pipeline_search_clone_and_pickle(frame: pd.DataFrame, y: np.ndarray) -> None:
    pipe = make_pipeline(rp.FeatureSelector(LogisticRegression()), KNeighborsClassifier(15))
    grid = {"featureselector__keep_ratio": [0.25, 1.0]}
    found = GridSearchCV(clone(pipe), grid, cv=3, scoring="roc_auc").fit(frame, y)
    assert found.best_params_ == {"featureselector__keep_ratio": 0.25}
    selector = found.best_estimator_[0]
    again = pickle.loads(pickle.dumps(selector))
    pd.testing.assert_frame_equal(again.transform(frame), selector.transform(frame))
    assert clone(selector).get_params()["keep_ratio"] == 0.25


def test_selection_within_folds_sees_no_test_rows() -> None:
    """Columns of noise: chosen on all rows, some of them would 'predict' well above chance."""
    draws = np.random.default_rng(0)
    x, y = draws.normal(size=(120, 150)), draws.integers(0, 2, 120)
    selector = rp.FeatureSelector(LogisticRegression(), keep_count=15)
    model = LogisticRegression()
    honest = cross_val_score(make_pipeline(selector, model), x, y, cv=4, scoring="roc_auc").mean()
    peeked = cross_val_score(
        model, clone(selector).fit_transform(x, y), y, cv=4, scoring="roc_auc"
    ).mean()
    assert abs(honest - 0.5) < 0.1 < peeked - 0.5


def test_column_order_does_not_matter(frame: pd.DataFrame, y: np.ndarray) -> None:
    selector = rp.FeatureSelector(LogisticRegression())
    assert kept(clone(selector).fit(frame, y)) == kept(selector.fit(frame[NAMES[::-1]], y))


def test_results_do_not_change_from_run_to_run(frame: pd.DataFrame, y: np.ndarray) -> None:
    scores = [
        rp.FeatureSelector(LogisticRegression(), keep_count=1, random_state=state)
        .fit(frame, y)
        .ranking_.scores
        for state in (None, 0, 1, np.random.RandomState(3), np.random.RandomState(3))
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[1], scores[2])
    np.testing.assert_array_equal(scores[3], scores[4])


def test_any_column_of_a_pipeline_of_raw_columns(y: np.ndarray) -> None:
    x, _ = planted()
    frame = pl.DataFrame(
        {
            "colour": np.where(x[:, 6] > 0, "red", "blue").tolist(),
            "shape": np.where(x[:, 0] > 0, "round", "flat").tolist(),
            "size": x[:, 7],
        }
    )
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["colour"]), remainder="drop"
    )
    selector = rp.FeatureSelector(make_pipeline(encoder, LogisticRegression()), keep_count=1)
    assert selector.fit(frame, y).transform(frame).columns == ["colour"]


def test_protected_columns_stay(frame: pd.DataFrame, y: np.ndarray) -> None:
    for options in ({}, {"keep_count": 2}, {"threshold": 0.02}):
        selector = rp.FeatureSelector(LogisticRegression(), protect=["noise3"], **options)
        assert {"noise3", "strong"} <= kept(selector.fit(frame, y)), options


def test_weights_decide_what_is_true() -> None:
    """In the rows that count 'right' tells the label, in the many others 'wrong' does."""
    draws = np.random.default_rng(0)
    n = 4000
    counts = draws.random(n) < 0.3
    y = draws.integers(0, 2, n)
    signal = y + draws.normal(size=n) * 0.7
    noise = draws.normal(size=(2, n))
    frame = pd.DataFrame(
        {"right": np.where(counts, signal, noise[0]), "wrong": np.where(counts, noise[1], signal)}
    )
    weight = np.where(counts, 1.0, 0.02)
    selector = rp.FeatureSelector(LogisticRegression(), keep_count=1)
    assert kept(clone(selector).fit(frame, y)) == {"wrong"}
    assert kept(clone(selector).fit(frame, y, sample_weight=weight)) == {"right"}
    automatic = rp.FeatureSelector(LogisticRegression(), tolerance=0.05)
    assert kept(automatic.fit(frame, y, sample_weight=weight)) == {"right"}
    only = clone(selector).fit(frame, y, sample_weight=counts.astype(float))
    alone = clone(selector).fit(frame[counts], y[counts], sample_weight=np.ones(counts.sum()))
    np.testing.assert_array_equal(only.ranking_.scores, alone.ranking_.scores)


def test_weights_are_routed_to_the_step_that_asks(frame: pd.DataFrame, y: np.ndarray) -> None:
    weight = np.ones(len(y))
    pipe = make_pipeline(LogisticRegression())
    with pytest.raises(ParameterError, match="got sample_weight, and Pipeline"):
        rp.FeatureSelector(pipe, keep_count=2).fit(frame, y, sample_weight=weight)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = make_pipeline(LogisticRegression().set_fit_request(sample_weight=True))
        selector = rp.FeatureSelector(asking, keep_count=2).set_fit_request(sample_weight=True)
        outer = make_pipeline(selector, KNeighborsClassifier())
        outer.fit(frame, y, sample_weight=weight)
    assert kept(outer[0]) == {"strong", "weak"}


def test_no_group_lies_in_two_parts(frame: pd.DataFrame, y: np.ndarray) -> None:
    """A column that names the group learns its rows by heart: worthless for groups not seen."""
    draws = np.random.default_rng(0)
    group = draws.integers(0, 300, len(y))
    noisy = np.where(draws.random(300) < 0.5, "yes", "no")[group]
    x = frame[["noise0"]].assign(group=1000.0 * group)
    scores = []
    for groups in (None, group):
        selector = rp.FeatureSelector(KNeighborsClassifier(1), keep_count=1)
        ranking = selector.fit(x, noisy, groups=groups).ranking_
        scores.append(dict(zip(ranking.fields, ranking.scores, strict=True))["group"])
    assert scores[0] > 0.4
    assert abs(scores[1]) < 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep_ratio": 2}, "'keep_ratio' parameter of FeatureSelector must be a float in"),
        ({"keep_ratio": 1.5}, "Got 1.5 instead"),
        ({"keep_count": 9}, r"an int in \[1, 8\]"),
        ({"keep_count": 0.5}, "Got 0.5 instead"),
        ({"keep_count": 2, "threshold": 0.0}, "takes one of keep_ratio, keep_count, threshold"),
        ({"tolerance": 0.0}, "'tolerance' parameter"),
        ({"protect": "strong"}, "a list of column names"),
        ({"protect": ["strnog"]}, "cannot protect 'strnog'. Did you mean 'strong'?"),
        ({"method": "permutaton"}, "Did you mean 'permutation'?"),
        ({"method": "dropout"}, "asks a ranker of recprune, such as"),
    ],
)
def test_errors_name_the_option(
    options: dict[str, Any], message: str, frame: pd.DataFrame, y: np.ndarray
) -> None:
    with pytest.raises(ParameterError, match=message):
        rp.FeatureSelector(LogisticRegression(), **options).fit(frame, y)


def test_fields_need_two_classes_and_columns(frame: pd.DataFrame, y: np.ndarray) -> None:
    selector = rp.FeatureSelector(LogisticRegression(), method="l1_logistic")
    with pytest.raises(ParameterError, match="two classes, not 3"):
        selector.fit(frame, np.digitize(planted()[1], [-1, 1]))
    with pytest.raises(ParameterError, match="not a sparse matrix"):
        selector.fit(sparse.csr_matrix(frame.to_numpy()), y)


@pytest.mark.parametrize(
    ("x", "rows", "message"),
    [
        (lambda f: pl.from_pandas(f).lazy(), None, "Pass X.collect()"),
        (lambda f: f.set_axis(["a", "a", *"bcdefg"], axis=1), None, "two columns named 'a'"),
        (lambda f: f[:1], 1, "too few for that, 1 rows in all"),
        (lambda f: f[:0], 0, "0 sample"),
    ],
    ids=["lazy", "one name twice", "one row", "no rows"],
)
def test_tables_that_cannot_be_used(
    x: Any, rows: int | None, message: str, frame: pd.DataFrame, y: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        rp.FeatureSelector(LogisticRegression()).fit(x(frame), y[:rows])


def test_one_group_cannot_be_dealt(frame: pd.DataFrame, y: np.ndarray) -> None:
    selector = rp.FeatureSelector(LogisticRegression(), keep_count=1)
    with pytest.raises(DataError, match="deals its groups to 2 parts"):
        selector.fit(frame, y, groups=np.zeros(len(y)))
    with pytest.raises(DataError, match="each with both classes"):  # one has all of one class
        selector.fit(frame, y, groups=y == "no")
