"""One protocol for every method that answers "does this unit matter?"."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.data import Dataset, Split
from recprune.encoding import Encoder
from recprune.errors import ParameterError, nearest
from recprune.executor import Executor
from recprune.importance.evidence import Evidence
from recprune.importance.options import check_options
from recprune.layout import Axis
from recprune.models import Ranker

__all__ = ["METHODS", "Method", "Scores", "field_axis", "importance", "importances", "method"]


@dataclass(frozen=True, eq=False)
class Scores:
    """Importance of the units of one axis, in the order of ``axis.units``; higher = keep.

    Args:
        score: shape (n_units,).
        std: standard error of each score, shape (n_units,); zeros where a method has none.
        by: what each unit was scored by, where a method has several ways; else empty.
    """

    score: NDArray[np.float64]
    std: NDArray[np.float64]
    by: tuple[str, ...] = ()

    @classmethod
    def exact(cls, score: NDArray[Any]) -> Scores:
        """Return scores without errors."""
        return cls(score.astype(np.float64), np.zeros(len(score)))


Together = Callable[[Ranker, Evidence, Sequence[Axis], int], Mapping[str, Scores]]


@dataclass(frozen=True)
class Method:
    """A way to score units.

    Args:
        name: as the user types it.
        units: the units it can score.
        passes: its cost, in passes over the rows, in words.
        score: ``score(model, rows, axis, seed, **options) -> Scores``; one whose work falls into
            independent parts takes ``executor`` too.
        needs_model: whether it asks a fitted ranker; else ``model`` may be None.
        together: ``together(model, rows, axes, seed)`` → axis name → scores, where several axes cost
            no more than one (all tables, by one pass); None = axis by axis.
    """

    name: str
    units: tuple[str, ...]
    passes: str
    score: Callable[..., Scores] = field(repr=False)
    needs_model: bool = True
    together: Together | None = field(default=None, repr=False)

    @property
    def in_parts(self) -> bool:
        """Whether its work falls into parts, which an executor may spread."""
        return "executor" in inspect.signature(self.score).parameters


METHODS: dict[str, Method] = {}


def method(
    name: str,
    units: tuple[str, ...],
    passes: str,
    needs_model: bool = True,
    together: Together | None = None,
) -> Callable[[Callable[..., Scores]], Callable[..., Scores]]:
    """Register a function as a method."""

    def register(score: Callable[..., Scores]) -> Callable[..., Scores]:
        METHODS[name] = Method(name, units, passes, score, needs_model, together)
        return score

    return register


def field_axis(encoder: Encoder) -> Axis:
    """Return the axis of an encoder's fields, as a ranker of all of them has it."""
    names = encoder.schema.names
    return Axis("fields", "field", len(names), labels=names)


def importance(
    model: Ranker | None,
    data: Dataset | Split | Evidence,
    axis: str | Axis,
    method: str,
    seed: int = 0,
    executor: Executor | None = None,
    **options: Any,
) -> Scores:
    """Score the units of one axis.

    Args:
        model: fitted ranker; None = the fields themselves are scored, by a method that asks none.
        data: a data set, whose training rows are learnt from and whose tune rows are scored on; or
            one split for both (held-out rows where the method asks for the label).
        axis: an axis or its name, as in ``model.layout``.
        method: one of ``METHODS``.
        seed: of whatever the method draws.
        executor: where a method's parts run, if its work falls into such
            (:attr:`Method.in_parts`); None = one after another. The scores do not depend on it.
        options: the method's own.

    Raises:
        ParameterError: no such method or option, it cannot score units of this axis, it needs a
            model, an axis other than the fields' without one, no row counts, or the rows or options
            are such that scores are no numbers.
        PlanError: no such axis.
    """
    chosen, rows = _known(method), Evidence.of(data, model)
    if model is None:
        if chosen.needs_model:
            able = [m.name for m in METHODS.values() if not m.needs_model]
            raise ParameterError(
                f"Method {method!r} asks a fitted ranker: give one as model. "
                f"Methods that ask none: {', '.join(able)}."
            )
        if (named := axis if isinstance(axis, str) else axis.name) != "fields":
            constraint = "'fields' where no model is given: other units are a model's"
            raise ParameterError.of("axis", "importance", constraint, named)
        axis = field_axis(rows.encoder)
    elif isinstance(axis, str):
        axis = model.layout.axis(axis)
    _check_unit(chosen, axis)
    check_options(method, chosen.score, options)
    if chosen.in_parts:
        options["executor"] = executor
    return _checked(chosen, axis, chosen.score(model, rows, axis, seed, **options))


def importances(
    model: Ranker,
    data: Dataset | Split | Evidence,
    axes: Sequence[Axis],
    method: str,
    seed: int = 0,
) -> dict[str, Scores]:
    """Score the units of several axes, at once where the method can; else as :func:`importance`.

    Returns:
        Axis name → scores.
    """
    chosen, rows = _known(method), Evidence.of(data, model)
    for axis in axes:
        _check_unit(chosen, axis)
    if chosen.together is not None and axes:
        found = chosen.together(model, rows, axes, seed)
    else:
        found = {axis.name: chosen.score(model, rows, axis, seed) for axis in axes}
    return {axis.name: _checked(chosen, axis, found[axis.name]) for axis in axes}


def _known(name: str) -> Method:
    if name not in METHODS:
        raise ParameterError(
            f"There is no importance method {name!r}.{nearest(name, METHODS)} "
            f"Methods: {', '.join(sorted(METHODS))}."
        )
    return METHODS[name]


def _check_unit(chosen: Method, axis: Axis) -> None:
    if axis.unit not in chosen.units:
        able = [m.name for m in METHODS.values() if axis.unit in m.units]
        raise ParameterError(
            f"Method {chosen.name!r} scores {', '.join(chosen.units)} units, not {axis.unit} "
            f"units (axis {axis.name!r}). Methods that do: {', '.join(able)}."
        )


def _checked(chosen: Method, axis: Axis, scores: Scores) -> Scores:
    if scores.score.shape != (axis.size,):
        raise ParameterError(
            f"Method {chosen.name!r} returned shape {scores.score.shape} for axis {axis.name!r} of "
            f"{axis.size} units."
        )
    if np.isnan(scores.score).any():
        raise ParameterError(
            f"Method {chosen.name!r} found scores of axis {axis.name!r} that are no numbers. Give it "
            "more rows, or options that are less extreme."
        )
    return scores
