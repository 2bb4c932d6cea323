"""The scikit-learn transformer that keeps the columns that matter."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_sample_weight,
    assert_all_finite,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    has_fit_parameter,
    validate_data,
)

from recprune.data.frames import check_names
from recprune.data.split import deal
from recprune.errors import DataError, ParameterError, nearest
from recprune.importance import METHODS
from recprune.models import Ranker
from recprune.selector.columns import FOREIGN_METHODS, Part, Proving, ranked, smallest
from recprune.selector.fields import FieldRows, column_scores, smallest_fields
from recprune.selector.judging import Judge, target_of
from recprune.selector.tables import as_frame, columns_of, is_frame, names_of

__all__ = ["FeatureSelector"]

OWNER = "FeatureSelector"
#: Shares of the rows that train and score; and, of the automatic mode, that decide.
SHARES, AUTOMATIC = (0.7, 0.3), (0.6, 0.2, 0.2)


class FeatureSelector(SelectorMixin, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """Keep the columns that an estimator needs.

    ``fit`` cuts its rows into parts, users whole if ``groups`` are given: 70 % train the estimator
    and 30 % score the columns. Where neither ``keep_ratio`` nor ``keep_count`` nor ``threshold``
    is given, 20 % score, and the last 20 % decide how few columns hold the promise of
    ``tolerance``; see :func:`recprune.selector.columns.smallest` and, of rankers,
    :func:`recprune.evaluation.choose_fields`. Rows of weight 0 are left out.

    A column is scored by itself: groups of columns, costs, and columns that go in any case are
    :func:`recprune.rank_fields`'s.

    What is held: of two classes the AUC, of several the share of rows that are right, of numbers
    R².

    Args:
        estimator: any classifier or regressor of scikit-learn; or a ranker, such as
            ``rp.DeepFM()``, which reads raw columns of texts, dates and missing values and needs
            two classes. It is cloned, never fitted itself.
        method: ``"permutation"`` or ``"drop_and_retrain"`` with any estimator, by held-out rows;
            any of :data:`recprune.importance.METHODS` that ask no model, with two classes; with a
            ranker all of them.
        keep_ratio: share of the columns to keep, a float in (0, 1].
        keep_count: number of columns to keep.
        threshold: columns that score above it are kept.
        tolerance: largest drop of quality, of the automatic mode.
        protect: names of columns that stay in any case (``"x0"``, ``"x1"``, … of a matrix).
        random_state: seed of parts and shuffles, or what draws it; None = 0: the result never
            changes from run to run.

    Attributes:
        ranking_: the columns' :class:`recprune.FieldRanking`, best first.
        support_: which columns are kept, shape ``(n_features_in_,)``, bool.
        estimator_: the estimator fitted on the training rows and all columns; None where the
            method asked none.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    What comes out of ``transform`` is what went in: a pandas, Polars or Arrow table, a NumPy or
    sparse matrix; ``set_output`` changes that.

    >>> import pandas as pd
    >>> from sklearn.linear_model import LogisticRegression
    >>> draws = np.random.default_rng(0)
    >>> x = pd.DataFrame(draws.normal(size=(600, 3)), columns=["noise", "useful", "more"])
    >>> y = np.where(x["useful"] + draws.normal(size=600) > 0, "buys", "leaves")
    >>> FeatureSelector(LogisticRegression(), keep_count=1).fit(x, y).get_feature_names_out()
    array(['useful'], dtype=object)
    """

    def __init__(
        self,
        estimator: Any,
        *,
        method: str = "permutation",
        keep_ratio: float | None = None,
        keep_count: int | None = None,
        threshold: float | None = None,
        tolerance: float = 0.002,
        protect: Sequence[str] = (),
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.keep_ratio = keep_ratio
        self.keep_count = keep_count
        self.threshold = threshold
        self.tolerance = tolerance
        self.protect = protect
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> FeatureSelector:
        """Choose the columns by these rows alone.

        Args:
            X: a table or matrix, shape ``(n_rows, n_columns)``.
            y: classes or numbers, shape ``(n_rows,)``.
            sample_weight: how much each row counts in training, scoring and deciding.
            groups: each row's user, say: no group lies in two parts.

        Returns:
            self.

        Raises:
            ParameterError: an option out of range, a method that the estimator or the target does
                not allow, or weights that the estimator would ignore.
            ValueError: rows or columns that cannot be used; as DataError, where there are too few
                rows or groups for the parts.
        """
        whole = self._checked(X, y, sample_weight, groups)
        names = self._names()
        self._check_options(names, whole.judge)
        chosen = self._by_fields if self._is_ranker else self._by_columns
        kept = chosen(whole, names)
        self.support_ = np.isin(names, kept)
        return self

    def transform(self, X: Any) -> Any:
        """Return the kept columns, as the kind of table that X is.

        Raises:
            NotFittedError: before :meth:`fit`.
            ValueError: other columns than :meth:`fit` saw.
        """
        if not is_frame(X):
            return super().transform(X)
        check_is_fitted(self)
        validate_data(self, X, reset=False, skip_check_array=True)
        return columns_of(X, np.flatnonzero(self.support_))

    def get_metadata_routing(self) -> MetadataRouter:
        """Return who gets what: weights and groups are read here, and weights by the estimator."""
        router = MetadataRouter(owner=self).add_self_request(self)
        if not self._is_ranker:
            mapping = MethodMapping().add(caller="fit", callee="fit")
            router.add(estimator=self.estimator, method_mapping=mapping)
        return router

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return self.support_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if self._is_ranker:
            tags.input_tags.allow_nan = tags.input_tags.string = True
        else:
            inner = get_tags(self.estimator).input_tags
            tags.input_tags.sparse = inner.sparse
            tags.input_tags.allow_nan = inner.allow_nan
        return tags

    @property
    def _is_ranker(self) -> bool:
        return isinstance(self.estimator, Ranker)

    def _by_columns(self, whole: Part, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the columns to keep, by an estimator of scikit-learn."""
        seed, parts = self._seed(), self._parts(whole.judge)
        train, tune, *gate = (whole.take(at) for at in parts)
        proving = Proving(self.estimator, names, train, tune, self._fit_params(train.judge.weight))
        if self.method in FOREIGN_METHODS:
            scores = FOREIGN_METHODS[self.method](proving, seed)
        else:
            rows = FieldRows.of(as_frame(whole.x, names, self.method), whole.judge, parts)
            scores = column_scores(rows.rank(None, self.method, seed), rows.encoder.schema, names)
        self.ranking_ = ranked(names, scores, self.method)
        kept = (
            smallest(proving, self.ranking_, gate[0], self.tolerance, self.protect)
            if gate
            else self._wanted()
        )
        self.estimator_ = vars(proving).get("full")
        return kept

    def _by_fields(self, whole: Part, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the columns to keep, by a ranker."""
        seed, parts = self._seed(), self._parts(whole.judge)
        rows = FieldRows.of(as_frame(whole.x, names, self.method), whole.judge, parts)
        model: Ranker | None = None
        if METHODS[self.method].needs_model or self._automatic:
            model = self.estimator.like().fit(rows.train, rows.tune)
        self.estimator_ = model
        fields = rows.rank(model, self.method, seed)
        scores = column_scores(fields, rows.encoder.schema, names)
        self.ranking_ = ranked(names, scores, self.method)
        if model is None or not self._automatic:
            return self._wanted()
        return smallest_fields(model, fields, rows, self.tolerance, self.protect)

    def _wanted(self) -> tuple[str, ...]:
        count = None if self.keep_count is None else int(self.keep_count)
        return self.ranking_.keep(
            ratio=self.keep_ratio,
            count=count,
            threshold=self.threshold,
            protect=tuple(self.protect),
        )

    @property
    def _automatic(self) -> bool:
        return self.keep_ratio is self.keep_count is self.threshold is None

    def _parts(self, judge: Judge) -> list[NDArray[np.int64]]:
        """Return the rows that train, score, and, of the automatic mode, decide."""
        shares = AUTOMATIC if self._automatic else SHARES
        strata = judge.y if judge.target != "number" else np.zeros(len(judge.y))
        if judge.groups is None:
            part = deal(strata, None, shares, self._seed(), "selector")
        else:
            users = np.unique(judge.groups, return_inverse=True)[1].ravel()
            positive = judge.y if judge.target == "binary" else np.zeros(len(judge.y))
            part = deal(positive, users, shares, self._seed(), "selector")
        rows = [np.flatnonzero(part == i) for i in range(len(shares))]
        # Rows are dealt class by class; groups may come with one class each.
        both = judge.target == "binary" and judge.groups is not None
        classes = len(np.unique(judge.y)) if both else 1
        if not all(len(np.unique(judge.y[at])) >= classes for at in rows):
            what = "rows" if judge.groups is None else "groups"
            raise DataError(
                f"{OWNER} deals its {what} to {len(shares)} parts, each with both classes if there are "
                f"two; there are too few for that, {len(judge.y)} rows in all. Give it more."
            )
        return rows

    def _checked(self, x: Any, y: Any, weight: Any, groups: Any) -> Part:
        """Return the rows that count, with their truth."""
        tags = get_tags(self).input_tags
        if isinstance(x, pl.LazyFrame):
            raise DataError(f"{OWNER} needs rows in memory. Pass X.collect().")
        if is_frame(x):
            check_names([str(n) for n in names_of(x)], "X")
            validate_data(self, x, y, skip_check_array=True)
            y = column_or_1d(y, warn=True)
            assert_all_finite(y)
        else:
            x, y = validate_data(
                self,
                x,
                y,
                dtype=None,
                accept_sparse=("csr", "csc") if tags.sparse else False,
                ensure_all_finite=not tags.allow_nan,
                ensure_min_samples=2,
            )
        check_consistent_length(x, y, groups)
        if not len(y):
            raise DataError(f"{OWNER} got 0 samples.")
        classifier = self._is_ranker or is_classifier(self.estimator)
        if classifier:
            check_classification_targets(y)
        else:
            type_of_target(y, input_name="y", raise_unknown=True)
        target = target_of(y, classifier)
        truth = (y == np.unique(y)[-1]).astype(np.float64) if target == "binary" else y
        groups = None if groups is None else column_or_1d(groups)
        if weight is not None:
            weight = _check_sample_weight(weight, x, ensure_non_negative=True)
        whole = Part(x, y, Judge(truth, target, weight, groups))
        return whole if weight is None else whole.take(np.flatnonzero(weight))

    def _names(self) -> tuple[str, ...]:
        made = [f"x{i}" for i in range(self.n_features_in_)]
        return tuple(map(str, getattr(self, "feature_names_in_", made)))

    def _check_options(self, names: tuple[str, ...], judge: Judge) -> None:
        """Refuse options out of range, and a method that does not fit.

        Raises:
            ParameterError: names the option, what it may be, and what to do.
        """
        given = ("keep_ratio", "keep_count", "threshold")
        if sum(getattr(self, option) is not None for option in given) > 1:
            raise ParameterError(
                f"{OWNER} takes one of {', '.join(given)}, or none of them: then the smallest set "
                "that holds the tolerance is kept."
            )
        ratio, count = self.keep_ratio, self.keep_count
        if ratio is not None and not (isinstance(ratio, float | np.floating) and 0 < ratio <= 1):
            raise ParameterError.of("keep_ratio", OWNER, "a float in (0, 1]", ratio)
        whole = isinstance(count, Integral) and not isinstance(count, bool)
        if count is not None and not (whole and 1 <= count <= len(names)):
            raise ParameterError.of("keep_count", OWNER, f"an int in [1, {len(names)}]", count)
        if self.threshold is not None and not isinstance(self.threshold, Real):
            raise ParameterError.of("threshold", OWNER, "a number", self.threshold)
        if not (isinstance(self.tolerance, Real) and 0 < self.tolerance < 1):
            raise ParameterError.of("tolerance", OWNER, "a float in (0, 1)", self.tolerance)
        if isinstance(self.protect, str):
            raise ParameterError.of("protect", OWNER, "a list of column names", self.protect)
        for name in self.protect:
            if name not in names:
                raise ParameterError(f"{OWNER} cannot protect {name!r}.{nearest(name, names)}")
        self._check_method(judge)

    def _check_method(self, judge: Judge) -> None:
        fields = [m.name for m in METHODS.values() if "field" in m.units]
        alone = [name for name in fields if not METHODS[name].needs_model]
        able = fields if self._is_ranker else [*FOREIGN_METHODS, *alone]
        if self.method not in able:
            what = "a ranker" if self._is_ranker else f"a {type(self.estimator).__name__}"
            why = f"{OWNER} has no method {self.method!r} with {what}."
            if self.method in fields:
                why += " It asks a ranker of recprune, such as rp.DeepFM()."
            raise ParameterError(why + nearest(self.method, able))
        reads_fields = self._is_ranker or self.method not in FOREIGN_METHODS
        if reads_fields and len(np.unique(judge.y)) != 2:
            what = "A ranker" if self._is_ranker else f"Method {self.method!r} of {OWNER}"
            raise ParameterError(
                f"{what} needs a target of two classes, not {len(np.unique(judge.y))}. Take "
                "method='permutation' with a scikit-learn estimator."
            )

    def _fit_params(self, weight: NDArray[Any] | None) -> dict[str, Any]:
        """Return what the estimator is fitted with beside X and y."""
        if weight is None:
            return {}
        if get_config()["enable_metadata_routing"]:
            routed = process_routing(self, "fit", sample_weight=weight)
            return dict(routed["estimator"]["fit"])
        if not has_fit_parameter(self.estimator, "sample_weight"):
            raise ParameterError(
                f"{OWNER} got sample_weight, and {type(self.estimator).__name__}.fit takes none. "
                "Turn on scikit-learn's metadata routing and request it where it is used, or leave "
                "it out."
            )
        return {"sample_weight": weight}

    def _seed(self) -> int:
        state = self.random_state
        if state is None:
            return 0
        if isinstance(state, Integral):
            return int(state)
        return int(check_random_state(state).randint(2**31 - 1))
