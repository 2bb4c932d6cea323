"""Permutation importance: shuffle one field's values across held-out rows and score again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data import Split
from recprune.errors import ParameterError
from recprune.executor import Executor
from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.importance.renewal import Renewal
from recprune.layout import Axis
from recprune.metrics import auc
from recprune.models import Ranker
from recprune.scratch import on_disk
from recprune.work import one_thread

__all__ = ["HeldOut", "permutation"]

MAX_ROWS = 200_000


class HeldOut:
    """Held-out rows ready to be permuted: the same for every field.

    Args:
        model: fitted.
        split: in the model's codes.
        seed: of the rows that are chosen, and of the shuffles.
        repeats: shuffles of each field, R.
        max_rows: more rows than these are sampled down.

    Raises:
        ParameterError: fewer than one repeat or two rows.
    """

    def __init__(self, model: Ranker, split: Split, seed: int, repeats: int, max_rows: int) -> None:
        for name, value, least in (("repeats", repeats, 1), ("max_rows", max_rows, 2)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ParameterError.of(name, "permutation", f"an int ≥ {least}", value)
        n, rows, weight = len(split), split.rows, split.extras.weight
        label = split.label
        if n > max_rows or on_disk(rows.codes):
            chosen = np.sort(stream(seed, "permutation rows").permutation(n)[:max_rows])
            rows, label = rows[chosen], label[chosen]
            weight = None if weight is None else weight[chosen]
        self.names, self.seed, self.repeats = model.encoder.schema.names, seed, repeats
        self.label, self.weight = label, weight
        with one_thread():
            self.renewal = Renewal(model.artifact(), rows)

    def __len__(self) -> int:
        return len(self.label)

    def auc(self, score: NDArray[np.float32], at: NDArray[np.int64] | None = None) -> float:
        """Return the AUC of scores of all rows, or of those at some places."""
        if at is None:
            return auc(self.label, score, self.weight)
        return auc(self.label[at], score, None if self.weight is None else self.weight[at])

    def drops(
        self,
        fields: Sequence[int],
        repeats: range | None = None,
        executor: Executor | None = None,
    ) -> NDArray[np.float64]:
        """Return by how much AUC falls in each shuffle of each field, shape (fields, R).

        Args:
            fields: positions in the schema.
            repeats: which shuffles; None = all.
            executor: where the fields are shuffled; None = one after another.
        """
        chosen = range(self.repeats) if repeats is None else repeats
        # All shuffles of a field in one part: rows that draw one value in several are scored once.
        step = self.renewal.at_once(len(chosen) * len(self))
        parts = [(fields[i : i + step], chosen) for i in range(0, len(fields), step)]
        found = (executor or Executor()).map(
            _drops, parts, shared=self, seed=self.seed, text="permutation importance"
        )
        return np.concatenate([np.empty((0, len(chosen))), *found])

    def drops_of(
        self, fields: Iterable[int], repeats: range
    ) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield field and drops, shape (R,), one after another."""

        def orders(field: int) -> NDArray[np.int64]:
            # Counted by name, not by position: column order does not move the draws.
            draws = (stream(self.seed, "permutation", self.names[field], r) for r in repeats)
            return np.stack([draw.permutation(len(self)) for draw in draws])

        base = self.auc(self.renewal.logits)
        for field, scores in self.renewal.shuffled(fields, np.arange(len(self)), orders):
            yield field, np.array([base - self.auc(score) for score in scores])


def _drops(
    held: HeldOut, part: tuple[Sequence[int], range], _: np.random.Generator
) -> NDArray[np.float64]:
    return np.stack([drop for _, drop in held.drops_of(*part)])


@method("permutation", ("field",), "repeats × fields, of all but the first layer")
def permutation(
    model: Ranker,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    repeats: int = 5,
    max_rows: int = MAX_ROWS,
    executor: Executor | None = None,
) -> Scores:
    """Mean fall of AUC when a field's values are shuffled (Breiman 2001, section 10).

    Each repeat draws its own shuffle; the standard error is over repeats (zero of one alone). More
    than ``max_rows`` rows are sampled down, the same rows for all fields. Only the shuffled field's
    share of the first layer is computed anew (:mod:`recprune.importance.renewal`).

    Raises:
        ParameterError: ``repeats`` below 1 or ``max_rows`` below 2.
    """
    held = HeldOut(model, rows.held_out, seed, repeats, max_rows)
    drops = held.drops(range(axis.size), executor=executor)
    spread = drops.std(axis=1, ddof=1) / np.sqrt(repeats) if repeats > 1 else np.zeros(axis.size)
    return Scores(drops.mean(axis=1), spread)
