"""From a full model to ever smaller ones: each step cuts where a byte costs least."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recprune._support import logger
from recprune.data import Dataset
from recprune.errors import ParameterError, PlanError, nearest
from recprune.evaluation.delong import clustered_delong
from recprune.importance import rank_fields
from recprune.metrics import auc
from recprune.models import Ranker
from recprune.pruning import (
    BITS,
    FineTuning,
    Wanted,
    cut,
    encode,
    encoded_size,
    fine_tune,
    rotate,
)
from recprune.pruning.planning import cuttable

__all__ = ["Course", "CutModel", "Descent"]

Logits = NDArray[np.float32]
Move = Mapping[str, Wanted]

#: Share of the units that one step keeps.
ROWS, DIMS, NEURONS = 0.6, 0.7, 0.5
#: Fewest neurons of a layer.
LEAST_NEURONS = 2
#: A step has to save this share of the bytes, or it is not worth a measurement.
WORTH = 0.003
#: Standard errors on top of a drop, up to its one-sided 95 % bound: what is measured best is also
#: what was luckiest, and a cut that moves many rows' order moves it on other rows, too.
DOUBT = 1.645
#: Permutation overstates what a field is worth where another tells the same after fine-tuning.
GUESS = 0.1


@dataclass(frozen=True, eq=False)
class CutModel:
    """A model on the way down.

    Args:
        label: what was cut last, in words.
        model: before it is encoded.
        bits: how it is stored (:data:`recprune.pruning.BITS`).
        bytes: as stored.
        score: AUC of the tune rows, as stored.
        drop: of the tune rows' AUC by this step, after its short fine-tuning.
        error: its standard error.
        measured: cuts that were made and fine-tuned for it, the rejected ones too.
        seconds: that it took.
    """

    label: str
    model: Ranker
    bits: str
    bytes: int
    score: float
    drop: float = 0.0
    error: float = 0.0
    measured: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Cost:
    """What a move is known, or guessed, to cost and to save.

    Args:
        drop: of AUC.
        saved: logarithm of the bytes' ratio.
        faster: that of the multiplications', as far as they count.
    """

    drop: float
    saved: float
    faster: float = 0.0

    def price(self, needed: float) -> float:
        """Return the drop by what it buys; of the bytes, more than needed is void."""
        return self.drop / (min(self.saved, needed) + self.faster)


@dataclass(frozen=True)
class Course:
    """Where a descent leads, and what it may do.

    Args:
        stops: bytes that some step shall just keep, falling; it ends at the last.
        bits: how models are stored, ever fewer; the first is given from the start.
        protect: fields that stay.
        speed: how much the logarithm of multiplications counts beside that of bytes; 0 = not.
        seed: of all draws.

    Raises:
        ParameterError: stops that do not fall, or a word for bits that there is not.
    """

    stops: Sequence[int]
    bits: Sequence[str] = ("int8", "int4_row")
    protect: Sequence[str] = ()
    speed: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        falls = all(b < a for a, b in itertools.pairwise(self.stops))
        if not self.stops or not falls or self.stops[-1] < 1:
            raise ParameterError.of("stops", "Course", "falling bytes ≥ 1", self.stops)
        for bits in self.bits:
            if bits not in BITS:
                raise ParameterError(f"There are no bits {bits!r}.{nearest(bits, BITS)}")


class Descent:
    """Steps from the reference down to the last stop, each the cheapest that is known.

    A step cuts some rows, dims or neurons, or a field, or takes fewer bits. Its price is the drop of
    the tune rows' AUC after a short fine-tuning, at the upper end of its one-sided 95 % interval, by
    the logarithm of the bytes' ratio, of which no more counts than the next stop asks for, and, if
    speed counts, that of the multiplications. Costs are estimated before they are measured: those of
    fields by permutation, the others by their last measurement. The move that looks cheapest is
    measured, and taken if no other looks cheaper still: the lazy greedy of Minoux 1978, since a cut
    costs more the smaller the model has become.

    Args:
        reference: the full model.
        data: a split data set; tune rows decide.
        tuning: of every move that is measured.
        course: where to.
    """

    def __init__(
        self, reference: Ranker, data: Dataset, tuning: FineTuning, course: Course
    ) -> None:
        self.reference, self.data, self.tuning, self.course = reference, data, tuning, course
        self._costs: dict[str, _Cost] = {}

    def __iter__(self) -> Iterator[CutModel]:
        start = time.perf_counter()
        step: CutModel | None = self._step(
            "encoded", rotate(self.reference, self.data.train), self.course.bits[0]
        )
        while step is not None:
            yield replace(step, seconds=time.perf_counter() - start)
            if step.bytes <= self.course.stops[-1]:
                return
            start = time.perf_counter()
            step = self._cheapest(step)

    def _cheapest(self, here: CutModel) -> CutModel | None:
        """Return the cheapest move, made; None if nothing can be cut any more."""
        stop = next(stop for stop in self.course.stops if stop < here.bytes)
        needed, moves, before = math.log(here.bytes / stop), self._moves(here), self._logits(here)
        best, price_of_best, measured = None, math.inf, 0
        while moves:
            label = min(moves, key=lambda name: self._costs[name].price(needed))
            if price_of_best <= self._costs[label].price(needed):
                break
            made = self._made(here, label, moves.pop(label), before)
            if made is None:
                continue
            measured += 1
            cost = max(made.drop, 0.0) + DOUBT * made.error
            faster = math.log(_multiplications(here.model) / _multiplications(made.model))
            self._costs[label] = _Cost(
                cost, math.log(here.bytes / made.bytes), self.course.speed * faster
            )
            price = self._costs[label].price(needed)
            logger.debug("%s: %+.4f ± %.4f, price %.4f", label, made.drop, made.error, price)
            if price < price_of_best:
                best, price_of_best = made, price
        return None if best is None else replace(best, measured=measured)

    def _made(self, here: CutModel, label: str, keep: Move, before: Logits) -> CutModel | None:
        """Cut and fine-tune; None if it cannot be cut, or saves next to nothing."""
        model, bits = here.model, here.bits
        if label == "bits":
            label = bits = self.course.bits[self.course.bits.index(bits) + 1]
        else:
            rotated = rotate(model, self.data.train) if "dims" in keep else model
            try:
                model = cut(
                    rotated, self.data.train, keep, scored_on=self.data.tune, seed=self.course.seed
                )
            except PlanError:
                return None
        if encoded_size(model, *BITS[bits]) > here.bytes * (1 - WORTH):
            return None
        if model is not here.model:
            model = fine_tune(model, self.tuning)
        return self._step(label, model, bits, before)

    def _step(self, label: str, model: Ranker, bits: str, before: Logits | None = None) -> CutModel:
        tune, size = self.data.tune, encoded_size(model, *BITS[bits])
        weight, step = tune.extras.weight, CutModel(label, model, bits, size, 0.0)
        logits = self._logits(step)
        step = replace(step, score=auc(tune.label, logits, weight))
        if before is None:
            return step
        gain, error = clustered_delong(tune.label, before, logits, tune.users, weight)
        # Of a class that lies in a single cluster nothing is known of the spread.
        return replace(step, drop=-gain, error=error if math.isfinite(error) else 0.0)

    def _logits(self, step: CutModel) -> Logits:
        """Return what the model, as stored, says of the tune rows."""
        stored = encode(step.model, *BITS[step.bits])
        return stored.logits(stored.aligned(self.data.tune).rows)

    def _moves(self, here: CutModel) -> dict[str, Move]:
        """Return the cuts that are possible, by name; each has a cost, known or guessed."""
        model, names = here.model, here.model.encoder.schema.names
        moves: dict[str, Move] = {}
        if cuttable(model, "rows"):
            moves["rows"] = {"rows": ROWS}
        dim = max((len(d) for d in model.net.shape.dims), default=0)
        if dim > 1:
            moves["dims"] = {"dims": max(1, int(dim * DIMS))}
        if any(n > LEAST_NEURONS for n in model.neurons):
            kept = tuple(max(min(n, LEAST_NEURONS), round(n * NEURONS)) for n in model.neurons)
            moves["neurons"] = {"neurons": kept}
        if here.bits != self.course.bits[-1]:
            moves["bits"] = {}
        for label in moves:
            self._costs.setdefault(label, _Cost(0.0, 1.0))
        for name in names if len(names) > 1 else ():
            if name not in self.course.protect:
                moves[_without(name)] = {"fields": tuple(n for n in names if n != name)}
        if any(label not in self._costs for label in moves):
            self._guess_fields(here)
        return moves

    def _guess_fields(self, here: CutModel) -> None:
        """Guess what each field costs, by permutation, and saves, by the length of its table."""
        ranking = rank_fields(here.model, self.data.tune, seed=self.course.seed)
        shape = here.model.layout.shapes
        total = sum(math.prod(s) for s in shape.values())
        for name, score, spread in zip(ranking.fields, ranking.scores, ranking.std, strict=True):
            share = math.prod(shape[f"table.{name}"]) / total
            drop = GUESS * (max(float(score), 0.0) + float(spread))
            saved = -math.log(max(1 - share, WORTH))
            faster = self.course.speed / len(ranking.fields)
            self._costs[_without(name)] = _Cost(drop, saved, faster)


def _multiplications(model: Ranker) -> int:
    """Return how many a row takes, about: every weight of a layer, and every column of a table, once."""
    shapes = model.layout.shapes.items()
    return sum(
        shape[1] if name.startswith("table.") else math.prod(shape) for name, shape in shapes
    )


def _without(name: str) -> str:
    return f"without {name}"
