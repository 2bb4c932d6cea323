"""Cuts that Optuna draws: all units at once, from the full model, instead of step by step."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recprune._support import progress, require, stream
from recprune.data import Dataset
from recprune.errors import PlanError
from recprune.executor import Executor
from recprune.importance import FieldRanking
from recprune.models import Ranker
from recprune.pipeline.budget import Sizes
from recprune.pipeline.clock import Clock
from recprune.pipeline.descent import SMALLER, Course
from recprune.pipeline.trial import Rough, Scale, Trial, front, scored
from recprune.pipeline.trial_store import Made, TrialStore
from recprune.pruning import FineTuning, cut, fine_tune
from recprune.pruning.planning import cuttable

__all__ = ["Space", "sampled"]

#: Cuts that are drawn, and then tried, at once: as many on one worker as on ten.
BATCH = 4
#: The smallest shares of rows and of neurons.
LEAST_ROWS, LEAST_NEURONS = 0.01, 0.02

Params = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Space:
    """What a drawn cut may keep of a model.

    Args:
        start: what is cut, its dims turned to principal axes.
        data: a split data set.
        ranking: of the fields: those that stay are its first, and the protected ones.
        protect: fields that stay.
        tuning: that every cut gets before it is scored on the tune rows.
        scale: what models are weighed by.
    """

    start: Ranker
    data: Dataset
    ranking: FieldRanking
    protect: Sequence[str]
    tuning: FineTuning
    scale: Scale

    def bounds(self) -> dict[str, tuple[float, float] | tuple[str, ...]]:
        """Return what is drawn: a range (logarithmic; of counts if both ends are ints), or choices."""
        start, names = self.start, self.start.encoder.schema.names
        dim = max((len(d) for d in start.net.shape.dims), default=0)
        fixed = len(set(self.protect) & set(names))
        found: dict[str, Any] = {"fields": (max(1, fixed), len(names)), "bits": tuple(Course.bits)}
        found |= {"rows": (LEAST_ROWS, 1.0)} if cuttable(start, "rows") else {}
        found |= {"dims": (1, dim)} if dim > 1 else {}
        found |= {f"neurons.{i}": (LEAST_NEURONS, 1.0) for i in range(len(start.neurons))}
        return {name: b for name, b in found.items() if name == "bits" or b[0] < b[1]}

    def cut(self, params: Params) -> Rough:
        """Return the cut that was drawn, before its fine-tuning.

        Raises:
            PlanError: nothing would be left of something.
        """
        start, keep = self.start, dict[str, Any]()
        if "fields" in params:
            own = set(start.encoder.schema.names)
            order = [*self.protect, *(f for f in self.ranking.fields if f not in self.protect)]
            keep["fields"] = tuple([f for f in order if f in own][: params["fields"]])
        keep |= {unit: params[unit] for unit in ("rows", "dims") if unit in params}
        widths = tuple(
            max(1, round(n * params.get(f"neurons.{i}", 1.0))) for i, n in enumerate(start.neurons)
        )
        if widths != start.neurons:
            keep["neurons"] = widths
        train, seed = self.data.train, start.seed
        model = cut(start, train, keep, scored_on=self.data.tune, seed=seed) if keep else start
        return Rough(_told(params), model, params["bits"])


@dataclass(frozen=True, eq=False)
class Draws:
    """How cuts are drawn and made.

    Args:
        trials: how many.
        seed: of the draws.
        store: keeps trials.
        executor: where they are made.
        clock: asked before every few cuts.
    """

    trials: int
    seed: int
    store: TrialStore
    executor: Executor
    clock: Clock


def sampled(
    space: Space, limit: Sizes, draws: Draws
) -> tuple[list[Trial], Iterator[tuple[Rough, Trial]]]:
    """Try cuts that a multi-objective tree-structured Parzen estimator draws (Ozaki et al. 2022).

    It wants a high AUC on the tune rows and few bytes, and a low latency where there is a profile,
    within the limit. The first cut keeps everything, in int8.

    Returns:
        All trials, and those of the front, by falling bytes, with their cuts: each has at most 0.6
        of the bytes of the one before, but all that keep the limit are there.

    Raises:
        MissingExtra: Optuna is not installed.
    """
    optuna = require("optuna", "search")
    timed = space.scale.profile is not None
    directions = ["maximize", "minimize", *(["minimize"] if timed else [])]
    told = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(directions=directions)
        found = _tried(space, limit, draws, study)
    finally:
        optuna.logging.set_verbosity(told)
    kept = [(params, trial) for params, trial in found if trial is not None]
    tried = [trial for _, trial in kept]
    return tried, _front(space, limit, kept)


def _front(
    space: Space, limit: Sizes, kept: Sequence[tuple[Params, Trial]]
) -> Iterator[tuple[Rough, Trial]]:
    last = math.inf
    for place in front([trial for _, trial in kept]):
        params, trial = kept[place]
        inside = limit != Sizes() and trial.sizes.within(limit)
        if inside or trial.sizes.bytes <= SMALLER * last:
            last = trial.sizes.bytes
            yield space.cut(params), trial


def _tried(
    space: Space, limit: Sizes, draws: Draws, study: Any
) -> list[tuple[Params, Trial | None]]:
    optuna, bounds = require("optuna", "search"), space.bounds()
    kinds = optuna.distributions
    distributions = {
        name: kinds.CategoricalDistribution(ends)
        if name == "bits"
        else kinds.IntDistribution(*ends, log=True)
        if isinstance(ends[0], int)
        else kinds.FloatDistribution(*ends, log=True)
        for name, ends in bounds.items()
    }
    whole = {name: ends[0] if name == "bits" else ends[1] for name, ends in bounds.items()}
    study.enqueue_trial(whole)
    found: list[tuple[Params, Trial | None]] = []

    batches = range(math.ceil(draws.trials / BATCH))
    for batch in progress(batches, "drawn cuts", len(batches)):
        if draws.clock.over():
            break
        seed = int(stream(draws.seed, "drawn cuts", batch).integers(2**31))
        study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        asked = [study.ask(distributions) for _ in range(min(BATCH, draws.trials - len(found)))]
        params = [dict(trial.params) for trial in asked]
        keys = [
            draws.store.key(space.start, space.tuning, "drawn", sorted(p.items()), space.scale)
            for p in params
        ]

        def make(places: list[int], params: list[Params] = params) -> list[Made]:  # type: ignore[assignment]
            parts = [params[place] for place in places]
            return draws.executor.map(_made, parts, shared=space, text="drawn cuts")

        for trial, drawn, came in zip(asked, params, draws.store.trials(keys, make), strict=True):
            found.append((drawn, came))
            if came is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            for size, ratio in zip(Sizes._fields, came.sizes.ratios(limit), strict=True):
                trial.set_constraint(size, ratio)
            values = [came.auc_tune, math.log(came.sizes.bytes)]
            if len(study.directions) > 2:
                values.append(math.log(max(came.sizes.latency_us, 1e-9)))
            study.tell(trial, values)
    return found


def _made(space: Space, params: Params, draws: np.random.Generator) -> Made:
    """Cut and fine-tune; None if nothing would be left of something."""
    start = time.perf_counter()
    try:
        rough = space.cut(params)
    except PlanError:
        return None, None
    rough = replace(rough, model=fine_tune(rough.model, space.tuning))
    trial, _ = scored(rough, space.data.tune, space.scale)
    return replace(trial, seconds=time.perf_counter() - start), None


def _told(params: Params) -> str:
    """Return a drawn cut in words.

    >>> _told({"fields": 3, "rows": 0.25, "bits": "int8"})
    'drawn: fields 3, rows 25%, int8'
    """
    words = [
        f"{name} {value:.0%}" if isinstance(value, float) else f"{name} {value}"
        for name, value in params.items()
        if name != "bits"
    ]
    return f"drawn: {', '.join([*words, params['bits']])}"
