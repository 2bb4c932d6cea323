"""Permutation importance for less: fields that a few rows can tell apart get no more than those.

What has to be right is on which side of each wanted cut a field lies (by default those of keep
ratios ¼, ½ and ¾), not its importance to the last digit. So all fields are scored by a surrogate
(:mod:`recprune.importance.linearised`); those that stay undecided by permutation on some rows; the
undecided ones among them on all rows by one shuffle, two, four, …, and what is left at the end has
all the repeats of ``permutation`` and its scores.

*Confidence.* On some rows, an estimate is a mean over chunks of rows, each shuffled within itself
and scored by its own AUC, the same ones for all fields, so that fields are compared by their
differences, chunk by chunk. On all rows, what ``permutation`` would find differs by the shuffles
alone that are still to come; their spread is known from two shuffles of each chunk. Bounds are t
bounds, at 5 % a stage, shared out among all pairs of fields by Bonferroni.

*Decisions.* Of the fields that are undecided at a cut with k places left, one that surely beats all
but k − 1 others is above it, and one that k others surely beat is below: successive accepts and
rejects (Bubeck et al. 2013, algorithm 1), with bounds in place of a fixed number of rejects, and
work that grows from round to round as in sequential halving (Karnin et al. 2013, algorithm 1).
"""

from __future__ import annotations

from itertools import pairwise
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from recprune._support import require, stream
from recprune.errors import ParameterError
from recprune.executor import Executor
from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.importance.linearised import linearised_drops
from recprune.importance.permutation import MAX_ROWS, HeldOut
from recprune.layout import Axis
from recprune.models import Ranker

__all__ = ["RATIOS", "Screen", "screened"]

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]

RATIOS = (0.25, 0.5, 0.75)
#: Most chunks of all rows, and how many of them are read before all rows are: an eighth at most,
#: or it would not pay.
CHUNKS, FEW = 512, 32
#: Fewest rows of a chunk, and of each class in it.
ROWS, RARE = 250, 10
#: Chance that any decision of a stage is wrong.
RISK = 0.05
#: By what share of itself the surrogate may be wrong, beside its error over rows.
DOUBT = 0.25


@method("screened", ("field",), "one backward, then as permutation for the undecided fields")
def screened(
    model: Ranker,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    keep_ratios: tuple[float, ...] = RATIOS,
    repeats: int = 5,
    max_rows: int = MAX_ROWS,
    executor: Executor | None = None,
) -> Scores:
    """Permutation importance, to the precision that some keep ratios need.

    A field that stays undecided to the end has the score that ``permutation`` gives it; the others'
    are estimates; where one contradicts a decision, it changes places with its neighbours.
    ``by`` of the scores tells what decided each field.

    Args:
        model: fitted ranker.
        rows: held-out rows are scored.
        axis: of fields.
        seed: of the rows and shuffles; those of all rows are ``permutation``'s own.
        keep_ratios: where the order has to be right; few are cheaper than many.
        repeats: most shuffles of each field.
        max_rows: more rows are sampled down.
        executor: where fields are shuffled over all rows; the scores do not depend on it.

    Raises:
        ParameterError: a keep ratio outside (0, 1], or as ``permutation``.
    """
    if not keep_ratios or not all(isinstance(r, Real) and 0 < r <= 1 for r in keep_ratios):
        raise ParameterError.of("keep_ratios", "screened", "floats in (0, 1]", keep_ratios)
    held, n = HeldOut(model, rows.held_out, seed, repeats, max_rows), axis.size
    screen = Screen([max(1, round(ratio * n)) for ratio in keep_ratios], n)
    noise = np.full(n, np.inf)
    chunks = _chunks(held)
    if chunks:
        read = f"{sum(map(len, chunks)):,} rows"
        guess = linearised_drops(model.net, held, chunks)
        screen.by_chunks(f"surrogate, {read}", np.arange(n), guess, DOUBT)
        fields = screen.open()
        if len(fields):
            drops = _drops(held, fields, chunks)
            screen.by_chunks(f"permutation, {read}", fields, drops.mean(axis=1))
            # The variance of one shuffle of all rows: that of a chunk falls with the rows.
            single = (drops[:, 0] - drops[:, 1]).var(axis=1) / 2
            noise[fields] = single * len(chunks[0]) / len(held)
    found = np.empty((n, repeats))
    done = 0
    while len(fields := screen.open()):
        upto = min(max(1, 2 * done), repeats) if chunks else repeats
        found[fields, done:upto] = held.drops(fields.tolist(), range(done, upto), executor)
        done = upto
        text = f"permutation, {len(held):,} rows × {done}"
        screen.by_shuffles(text, fields, found[fields, :done], noise[fields], repeats)
    return screen.scores()


