"""What every metric asks of its arrays, in one wording."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recprune.errors import ParameterError

__all__ = ["Array", "binary", "both_classes", "matched", "numbers", "probabilities", "weights"]

Array = NDArray[Any]


def binary(label: ArrayLike, owner: str) -> NDArray[np.bool_]:
    """Return the labels as booleans, shape ``(n_rows,)``.

    Raises:
        ParameterError: not one axis, no rows, or a value other than 0 and 1.
    """
    y = np.asarray(label)
    if y.ndim != 1 or y.dtype.kind not in "biuf":
        raise ParameterError.of(
            "label", owner, "a one-axis array of 0 and 1", f"{y.ndim} axes of {y.dtype}"
        )
    if not len(y):
        raise ParameterError.of("label", owner, "an array with at least one row", "no rows")
    if y.dtype.kind == "b":
        return y
    positive: NDArray[np.bool_] = y == 1
    other = ~positive & (y != 0)
    if other.any():
        raise ParameterError.of("label", owner, "an array of 0 and 1", y[other][0].item())
    return positive


def both_classes(positive: NDArray[np.bool_], owner: str) -> tuple[int, int]:
    """Return how many rows are positive and negative.

    Raises:
        ParameterError: all rows are of one class.
    """
    ones = int(np.count_nonzero(positive))
    if ones in (0, len(positive)):
        raise ParameterError(
            f"The 'label' parameter of {owner} must hold both classes. Got {len(positive)} rows "
            f"that are all {int(ones > 0)}: no pair of a positive and a negative row to compare. "
            "Give it more rows, or leave this metric out for them."
        )
    return ones, len(positive) - ones


def numbers(values: ArrayLike, name: str, owner: str) -> Array:
    """Return real numbers without NaN, shape ``(n_rows,)``, in their own type.

    Raises:
        ParameterError: not one axis, no numbers, or a NaN.
    """
    x = np.asarray(values)
    if x.ndim != 1 or x.dtype.kind not in "biuf":
        raise ParameterError.of(
            name, owner, "a one-axis array of numbers", f"{x.ndim} axes of {x.dtype}"
        )
    if x.dtype.kind == "f" and np.isnan(x).any():
        where = int(np.flatnonzero(np.isnan(x))[0])
        raise ParameterError.of(name, owner, "an array without NaN", f"NaN at row {where}")
    return x


def matched(x: Array, n: int, name: str, owner: str) -> Array:
    """Return the array if it has a value for each row.

    Raises:
        ParameterError: it has not.
    """
    if len(x) != n:
        raise ParameterError.of(name, owner, f"as long as the labels ({n} rows)", f"{len(x)} rows")
    return x


def probabilities(prob: ArrayLike, n: int, owner: str) -> NDArray[np.float64]:
    """Return probabilities of ``n`` rows in 64 bits.

    Raises:
        ParameterError: see :func:`numbers`, another length, or a value outside [0, 1].
    """
    p = matched(numbers(prob, "prob", owner), n, "prob", owner)
    outside = (p < 0) | (p > 1)
    if outside.any():
        raise ParameterError.of(
            "prob", owner, "an array of probabilities in [0, 1]", p[outside][0].item()
        )
    return p.astype(np.float64)


def weights(weight: ArrayLike, n: int, owner: str) -> NDArray[np.float64]:
    """Return sample weights of ``n`` rows in 64 bits.

    Raises:
        ParameterError: see :func:`numbers`, another length, a negative or infinite weight.
    """
    w = matched(numbers(weight, "weight", owner), n, "weight", owner).astype(np.float64)
    bad = (w < 0) | np.isinf(w)
    if bad.any():
        raise ParameterError.of("weight", owner, "an array of finite numbers ≥ 0", w[bad][0].item())
    return w
