"""The one trainer of all gates: they learn on held-out rows, of which no weight has seen a label."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune._support import stream
from recprune.data import Split
from recprune.encoding import Rows
from recprune.importance.base import Scores, Together
from recprune.importance.evidence import Evidence
from recprune.importance.gates.course import Course
from recprune.importance.gates.law import Law
from recprune.importance.gates.places import Place, places_of
from recprune.layout import Axis
from recprune.models import Ranker
from recprune.models.batches import batches_of, shuffled
from recprune.models.step import Outputs, tensors
from recprune.models.taps import Tap

__all__ = ["beside", "learn_gates"]

#: Fewest rows of a batch: a gate's gradient is a mean over them.
LEAST_BATCH = 128
#: The model is taken to explain at least this share of the label's entropy.
LEAST_EXPLAINED = 0.01


def learn_gates(
    model: Ranker, rows: Evidence, axes: Sequence[Axis], law: Law, course: Course, seed: int
) -> Mapping[str, Scores]:
    """Learn the gates of several axes at once, beside each other in one copy of the model.

    Args:
        model: fitted; it is not changed.
        rows: gates learn on held-out rows, weights (if at all) on training rows.
        axes: of any units.
        law: of the gates.
        course: how they learn.
        seed: of the batches, shuffles and draws.

    Returns:
        Axis name → scores. Where λ grows, a unit's score is how far its gate was open in the mean
        over the steps, where λ is constant how far it is open at the end: in both cases in [0, 1].
    """
    twin = model.with_state(model.state)
    places = places_of(model, twin.net, axes)
    if course.train_weights:
        weights, held = rows.apart(seed)
        batch = model.training.batch_of(len(weights))
        epochs = max(1, round(course.steps * batch / len(weights)))
        course = replace(course, steps=epochs * math.ceil(len(weights) / batch))
        pupil = Pupil(twin, held, places, law, course, seed)
        training = replace(model.training, epochs=epochs)
        twin.train_on(weights, training=training, taps=pupil.taps(False), extra=pupil.step)
    else:
        pupil = Pupil(twin, rows.held_out, places, law, course, seed)
        for parameter in twin.net.parameters():
            parameter.requires_grad_(False)
        for _ in range(course.steps):
            pupil.step(lambda given, taps: twin.net(*tensors(given), taps))
    return {name: Scores.exact(score) for name, score in pupil.scores().items()}


def beside(law: Callable[[], Law]) -> Together:
    """Return what learns the gates of several axes in one run, with the default options."""

    def together(
        model: Ranker, rows: Evidence, axes: Sequence[Axis], seed: int
    ) -> Mapping[str, Scores]:
        return learn_gates(model, rows, axes, law(), Course(), seed)

    return together


class Pupil:
    """Gates that learn, a batch a step.

    Args:
        model: the copy that they sit in.
        split: rows that they learn on.
        places: where they sit.
        law: how they open.
        course: how they learn.
        seed: of the batches and draws.
    """

    def __init__(
        self,
        model: Ranker,
        split: Split,
        places: Sequence[Place],
        law: Law,
        course: Course,
        seed: int,
    ) -> None:
        self.places, self.law, self.course = places, law, course
        self.objective = model.objective(split)
        self.draws = torch.Generator().manual_seed(int(stream(seed, "gates").integers(2**62)))
        self.theta = [law.start(place.units).requires_grad_() for place in places]
        self.learners = [law.learner(theta, course.steps) for theta in self.theta]
        #: How far each gate was open, summed over the steps.
        self.seen = [torch.zeros(place.units, dtype=torch.float64) for place in places]
        size = max(LEAST_BATCH, model.training.batch_of(len(split)))
        self.batches = _endless(split.rows, size, seed)
        self.explained = self._explained(model, split)
        self.taken = 0

    @property
    def done(self) -> float:
        """Share of the steps that are done."""
        return self.taken / self.course.steps

    def taps(self, learning: bool) -> dict[str, Tap]:
        """Return the taps that apply the gates; gradients reach them only if they are learning."""
        taps: dict[str, Tap] = {}
        for place, theta in zip(self.places, self.theta, strict=True):
            tap = self._tap(place, theta, learning)
            before = taps.get(place.tap)
            taps[place.tap] = tap if before is None else _one_after_the_other(before, tap)
        return taps

    def step(self, outputs: Outputs) -> None:
        """Take one step of the gates on a held-out batch; the weights are left as they are."""
        chosen, rows = next(self.batches)
        output = outputs(self.objective.rows(rows, chosen, self.draws), self.taps(True))
        loss = self.objective.loss(output, chosen)
        slopes = torch.autograd.grad(loss, self.theta, allow_unused=True)
        pressure = self.explained * self.course.at(self.done)
        each = zip(self.theta, slopes, self.learners, self.seen, strict=True)
        for theta, slope, learn, seen in each:
            given = torch.zeros_like(theta) if slope is None else slope
            learn(given, pressure / len(theta), self.done)
            seen += self.law.open(theta.detach(), self.done)
        self.taken += 1

    def scores(self) -> dict[str, NDArray[np.float64]]:
        """Return each axis's scores by its name; see :func:`learn_gates`."""
        out = {}
        for place, theta, seen in zip(self.places, self.theta, self.seen, strict=True):
            last = self.law.open(theta.detach(), self.done).double()
            score = seen / max(self.taken, 1) if self.course.anneal > 1 else last
            out.update({name: score[at].numpy() for name, at in place.at.items()})
        return out

    def _tap(self, place: Place, theta: Tensor, learning: bool) -> Tap:
        def tap(value: Tensor, index: Tensor | None) -> Tensor:
            given = theta if learning else theta.detach()
            gate = self.law.gate(place.spread(given, value, index), self.done, self.draws)
            closed = place.closed(value, self.law.shuffles, self.draws)
            return closed + gate * (value - closed)

        return tap

    def _explained(self, model: Ranker, split: Split) -> float:
        """Return how much smaller the model's loss is than that of its mean probability."""
        output = torch.from_numpy(model.outputs(split.rows))
        constant = torch.logit(torch.sigmoid(output.double()).mean(dim=0), eps=1e-6).float()
        every = torch.arange(len(output))
        guess = constant.expand_as(output)
        base, own = (float(self.objective.loss(o, every)) for o in (guess, output))
        return max(base - own, LEAST_EXPLAINED * base)


def _one_after_the_other(first: Tap, second: Tap) -> Tap:
    return lambda value, index: second(first(value, index), index)


def _endless(rows: Rows, size: int, seed: int) -> Iterator[tuple[Tensor, Rows]]:
    """Yield batches of about equal size, pass after pass."""
    n = len(rows)
    size = math.ceil(n / math.ceil(n / size))
    for turn in itertools.count():
        yield from batches_of(rows, shuffled(n, stream(seed, "gate rows", turn)), size)
