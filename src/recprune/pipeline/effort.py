"""The fine-tuning that a pruned model gets, and all that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.models import Ranker
from recprune.pruning import FineTuning, fine_tune, retrain

__all__ = ["Effort"]


@dataclass(frozen=True)
class Effort:
    """The fine-tuning that a pruned model got and its rivals get; see :func:`recprune.prune`.

    Args:
        rounds: times that it is fine-tuned.
        epochs: most epochs each time; 0 = none. From four on, two without a better score on the
            tune rows end it, below the first such does.
        distil: half the loss on the full model's logits.
        pace: learning rate by the full model's.
        anew: whether the model is trained from first weights too, with the full one's training, and
            the better of both on the tune rows is taken.

    Raises:
        ParameterError: a value out of range.
    """

    rounds: int = 1
    epochs: int = 2
    distil: bool = True
    pace: float = 1.0
    anew: bool = False

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("epochs", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ParameterError.of(name, "Effort", f"an int ≥ {least}", value)
        if not 0 < self.pace <= 1:
            raise ParameterError.of("pace", "Effort", "a float in (0, 1]", self.pace)

    def tuning(self, full: Ranker, data: Dataset) -> FineTuning:
        """Return what a model is fine-tuned on: the training rows, with ``full`` as the teacher."""
        training = replace(
            full.training,
            epochs=self.epochs,
            patience=1 if self.epochs < 4 else 2,
            learning_rate=self.pace * full.training.learning_rate,
        )
        taught = self.distil and self.epochs
        teacher = full.logits(full.aligned(data.train).rows) if taught else None
        return FineTuning(data.train, data.tune, teacher, training)

    def given_to(self, model: Ranker, tuning: FineTuning) -> Ranker:
        """Return the ranker fine-tuned; the one given is unchanged."""
        start = model
        for _ in range(self.rounds if self.epochs else 0):
            model = fine_tune(model, tuning)
        # Weights that were set to zero would come back.
        if not self.anew or tuning.training.keep_zeros:
            return model
        rival, valid = retrain(start, tuning), model.aligned(tuning.valid)
        better = tuning.training.better(rival.held_out(valid)(), model.held_out(valid)())
        return rival if better else model
