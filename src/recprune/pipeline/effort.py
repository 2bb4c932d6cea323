"""The fine-tuning that a pruned model gets, and all that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.models import Ranker
from recprune.pruning import FineTuning, fine_tune

__all__ = ["Effort"]


@dataclass(frozen=True)
class Effort:
    """The fine-tuning that a pruned model got and its rivals get; see :func:`recprune.prune`.

    Args:
        rounds: times that it is fine-tuned.
        epochs: most epochs each time; 0 = none.
        distil: half the loss on the full model's logits.

    Raises:
        ParameterError: a value out of range.
    """

    rounds: int = 1
    epochs: int = 2
    distil: bool = True

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("epochs", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ParameterError.of(name, "Effort", f"an int ≥ {least}", value)

    def tuning(self, full: Ranker, data: Dataset) -> FineTuning:
        """Return what a model is fine-tuned on: the training rows, with ``full`` as the teacher."""
        training = replace(full.training, epochs=self.epochs, patience=1)
        taught = self.distil and self.epochs
        teacher = full.logits(full.aligned(data.train).rows) if taught else None
        return FineTuning(data.train, data.tune, teacher, training)

    def given_to(self, model: Ranker, tuning: FineTuning) -> Ranker:
        """Return the ranker fine-tuned; the one given is unchanged."""
        for _ in range(self.rounds if self.epochs else 0):
            model = fine_tune(model, tuning)
        return model
