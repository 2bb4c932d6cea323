"""The search for a small model: it tries, judges on gate rows, and chooses what keeps the budget."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from recprune._support import logger
from recprune.data import Dataset, Split
from recprune.errors import ParameterError
from recprune.evaluation import choose_fields, judge_rows, slice_groups
from recprune.executor import Executor
from recprune.importance import rank_fields
from recprune.metrics import auc
from recprune.models import Ranker
from recprune.pipeline.asked_fields import asked_fields
from recprune.pipeline.attributes import chosen_attributes
from recprune.pipeline.budget import Sizes
from recprune.pipeline.clock import Clock
from recprune.pipeline.config import RunConfig
from recprune.pipeline.descent import Course, Descent, ladder
from recprune.pipeline.effort import Effort
from recprune.pipeline.jumps import jumps
from recprune.pipeline.procedures import one_worker_on_disk
from recprune.pipeline.sampled import Draws, Space, sampled
from recprune.pipeline.search_result import Search
from recprune.pipeline.trial import Candidate, Rough, Scale, Trial, scored
from recprune.pipeline.trial_store import Made, TrialStore
from recprune.pruning import BITS, FineTuning, cut, encode, rotate
from recprune.report.wording import listed

__all__ = ["Means", "find_small", "fit_reference"]

#: Without limits the descent ends at this share of the full model's bytes.
SMALLEST = 1 / 250
#: What latency counts beside bytes there: fixed costs of an answer hide half of what layers save.
SPEED = 2.0
#: Times that the full model is fine-tuned.
MOST_ROUNDS = 5
#: Largest drop of AUC that fields may cost before the way down to a limit.
FIELDS_DROP = 0.002
#: Models within the limits that are finished: the best on tune rows after a short fine-tuning.
FINISHED = 3


@dataclass(frozen=True)
class Means:
    """With what a search works.

    Args:
        effort: the fine-tuning of the full model and of every model that might ship; None = by the
            configuration.
        scale: what models are weighed by.
        store: keeps trials.
        executor: where models are finished; the result is the same for any number of workers.
    """

    effort: Effort | None = None
    scale: Scale = field(default_factory=Scale)
    store: TrialStore = field(default_factory=TrialStore)
    executor: Executor = field(default_factory=Executor)


def find_small(
    full: Ranker, data: Dataset, config: RunConfig, means: Means | None = None
) -> Search:
    """Choose fields, go down where it costs least, and choose the model that keeps the budget.

    Fields that do not matter go first, together. From what is left a
    :class:`recprune.pipeline.descent.Descent` cuts fields, rows, dims, neurons and bits by turns;
    from all fields, where the gate rows do not bear that choice out, unless it was asked for.

    *Without limits of size* it goes on until a candidate does not pass on the gate rows, and the one
    before is chosen: a fixed sequence of nested models needs no further correction (design of the
    verdict). *With limits* it goes down to them; the model that it finds there, and those that one
    unit alone brings there (:mod:`recprune.pipeline.jumps`), are compared on the tune rows, the best
    are finished and judged, and of those that pass the best on tune rows is chosen. Where none does,
    larger models are judged, the smallest first, to tell what could be had.

    Every candidate is fine-tuned as the full model is, and compared to it.
    """
    start, means = time.perf_counter(), means or Means()
    _check(full, data, config, means)
    work = _Work(full, data, config, means)
    chosen, met = work.limited() if work.limit != Sizes() else work.unlimited()
    profile = means.scale.profile
    return Search(
        budget=work.budget,
        trials=tuple(work.tried),
        candidates=tuple(work.candidates),
        chosen=chosen,
        met=met,
        ranking=work.ranking,
        tuning=work.tuning,
        seconds=time.perf_counter() - start + means.store.seconds_before,
        profile=profile.to_json() if profile is not None else None,
        cut_short=work.clock.cut_short,
    )


def _check(full: Ranker, data: Dataset, config: RunConfig, means: Means) -> None:
    """Refuse what cannot be searched."""
    one_worker_on_disk(means.executor, data, "search")
    if len(full.labels) > 1:
        constraint = "a ranker of one label; cut others to shares with keep"
        raise ParameterError.of("full", "search", constraint, ", ".join(full.labels))
    lacking = [name for name in full.encoder.schema.names if name not in data.schema.names]
    if lacking:
        constraint = f"the table of the model's fields; it lacks {listed(lacking)}"
        raise ParameterError.of("data", "search", constraint, data.name)
    if config.limits.latency_us is not None and means.scale.profile is None:
        constraint = "one with a host's profile, where latency is limited"
        raise ParameterError.of("scale", "search", constraint, means.scale)


def fit_reference(
    full: Ranker, data: Dataset, config: RunConfig, means: Means | None = None
) -> tuple[Ranker, FineTuning]:
    """Give the full model the effort that pruned ones get: fine-tuning with distillation.

    Those get it at every cut; it is repeated until it brings nothing more on the tune rows.

    Returns:
        The best of these full models, and the fine-tuning that all get.
    """
    means = means or Means()
    effort = means.effort or Effort(epochs=config.tuning_epochs)
    tuning, store = effort.tuning(full, data), means.store

    def again(model: Ranker) -> Ranker:
        key = store.key(model, tuning, "full", effort, means.scale)
        rough = Rough("full", model, "fp32")
        store.trial(key, lambda: _make(_Tuned(effort, tuning, means.scale), rough))
        state = store.state(key)
        return effort.given_to(model, tuning) if state is None else model.with_state(state)

    score, tuned = full.held_out(full.aligned(data.tune)), again(full)
    for _ in range(MOST_ROUNDS - 1):
        better = tuned.held_out(tuned.aligned(data.tune))
        if not tuning.training.better(better(), score()):
            break
        score, tuned = better, again(tuned)
    return tuned, tuning


@dataclass(frozen=True, eq=False)
class _Tuned:
    """How a model is fine-tuned and weighed."""

    effort: Effort
    tuning: FineTuning
    scale: Scale


def _make(tuned: _Tuned, rough: Rough, draws: np.random.Generator | None = None) -> Made:
    """Fine-tune a model, store it in its bits, and score its tune rows."""
    start = time.perf_counter()
    model = tuned.effort.given_to(rough.model, tuned.tuning)
    trial, _ = scored(replace(rough, model=model), tuned.tuning.valid, tuned.scale)
    stored = encode(model, *BITS[rough.bits])
    return replace(trial, seconds=time.perf_counter() - start), stored.state


class _Work:
    """A search under way: what was tried, and what the gate rows said so far."""

    def __init__(self, full: Ranker, data: Dataset, config: RunConfig, means: Means) -> None:
        self.data, self.config, self.means = data, config, means
        self.budget = config.limits
        self.limit = self.budget.limit
        self.clock = Clock(config.search_seconds)
        self.effort = means.effort or Effort(epochs=config.tuning_epochs)
        self.reference, self.tuning = fit_reference(full, data, config, means)
        # At the full model's pace, whatever that of the effort is.
        self.short = replace(self.tuning, training=replace(full.training, patience=1)).short()
        groups = None if config.groups == "none" else config.groups
        self.ranking = rank_fields(
            self.reference, data.tune, config.importance, config.seed, groups, means.executor
        )
        self.reference_logits = _logits(self.reference, data.gate)
        self.groups = slice_groups(data.gate, data.train, chosen_attributes(data))
        trial = scored(Rough("full", self.reference, "fp32"), data.tune, means.scale)[0]
        self.tried = [trial]
        reached = auc(data.gate.label, self.reference_logits)
        self.candidates = [Candidate(trial, self.reference, reached)]

    def unlimited(self) -> tuple[int, bool]:
        """Go down until a candidate does not pass; return the place of the last that does."""
        start = self._fields(self.config.tolerance)
        whole = self.tried[0].sizes
        if start is None:  # what was asked for is what comes out, whatever the verdict
            return 1, False
        least = Sizes(bytes=max(1, int(whole.bytes * SMALLEST)))
        for rough, _ in self._down(start, least, speed=SPEED):
            if not self._judged(*self._finish([rough])[0]).passed:
                break
        passed = [place for place, each in enumerate(self.candidates) if each.passed]
        return passed[-1], True

    def limited(self) -> tuple[int, bool]:
        """Go down to the limits; return the place of what keeps them, or of the nearest."""
        # What may be lost is not for fields alone.
        start = self._fields(min(self.config.tolerance, FIELDS_DROP))
        if start is None:
            start = self.candidates[-1].model
        path = list(self._down(start, self.limit, speed=0.0))
        inside = [each for each in path if each[1].sizes.within(self.limit)]
        inside += self._jumped(start)
        inside.sort(key=lambda each: -each[1].auc_tune)
        for model, trial in self._finish([rough for rough, _ in inside[:FINISHED]]):
            self._judged(model, trial)
        if kept := self._passing(self.limit):
            return max(kept, key=lambda place: self.candidates[place].auc_tune), True
        for rough, trial in reversed(path):
            if trial.sizes.within(self.limit):
                continue
            if self._judged(*self._finish([rough])[0]).passed:
                break
        # The full model keeps its own promise, where it is small enough and may be taken.
        if not self.asked and self.tried[0].sizes.within(self.limit):
            return 0, True
        # Fields that are to go are not offered either.
        passed = self._passing(Sizes()) or [min(int(self.asked), len(self.candidates) - 1)]
        return min(passed, key=lambda place: self.budget.excess(self._sizes(place))), False

    def _passing(self, limit: Sizes) -> list[int]:
        """Return the places of the cut models that gate rows let pass, within a limit."""
        return [
            place
            for place, each in enumerate(self.candidates)
            if place and each.passed and each.trial.sizes.within(limit)
        ]

    def _sizes(self, place: int) -> Sizes:
        return self.candidates[place].trial.sizes

    @property
    def asked(self) -> bool:  # which fields, or how many, are to go
        return self.config.keep_fields is not None or bool(self.config.force)

    def _fields(self, tolerance: float) -> Ranker | None:
        """Keep the fields that matter, if gate rows let that pass; None if only that was asked for."""
        fields = self._first_fields(tolerance)
        if len(fields) == len(self.ranking.fields):
            return self.reference
        fewer = cut(self.reference, self.data.train, {"fields": fields})
        rough = Rough(f"{len(fields)} fields", fewer, "fp32")
        judged = self._judged(*self._finish([rough])[0])
        if judged.passed:
            return judged.model
        return None if self.asked else self.reference

    def _first_fields(self, tolerance: float) -> tuple[str, ...]:
        config, data = self.config, self.data
        if (asked := asked_fields(self.ranking, config)) is not None:
            return asked
        return choose_fields(
            self.reference,
            self.ranking,
            data.train,
            data.tune,
            data.gate,
            tolerance,
            config.protect,
            config.force,
        )

    def _protected(self, start: Ranker) -> tuple[str, ...]:
        """Return the fields that stay: all, where a number of fields was asked for."""
        config = self.config
        return config.protect if config.keep_fields is None else start.encoder.schema.names

    def _drawn(self, start: Ranker) -> Iterator[tuple[Rough, Trial]]:
        config, means, protect = self.config, self.means, self._protected(start)
        start = rotate(start, self.data.train)
        space = Space(start, self.data, self.ranking, protect, self.short, means.scale)
        draws = Draws(config.search_trials, config.seed, means.store, means.executor, self.clock)
        tried, found = sampled(space, self.limit, draws)
        self.tried += tried
        return found

    def _down(self, start: Ranker, limit: Sizes, speed: float) -> Iterator[tuple[Rough, Trial]]:
        """Yield ever smaller models on the way to a limit: of a descent, or of drawn cuts."""
        if self.config.sampler == "optuna":
            yield from self._drawn(start)
            return
        sizes, scale = self.means.scale.sizes(start, "fp32"), self.means.scale
        config, protect = self.config, self._protected(start)
        if scale.profile is None:
            speed = 0.0
        stops = ladder(sizes, limit)
        course = Course(stops, protect=protect, speed=speed, seed=config.seed)
        seen = 0
        descent = Descent(start, self.data, self.short, course, scale, self.means.store)
        cuts: list[str] = []
        due = stops[0]
        for small in descent:
            self.tried += descent.tried[seen:]
            seen = len(descent.tried)
            cuts.append(small.label)
            if small.trial.sizes.within(due):
                yield Rough(_told(cuts), small.model, small.bits), small.trial
                if self.limit == Sizes():  # judged one by one; else the chosen one tells all
                    cuts.clear()
                due = next((s for s in stops if not small.trial.sizes.within(s)), stops[-1])
            if small.trial.sizes.within(stops[-1]) or self.clock.over():
                return

    def _jumped(self, start: Ranker) -> list[tuple[Rough, Trial]]:
        """Return what each unit alone brings within the limits, in the bits that suit it best."""
        config, scale, limit = self.config, self.means.scale, self.limit

        def fits(model: Ranker, bits: str) -> bool:
            return scale.sizes(model, bits).within(limit)

        protect = self._protected(start)
        groups = list(
            jumps(start, self.data, self.ranking, protect, fits, Course.bits, config.seed)
        )
        if start is not self.reference and not self.asked:
            whole = [Rough(f"all fields, {b}", self.reference, b) for b in Course.bits]
            groups.append([rough for rough in whole if fits(rough.model, rough.bits)])
        short = _Tuned(Effort(epochs=1), self.short, scale)
        found = [rough for group in groups for rough in group]
        trials = iter([trial for _, trial in self._tuned(found, short, "single units")])
        made = [[(rough, next(trials)) for rough in group] for group in groups if group]
        self.tried += [trial for group in made for _, trial in group]
        return [max(group, key=lambda each: each[1].auc_tune) for group in made]

    def _finish(self, roughs: Sequence[Rough]) -> list[tuple[Ranker, Trial]]:
        """Fine-tune models as the full one was, and store them."""
        whole = _Tuned(self.effort, self.tuning, self.means.scale)
        made = self._tuned(roughs, whole, "fine-tuning")
        self.tried += [trial for _, trial in made]
        return made

    def _tuned(
        self, roughs: Sequence[Rough], tuned: _Tuned, text: str
    ) -> list[tuple[Ranker, Trial]]:
        """Return models fine-tuned and as they are stored, with what they score."""
        store = self.means.store
        keys = [store.key(r.model, tuned.tuning, r.bits, tuned.effort, tuned.scale) for r in roughs]

        def make(places: Sequence[int]) -> list[Made]:
            parts = [roughs[place] for place in places]
            return self.means.executor.map(_make, parts, shared=tuned, text=text)

        found = []
        trials = store.trials(keys, make)
        for place, (rough, trial) in enumerate(zip(roughs, trials, strict=True)):
            state = store.state(keys[place])
            if state is None:  # somebody took its file away
                trial, state = make([place])[0]
            if trial is not None and state is not None:
                found.append((encode(rough.model.with_state(state), *BITS[rough.bits]), trial))
        return found

    def _judged(self, model: Ranker, trial: Trial) -> Candidate:
        """Compare a finished model to the full one on the gate rows, in all and by slice; enter it."""
        rows, score = self.data.gate, _logits(model, self.data.gate)
        gates = tuple(
            judge_rows(
                rows,
                self.reference_logits,
                score,
                # A group that is worse off is one in any metric.
                self.groups if metric == "auc" else {},
                metric=metric,
                tolerance=tolerance,
                seed=self.config.seed,
            )
            for metric, tolerance in self.budget.max_drop.items()
        )
        judged = Candidate(trial, model, auc(rows.label, score), gates)
        logger.info("%s: %d bytes, gate %s", judged.label, judged.bytes, judged.outcome)
        self.candidates.append(judged)
        return judged


def _logits(model: Ranker, split: Split) -> NDArray[np.float32]:
    return model.logits(model.aligned(split).rows)


def _told(cuts: Sequence[str]) -> str:
    """Return cuts in a few words.

    >>> _told(["rows", "dims", "rows", "without age"])
    'rows (2 times), dims, without age'
    """
    return ", ".join(f"{cut} ({n} times)" if n > 1 else cut for cut, n in Counter(cuts).items())
