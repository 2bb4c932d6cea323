"""Wrappers: rounds of elimination by another method, and Boruta's shadow fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recprune._support import require, stream
from recprune.errors import ParameterError
from recprune.executor import Executor
from recprune.importance.base import METHODS, Scores, importance, method
from recprune.importance.evidence import Evidence
from recprune.importance.retraining import Rows
from recprune.importance.trees import TreeRows, boosted
from recprune.layout import Axis
from recprune.models import Ranker

__all__ = ["boruta", "boruta_decisions", "recursive_elimination"]

ROUNDS, TREES = 20, 50
MAX_ROWS = 50_000


@method(
    "recursive_elimination",
    ("field",),
    "a training and the passes of another method each round; ln(fields) / share rounds",
)
def recursive_elimination(
    model: Ranker,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    by: str = "gauss_newton",
    share: float = 0.25,
    executor: Executor | None = None,
) -> Scores:
    """The round in which a field is dropped: train, rank, drop a share, again (Guyon et al. 2002).

    The fraction of a score is the place among those dropped in the same round. The first round
    asks the given model; the others train one of its class and options on the fields that are left.

    Args:
        model: fitted ranker of all fields.
        rows: the rankers learn from training rows; held-out rows stop and rank.
        axis: of fields.
        seed: of the other method's draws.
        by: the method that ranks, one that scores fields.
        share: of the fields that are left, what a round drops, in (0, 1); at least one field.
        executor: where the other method's parts run.
    """
    if not 0 < share < 1:
        raise ParameterError.of("share", "recursive_elimination", "a float in (0, 1)", share)
    able = [m.name for m in METHODS.values() if "field" in m.units]
    able.remove("recursive_elimination")
    if by not in able:
        raise ParameterError.of(
            "by", "recursive_elimination", f"one of {', '.join(sorted(able))}", by
        )
    names = rows.encoder.schema.names
    whole, left = Rows(*rows.apart(seed)), names
    score, stage = dict.fromkeys(names, 0.0), 0
    while len(left) > 1:
        part = whole if left == names else whole.only(left)
        asked = None
        if METHODS[by].needs_model:
            asked = part.fitted(model.like()) if stage else model
        evidence = Evidence(part.learnt, part.judged)
        found = importance(asked, evidence, "fields", by, seed, executor).score
        worst = [left[i] for i in np.lexsort((np.array(left), found))][
            : max(1, int(share * len(left)))
        ]
        score |= {name: stage + i / len(worst) for i, name in enumerate(worst)}
        left, stage = tuple(n for n in left if n not in worst), stage + 1
    score |= dict.fromkeys(left, float(stage))
    return Scores.exact(np.array([score[n] for n in names]))


@method("boruta", ("field",), "rounds × 50 trees over at most 50,000 rows", False)
def boruta(
    model: Ranker | None,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    rounds: int = ROUNDS,
    trees: int = TREES,
    executor: Executor | None = None,
) -> Scores:
    """Rounds in which a field beats every shadow (Kursa & Rudnicki 2010, section 2).

    A shadow is a field's values, shuffled among the rows. Each round grows LightGBM's trees on
    all fields and a fresh shadow of each; a field whose gain is above the best shadow's has a
    hit. The score is the number of hits, its fraction the field's mean share of the fields' gain.
    :func:`boruta_decisions` tells which fields are confirmed. All fields stay in all rounds, which
    the original drops from the race when rejected. The standard error is that of the count.

    Args:
        model: not asked.
        rows: trees grow on training rows.
        axis: of fields.
        seed: of the shuffles and the choice of rows.
        rounds: how many.
        trees: of each round.
        executor: where the rounds run; the scores do not depend on it. None = one after another.
    """
    for name, value in (("rounds", rounds), ("trees", trees)):
        if value < 1:
            raise ParameterError.of(name, "boruta", "an int ≥ 1", value)
    known = TreeRows.of(rows.train, MAX_ROWS, seed)
    shared = (known, rows.encoder.schema.names, seed, trees)
    found = (executor or Executor()).map(
        _round, range(rounds), shared=shared, seed=seed, text="boruta"
    )
    hits, gains = np.zeros(axis.size), np.zeros(axis.size)
    for gain in found:
        hits += gain[: axis.size] > gain[axis.size :].max()
        gains += gain[: axis.size]
    chance = hits / rounds
    score = hits + np.minimum(gains / max(gains.sum(), 1e-300), 0.999)
    return Scores(score, np.sqrt(rounds * chance * (1 - chance)))


def _round(
    shared: tuple[TreeRows, tuple[str, ...], int, int], r: int, _: np.random.Generator
) -> NDArray[np.float64]:
    """Return the gain of each field, then of each shadow."""
    known, names, seed, trees = shared
    shadow = np.empty_like(known.columns)
    for i, name in enumerate(names):
        own = np.flatnonzero(known.owner == i)
        order = stream(seed, "shadow", name, r).permutation(len(known.label))
        shadow[:, own] = known.columns[np.ix_(order, own)]
    both = replace(
        known,
        columns=np.concatenate([known.columns, shadow], axis=1),
        owner=np.concatenate([known.owner, known.owner + len(names)]),
    )
    grown = boosted(both, int(stream(seed, "boruta", r).integers(2**31)), trees)
    gain = grown.feature_importance("gain")
    return np.bincount(both.owner, gain, minlength=2 * len(names)).astype(np.float64)


def boruta_decisions(
    scores: ArrayLike, rounds: int = ROUNDS, level: float = 0.05
) -> tuple[str, ...]:
    """Return which fields are ``"confirmed"``, ``"tentative"`` and ``"rejected"``.

    A field that is as good as the best shadow has Binomial(rounds, ½) hits. It is confirmed if it
    has too many for that, rejected if too few, by one-sided tests, each corrected for the number
    of fields by Holm 1979.

    Args:
        scores: of :func:`boruta`, as ``ranking.scores`` or ``importance(…).score``, shape (n,).
        rounds: that it had.
        level: the chance of one wrong confirmation among all fields, likewise of a rejection.

    >>> boruta_decisions([20.4, 12.1, 0.0], rounds=20)
    ('confirmed', 'tentative', 'rejected')
    """
    binomial = require("scipy.stats", "train").binom(rounds, 0.5)
    hits = np.floor(np.asarray(scores, np.float64))
    confirmed = _holm(binomial.sf(hits - 1), level)
    rejected = _holm(binomial.cdf(hits), level)
    words: Sequence[str] = ("tentative", "confirmed", "rejected")
    return tuple(words[int(c) + 2 * int(r)] for c, r in zip(confirmed, rejected, strict=True))


def _holm(p: NDArray[np.float64], level: float) -> NDArray[np.bool_]:
    """Return which of several null hypotheses fall: the smallest p-values up to the first that stays."""
    order = np.argsort(p, kind="stable")
    falls = p[order] <= level / np.arange(len(p), 0, -1)
    out = np.zeros(len(p), bool)
    out[order] = np.logical_and.accumulate(falls)
    return out
