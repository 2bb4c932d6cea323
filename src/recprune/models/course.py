"""How far training is: what a checkpoint holds, and what the loop goes on from."""

from __future__ import annotations

import math
import time
from dataclasses import asdict

import torch
from torch import Tensor

from recprune._support import logger, stream
from recprune.models.checkpoint import Checkpoint
from recprune.models.guard import Guard
from recprune.models.network import FieldNet
from recprune.models.step import Step, under
from recprune.models.training import Epoch, Training

__all__ = ["Course"]


class Course:
    """Where training stands: epochs done, batches of the present one, the best state so far.

    Args:
        net: the network in training.
        step: what changes it.
        guard: what watches its losses.
        training: says which score is better, and when it is over.
        checkpoint: where the course is kept; None = nowhere.
    """

    def __init__(
        self,
        net: FieldNet,
        step: Step,
        guard: Guard,
        training: Training,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.net, self.step, self.guard, self.training = net, step, guard, training
        self.checkpoint, self.finished = checkpoint, False
        #: Whole epochs done, and epochs since the best.
        self.epoch, self.waited = 0, 0
        #: Of the present epoch: batches done, the sum of their rows' losses, seconds.
        self.done, self.losses, self.seconds = 0, 0.0, 0.0
        self.draws = torch.Generator()
        self.history: list[Epoch] = []
        self.best_score: float | None = None
        self.best: dict[str, Tensor] = {}
        self._clock = 0.0

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        training = self.training
        return self.finished or self.epoch >= training.epochs or self.waited >= training.patience

    def start(self, score: float | None) -> None:
        """Start with the weights as they are, which have this score (None = nothing is held out)."""
        self._keep(score)
        self.history = [] if score is None else [Epoch(0, math.nan, score)]

    def begin(self, seed: int) -> None:
        """Begin the next epoch."""
        self.losses, self.seconds, self._clock = 0.0, 0.0, time.perf_counter()
        self.draws.manual_seed(int(stream(seed, "draws", self.epoch + 1).integers(2**62)))

    def count(self, loss: float, rows: int) -> None:
        """Count a batch in.

        Raises:
            TrainingError: see :meth:`recprune.models.guard.Guard.check`.
        """
        self.guard.check(loss)
        self.done += 1
        self.losses += loss * rows
        now = time.perf_counter()
        self.seconds, self._clock = self.seconds + now - self._clock, now

    def end(self, rows: int, score: float | None) -> Epoch:
        """End the present epoch, keep its weights if they are the best, and return its line."""
        self.epoch, self.done = self.epoch + 1, 0
        speed = rows / self.seconds if self.seconds else 0.0
        rate = self.step.learning_rate
        epoch = Epoch(self.epoch, self.losses / rows, score, rate, self.seconds, speed)
        self.history.append(epoch)
        best = self.best_score
        if score is None or best is None or self.training.better(score, best):
            self._keep(score)
        else:
            self.waited += 1
        return epoch

    def finish(self) -> None:
        """Put the best weights into the network."""
        self.net.load_state_dict(self.best)
        self.finished = True
        self.save()

    def save(self) -> None:
        """Write the checkpoint, if there is one; of a finished training its result alone."""
        if self.checkpoint is None:
            return
        tensors = {f"best.{name}": tensor for name, tensor in self.best.items()}
        if not self.finished:
            tensors |= {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
            tensors |= {f"step.{name}": tensor for name, tensor in self.step.state().items()}
            tensors["draws"] = self.draws.get_state()
        names = ("finished", "epoch", "waited", "done", "losses", "seconds", "best_score")
        facts = {name: getattr(self, name) for name in names}
        history = [asdict(epoch) for epoch in self.history]
        self.checkpoint.write(tensors, {**facts, "history": history, "guard": self.guard.state()})

    def resume(self) -> bool:
        """Go on from the checkpoint; False if there is none of this run."""
        found = self.checkpoint.read() if self.checkpoint is not None else None
        if found is None:
            return False
        tensors, facts = found
        self.history = [Epoch(**epoch) for epoch in facts.pop("history")]
        self.guard.restore(facts.pop("guard"))
        for name, value in facts.items():
            setattr(self, name, value)
        self.best = under("best.", tensors)
        if self.finished:
            logger.warning("This training is done already: its checkpoint holds the result.")
            return True
        self.net.load_state_dict(under("net.", tensors))
        self.step.restore(under("step.", tensors))
        self.draws.set_state(tensors["draws"])
        self._clock = time.perf_counter()
        logger.warning(
            "Training goes on from its checkpoint: epoch %d, step %d.",
            self.epoch + 1,
            self.done + 1,
        )
        return True

    def _keep(self, score: float | None) -> None:
        self.best_score, self.waited = score, 0
        self.best = {name: tensor.clone() for name, tensor in self.net.state_dict().items()}
