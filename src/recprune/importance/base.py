"""One protocol for every method that answers "does this unit matter?"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.data import Split
from recprune.errors import ParameterError, nearest
from recprune.layout import Axis
from recprune.models import Ranker

__all__ = ["METHODS", "Method", "Scores", "importance", "method"]


@dataclass(frozen=True, eq=False)
class Scores:
    """Importance of the units of one axis, in the order of ``axis.units``; higher = keep.

    Args:
        score: shape (n_units,).
        std: standard error of each score, shape (n_units,); zeros where a method has none.
    """

    score: NDArray[np.float64]
    std: NDArray[np.float64]


@dataclass(frozen=True)
class Method:
    """A way to score units.

    Args:
        name: as the user types it.
        units: the units it can score.
        passes: its cost, in passes over the rows, in words.
        score: ``score(model, split, axis, seed, **options) -> Scores``.
    """

    name: str
    units: tuple[str, ...]
    passes: str
    score: Callable[..., Scores] = field(repr=False)


METHODS: dict[str, Method] = {}


def method(
    name: str, units: tuple[str, ...], passes: str
) -> Callable[[Callable[..., Scores]], Callable[..., Scores]]:
    """Register a function as a method."""

    def register(score: Callable[..., Scores]) -> Callable[..., Scores]:
        METHODS[name] = Method(name, units, passes, score)
        return score

    return register


def importance(
    model: Ranker, split: Split, axis: str | Axis, method: str, seed: int = 0, **options: Any
) -> Scores:
    """Score the units of one axis of a fitted ranker.

    Args:
        model: fitted ranker.
        split: the rows to score on: held-out rows for methods that use the label.
        axis: an axis or its name, as in ``model.layout``.
        method: one of ``METHODS``.
        seed: of whatever the method draws.
        options: the method's own.

    Raises:
        ParameterError: no such method, or it cannot score units of this axis.
        PlanError: no such axis.
    """
    if method not in METHODS:
        raise ParameterError(f"There is no importance method {method!r}.{nearest(method, METHODS)}")
    chosen = METHODS[method]
    axis = model.layout.axis(axis) if isinstance(axis, str) else axis
    if axis.unit not in chosen.units:
        able = [m.name for m in METHODS.values() if axis.unit in m.units]
        raise ParameterError(
            f"Method {method!r} scores {' and '.join(chosen.units)} units, not {axis.unit} units "
            f"(axis {axis.name!r}). Methods that do: {', '.join(able)}."
        )
    scores = chosen.score(model, model.aligned(split), axis, seed, **options)
    if scores.score.shape != (axis.size,):
        raise ParameterError(
            f"Method {method!r} returned shape {scores.score.shape} for axis {axis.name!r} of "
            f"{axis.size} units."
        )
    return scores
