"""What rows carry beside their label and fields: how much they count, and other outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.disk_frame import Frame
from recprune.data.infer import typed
from recprune.data.labels import read_label
from recprune.data.spec import Spec
from recprune.errors import DataError

__all__ = ["Extras", "read_extras"]


@dataclass(frozen=True, eq=False)
class Extras:
    """Per-row numbers that no model reads as input.

    Args:
        weight: how much each row counts in training, ≥ 0, mean 1, shape ``(n,)``; None = alike.
        labels: other label → 0, 1 or NaN (missing), shape ``(n,)``.
        time: what orders the rows, shape ``(n,)``; None without a time column.
    """

    weight: NDArray[np.float32] | None = None
    labels: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    time: NDArray[Any] | None = None

    def take(self, index: Any, keep: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray) -> Extras:
        """Return some of the rows: positions, a mask, or a slice; ``keep`` puts them somewhere."""
        weight = None if self.weight is None else keep(self.weight[index])
        labels = {name: keep(label[index]) for name, label in self.labels.items()}
        return Extras(weight, labels, None if self.time is None else keep(self.time[index]))


def read_extras(frame: Frame, spec: Spec, from_text: bool) -> Extras:
    """Read the weight and the other labels that a spec names.

    Raises:
        DataError: a weight that is missing, negative or no number; another label that is not 0/1.
    """
    columns = {n: typed(frame[n]) if from_text else frame[n] for n in spec.other_labels}
    labels = {name: read_label(column)[0] for name, column in columns.items()}
    if spec.weight is None:
        return Extras(None, labels)
    weight = frame[spec.weight].cast(pl.Float64, strict=False).to_numpy()
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any() or not weight.sum():
        got = frame[spec.weight][int(np.argmax(bad))] if bad.any() else "all zeros"
        raise DataError(
            f"Weight {spec.weight!r} must be a number ≥ 0 in every row, above 0 in some. "
            f"{int(bad.sum())} rows break that, such as {got!r}. Fill or drop them."
        )
    return Extras((weight / weight.mean()).astype(np.float32), labels)
