"""What each trivial way of being small keeps at a budget of bytes: chosen by bytes alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from recprune._support import stream
from recprune.data import Split
from recprune.errors import DataError
from recprune.importance.statistics import use_counts
from recprune.lookups import FIRST
from recprune.models import Hidden, Ranker
from recprune.pruning import encoded_size
from recprune.pruning.planning import cuttable
from recprune.pruning.weights import kept_weights
from recprune.report.wording import listed

__all__ = [
    "Recipe",
    "int8_alone",
    "largest_share",
    "magnitude",
    "minimum_count",
    "narrower",
    "random_fields",
]

#: Halvings of a share: the last changes no whole unit of any layer here.
STEPS = 14


@dataclass(frozen=True, eq=False)
class Recipe:
    """A baseline before its training.

    Args:
        name: as the table shows it.
        settings: what was chosen, in words.
        start: the ranker with its first weights: drawn, or those of the full model.
        begins: ``"anew"``, with the full model's training, or ``"trained"``.
        bytes: as stored, of ``start``; training does not add to them.
        zeros: whether zeros are stored, see :func:`recprune.artifact.stored_size`.
    """

    name: str
    settings: str
    start: Ranker
    begins: Literal["anew", "trained"]
    bytes: int
    zeros: bool = True


def narrower(full: Ranker, rows: Split, budget: int, seed: int) -> Recipe | None:
    """Fewer dims and smaller hidden layers, of all fields and rows.

    One share of dims and of every layer, the largest that fits; then a larger share of the layers
    alone, as far as there is room.

    Returns:
        The recipe, of the narrowest ranker if none fits; None if the class has neither dims nor
        layers.
    """
    layers = {n: v for n in full.options() if isinstance(v := getattr(full, n), Hidden)}
    most = full.dim if "dim" in full.options() else 0
    if not most and not any(hidden.sizes for hidden in layers.values()):
        return None
    # The streams of FinalMLP are shared out among its heads.
    unit = int(getattr(full, "heads", 1))

    def of(dim: int, share: float) -> Ranker:
        changed: dict[str, object] = {
            name: replace(
                hidden,
                sizes=tuple(max(1, round(size * share / unit)) * unit for size in hidden.sizes),
            )
            for name, hidden in layers.items()
        }
        if most:
            changed["dim"] = dim
        return full.like(seed=seed, **changed).begin(rows)

    def dims(share: float) -> int:
        return max(1, round(most * share))

    def fits(ranker: Ranker) -> bool:
        return encoded_size(ranker) <= budget

    share = largest_share(lambda s: fits(of(dims(s), s)))
    dim = dims(share)
    start = of(dim, largest_share(lambda s: fits(of(dim, s)), share) if layers else share)
    words = [f"dim {dim}"] if most else []
    words += [f"{name} {'-'.join(map(str, getattr(start, name).sizes))}" for name in layers]
    return Recipe("narrower dense", ", ".join(words), start, "anew", encoded_size(start))


def minimum_count(full: Ranker, rows: Split, budget: int, seed: int) -> Recipe:
    """All fields, with rows for the values that at least c training rows have.

    c is the smallest that fits, or, if none does, more than any value has.
    """
    encoder = rows.encoder
    whole = full.like(seed=seed).begin(rows)
    counts = {
        axis.name.removeprefix("rows."): use_counts(whole, rows, axis, weighted=False)
        for axis in cuttable(whole, "rows")
    }

    def of(least: float) -> Ranker:
        kept = {}
        for name, count in counts.items():
            stays = count >= least
            stays[:FIRST] = True
            kept[name] = np.flatnonzero(stays)
        return full.like(seed=seed).begin(rows, encoder.take(encoder.schema.names, kept))

    # Only these cut anything else than the one before.
    found = [np.unique(count[FIRST:]) + 1 for count in counts.values()]
    steps = np.unique(np.concatenate([[1.0], *found]))
    low, high = 0, len(steps) - 1
    while low < high:
        middle = (low + high) // 2
        if encoded_size(of(steps[middle])) <= budget:
            high = middle
        else:
            low = middle + 1
    start = of(steps[low])
    left = sum(encoder.parts[name].rows - FIRST for name in counts)
    kept = sum(start.encoder.parts[name].rows - FIRST for name in counts)
    words = f"from {steps[low]:,.0f} on: {kept:,} of {left:,} values"
    return Recipe("minimum count", words, start, "anew", encoded_size(start))


def random_fields(full: Ranker, rows: Split, budget: int, seed: int, draw: int) -> Recipe | None:
    """Fields in random order, each taken if it still fits.

    Args:
        full: the full model.
        rows: training rows.
        budget: most bytes.
        seed: of all draws.
        draw: which, from 1.

    Returns:
        The recipe, of the smallest field if none fits; None if the class needs more than one field.
    """
    names = rows.encoder.schema.names

    def of(chosen: Iterable[str]) -> Ranker | None:
        chosen = set(chosen)
        encoder = rows.encoder.take(tuple(n for n in names if n in chosen), {})
        try:
            return full.like(seed=seed).begin(rows, encoder)
        except DataError:  # a class that needs fields of a certain kind
            return None

    kept: list[str] = []
    best: Ranker | None = None
    order = stream(seed, "random fields", draw).permutation(len(names))
    for name in (names[i] for i in order):
        ranker = of([*kept, name])
        if ranker is None or encoded_size(ranker) > budget:
            continue
        kept, best = [*kept, name], ranker
    if best is None:
        alone = [ranker for name in names if (ranker := of([name])) is not None]
        if not alone:
            return None
        best = min(alone, key=encoded_size)
    chosen = best.encoder.schema.names
    words = f"{len(chosen)} of {len(names)}: {listed(chosen, 5)}"
    return Recipe(f"random fields {draw}", words, best, "anew", encoded_size(best))


def magnitude(full: Ranker, budget: int) -> Recipe:
    """The full model with its smallest weights at zero, over all tables and matrices alike.

    Values and positions are counted (:func:`recprune.sparse.without_zeros`).
    """
    state = full.state

    def size(share: float) -> int:
        # Of ones: that rounding to int8 turns some values to zero is no promise for later values.
        ones = {name: mask.astype(np.float32) for name, mask in kept_weights(full, share).items()}
        return encoded_size(full.with_state({**state, **ones}), zeros=False)

    share = largest_share(lambda s: size(s) <= budget)
    cut = {name: state[name] * mask for name, mask in kept_weights(full, share).items()}
    start = full.with_state({**state, **cut})
    words = f"{share:.2%} of the weights"
    return Recipe("global magnitude", words, start, "trained", size(share), zeros=False)


def int8_alone(full: Ranker) -> Recipe:
    """The full model, encoded."""
    return Recipe("int8 alone", "nothing is cut", full, "trained", encoded_size(full))


def largest_share(fits: Callable[[float], bool], least: float = 0.0, steps: int = STEPS) -> float:
    """Return the largest share in [``least``, 1] that fits, or ``least``; shares above fit no more."""
    if fits(1.0):
        return 1.0
    low, high = least, 1.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
