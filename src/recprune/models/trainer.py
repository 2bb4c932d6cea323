"""The training loop: blocks of encoded rows, rows touched only, early stopping on a metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune._support import logger, progress, stream
from recprune.encoding import Rows
from recprune.errors import ParameterError
from recprune.models.admission import Admission
from recprune.models.batches import Order, batches_of, shuffled
from recprune.models.checkpoint import identity
from recprune.models.course import Course
from recprune.models.device import device_of, uses_bf16
from recprune.models.frequency import GROUPS
from recprune.models.guard import Guard
from recprune.models.network import FieldNet
from recprune.models.objective import Objective
from recprune.models.step import Extra, Step, Updates, tensors
from recprune.models.taps import Tap
from recprune.models.together import Alone
from recprune.models.training import Epoch, Training

__all__ = ["predict_logits", "train"]

PREDICT_BLOCK = 8192
#: Steps between checkpoints within an epoch: minutes, where an epoch has so many.
CHECKPOINT_STEPS = 5000


def train(
    net: FieldNet,
    rows: Rows,
    objective: Objective,
    training: Training,
    *,
    score: Callable[[], float] | None = None,
    seed: int = 0,
    taps: Mapping[str, Tap] | None = None,
    extra: Extra | None = None,
    checkpoint: str | Path | None = None,
    watch: Callable[[Epoch], None] | None = None,
    groups: int = GROUPS,
    order: Order = shuffled,
    admission: Admission | None = None,
    after: Callable[[Step], None] | None = None,
    together: Alone | None = None,
) -> list[Epoch]:
    """Train ``net`` in place and leave it at its best epoch (the state before training counts).

    Args:
        net: updated in place.
        rows: encoded rows, n of them.
        objective: what is minimised.
        training: options.
        score: held-out score of ``net`` as it is now, in the training's metric; None = no early
            stopping.
        seed: of the row order, the unknown reads and dropout.
        taps: see :mod:`recprune.models.taps`.
        extra: called every step for an additional loss term and the optimiser of its parameters;
            see :data:`recprune.models.step.Extra`.
        checkpoint: file that is written after every epoch and every few thousand steps; None = none.
            Called again with the same arguments after whatever ended it, training goes on from there
            and ends in the same bytes (with as many threads). The file stays, holding the result,
            for whoever gave it to remove once that is safe.
        watch: called with every epoch's line of the history; what it raises ends training.
        groups: most frequency groups of a field whose rows share a part; see
            :mod:`recprune.models.frequency`.
        order: in which an epoch reads the rows; see :mod:`recprune.models.batches`.
        admission: which values have rows of the table, as training goes on; ``rows`` are then in the
            codes of all values. None = each has its own.
        after: called after every step, to change the weights further.
        together: who else trains, each with the same arguments; see :mod:`recprune.models.parallel`.
            None = this process alone.

    Raises:
        TrainingError: the loss is not finite, or has exploded; the rows are named.
        ParameterError: a checkpoint, and ``extra``, ``admission`` or ``after``, whose state it cannot
            hold; or one of these, and others who train along.
    """
    if checkpoint is not None and not (extra is None and admission is None and after is None):
        constraint = "None where there is an extra, an admission, or something after each step"
        raise ParameterError.of("checkpoint", "train", constraint, checkpoint)
    if together is not None and not (extra is None and admission is None and after is None):
        constraint = "None where there is an extra, an admission, or something after each step"
        raise ParameterError.of("together", "train", constraint, type(together).__name__)
    together = together or Alone()
    together.check(lambda: identity(net, rows, objective, training, seed), objective)
    score = together.score(score)
    batch, n = training.batch_of(len(rows)), len(rows)
    steps = math.ceil(n / batch)
    # Shared parts and means would undo exact zeros.
    zeros = training.penalty.sparse or training.keep_zeros
    groups = 0 if zeros else groups
    # What an extra and its taps bring along is on the processor.
    device = device_of("cpu" if extra else training.device)
    with _moved(net, device):
        chances = training.unknown_rate, groups, training.unseen_rare
        if admission is None:
            prior = together.prior(net, rows, chances)
        else:
            prior = together.prior(net, rows, chances, admission.sizes)
            prior.hold(*admission.held())
            objective = admission.reading(objective)
        guard = Guard(objective, steps, training.learning_rate)
        bf16 = uses_bf16(training.precision, device)
        rate, penalty = training.learning_rate, training.penalty
        updates = Updates(rate, penalty, steps, training.keep_zeros, bf16)
        step = together.step(net, prior, guard, updates)
        before = score() if score else None
        kept = None
        if checkpoint is not None:
            run = identity(net, rows, objective, training, seed)
            run = {**run, "held-out score": repr(before)}
            kept = together.checkpoint(Path(checkpoint), run)
        course = Course(net, step, guard, training, kept)
        if not course.resume():
            course.start(before)
            prior.unfold(net)
            step.hold_zeros()
        while not course.over:
            positions = order(n, stream(seed, "order", course.epoch + 1))
            if not course.done:
                course.begin(seed)
            text, left = f"epoch {course.epoch + 1}", steps - course.done
            for chosen, part in progress(
                batches_of(rows, positions, batch, course.done, together.part), text, left
            ):
                taken = course.epoch * steps + course.done
                step.rate(training.schedule.factor(taken, training.epochs * steps))
                course.count(step.take(part, chosen, course.draws, taps, extra), len(chosen))
                if admission is not None:
                    admission.after(step)
                if after is not None:
                    after(step)
                if course.done % CHECKPOINT_STEPS == 0 and course.done < steps:
                    course.save()
            latest = step.mean.swap_in()
            prior.fold(net)
            if zeros:
                _keep_zeros(net, latest)
            epoch = course.end(n, score() if score else None)
            step.mean.put(latest)
            course.save()
            logger.info("epoch %d: loss %.5f, held-out %s", epoch.epoch, epoch.loss, epoch.score)
            if watch is not None:
                watch(epoch)
        course.finish()
        return course.history


@contextmanager
def _moved(net: FieldNet, device: torch.device) -> Iterator[None]:
    """Compute on a device, and come back."""
    net.to(device)
    try:
        yield
    finally:
        net.to("cpu")


@torch.no_grad()
def predict_logits(
    net: FieldNet, rows: Rows, taps: Mapping[str, Tap] | None = None
) -> NDArray[np.float32]:
    """Return the logits of encoded rows, shape (n,) or (n, T), in blocks."""
    labels = net.bias.shape if len(net.bias) > 1 else ()
    out = np.empty((len(rows), *labels), np.float32)
    for at, block in rows.blocks(PREDICT_BLOCK):
        out[at] = net(*tensors(block, net.table.device), taps).cpu().numpy()
    return out


@torch.no_grad()
def _keep_zeros(net: FieldNet, latest: Sequence[Tensor]) -> None:
    """Set to zero what the last step has set to zero: a mean over steps is not."""
    for parameter, value in zip(net.parameters(), latest, strict=False):
        parameter.masked_fill_(value == 0, 0)
