"""Who trains: one process here; several are in :mod:`recprune.models.parallel`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from recprune.encoding import Rows
from recprune.models.checkpoint import Checkpoint
from recprune.models.frequency import FrequencyPrior
from recprune.models.guard import Guard
from recprune.models.network import FieldNet
from recprune.models.objective import Objective
from recprune.models.parts import Shape
from recprune.models.step import Step, Updates

__all__ = ["Alone", "Score"]

#: The held-out score of the network as it is now; None = nothing is held out.
Score = Callable[[], float] | None


class Alone:
    """Training in this process.

    Those that train together answer the same questions otherwise.
    """

    #: Whether this process writes what comes of training.
    writes = True

    def check(self, run: Callable[[], Mapping[str, str]], objective: Objective) -> None:
        """Refuse what cannot be trained so; ``run`` says what the run is made of."""

    def part(self, n: int) -> slice:
        """Return this process's part of a batch of ``n`` rows."""
        return slice(0, n)

    def network(
        self, shape: Shape, parts: Sequence[str], dropout: float, generator: torch.Generator
    ) -> FieldNet:
        """Return a network before training."""
        return FieldNet(shape, parts, dropout, generator)

    def prior(
        self,
        net: FieldNet,
        rows: Rows,
        chances: tuple[float, int, bool],
        sizes: Sequence[int] | None = None,
    ) -> FrequencyPrior:
        """Return what follows from the values' frequency; see :class:`FrequencyPrior`."""
        return FrequencyPrior(net, rows, *chances, sizes)

    def step(self, net: FieldNet, prior: FrequencyPrior, guard: Guard, updates: Updates) -> Step:
        """Return what a batch does to the weights."""
        return Step(net, prior, guard, updates)

    def score(self, score: Score) -> Score:
        """Return the score that decides."""
        return score

    def checkpoint(self, path: Path, run: Mapping[str, str]) -> Checkpoint:
        """Return where training is kept."""
        return Checkpoint(path, run)
