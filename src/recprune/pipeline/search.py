"""The pruning path: ever smaller candidates, each tested on the gate rows, until one does not pass."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import logger
from recprune.artifact import stored_size
from recprune.data import Dataset, Split
from recprune.evaluation import Verdict, choose_fields, verdict
from recprune.importance import FieldRanking, rank_fields
from recprune.metrics import auc
from recprune.models import Ranker
from recprune.pipeline.config import RunConfig
from recprune.pipeline.descent import Course, Descent
from recprune.pruning import BITS, FineTuning, cut, encode, fine_tune

__all__ = ["Candidate", "Search", "fit_reference", "search"]

#: A candidate has at most this share of the bytes of the one before; of the full model's, the last.
SMALLER, SMALLEST = 0.6, 1 / 250
#: Training rows that tell what a cut costs.
SHORT_ROWS = 100_000
#: Times that the full model is fine-tuned.
MOST_ROUNDS = 5


@dataclass(frozen=True, eq=False)
class Candidate:
    """One model on the way down, and what the gate rows say of it."""

    label: str
    model: Ranker
    bits: str
    bytes: int
    auc_tune: float
    auc_gate: float
    gate: Verdict | None

    @property
    def passed(self) -> bool:
        """Whether the gate rows let it pass; the reference has nothing to pass."""
        return self.gate is None or self.gate.outcome == "PASS"

    def to_json(self, number: int, chosen: bool, full_bytes: int) -> dict[str, Any]:
        """Return the record of the report's ``rounds``."""
        return {
            "round": number,
            "label": self.label,
            "keep_ratio": self.bytes / full_bytes,
            "bytes": self.bytes,
            "auc_tune": self.auc_tune,
            "auc_gate": self.auc_gate,
            "difference": self.gate.difference if self.gate else 0.0,
            "ci": list(self.gate.ci) if self.gate else [0.0, 0.0],
            "outcome": self.gate.outcome if self.gate else "PASS",
            "chosen": chosen,
        }


@dataclass(frozen=True, eq=False)
class Search:
    """The whole path: candidates from the largest to the smallest, and the chosen one's place."""

    candidates: tuple[Candidate, ...]
    chosen: int
    ranking: FieldRanking
    tuning: FineTuning

    @property
    def reference(self) -> Ranker:
        """The full model, with the same fine-tuning as its smaller rivals."""
        return self.candidates[0].model

    @property
    def small(self) -> Candidate:
        """The chosen model, as it is stored."""
        return self.candidates[self.chosen]


def fit_reference(full: Ranker, data: Dataset, config: RunConfig) -> tuple[Ranker, FineTuning]:
    """Give the full model the effort that pruned ones get: fine-tuning with distillation.

    Those get it at every cut; it is repeated until it brings nothing more on the tune rows.

    Returns:
        The best of these full models, and the fine-tuning that all get.
    """
    training = replace(config.training(), epochs=config.tuning_epochs, patience=1)
    tuning = FineTuning(data.train, data.tune, full.logits(full.aligned(data.train).rows), training)
    score, tuned = full.held_out(full.aligned(data.tune)), fine_tune(full, tuning)
    for _ in range(MOST_ROUNDS - 1):
        better = tuned.held_out(tuned.aligned(data.tune))
        if not training.better(better(), score()):
            break
        score, tuned = better, fine_tune(tuned, tuning)
    return tuned, tuning


def search(full: Ranker, data: Dataset, config: RunConfig) -> Search:
    """Choose fields, then go down where a byte costs least; stop at the first that does not pass.

    Fields that do not matter go first, together. From what is left a :class:`Descent` cuts fields,
    rows, dims, neurons and bits by turns; from all fields, where the gate rows do not bear that
    choice out, unless it was asked for. Every candidate is fine-tuned as the reference is, and
    compared to it on the gate rows with the tolerance of the run: a fixed sequence of nested models
    needs no further correction (design of the verdict).
    """
    reference, tuning = fit_reference(full, data, config)
    groups = None if config.groups == "none" else config.groups
    ranking = rank_fields(reference, data.tune, config.importance, config.seed, groups)
    judge = _Judge(reference, data, config)
    candidates, chosen = [judge("full", reference)], 0
    start = reference
    fields = _first_fields(reference, ranking, data, config)
    if len(fields) < len(ranking.fields):
        fewer = fine_tune(cut(reference, data.train, {"fields": fields}), tuning)
        candidates.append(judge(f"{len(fields)} fields", fewer))
        if candidates[-1].passed:
            start, chosen = fewer, 1
        elif config.keep_fields is not None or config.force:
            return Search(tuple(candidates), chosen, ranking, tuning)
    for label, model, bits in _smaller(start, data, config, tuning, candidates[0].bytes):
        candidates.append(judge(label, model, bits))
        if not candidates[-1].passed:
            break
        chosen = len(candidates) - 1
    return Search(tuple(candidates), chosen, ranking, tuning)


