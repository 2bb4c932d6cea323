"""What scikit-learn takes for X: NumPy and sparse matrices, pandas, Polars and Arrow tables."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing

from recprune._support import require
from recprune.data.frames import to_polars
from recprune.errors import ParameterError

__all__ = ["as_frame", "columns_of", "is_frame", "is_sparse", "names_of", "rows_of", "shuffled"]

Index = NDArray[np.int64]


def is_frame(x: Any) -> bool:
    """Tell whether X is a table with named columns."""
    return bool(nw.dependencies.is_into_dataframe(x))


def names_of(x: Any) -> list[Any]:
    """Return the column names of a table, repeated ones too."""
    return list(x.column_names if hasattr(x, "column_names") else x.columns)


def is_sparse(x: Any) -> bool:
    """Tell whether X is a sparse matrix or array."""
    return bool(require("scipy.sparse", "train").issparse(x))


def rows_of(x: Any, at: Index) -> Any:
    """Return some rows, as the same kind of table."""
    return _safe_indexing(x.tocsr() if is_sparse(x) else x, at)


def columns_of(x: Any, at: Index) -> Any:
    """Return some columns, by position, as the same kind of table."""
    return _safe_indexing(x, at, axis=1)


def shuffled(x: Any, column: int, order: Index) -> Any:
    """Return a copy with the values of one column in another order.

    Args:
        x: n rows.
        column: its position.
        order: the rows that its values are taken from, shape ``(n,)``.

    >>> shuffled(np.array([[1, 2], [3, 4]]), 1, np.array([1, 0])).tolist()
    [[1, 4], [3, 2]]
    """
    if is_frame(x):
        known = nw.from_native(x, eager_only=True)
        moved = known[:, column][order.tolist()].alias(known.columns[column])
        changed: Any = known.with_columns(moved).to_native()
        return changed
    if is_sparse(x):
        sparse = require("scipy.sparse", "train")
        whole = x.tocsc()
        parts = [whole[:, :column], whole[:, [column]].tocsr()[order], whole[:, column + 1 :]]
        return sparse.hstack([p for p in parts if p.shape[1]], format="csr")
    copy = np.array(x)
    copy[:, column] = copy[order, column]
    return copy


def as_frame(x: Any, names: tuple[str, ...], method: str) -> pl.DataFrame:
    """Return X as a Polars frame whose columns have these names.

    Raises:
        ParameterError: a sparse matrix: the methods that ask for this read raw columns.
    """
    if is_sparse(x):
        raise ParameterError(
            f"Method {method!r} of FeatureSelector reads the columns as fields of a recommender, "
            "not a sparse matrix. Pass a DataFrame with the raw columns, or take "
            "method='permutation' with a scikit-learn estimator."
        )
    if is_frame(x):
        frame = to_polars(x)
        return frame.rename(dict(zip(frame.columns, names, strict=True)))
    return pl.DataFrame({name: _column(x[:, i]) for i, name in enumerate(names)})


def _column(values: NDArray[Any]) -> pl.Series:
    """Return a column of a matrix: what is in an array of objects decides the type."""
    return pl.Series(values.tolist() if values.dtype == object else values, strict=False)
