"""Rows of simulated users whose true difference between two models is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recprune.evaluation import Verdict, verdict
from recprune.metrics import auc


@dataclass(frozen=True)
class World:
    """Users differ in activity (log-normal), in willingness, and in what the pruned model misses.

    Args:
        missed: spread of the pruned model's own noise; the full model has noise of ``kept``.
        activity: spread of the logarithm of a user's share of the rows.
        tied: scores are rounded, so that most are tied.
    """

    missed: float = 0.35
    kept: float = 0.0
    activity: float = 1.0
    tied: bool = False

    def draw(self, rng: np.random.Generator, rows: int, users: int) -> dict[str, NDArray]:
        share = np.exp(self.activity * rng.normal(size=users))
        user = rng.choice(users, rows, p=share / share.sum())
        willing, taste, lost = rng.normal(size=(3, users))
        label = rng.random(rows) < 1 / (1 + np.exp(1.4 - willing[user]))
        signal = label + 0.5 * willing[user] + 0.3 * taste[user] + rng.normal(size=rows)
        full = signal + self.kept * rng.normal(size=rows)
        pruned = signal + self.missed * (
            rng.normal(size=rows) + 0.5 * lost[user] * (self.kept == 0)
        )
        if self.tied:
            full, pruned = np.round(4 * full) / 4, np.round(4 * pruned) / 4
        return {"label": label.astype(float), "full": full, "pruned": pruned, "users": user}

    def truth(self, rows_per_user: float) -> float:
        """Return the true difference, by very many users."""
        rows = 1_500_000
        world = self.draw(np.random.default_rng(0), rows, int(rows / rows_per_user))
        return auc(world["label"], world["pruned"]) - auc(world["label"], world["full"])


def judge(world: dict[str, NDArray], tolerance: float, draws: int = 400, seed: int = 0) -> Verdict:
    return verdict(
        world["label"],
        world["full"],
        world["pruned"],
        users=world["users"],
        tolerance=tolerance,
        draws=draws,
        seed=seed,
    )
