"""The learning rate over the steps of training: warm-up, then decay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from recprune.errors import ParameterError

__all__ = ["Decay", "Schedule"]

Decay = Literal["none", "linear", "cosine"]


@dataclass(frozen=True)
class Schedule:
    """How the learning rate rises at first, and falls to 0 at the end of the last epoch allowed.

    Early stopping may end training before the rate has fallen: with a decay, ``epochs`` says how
    fast it falls, too.

    Args:
        warm_up: steps (an int) or share of all steps (a float below 1) in which the rate rises
            linearly from nearly 0 (Goyal et al. 2017, "Accurate, Large Minibatch SGD", section 2.2).
        decay: ``"none"``, ``"linear"``, or ``"cosine"`` (Loshchilov & Hutter 2017, "SGDR", eq. 5,
            one cycle).

    Raises:
        ParameterError: out of range, or no such decay.
    """

    warm_up: int | float = 0
    decay: Decay = "none"

    def __post_init__(self) -> None:
        number = isinstance(self.warm_up, int | float) and not isinstance(self.warm_up, bool)
        if (
            not number
            or not self.warm_up >= 0
            or (isinstance(self.warm_up, float) and self.warm_up >= 1)
        ):
            constraint = "steps (an int ≥ 0) or a share of them (a float in [0, 1))"
            raise ParameterError.of("warm_up", "Schedule", constraint, self.warm_up)
        if self.decay not in get_args(Decay):
            known = ", ".join(map(repr, get_args(Decay)))
            raise ParameterError.of("decay", "Schedule", f"one of {known}", self.decay)

    def factor(self, step: int, steps: int) -> float:
        """Return what the learning rate is multiplied by, in [0, 1].

        Args:
            step: steps taken so far.
            steps: steps of the whole training.

        >>> [Schedule(warm_up=2, decay="linear").factor(step, 6) for step in range(6)]
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
        """
        warm_up = self.warm_up if isinstance(self.warm_up, int) else round(self.warm_up * steps)
        if step < warm_up:
            return (step + 1) / warm_up
        if self.decay == "none":
            return 1.0
        way = (step - warm_up) / max(steps - warm_up, 1)
        return 1 - way if self.decay == "linear" else (1 + math.cos(math.pi * way)) / 2
