"""How long gates learn, and how hard they are pressed to close."""

from __future__ import annotations

import math
from dataclasses import dataclass

from recprune.errors import ParameterError

__all__ = ["Course"]


@dataclass(frozen=True)
class Course:
    """The options that all laws of gates share.

    Args:
        strength: λ of the penalty λ · mean over units of how open they are, at the end; in units of
            what the model explains (the loss of its mean probability minus its own, on the rows that
            gates learn on), so that one value serves rare and common labels, few and many units.
        anneal: how many times larger λ is at the end than at the start, growing geometrically, so
            that units close in the order of their worth; 1 = λ is constant.
        steps: gate steps, a batch each; 300 are one pass over 40,000 held-out rows or more, and
            several passes over fewer.
        train_weights: whether the weights of the copy train along, on the training rows (a
            first-order bilevel problem); otherwise they stay as they were fitted.

    Raises:
        ParameterError: an option out of range.
    """

    strength: float = 10.0
    anneal: float = 300.0
    steps: int = 300
    train_weights: bool = False

    def __post_init__(self) -> None:
        whole = isinstance(self.steps, int) and not isinstance(self.steps, bool)
        checks = {
            "strength": (0 <= self.strength < float("inf"), "a float ≥ 0"),
            "anneal": (1 <= self.anneal < float("inf"), "a float ≥ 1"),
            "steps": (whole and self.steps >= 1, "an int ≥ 1"),
            "train_weights": (isinstance(self.train_weights, bool), "True or False"),
        }
        for name, (good, constraint) in checks.items():
            if not good:
                raise ParameterError.of(name, "a learned gate", constraint, getattr(self, name))

    def at(self, done: float) -> float:
        """Return λ when this share of the steps is done, in units of what the model explains.

        >>> round(Course(strength=4.0, anneal=16.0).at(0.5), 6)
        1.0
        """
        return self.strength * math.pow(self.anneal, done - 1)
