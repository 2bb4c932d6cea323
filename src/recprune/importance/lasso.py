"""Logistic regression under a penalty of groups of columns, by proximal gradient."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lasso", "Solution"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Solution:
    """Where a penalised regression ends.

    Args:
        beta: weights of the columns, scaled to unit variance, shape (p,).
        excess: ‖slope‖ / (λ√p_g) − 1 of each group, shape (groups,): 0 of those that are in, up to
            rounding, and at least −1.
        norms: ‖β_g‖₂, shape (groups,).
    """

    def __init__(self, beta: Floats, excess: Floats, norms: Floats) -> None:
        self.beta, self.excess, self.norms = beta, excess, norms


class Lasso:
    """Mean logistic loss + λ Σ_g √p_g ‖β_g‖₂, the intercept free.

    Columns are centred and scaled to unit variance; constant ones have weight 0.

    Args:
        matrix: sparse, shape (n, p).
        group: each column's group, shape (p,).
        label: 0 or 1, shape (n,).
        weight: how much each row counts, shape (n,).
    """

    def __init__(self, matrix: Any, group: Ints, label: NDArray[Any], weight: Floats) -> None:
        self.share = weight / weight.sum()
        self.mean = matrix.T @ self.share
        spread = np.sqrt(np.maximum(matrix.multiply(matrix).T @ self.share - self.mean**2, 0))
        self.scale = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0.0)
        self.matrix, self.across = matrix, matrix.T.tocsr()
        self.group, self.label = group, label.astype(np.float64)
        size = np.bincount(group[self.scale > 0], minlength=int(group.max()) + 1)
        self.root = np.sqrt(np.maximum(size, 1))

    def solve(self, strength: float, steps: int) -> Solution:
        """Return the solution for λ = ``strength`` · the least that leaves all groups zero.

        FISTA (Beck & Teboulle 2009, section 4), whose momentum begins anew where it points uphill
        (O'Donoghue & Candès 2015).
        """
        base = self.share @ self.label
        intercept, beta = float(np.log(base / (1 - base))), np.zeros(len(self.group))
        most = (self._norms(self._slope(beta, intercept)[0]) / self.root).max()
        penalty = max(strength * most, 1e-12) * self.root
        rate, speed = 1 / self._bend(), 1.0
        ahead, ahead_intercept = beta, intercept
        for _ in range(steps):
            slope, slope_intercept = self._slope(ahead, ahead_intercept)
            new = self._shrink(ahead - rate * slope, rate * penalty)
            new_intercept = ahead_intercept - rate * slope_intercept
            if (ahead - new) @ (new - beta) > 0:
                speed = 1.0
            next_speed = (1 + np.sqrt(1 + 4 * speed**2)) / 2
            push = (speed - 1) / next_speed
            ahead = new + push * (new - beta)
            ahead_intercept = new_intercept + push * (new_intercept - intercept)
            beta, intercept, speed = new, new_intercept, next_speed
        excess = self._norms(self._slope(beta, intercept)[0]) / penalty - 1
        return Solution(beta, excess, self._norms(beta))

    def term_spread(self, beta: Floats, owner: Ints) -> Floats:
        """Return the standard deviation over rows of each owner's columns' sum, shape (owners,)."""
        spread = np.zeros(int(owner.max()) + 1)
        columns = self.matrix.tocsc()
        ends = np.searchsorted(owner, np.arange(len(spread) + 1))
        for g, (start, end) in enumerate(pairwise(ends.tolist())):
            own = slice(start, end)
            if beta[own].any():
                term = columns[:, own] @ (beta[own] * self.scale[own])
                spread[g] = np.sqrt(max(self.share @ term**2 - (self.share @ term) ** 2, 0))
        return spread

    def _slope(self, beta: Floats, intercept: float) -> tuple[Floats, float]:
        """Return the slope of the mean loss in β and in the intercept."""
        logit = self._forward(beta) + intercept
        error = self.share * (1 / (1 + np.exp(-logit)) - self.label)
        return self._back(error), float(error.sum())

    def _forward(self, beta: Floats) -> Floats:
        scaled = beta * self.scale
        return np.asarray(self.matrix @ scaled - self.mean @ scaled)

    def _back(self, error: Floats) -> Floats:
        return np.asarray((self.across @ error - self.mean * error.sum()) * self.scale)

    def _bend(self) -> float:
        """Return a bound on the loss's curvature: ¼ of the greatest variance of any direction.

        By power iterations; 1 is the intercept's, and a tenth more what they may fall short.
        """
        direction, size = np.sqrt(self.scale), 1.0
        for _ in range(30):
            direction = direction / max(np.linalg.norm(direction), 1e-12)
            direction = self._back(self.share * self._forward(direction))
            size = float(np.linalg.norm(direction))
        return 0.25 * 1.1 * max(size, 1.0)

    def _norms(self, beta: Floats) -> Floats:
        return np.sqrt(np.bincount(self.group, beta**2, minlength=len(self.root)))

    def _shrink(self, beta: Floats, by: Floats) -> Floats:
        """Return the penalty's proximal point: each group shorter by so much, or zero."""
        factor = np.maximum(1 - by / np.maximum(self._norms(beta), 1e-300), 0)
        return np.asarray(beta * factor[self.group])
