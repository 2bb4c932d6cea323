"""Intervals of a difference, Student's quantiles, and the degrees of freedom of clustered errors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ParameterError

__all__ = ["Interval", "effective_freedom", "rows_needed", "t_quantile", "t_tail"]


@dataclass(frozen=True)
class Interval:
    """A difference and what is known of its error.

    Args:
        difference: pruned − full; of several pairs the mean.
        rows: the part of its variance that falls with more rows.
        seeds: the part that falls with more seeds.
        freedom: degrees of freedom of both together.
    """

    difference: float
    rows: float
    seeds: float
    freedom: float

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(self.rows + self.seeds)

    @property
    def bounds(self) -> tuple[float, float]:
        """The two one-sided 95 % bounds."""
        reach = t_quantile(0.95, self.freedom) * self.error
        return self.difference - reach, self.difference + reach

    @property
    def width(self) -> float:
        """Upper bound − lower bound."""
        return self.bounds[1] - self.bounds[0]


def rows_needed(interval: Interval, tolerance: float, n_rows: int) -> int | None:
    """Return the rows at which a verdict passes with 80 % power, or None.

    The sampling variance falls as the rows grow, that of the seeds does not, and t95 + t80 standard
    errors must fit between the true difference and −tolerance: Student's quantiles, since the
    error is an estimate itself (Julious & Owen 2006, "Sample size calculations for clinical studies
    allowing for uncertainty about the variance"). The true difference is taken for zero, as the
    user hopes, as long as a model without any drop could have come out like this: more rows than
    these would then be needed. Where these rows would have sufficed for it, there is some drop, and
    the one seen is taken. A difference at or beyond the tolerance is not on its way to a PASS: None.

    Args:
        interval: of the difference on ``n_rows`` rows.
        tolerance: largest drop that passes.
        n_rows: rows that the interval is of.

    A standard error of half the tolerance: (1.645 + 0.842)² / 2² times the rows.

    >>> rows_needed(Interval(0.0, 0.001**2, 0.0, math.inf), 0.002, 10_000)
    15457
    >>> rows_needed(Interval(-0.003, 0.001**2, 0.0, math.inf), 0.002, 10_000)
    """
    if interval.difference <= -tolerance or math.isinf(interval.rows):
        return None
    reach = t_quantile(0.95, interval.freedom) + t_quantile(0.80, interval.freedom)
    needed = 0
    for room in (tolerance, tolerance + interval.difference):
        left = (room / reach) ** 2 - interval.seeds
        if left <= 0:
            return None
        needed = math.ceil(n_rows * interval.rows / left)
        if needed > n_rows:
            break
    return needed


def t_quantile(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t, without SciPy.

    Hill 1970, "Algorithm 396: Student's t-quantiles": exact at 1 and 2 degrees of freedom; from 0.8
    to 0.995 the relative error is below 2e-5 from 3 degrees on, 4e-5 from 2.5 on and 2e-3 from 2 on;
    between 1 and 2 the quantile is up to a quarter too large, and at most 0.3 % too small.

    Args:
        probability: in [0.5, 1).
        freedom: degrees of freedom, a number ≥ 1, also a broken one; infinite = normal.

    Raises:
        ParameterError: a parameter is out of range.

    >>> [round(t_quantile(0.95, nu), 3) for nu in (1, 2, 5, 30, float("inf"))]
    [6.314, 2.92, 2.015, 1.697, 1.645]
    """
    if not 0.5 <= probability < 1:
        raise ParameterError.of("probability", "t_quantile", "in [0.5, 1)", probability)
    if not freedom >= 1:
        raise ParameterError.of("freedom", "t_quantile", "a number ≥ 1", freedom)
    normal, n, p = NormalDist().inv_cdf(probability), freedom, 2 * (1 - probability)
    if math.isinf(n) or probability == 0.5:
        return normal
    if n == 1:
        return math.cos(p * math.pi / 2) / math.sin(p * math.pi / 2)
    if n == 2:
        return math.sqrt(2 / (p * (2 - p)) - 2)
    a = 1 / (n - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    y = (d * p) ** (2 / n)
    if y <= 0.05 + a:
        y = (1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1
        y = y * (n + 1) / (n + 2) + 1 / (d * p) ** (2 / n)
        return math.sqrt(n * y)
    x = -normal
    y = x**2
    if n < 5:
        c += 0.3 * (n - 4.5) * (x + 0.6)
    c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
    y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
    return math.sqrt(n * math.expm1(a * y**2))


def t_tail(t: float, freedom: float) -> float:
    """Return the chance that Student's t is above ``t``, without SciPy.

    Wallace 1959, "Bounds on normal approximations to Student's and the chi-square distributions":
    from 0.05 to 0.001 within 3 % from 8 degrees of freedom on; with fewer, and further out,
    too large.

    Args:
        t: any number.
        freedom: degrees of freedom, a number ≥ 1; infinite = normal.

    >>> [round(t_tail(2.0, freedom), 3) for freedom in (5, 20, float("inf"))]
    [0.051, 0.03, 0.023]
    """
    z = t
    if not math.isinf(freedom):
        scale = (8 * freedom + 1) / (8 * freedom + 3)
        z = math.copysign(scale * math.sqrt(freedom * math.log1p(t * t / freedom)), t)
    return NormalDist().cdf(-z)


def effective_freedom(influence: NDArray[Any], code: NDArray[np.integer], size: int) -> float:
    """Return the degrees of freedom of a clustered standard error, at least 1.

    Satterthwaite's: (Σ σ²)² / Σ σ⁴, with a cluster's σ² estimated by its squared influence and σ⁴
    by a third of its square (the fourth moment of a normal is 3σ⁴). A few users with most of the
    rows count as the few that they are; never more than clusters − 1.

    Args:
        influence: of each row, shape ``(n_rows,)``.
        code: each row's cluster, shape ``(n_rows,)``, values below ``size``.
        size: number of clusters.

    Sixty clusters of one size have nearly sixty; one that outweighs all has about one.

    >>> effective_freedom(np.array([1.0, -1.0] * 30), np.arange(60), 60)
    59.0
    >>> effective_freedom(np.array([9.0, *[0.1] * 59]), np.arange(60), 60) < 4
    True
    """
    squared = np.bincount(code, influence, size) ** 2
    fourth = float(squared @ squared)
    if fourth == 0:
        return max(1.0, size - 1.0)
    return max(1.0, min(3 * float(squared.sum()) ** 2 / fourth, size - 1.0))