class Screen:
    """What is known of the fields, and on which side of each cut each lies.

    Args:
        counts: fields above each cut.
        n: fields.
    """

    def __init__(self, counts: list[int], n: int) -> None:
        self.counts = sorted(set(counts))
        #: 1 = above, −1 = below, 0 = undecided; shape (cuts, fields).
        self.side = np.zeros((len(self.counts), n), np.int8)
        self.score, self.std, self.by = np.zeros(n), np.zeros(n), [""] * n

    def open(self) -> Ints:
        """Return the fields that some cut has not decided."""
        return np.flatnonzero((self.side == 0).any(axis=0))

    def by_chunks(self, text: str, fields: Ints, drops: F64, doubt: float = 0.0) -> None:
        """Decide by drops on chunks of rows, shape (fields, J).

        Args:
            text: what they are.
            fields: all that are open, and perhaps others.
            drops: estimates of one thing, on the same chunks for all fields.
            doubt: by what share of itself each mean may be wrong beside its error.
        """
        count = drops.shape[1]
        mean, together = drops.mean(axis=1), np.atleast_2d(np.cov(drops))
        own = np.diag(together)
        variance = np.maximum(own[:, None] + own - 2 * together, 0) / count
        self._see(text, fields, mean, np.sqrt(own / count))
        size = doubt * np.abs(mean)
        needed = _quantile(len(fields), count) * np.sqrt(variance) + size[:, None] + size
        self._decide(fields, mean[:, None] - mean > needed)

    def by_shuffles(self, text: str, fields: Ints, drops: F64, noise: F64, repeats: int) -> None:
        """Decide by the first shuffles of all rows; by all of them, decide everything.

        Args:
            text: what they are.
            fields: all that are open.
            drops: of the shuffles up to now, shape (fields, R).
            noise: the variance of one shuffle's drop, shape (fields,).
            repeats: how many shuffles there are in all.
        """
        done, mean = drops.shape[1], drops.mean(axis=1)
        if done == repeats:
            error = drops.std(axis=1, ddof=1) if repeats > 1 else np.zeros(len(fields))
            ahead, tied = mean[:, None] > mean, mean[:, None] == mean
            surely = ahead | np.triu(tied, 1)
        else:
            error = np.sqrt(noise)
            left = (noise[:, None] + noise) * (1 / done - 1 / repeats)
            surely = mean[:, None] - mean > _quantile(len(fields), FEW) * np.sqrt(left)
        self._see(text, fields, mean, error / np.sqrt(done))
        self._decide(fields, surely)

    def scores(self) -> Scores:
        """Return all scores, the fields above a cut before those below."""
        order = np.lexsort((-self.score, (self.side < 0).sum(axis=0)))
        score = np.empty(len(order))
        score[order] = np.sort(self.score)[::-1]
        return Scores(score, self.std, tuple(self.by))

    def _see(self, text: str, fields: Ints, score: F64, std: F64) -> None:
        self.score[fields], self.std[fields] = score, std
        for i in fields.tolist():
            self.by[i] = text

    def _decide(self, fields: Ints, surely: NDArray[np.bool_]) -> None:
        for count, side in zip(self.counts, self.side, strict=True):
            among = np.flatnonzero(side[fields] == 0)
            beats, places = surely[np.ix_(among, among)], count - int((side == 1).sum())
            above, below = beats.sum(axis=1), beats.sum(axis=0)
            side[fields[among[above >= len(among) - places]]] = 1
            side[fields[among[below >= places]]] = -1


def _quantile(fields: int, count: int) -> float:
    """Return how many errors apart two of so many fields have to be, by so many chunks."""
    pairs = max(fields * (fields - 1), 1)
    return -float(require("scipy.special", "train").stdtrit(count - 1, RISK / pairs))


def _chunks(held: HeldOut) -> list[Ints]:
    """Deal the rows to chunks, each class evenly, and return some; none where rows are few."""
    classes = [np.flatnonzero(held.label == value) for value in (0, 1)]
    count = min(CHUNKS, len(held) // ROWS, min(map(len, classes)) // RARE)
    if count < 8 * FEW:
        return []
    draws = stream(held.seed, "chunks")
    dealt = np.concatenate([np.arange(len(c)) % count for c in classes])
    shuffled = np.concatenate([draws.permutation(c) for c in classes])
    return [np.sort(shuffled[dealt == i]) for i in range(FEW)]


def _drops(held: HeldOut, fields: Ints, chunks: list[Ints]) -> F64:
    """Return each chunk's fall of AUC, a field shuffled within it twice, (fields, 2, J)."""
    at = np.concatenate(chunks)
    ends = np.cumsum([0, *map(len, chunks)]).tolist()
    base = [held.auc(held.renewal.logits[chunk], chunk) for chunk in chunks]
    pieces = [slice(*pair) for pair in pairwise(ends)]

    def orders(field: int) -> Ints:
        draws = stream(held.seed, "screened", held.names[field])
        pair = [[p.start + draws.permutation(p.stop - p.start) for p in pieces] for _ in range(2)]
        return np.stack([np.concatenate(one) for one in pair])

    shuffled = held.renewal.shuffled(fields.tolist(), at, orders)
    after = [
        [[held.auc(score[p], at[p]) for p in pieces] for score in scores] for _, scores in shuffled
    ]
    drops: F64 = np.array(base) - np.array(after)
    return drops
