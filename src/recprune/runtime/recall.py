"""How much of the exact answer two stages find."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.runtime.first_stage import FirstStage
from recprune.runtime.ranking import Ranking
from recprune.users import Users

__all__ = ["FirstStageRecall"]

Places = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class FirstStageRecall:
    """Recall of two stages, the mean over users; standard errors are NaN for a single user.

    Args:
        mean: share of the exact answer's k items that two stages return too.
        standard_error: of this mean.
        index_mean: share of the retriever's exact best candidates that its lists find.
        index_standard_error: of this mean.
        users: how many were asked; those with no item left to recommend are not counted.

    >>> print(FirstStageRecall.of([(0.8, 1.0), (1.0, 1.0)]))
    recall 0.900 ± 0.100 of the exact answer, 1.000 ± 0.000 of the retriever's best (2 users)
    """

    mean: float
    standard_error: float
    index_mean: float
    index_standard_error: float
    users: int

    @classmethod
    def of(cls, shares: Sequence[tuple[float, float]]) -> FirstStageRecall:
        """Return it from each user's two shares."""
        table, n = np.array(shares, float).reshape(-1, 2), len(shares)
        nan = np.full(2, np.nan)
        mean = table.mean(axis=0) if n else nan
        error = table.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else nan
        return cls(float(mean[0]), float(error[0]), float(mean[1]), float(error[1]), n)

    @classmethod
    def measured(
        cls, ranking: Ranking, first: FirstStage, users: Users, chosen: Iterable[int], k: int
    ) -> FirstStageRecall:
        """Return it for some stored users, seen items left out.

        Args:
            ranking: the exact answer.
            first: the first stage.
            users: the store.
            chosen: positions of users in it.
            k: how many items are recommended.
        """
        shares = []
        for index in chosen:
            choice = ranking.choice(k).also_without(ranking.seen(users, index))
            record, histories = users.record_at(index), ranking.stored(users, index)
            exact, _ = ranking.best(record, histories, choice)
            if not len(exact):
                continue
            own = first.record(users, index)
            two, _ = ranking.best(record, histories, first.narrowed(own, choice))
            best, found = (first.candidates(own, choice, exact=e) for e in (True, False))
            shares.append((_share(exact, two), _share(best, found)))
        return cls.of(shares)

    def __str__(self) -> str:
        return (
            f"recall {self.mean:.3f} ± {self.standard_error:.3f} of the exact answer, "
            f"{self.index_mean:.3f} ± {self.index_standard_error:.3f} of the retriever's best "
            f"({self.users:,} user{'s' * (self.users != 1)})"
        )


def _share(wanted: Places | None, found: Places | None) -> float:
    """Return which share of the wanted is found; None, all there are, is both."""
    return 1.0 if wanted is None or found is None else float(np.isin(wanted, found).mean())
