"""From a full model to ever smaller ones: each step cuts where what it saves costs least."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from recprune._support import logger
from recprune.data import Dataset
from recprune.errors import ParameterError, PlanError, nearest
from recprune.evaluation.delong import clustered_delong
from recprune.importance import rank_fields
from recprune.models import Ranker
from recprune.pipeline.budget import Sizes
from recprune.pipeline.trial import Rough, Scale, Trial, Tried, scored
from recprune.pipeline.trial_store import Made, TrialStore
from recprune.pruning import BITS, FineTuning, Wanted, cut, fine_tune, rotate
from recprune.pruning.planning import cuttable

__all__ = ["Course", "CutModel", "Descent", "ladder"]

Logits = NDArray[np.float32]
Move = Mapping[str, Wanted]
#: Logarithms of what is saved, or needed: of bytes, latency, weights.
Logs = tuple[float, float, float]

#: Share of the units that one step keeps.
ROWS, DIMS, NEURONS = 0.6, 0.7, 0.5
#: Fewest neurons of a layer.
LEAST_NEURONS = 2
#: A step has to save this share of what counts, or it is not worth a measurement.
WORTH = 0.003
#: Standard errors on top of a drop, up to its one-sided 95 % bound: what is measured best is also
#: what was luckiest, and a cut that moves many rows' order moves it on other rows, too.
DOUBT = 1.645
#: Permutation overstates what a field is worth where another tells the same after fine-tuning.
GUESS = 0.1
#: What a stop leaves of the one before.
SMALLER = 0.6


@dataclass(frozen=True, eq=False)
class CutModel(Tried):
    """A model on the way down.

    Args:
        trial: what was cut last, and what that came to.
        model: before it is encoded.
        measured: moves that were made and fine-tuned for it, the rejected ones too.
    """

    measured: int = 0


@dataclass(frozen=True)
class _Cost:
    """What a move is known, or guessed, to cost and to save.

    Args:
        drop: of AUC.
        saved: of bytes, latency and weights.
    """

    drop: float
    saved: Logs

    def price(self, needed: Logs, speed: float = 0.0) -> float:
        """Return the drop by what it buys; more than needed is void, but of speed where that counts."""
        bought = sum(min(got, most) for got, most in zip(self.saved, needed, strict=True))
        bought += speed * self.saved[1]
        return self.drop / bought if bought > 0 else math.inf


@dataclass(frozen=True)
class Course:
    """Where a descent leads, and what it may do.

    Args:
        stops: sizes that some step shall just keep, falling; it ends at the last. What the last
            does not limit does not count.
        bits: how models are stored, ever fewer; the first is given from the start.
        protect: fields that stay.
        speed: how much the logarithm of the latency counts, limited or not; 0 = not.
        seed: of all draws.

    Raises:
        ParameterError: stops that do not fall, or a word for bits that there is not.
    """

    stops: Sequence[Sizes]
    bits: Sequence[str] = ("int8", "int4_row")
    protect: Sequence[str] = ()
    speed: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        falls = all(b.within(a) and b != a for a, b in itertools.pairwise(self.stops))
        if not self.stops or not falls or min(self.stops[-1]) <= 0:
            raise ParameterError.of("stops", "Course", "falling sizes > 0", self.stops)
        for bits in self.bits:
            if bits not in BITS:
                raise ParameterError(f"There are no bits {bits!r}.{nearest(bits, BITS)}")

    @property
    def counts(self) -> tuple[bool, bool, bool]:
        """Whether bytes, latency and weights count."""
        size, latency, params = (math.isfinite(each) for each in self.stops[-1])
        return size, latency or self.speed > 0, params


def ladder(start: Sizes, limit: Sizes) -> list[Sizes]:
    """Return stops on the way to a limit: the size that has farthest to go shrinks to 0.6 each time.

    >>> [round(stop.bytes) for stop in ladder(Sizes(1000, 5, 300), Sizes(bytes=300))]
    [669, 448, 300]
    """
    n = max(1, math.ceil(max(start.ratios(limit)) / -math.log(SMALLER)))

    def at(number: int) -> Sizes:
        left = 1 - number / n
        return Sizes(
            *(
                most * max(now / most, 1.0) ** left if left and math.isfinite(most) else most
                for now, most in zip(start, limit, strict=True)
            )
        )

    return [at(number) for number in range(1, n + 1)]


@dataclass(frozen=True)
class Descent:
    """Steps from the reference down to the last stop, each the cheapest that is known.

    A step cuts some rows, dims or neurons, or a field, or takes fewer bits. Its price is the drop of
    the tune rows' AUC after a short fine-tuning, at the upper end of its one-sided 95 % interval, by
    the logarithms of what it saves of bytes, latency and weights, of which no more counts than the
    next stop asks for. Costs are estimated before they are measured: those of fields by permutation,
    the others by their last measurement. The move that looks cheapest is measured, and taken if no
    other looks cheaper still: the lazy greedy of Minoux 1978, since a cut costs more the smaller the
    model has become.

    Args:
        reference: the full model.
        data: a split data set; tune rows decide.
        tuning: of every move that is measured.
        course: where to.
        scale: what models are weighed by; one with a profile if latency counts.
        store: keeps what was measured.

    Raises:
        ParameterError: latency counts, and there is no profile.
    """

    reference: Ranker
    data: Dataset
    tuning: FineTuning
    course: Course
    scale: Scale = field(default_factory=Scale)
    store: TrialStore = field(default_factory=TrialStore)

    #: Everything that was measured, in order.
    tried: list[Trial] = field(default_factory=list, init=False)
    _costs: dict[str, _Cost] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.course.counts[1] and self.scale.profile is None:
            raise ParameterError.of("scale", "Descent", "one with a host's profile", self.scale)

    def __iter__(self) -> Iterator[CutModel]:
        step: CutModel | None = self._first()
        while step is not None:
            yield step
            if step.trial.sizes.within(self.course.stops[-1]):
                return
            step = self._cheapest(step)

    def _first(self) -> CutModel:
        start, model = time.perf_counter(), rotate(self.reference, self.data.train)
        trial = self._scored(Rough("encoded", model, self.course.bits[0]))
        trial = replace(trial, seconds=time.perf_counter() - start)
        self.tried.append(trial)
        return CutModel(trial, model)

    def _cheapest(self, here: CutModel) -> CutModel | None:
        """Return the cheapest move, made; None if nothing can be cut any more."""
        stop = next(stop for stop in self.course.stops if not here.trial.sizes.within(stop))
        missing = here.trial.sizes.ratios(stop)
        needed: Logs = tuple(max(0.0, each) for each in missing)  # type: ignore[assignment]
        price = partial(self._price, needed=needed)
        moves = self._moves(here)
        before: Callable[[], Logits] = cache(
            lambda: scored(Rough("", here.model, here.bits), self.data.tune, self.scale)[1]
        )
        said = (self.course.bits, self.course.counts, self.course.seed, self.scale)
        best: tuple[str, str, Move, Trial] | None = None
        price_of_best, measured = math.inf, 0
        while moves:
            label = min(moves, key=price)
            if price_of_best <= price(label):
                break
            keep = moves.pop(label)
            key = self.store.key(here.model, self.tuning, label, keep, here.bits, *said)
            trial = self.store.trial(key, partial(self._made, here, label, keep, before))
            if trial is None:
                continue
            measured += 1
            self.tried.append(trial)
            cost = max(trial.drop, 0.0) + DOUBT * trial.error
            self._costs[label] = _Cost(cost, here.trial.sizes.ratios(trial.sizes))
            told = (label, trial.drop, trial.error, price(label))
            logger.debug("%s: %+.4f ± %.4f, price %.4f", *told)
            if price(label) >= price_of_best:
                self.store.forget(key)
                continue
            if best is not None:
                self.store.forget(best[0])
            best, price_of_best = (key, label, keep, trial), price(label)
        if best is None:
            return None
        key, label, keep, trial = best
        return CutModel(trial, self._model(here, label, keep, key), measured)

    def _price(self, label: str, needed: Logs) -> float:
        return self._costs[label].price(needed, self.course.speed)

    def _model(self, here: CutModel, label: str, keep: Move, key: str) -> Ranker:
        """Return the model of a trial: cut again, with the weights that its fine-tuning gave."""
        if label == "bits":
            return here.model
        model, state = self._cut(here, keep), self.store.state(key)
        return fine_tune(model, self.tuning) if state is None else model.with_state(state)

    def _cut(self, here: CutModel, keep: Move) -> Ranker:
        train = self.data.train
        model = rotate(here.model, train) if "dims" in keep else here.model
        return cut(model, train, keep, scored_on=self.data.tune, seed=self.course.seed)

    def _made(self, here: CutModel, label: str, keep: Move, before: Callable[[], Logits]) -> Made:
        """Cut and fine-tune; None if it cannot be cut, or saves next to nothing."""
        start, model, bits = time.perf_counter(), here.model, here.bits
        if label == "bits":
            label = bits = self.course.bits[self.course.bits.index(bits) + 1]
        else:
            try:
                model = self._cut(here, keep)
            except PlanError:
                return None, None
        saved = here.trial.sizes.ratios(self.scale.sizes(model, bits))
        if not any(c and s > WORTH for c, s in zip(self.course.counts, saved, strict=True)):
            return None, None
        if model is not here.model:
            model = fine_tune(model, self.tuning)
        trial = self._scored(Rough(label, model, bits), before())
        trial = replace(trial, seconds=time.perf_counter() - start)
        return trial, None if model is here.model else model.state

    def _scored(self, rough: Rough, before: Logits | None = None) -> Trial:
        tune = self.data.tune
        trial, logits = scored(rough, tune, self.scale)
        if before is None:
            return trial
        gain, error = clustered_delong(tune.label, before, logits, tune.users, tune.extras.weight)
        # Of a class that lies in a single cluster nothing is known of the spread.
        return replace(trial, drop=-gain, error=error if math.isfinite(error) else 0.0)

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
        if here.bits != self.course.bits[-1] and self.course.counts[0]:
            moves["bits"] = {}
        for label in moves:
            self._costs.setdefault(label, _Cost(0.0, (1.0, 1.0, 1.0)))
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
            smaller = -math.log(max(1 - share, WORTH))
            self._costs[_without(name)] = _Cost(drop, (smaller, 1 / len(ranking.fields), smaller))


def _without(name: str) -> str:
    return f"without {name}"
