"""Simulated users and items whose true AUC, of any model and its pruned copies, is known exactly.

A row has a user, an item and a latent interest z, standard normal, to which the user, the item and
the row itself contribute; its label is 1 where z passes a threshold. A model's score is

    ρ z + √(1 − ρ²) (√κ c + √(1 − κ) o), rounded to a grid

with noise c that all models share and noise o of its own, half of whose variance pruned models have
in common; all are standard normal with parts of the user, the item and the row. So rows of one user hang together in label, score and what pruning
changes, and so do rows of one item; users differ in activity and items in popularity (log-normal).

A positive and a negative row of the population have different users and items. Then only ρ matters:
z is standard normal, and the score given z is normal with mean ρ z and variance 1 − ρ². The chance
of each grid value in either class is a one-dimensional integral, which Gauss–Legendre quadrature
gives to 12 digits, and AUC is a sum over the grid with ties counted one half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

__all__ = ["Drawn", "World"]

Array = NDArray[np.float64]
GRID = 0.1
#: Shares of the interest's variance that hang on the user and the item.
INTEREST = (0.15, 0.05)
#: Standard deviations that nothing passes.
EDGE = 9.0


@dataclass(frozen=True, eq=False)
class Drawn:
    """Rows of the world: label, user, item, and the scores of full and pruned models."""

    label: NDArray[np.bool_]
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    full: NDArray[np.float32]
    pruned: NDArray[np.float32]


@dataclass(frozen=True)
class World:
    """How rows come about.

    Args:
        user, item: shares of the models' own noise that hang on the user and the item.
        shared: κ, the share of the noise that all models have in common.
        per_user, per_item: mean rows of a user and of an item.
        activity: spread of the logarithm of a user's activity, and of an item's popularity.
        rate: of the label.
        rho: the full model's correlation with the interest.
    """

    user: float = 0.1
    item: float = 0.05
    shared: float = 0.84
    per_user: float = 10.0
    per_item: float = 25.0
    activity: float = 1.0
    rate: float = 0.25
    rho: float = 0.55

    def area(self, rho: float) -> float:
        """Return the AUC in the population of a model with this correlation."""
        return _area(round(rho, 15), self.rate)

    def pruned_rho(self, drop: float) -> float:
        """Return the correlation of a model whose AUC is lower by exactly ``drop``."""
        wanted = self.area(self.rho) - drop
        found = optimize.brentq(lambda rho: self.area(rho) - wanted, 0.01, 0.95, xtol=1e-14)
        return float(found)

    def draw(
        self, draws: np.random.Generator, rows: int, pruned: Sequence[float], full: int = 1
    ) -> Drawn:
        """Return rows of users and items that no other draw has.

        Args:
            draws: the random stream.
            rows: how many.
            pruned: the pruned models' correlations.
            full: number of full models.
        """
        users = self._owners(draws, rows, self.per_user)
        items = self._owners(draws, rows, self.per_item)
        z = self._mixed(draws, users, items, INTEREST)

        def noise() -> NDArray[np.float32]:
            return self._mixed(draws, users, items, (self.user, self.item))

        common, alike = noise(), noise() if len(pruned) > 1 else np.float32(0)
        half = np.float32(np.sqrt(0.5))
        scores = []
        for number, rho in enumerate((*[self.rho] * full, *pruned)):
            own = noise()
            if number >= full and len(pruned) > 1:
                own = half * own + half * alike
            own *= np.float32(np.sqrt(1 - self.shared))
            own += np.float32(np.sqrt(self.shared)) * common
            own *= np.float32(np.sqrt(1 - rho**2))
            own += np.float32(rho) * z
            scores.append(np.rint(own * np.float32(1 / GRID)))
        label = z > special.ndtri(1 - self.rate)
        return Drawn(label, users, items, np.stack(scores[:full]), np.stack(scores[full:]))

    def _owners(self, draws: np.random.Generator, rows: int, each: float) -> NDArray[np.int64]:
        """Return each row's user (item), by activity."""
        weight = np.exp(self.activity * draws.standard_normal(max(2, round(rows / each))))
        ends = np.cumsum(weight)
        found: NDArray[np.int64] = np.searchsorted(ends, draws.random(rows) * ends[-1])
        return found

    def _mixed(
        self,
        draws: np.random.Generator,
        users: NDArray[np.int64],
        items: NDArray[np.int64],
        shares: tuple[float, float],
    ) -> NDArray[np.float32]:
        """Return standard normal values with these shares of their variance by user and item."""
        out = draws.standard_normal(len(users), np.float32)
        out *= np.float32(np.sqrt(1 - sum(shares)))
        for owner, share in zip((users, items), shares, strict=True):
            if share:
                effect = draws.standard_normal(int(owner.max()) + 1, np.float32)
                out += (np.float32(np.sqrt(share)) * effect)[owner]
        return out


@lru_cache(maxsize=10_000)
def _area(rho: float, rate: float) -> float:
    threshold = special.ndtri(1 - rate)
    edges = (np.arange(-round(EDGE / GRID), round(EDGE / GRID) + 2) - 0.5) * GRID
    chances = []
    for low, high in ((threshold, EDGE), (-EDGE, threshold)):
        node, weight = np.polynomial.legendre.leggauss(80)
        z = (high - low) / 2 * node + (high + low) / 2
        density = weight * np.exp(-z * z / 2)
        below = special.ndtr((edges - rho * z[:, None]) / np.sqrt(1 - rho * rho))
        chance = density @ np.diff(below, axis=1)
        chances.append(chance / chance.sum())
    one, zero = chances
    return float(one @ (np.cumsum(zero) - zero / 2))
