"""Trees: gain and permutation of LightGBM, and impurity of a random forest.

All read the columns of :func:`recprune.importance.design.tree_columns`; a field's importance is
that of its columns together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import progress, require, stream
from recprune.data import Split
from recprune.errors import ParameterError
from recprune.importance.base import Scores, method
from recprune.importance.design import row_weights, some_rows, tree_columns
from recprune.importance.evidence import Evidence
from recprune.layout import Axis
from recprune.metrics import auc
from recprune.models import Ranker

__all__ = ["TreeRows", "boosted", "lightgbm_gain", "lightgbm_permutation", "random_forest"]

MAX_ROWS = 100_000
#: Rows of a forest, whose trees are deep.
FOREST_ROWS = 50_000
#: Columns that a split of a forest's tree chooses among at least: with fewer, many have useless
#: ones alone to choose from.
CANDIDATES = 10
#: Leaves of one tree, rounds without a better score, and the rate of learning.
LEAVES, PATIENCE, RATE = 31, 20, 0.1


@dataclass(frozen=True)
class TreeRows:
    """Rows as trees read them.

    Args:
        columns: shape (n, columns).
        owner: each column's field, shape (columns,).
        label: 0 or 1, shape (n,).
        weight: mean 1, shape (n,).
    """

    columns: NDArray[np.float32]
    owner: NDArray[np.int64]
    label: NDArray[np.float32]
    weight: NDArray[np.float64]

    @classmethod
    def of(cls, split: Split, most: int, seed: int) -> TreeRows:
        """Return at most so many rows of a split."""
        split = some_rows(split, most, seed, "tree rows")
        columns, owner = tree_columns(split.encoder, split.rows)
        return cls(columns, owner, split.label, row_weights(split))


@method("lightgbm_gain", ("field",), "one a tree, at most 200, over at most 100,000 rows", False)
def lightgbm_gain(
    model: Ranker | None, rows: Evidence, axis: Axis, seed: int, *, trees: int = 200
) -> Scores:
    """Share of the loss that splits on the field take away (Ke et al. 2017; Friedman 2001, eq. 44).

    Args:
        model: not asked.
        rows: trees grow on training rows, and stop where held-out rows gain no more.
        axis: of fields.
        seed: of the choice of rows.
        trees: most trees.
    """
    _check_trees("lightgbm_gain", trees)
    learnt, judged = (TreeRows.of(part, MAX_ROWS, seed) for part in rows.apart(seed))
    gain = boosted(learnt, seed, trees, judged).feature_importance("gain")
    total = np.bincount(learnt.owner, gain, minlength=axis.size)
    return Scores.exact(total / max(total.sum(), 1e-300))


@method(
    "lightgbm_permutation",
    ("field",),
    "one a tree, at most 200; then repeats × fields that a tree asks, forward only",
    False,
)
def lightgbm_permutation(
    model: Ranker | None,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    trees: int = 200,
    repeats: int = 5,
) -> Scores:
    """Mean fall of LightGBM's held-out AUC when a field's values are shuffled (Breiman 2001, s. 10).

    A field that no tree asks scores exactly 0. The standard error is over repeats.

    Args:
        model: not asked.
        rows: trees grow on training rows; held-out rows stop them, and are shuffled.
        axis: of fields.
        seed: of the shuffles and the choice of rows.
        trees: most trees.
        repeats: shuffles of each field.
    """
    _check_trees("lightgbm_permutation", trees)
    if repeats < 2:
        raise ParameterError.of("repeats", "lightgbm_permutation", "an int ≥ 2", repeats)
    learnt, judged = (TreeRows.of(part, MAX_ROWS, seed) for part in rows.apart(seed))
    grown = boosted(learnt, seed, trees, judged)
    used = np.bincount(learnt.owner, grown.feature_importance("split"), minlength=axis.size)
    base = auc(judged.label, grown.predict(judged.columns), judged.weight)
    drops, names = np.zeros((axis.size, repeats)), rows.encoder.schema.names
    columns = judged.columns.copy()
    for i in progress(np.flatnonzero(used).tolist(), "permutation in trees"):
        own = np.flatnonzero(judged.owner == i)
        for r in range(repeats):
            order = stream(seed, "tree permutation", names[i], r).permutation(len(columns))
            columns[:, own] = judged.columns[np.ix_(order, own)]
            drops[i, r] = base - auc(judged.label, grown.predict(columns), judged.weight)
        columns[:, own] = judged.columns[:, own]
    return Scores(drops.mean(axis=1), drops.std(axis=1, ddof=1) / np.sqrt(repeats))


@method("random_forest", ("field",), "some tens over at most 50,000 rows", False)
def random_forest(
    model: Ranker | None, rows: Evidence, axis: Axis, seed: int, *, trees: int = 100
) -> Scores:
    """Mean decrease of impurity over scikit-learn's forest (Breiman 2001; Louppe et al. 2013, eq. 1).

    Leaves have at least one row in 100: deeper trees split useless fields of many values, whose
    impurity falls by chance (Strobl et al. 2007). The standard error is over trees.

    Args:
        model: not asked.
        rows: the training rows are fitted.
        axis: of fields.
        seed: of the forest and the choice of rows.
        trees: how many.
    """
    _check_trees("random_forest", trees)
    ensemble = require("sklearn.ensemble", "train")
    learnt = TreeRows.of(rows.train, FOREST_ROWS, seed)
    width = learnt.columns.shape[1]
    forest = ensemble.RandomForestClassifier(
        n_estimators=trees,
        max_features=max(min(width, CANDIDATES), int(np.sqrt(width))),
        min_samples_leaf=max(20, len(learnt.label) // 100),
        random_state=int(stream(seed, "forest").integers(2**31)),
        n_jobs=1,
    ).fit(learnt.columns, learnt.label, learnt.weight)
    each = np.stack([tree.feature_importances_ for tree in forest.estimators_])
    fields = np.stack([np.bincount(learnt.owner, one, minlength=axis.size) for one in each])
    return Scores(fields.mean(axis=0), fields.std(axis=0, ddof=1) / np.sqrt(trees))


def boosted(learnt: TreeRows, seed: int, trees: int, judged: TreeRows | None = None) -> Any:
    """Return LightGBM's trees.

    Args:
        learnt: what they grow on.
        seed: of whatever LightGBM draws.
        trees: most of them.
        judged: rows whose AUC stops them; None = grow all.
    """
    lightgbm = require("lightgbm", "trees")
    settings = {
        "objective": "binary",
        "metric": "auc",
        "learning_rate": RATE,
        "num_leaves": LEAVES,
        "min_data_in_leaf": int(np.clip(len(learnt.label) // 500, 20, 200)),
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }

    def data(rows: TreeRows, like: Any = None) -> Any:
        return lightgbm.Dataset(
            rows.columns,
            rows.label,
            weight=rows.weight,
            reference=like,
            params={"verbose": -1},
        )

    known = data(learnt)
    if judged is None:
        return lightgbm.train(settings, known, trees)
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    return lightgbm.train(
        settings, known, trees, valid_sets=[data(judged, known)], callbacks=[stop]
    )


def _check_trees(owner: str, trees: int) -> None:
    if trees < 2:
        raise ParameterError.of("trees", owner, "an int ≥ 2", trees)
