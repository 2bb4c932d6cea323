"""Single weights at zero, for studies of size: no table or layer gets smaller, and none faster.

Zeros save bytes only in a form that stores positions too (:mod:`recprune.sparse`), from a sparsity
on that :func:`break_even` tells; artefacts do not use such forms. Whole units
(:func:`recprune.pruning.prune`) are what makes a model small and fast.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recprune.artifact import stored_size
from recprune.data import Dataset
from recprune.errors import ParameterError, RecpruneWarning
from recprune.models import Penalty, Ranker
from recprune.pruning.encode import encode, encoded_size

__all__ = [
    "Course",
    "Scope",
    "break_even",
    "kept_weights",
    "sparsify",
    "sparsity_at",
    "sparsity_of",
    "zeroed",
]

Scope = Literal["global", "layer"]
Course = Literal["once", "cubic", "deeplight", "l1"]

#: Strength of the L1 penalty that prepares a cut: zeros appear within an epoch.
L1 = 0.3
#: DeepLight's D, and how many of its Ω steps the way is taken to have: 0.95 of s is reached.
DAMPING, TURNS = 0.99, 300
HALVINGS = 20


def kept_weights(
    model: Ranker, share: float, scope: Scope = "global"
) -> dict[str, NDArray[np.bool_]]:
    """Return tensor → which weights are among the largest ``share`` by size; ties with the cut go.

    Tables and matrices only: biases and what batch norm holds stay.

    Args:
        model: fitted ranker.
        share: of all weights, in [0, 1].
        scope: ``"global"``: all tensors compete; ``"layer"``: each keeps the same share. By size
            within a layer: Han et al. 2015.
    """
    state = model.state
    sizes = {name: np.abs(state[name]) for name, s in model.layout.shapes.items() if len(s) > 1}
    if scope == "layer":
        return {name: size > _bar(size.ravel(), share) for name, size in sizes.items()}
    bar = _bar(np.concatenate([size.ravel() for size in sizes.values()]), share)
    return {name: size > bar for name, size in sizes.items()}


def _bar(sizes: NDArray[np.float32], share: float) -> float:
    """Return the largest size that goes; −1 = none goes."""
    cut = len(sizes) - round(share * len(sizes))
    return float(np.partition(sizes, cut - 1)[cut - 1]) if cut else -1.0


def zeroed(model: Ranker, sparsity: float, scope: Scope = "global") -> Ranker:
    """Return the ranker with its smallest weights at zero; train it on with ``keep_zeros``.

    Args:
        model: fitted ranker; unchanged.
        sparsity: share of the weights of tables and matrices that become zero, in [0, 1).
        scope: see :func:`kept_weights`.

    Warns:
        RecpruneWarning: nothing is left of a tensor, as happens to tables of small values where all
            tensors compete.

    Raises:
        ParameterError: an option out of range.
    """
    _check(sparsity, scope)
    return _masked(model, kept_weights(model, 1 - sparsity, scope))


def sparsify(
    model: Ranker,
    data: Dataset,
    sparsity: float,
    *,
    scope: Scope = "global",
    course: Course = "cubic",
    rounds: int = 4,
) -> Ranker:
    """Set weights to zero on the way to a sparsity, training an epoch after each round.

    - ``"once"``: one cut by size, then ``rounds`` epochs;
    - ``"cubic"``: s(1 − (1 − t)³) at a share t of the way, so that most goes early (Zhu & Gupta
      2017); zeros stay;
    - ``"deeplight"``: s(1 − 0.99^(300t)), over all tables together and in each layer apart; between
      the rounds weights may come back (DeepLight: Deng et al. 2021);
    - ``"l1"``: the epochs are under an L1 penalty by proximal steps, whose zeros are exact
      (Parikh & Boyd 2014), then one cut takes what is missing.

    All end in ``sparsity``, or more where weights tie or the penalty took more, and in an epoch under
    which zeros stay.

    Args:
        model: fitted ranker; unchanged.
        data: a split data set.
        sparsity: share of the weights of tables and matrices that are zero at the end, in [0, 1).
        scope: see :func:`kept_weights`; of ``"deeplight"`` given by its definition.
        course: the way there.
        rounds: epochs on the way, at least 1.

    Raises:
        ParameterError: an option out of range.
    """
    _check(sparsity, scope)
    if course not in ("once", "cubic", "deeplight", "l1"):
        constraint = "'once', 'cubic', 'deeplight' or 'l1'"
        raise ParameterError.of("course", "sparsify", constraint, course)
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise ParameterError.of("rounds", "sparsify", "an int ≥ 1", rounds)
    training = replace(model.training, epochs=1, keep_zeros=course in ("once", "cubic"))
    if course == "l1":
        training = replace(training, penalty=Penalty(l1=L1))
    small = model
    for number in range(1, rounds + 1):
        if course != "l1":
            small = _cut(small, sparsity_at(number / rounds, sparsity, course), scope, course)
        small = small.with_state(small.state)
        small.train_on(data.train, training=training)
    small = _cut(small, sparsity, scope, course)
    if course in ("deeplight", "l1"):
        small.train_on(data.train, training=replace(model.training, epochs=1, keep_zeros=True))
    return small


def sparsity_at(progress: float, sparsity: float, course: Course = "cubic") -> float:
    """Return the sparsity that a course has reached after a share of the way.

    >>> [round(sparsity_at(t, 0.8), 2) for t in (0.25, 0.5, 1.0)]
    [0.46, 0.7, 0.8]
    """
    if course == "cubic":
        return sparsity * (1 - (1 - progress) ** 3)
    if course == "deeplight":
        return sparsity * (1 - math.pow(DAMPING, TURNS * progress))
    return sparsity


def _cut(model: Ranker, sparsity: float, scope: Scope, course: Course) -> Ranker:
    if course != "deeplight":
        return zeroed(model, sparsity, scope)
    state = model.state
    apart = kept_weights(model, 1 - sparsity, "layer")
    tables = {n: np.abs(state[n]).ravel() for n in apart if n.startswith("table.")}
    bar = _bar(np.concatenate(list(tables.values())), 1 - sparsity)
    masks = {n: np.abs(state[n]) > bar if n in tables else m for n, m in apart.items()}
    return _masked(model, masks)


def _masked(model: Ranker, masks: Mapping[str, NDArray[np.bool_]]) -> Ranker:
    """Return the ranker without the weights of the masks; whole tensors do not go in silence."""
    state = model.state
    cut = {name: state[name] * mask for name, mask in masks.items()}
    if empty := [name for name, array in cut.items() if state[name].any() and not array.any()]:
        warnings.warn(
            f"No weight is left of {', '.join(empty)}: all of them are small beside those of other "
            "tensors. Use scope='layer', or a lower sparsity.",
            RecpruneWarning,
            stacklevel=3,
        )
    return model.with_state({**state, **cut})


def sparsity_of(model: Ranker) -> float:
    """Return the measured share of zeros among the weights of tables and matrices."""
    weights = [a for a in model.state.values() if a.ndim > 1]
    return sum(int((a == 0).sum()) for a in weights) / sum(a.size for a in weights)


def break_even(model: Ranker, encoded: bool = True) -> float:
    """Return the global sparsity from which values with positions take fewer bytes than all values.

    Below it, zeros save nothing at all. Against a model that is *pruned* to the same quality the
    break-even lies far higher.

    Args:
        model: fitted ranker; which weights are small decides where the zeros lie.
        encoded: whether stored as :func:`recprune.pruning.encode` does (int8 and fp16), or in fp32.
            The fewer bits a value has, the more its position weighs.
    """

    def size(sparsity: float, zeros: bool) -> int:
        ones = {n: m.astype(np.float32) for n, m in kept_weights(model, 1 - sparsity).items()}
        twin = model.with_state({**model.state, **ones})
        return encoded_size(twin, zeros=zeros) if encoded else stored_size(twin.artifact(), zeros)

    dense = stored_size((encode(model) if encoded else model).artifact())
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if size(middle, False) < dense else (middle, high)
    return high


def _check(sparsity: float, scope: str) -> None:
    if isinstance(sparsity, bool) or not 0 <= sparsity < 1:
        raise ParameterError.of("sparsity", "zeroed", "a float in [0, 1)", sparsity)
    if scope not in ("global", "layer"):
        raise ParameterError.of("scope", "zeroed", "'global' or 'layer'", scope)