def _smaller(
    start: Ranker, data: Dataset, config: RunConfig, tuning: FineTuning, whole: int
) -> Iterator[tuple[str, Ranker, str]]:
    """Yield ever smaller models, as they are stored, with what was cut of the one before and bits.

    The caller stops asking when one does not pass.
    """
    n_stops = math.ceil(math.log(SMALLEST) / math.log(SMALLER))
    stops = [max(1, int(whole * SMALLER**n)) for n in range(1, n_stops + 1)]
    stops = sorted(set(stops), reverse=True)
    # A number of fields that was asked for is kept.
    protect = config.protect if config.keep_fields is None else start.encoder.schema.names
    short = _short(tuning)
    cuts: list[str] = []
    due = stops[0]
    course = Course(stops, protect=protect, speed=1.0, seed=config.seed)
    for small in Descent(start, data, short, course):
        cuts.append(small.label)
        if small.bytes > due:
            continue
        yield _told(cuts), encode(fine_tune(small.model, tuning), *BITS[small.bits]), small.bits
        cuts.clear()
        due = max((stop for stop in stops if stop < small.bytes), default=0)


def _short(tuning: FineTuning) -> FineTuning:
    """Return an epoch over no more rows than it takes to tell what a cut costs."""
    training, n = replace(tuning.training, epochs=1), len(tuning.rows)
    if n <= SHORT_ROWS:
        return replace(tuning, training=training)
    some = np.linspace(0, n - 1, SHORT_ROWS).astype(np.int64)
    teacher = None if tuning.teacher is None else tuning.teacher[some]
    return replace(tuning, rows=tuning.rows.take(some), teacher=teacher, training=training)


def _told(cuts: Sequence[str]) -> str:
    """Return cuts in a few words.

    >>> _told(["rows", "dims", "rows", "without age"])
    'rows (2 times), dims, without age'
    """
    return ", ".join(f"{cut} ({n} times)" if n > 1 else cut for cut, n in Counter(cuts).items())


def _first_fields(
    reference: Ranker, ranking: FieldRanking, data: Dataset, config: RunConfig
) -> tuple[str, ...]:
    wanted = config.keep_fields
    if wanted is None:
        return choose_fields(
            reference,
            ranking,
            data.train,
            data.tune,
            data.gate,
            config.tolerance,
            config.protect,
            config.force,
        )
    amount = {"count": wanted} if isinstance(wanted, int) else {"ratio": wanted}
    return ranking.keep(**amount, protect=config.protect, force=config.force)


class _Judge:
    """Compares a candidate to the reference on the gate rows."""

    def __init__(self, reference: Ranker, data: Dataset, config: RunConfig) -> None:
        self.data, self.config = data, config
        self.reference = reference
        self.score = self._logits(reference, data.gate)

    def __call__(self, label: str, model: Ranker, bits: str = "fp32") -> Candidate:
        gate_rows, score = self.data.gate, self._logits(model, self.data.gate)
        gate = None
        if model is not self.reference:
            gate = verdict(
                gate_rows.label,
                self.score,
                score,
                users=gate_rows.users,
                items=gate_rows.items,
                tolerance=self.config.tolerance,
                seed=self.config.seed,
            )
        size = stored_size(model.artifact())
        logger.info("%s: %d bytes, gate %s", label, size, gate and gate.outcome)
        tune = auc(self.data.tune.label, self._logits(model, self.data.tune))
        return Candidate(label, model, bits, size, tune, auc(gate_rows.label, score), gate)

    @staticmethod
    def _logits(model: Ranker, split: Split) -> NDArray[np.float32]:
        return model.logits(model.aligned(split).rows)
