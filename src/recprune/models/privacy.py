"""How much of a user's privacy training may spend, and what it has spent."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from recprune._support import require
from recprune.errors import ParameterError

__all__ = ["CUT", "LEARNT_BEFORE", "PrivacyBudget", "PrivacySpent", "epsilon_of", "noise_for"]

#: What a statement of ε never speaks of: it is computed from the rows before training, or after it.
BEFORE = (
    "vocabularies, the catalogue of items, knots, the scale of vectors and weights, and how many train, "
    "which are read from the rows as they are"
)
#: Further: of what was cut; of weights that had been trained, as far as is known, without privacy.
CUT = "which weights were cut, by whosever rows"
LEARNT_BEFORE = "whatever the weights had learnt before, without privacy"
#: (noise multiplier, sample rate, steps).
Spell = tuple[float, float, int]


@dataclass(frozen=True)
class PrivacyBudget:
    """Differentially private training (DP-SGD: Abadi et al. 2016, algorithm 1), by user.

    The gradient of each user, the sum over at most ``rows_per_user`` of its rows, is clipped to
    ``max_grad_norm``; normal noise of ``noise_multiplier`` times that is added to the sum of the
    users' gradients, and users take part in a step by independent coins (Poisson sampling). What
    comes out, all steps' weights, is (ε, δ)-differentially private in the sense of adding or removing
    *one user with all of its rows*, however many they are. Where rows have no users, each row is
    a user of its own, and ε is about one row.

    Args:
        epsilon: ε of all steps together; the noise is chosen so that they spend no more. None = by
            ``noise_multiplier``.
        delta: δ, which must be below 1 / users: with that chance ε may not hold.
        noise_multiplier: σ, in ε's place.
        max_grad_norm: C, the norm to which a user's gradient is clipped.
        rows_per_user: most rows of a user in one step, drawn anew for each.
        noise_seed: of the noise, of who takes part, and of which rows; None = from the operating
            system, kept nowhere, so that no two trainings are alike. A fixed one gives the same bytes
            again, and *no privacy against whoever knows it*: it is for tests.

    Raises:
        ParameterError: a value out of range; both or neither of ``epsilon`` and
            ``noise_multiplier``.

    >>> PrivacyBudget(epsilon=8.0, rows_per_user=10).delta
    1e-05
    """

    epsilon: float | None = None
    delta: float = 1e-5
    noise_multiplier: float | None = None
    max_grad_norm: float = 1.0
    rows_per_user: int = 20
    noise_seed: int | None = None

    def __post_init__(self) -> None:
        if (self.epsilon is None) == (self.noise_multiplier is None):
            constraint = "given, or noise_multiplier in its place, and not both"
            raise ParameterError.of("epsilon", "PrivacyBudget", constraint, self.epsilon)
        for name in ("epsilon", "noise_multiplier", "max_grad_norm"):
            value = getattr(self, name)
            number = isinstance(value, int | float)
            if value is not None and not (number and 0 < value < math.inf):
                raise ParameterError.of(name, "PrivacyBudget", "a finite float > 0", value)
        if not (isinstance(self.delta, int | float) and 0 < self.delta < 1):
            raise ParameterError.of("delta", "PrivacyBudget", "a float in (0, 1)", self.delta)
        whole = isinstance(self.rows_per_user, int) and not isinstance(self.rows_per_user, bool)
        if not (whole and self.rows_per_user >= 1):
            raise ParameterError.of(
                "rows_per_user", "PrivacyBudget", "an int ≥ 1", self.rows_per_user
            )
        if self.noise_seed is not None and self.noise_seed < 0:
            constraint = "None or an int ≥ 0"
            raise ParameterError.of("noise_seed", "PrivacyBudget", constraint, self.noise_seed)

    def noise(self, rate: float, steps: int) -> float:
        """Return σ for so many steps in which each user takes part with chance ``rate``."""
        if self.noise_multiplier is not None:
            return self.noise_multiplier
        assert self.epsilon is not None
        return noise_for(self.epsilon, self.delta, rate, steps)


@dataclass(frozen=True)
class PrivacySpent:
    """What a model's training has spent: a statement about the training step, and its limits.

    Args:
        unit: whom ε speaks of, ``"user"`` or ``"row"``: one of them added or removed.
        epsilon: ε of ``spells`` together, by the accountant.
        delta: δ.
        spells: (noise multiplier, sample rate, steps) of each private training of these weights.
        max_grad_norm: C.
        rows_per_user: most rows of a user in a step.
        seeded: whether the noise had a given seed: ε holds only against those who do not know it.
        not_covered: what came from the same users outside the training step.
    """

    unit: Literal["user", "row"]
    epsilon: float
    delta: float
    spells: tuple[Spell, ...]
    max_grad_norm: float
    rows_per_user: int
    seeded: bool = False
    not_covered: tuple[str, ...] = (BEFORE,)

    def beside(self, *gaps: str) -> PrivacySpent:
        """Return the statement with more things that it does not cover."""
        return replace(self, not_covered=tuple(dict.fromkeys((*self.not_covered, *gaps))))

    def after(self, earlier: PrivacySpent | None) -> PrivacySpent:
        """Return the statement with an earlier training of the same weights counted in.

        The larger δ holds; who is a row's user must be the same for both.
        """
        if earlier is None:
            return self
        spells, delta = (*earlier.spells, *self.spells), max(earlier.delta, self.delta)
        gaps = tuple(dict.fromkeys((*earlier.not_covered, *self.not_covered)))
        unit: Literal["user", "row"] = "row" if "row" in (earlier.unit, self.unit) else "user"
        return replace(
            self,
            unit=unit,
            epsilon=epsilon_of(spells, delta),
            delta=delta,
            spells=spells,
            seeded=earlier.seeded or self.seeded,
            not_covered=gaps,
        )

    def sentence(self) -> str:
        """Return the statement in words."""
        whom = "one user with all of its rows" if self.unit == "user" else "one row"
        text = (
            f"The training step is ({self.epsilon:.3g}, {self.delta:.3g})-differentially private for "
            f"adding or removing {whom}. Not covered: {'; '.join(self.not_covered)}."
        )
        if self.seeded:
            text += " The noise had a given seed: whoever knows it is not held off."
        return text

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        given = {**asdict(self), "spells": [list(s) for s in self.spells]}
        return {**given, "not_covered": list(self.not_covered), "accountant": "RDP"}

    @classmethod
    def from_json(cls, told: Mapping[str, Any] | None) -> PrivacySpent | None:
        """Return what :meth:`to_json` gave; None = no statement."""
        if not told:
            return None
        given = {name: told[name] for name in cls.__dataclass_fields__}
        given["spells"] = tuple((float(s), float(q), int(n)) for s, q, n in given["spells"])
        return cls(**{**given, "not_covered": tuple(given["not_covered"])})


def epsilon_of(spells: Sequence[Spell], delta: float) -> float:
    """Return ε of Poisson-sampled Gaussian steps, by Rényi divergences.

    Mironov, Talwar & Zhang 2019, "Rényi differential privacy of the sampled Gaussian mechanism",
    as Opacus computes it; an upper bound.

    Args:
        spells: (noise multiplier, sample rate, steps).
        delta: δ.

    Raises:
        MissingExtra: Opacus is not installed.
    """
    accountant = require("opacus.accountants", "privacy").RDPAccountant()
    accountant.history = list(spells)
    with warnings.catch_warnings():  # at the first or last order it says so; the bound holds
        warnings.filterwarnings("ignore", message="Optimal order")
        return float(accountant.get_epsilon(delta, alphas=ORDERS))


def noise_for(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """Return the least noise multiplier, to a thousandth, at which so many steps spend at most ε.

    Raises:
        ParameterError: no noise up to a million suffices.
        MissingExtra: Opacus is not installed.
    """
    low, high = 0.0, 1.0
    while epsilon_of([(high, rate, steps)], delta) > epsilon:
        low, high = high, 2 * high
        if high > 1e6:
            constraint = f"large enough for {steps} steps at a sample rate of {rate:.3g}"
            raise ParameterError.of("epsilon", "PrivacyBudget", constraint, epsilon)
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        if epsilon_of([(middle, rate, steps)], delta) > epsilon:
            low = middle
        else:
            high = middle
    return high


#: Orders α of the divergences: Opacus's own, and larger ones, which small ε need.
ORDERS = [1 + x / 10.0 for x in range(1, 100)] + list(range(12, 64)) + [80, 128, 256, 512, 1024]
