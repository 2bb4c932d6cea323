"""Importance of columns by an estimator of scikit-learn, and how few of them do as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor

from recprune._support import logger, progress, stream
from recprune.evaluation.selection import QUANTILES
from recprune.importance import FieldRanking, Scores
from recprune.selector.judging import Judge, answers
from recprune.selector.tables import columns_of, rows_of, shuffled

__all__ = ["FOREIGN_METHODS", "Part", "Proving", "ranked", "smallest"]

#: Draws of each column by permutation.
REPEATS = 5
#: About so many sets are tried by the automatic mode: with more columns, several go at once.
STEPS = 32


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the rows: columns and truth.

    Args:
        x: any table that scikit-learn takes, shape ``(n_rows, n_columns)``.
        y: what an estimator learns, shape ``(n_rows,)``.
        judge: what is true of these rows.
    """

    x: Any
    y: NDArray[Any]
    judge: Judge

    def take(self, rows: NDArray[np.int64]) -> Part:
        """Return some of the rows."""
        return Part(rows_of(self.x, rows), self.y[rows], self.judge.take(rows))


@dataclass(frozen=True, eq=False)
class Proving:
    """An estimator and rows to train and to try it on.

    Args:
        estimator: of scikit-learn; never fitted itself.
        names: of the columns.
        train: rows to learn from.
        tune: rows to score on.
        fit_params: what else it is fitted with, one value a training row: ``sample_weight``.
    """

    estimator: Any
    names: tuple[str, ...]
    train: Part
    tune: Part
    fit_params: dict[str, Any]

    @cached_property
    def full(self) -> Any:
        """The estimator, trained on all columns."""
        return self.fitted(range(len(self.names)))

    def fitted(self, columns: Sequence[int]) -> Any:
        """Return the estimator trained on some of the columns; on none, the best constant."""
        x = self.train.x
        if not columns:
            guess = DummyRegressor() if self.train.judge.target == "number" else DummyClassifier()
            return guess.fit(x, self.train.y, self.train.judge.weight)
        if len(columns) < len(self.names):
            x = columns_of(x, np.asarray(columns))
        return clone(self.estimator).fit(x, self.train.y, **self.fit_params)

    def answers(self, fitted: Any, part: Part, columns: Sequence[int]) -> NDArray[Any]:
        """Return what an estimator fitted on some of the columns says of each row."""
        some = 0 < len(columns) < len(self.names)
        x = columns_of(part.x, np.asarray(columns)) if some else part.x
        return answers(fitted, x, part.judge.target)


def permutation(proving: Proving, seed: int) -> Scores:
    """Mean fall of quality on held-out rows when a column's values are shuffled (Breiman 2001,
    section 10); the standard error is over repeats."""
    tune, judge = proving.tune, proving.tune.judge
    base = judge.quality(answers(proving.full, tune.x, judge.target))
    drops = np.empty((len(proving.names), REPEATS))
    for i, name in enumerate(progress(proving.names, "permutation importance")):
        for r in range(REPEATS):
            # Counted by name, not by position: column order does not move the draws.
            order = stream(seed, "permutation", name, r).permutation(len(judge.y))
            shown = answers(proving.full, shuffled(tune.x, i, order), judge.target)
            drops[i, r] = base - judge.quality(shown)
    return Scores(drops.mean(axis=1), drops.std(axis=1, ddof=1) / np.sqrt(REPEATS))


def drop_and_retrain(proving: Proving, seed: int) -> Scores:
    """Fall of quality on held-out rows when the estimator is trained without the column; the
    standard error is that of the paired difference."""
    every = range(len(proving.names))
    full = proving.answers(proving.full, proving.tune, every)
    pairs = []
    for i in progress(every, "drop and retrain"):
        left = [j for j in every if j != i]
        without = proving.answers(proving.fitted(left), proving.tune, left)
        pairs.append(proving.tune.judge.difference(full, without))
    found = np.array(pairs)
    return Scores(-found[:, 0], found[:, 1])


#: Methods that ask an estimator of scikit-learn, under the names that they have for rankers.
FOREIGN_METHODS: dict[str, Callable[[Proving, int], Scores]] = {
    "permutation": permutation,
    "drop_and_retrain": drop_and_retrain,
}


def ranked(names: Sequence[str], scores: Scores, method: str) -> FieldRanking:
    """Return columns or fields best first, ties by name, so that their order does not matter."""
    order = np.lexsort((np.array(names), -scores.score))
    best = tuple(names[i] for i in order)
    return FieldRanking(best, scores.score[order], scores.std[order], method)


def smallest(
    proving: Proving, ranking: FieldRanking, gate: Part, tolerance: float, protect: Sequence[str]
) -> tuple[str, ...]:
    """Return the smallest set of columns that holds the promise on the gate rows.

    The estimator is trained again on ever fewer columns, the least important first to go. The
    rule is :func:`recprune.evaluation.choose_fields`' own: the quality may be lower by no more
    than the tolerance than that of all columns, of the best larger set (by the tune rows) and of
    the set before; where one does not pass, its columns stay and the sequence goes on at half the
    level, at most four times. All errors together are at most 5 %. With many columns several go
    at once, half as many after a set that does not pass.

    Args:
        proving: what is trained, on which rows.
        ranking: of the columns, best first.
        gate: rows that neither trained nor ranked.
        tolerance: largest drop of quality.
        protect: columns that stay in any case.
    """
    place = {name: i for i, name in enumerate(proving.names)}

    def tried(names: Sequence[str]) -> tuple[float, NDArray[Any]]:
        columns = sorted(place[n] for n in names)
        fitted = proving.full if len(columns) == len(place) else proving.fitted(columns)
        on_tune, on_gate = (proving.answers(fitted, part, columns) for part in (proving.tune, gate))
        return proving.tune.judge.quality(on_tune), on_gate

    kept = list(ranking.fields)
    full = best = latest = tried(kept)
    waiting = [name for name in reversed(kept) if name not in protect]
    step, failures = max(1, len(waiting) // STEPS), 0
    while waiting and len(kept) > 1:
        gone = waiting[: min(step, len(kept) - 1)]
        fewer = [name for name in kept if name not in gone]
        now = tried(fewer)
        bounds = [
            d - QUANTILES[failures] * error
            for d, error in (gate.judge.difference(r[1], now[1]) for r in (full, best, latest))
        ]
        logger.debug("without %s: lower bounds %s", ", ".join(gone), bounds)
        if all(bound > -tolerance for bound in bounds):  # not where an error is unknown
            kept, waiting, latest = fewer, waiting[len(gone) :], now
            best = now if now[0] > best[0] else best
            continue
        failures += 1
        if failures == len(QUANTILES):
            break
        if len(gone) > 1:
            step = len(gone) // 2
        else:
            waiting = waiting[1:]
    return tuple(kept)
