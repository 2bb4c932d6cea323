"""The pruning path: nested candidates, each tested on the gate rows, until one does not pass."""

from __future__ import annotations

from collections.abc import Iterator
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
from recprune.pruning import FineTuning, Wanted, cut, encode, fine_tune, rotate
from recprune.pruning.planning import cuttable

__all__ = ["Candidate", "Search", "fit_reference", "search"]

#: Shares of rows and neurons kept after each round of parameter pruning.
SHARES = (0.5, 0.25, 0.12, 0.06, 0.03)
#: Dims left after each of these rounds.
DIMS = (0.5, 0.5, 0.5, 0.25, 0.25)
#: Share of the fields that a round of recursive elimination tries to drop.
ELIMINATED = 0.2


@dataclass(frozen=True, eq=False)
class Candidate:
    """One model on the way down, and what the gate rows say of it."""

    label: str
    keep_ratio: float
    model: Ranker
    bytes: int
    auc_tune: float
    auc_gate: float
    gate: Verdict | None

    def to_json(self, number: int, chosen: bool) -> dict[str, Any]:
        """Return the record of the report's ``rounds``."""
        return {
            "round": number,
            "label": self.label,
            "keep_ratio": self.keep_ratio,
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
    def small(self) -> Ranker:
        """The chosen model, as it is stored."""
        return self.candidates[self.chosen].model


def fit_reference(full: Ranker, data: Dataset, config: RunConfig) -> tuple[Ranker, FineTuning]:
    """Give the full model the effort that pruned ones get: fine-tuning with distillation.

    Returns:
        The better of the two full models (on the tune rows), and the fine-tuning that all get.
    """
    training = replace(config.training(), epochs=config.tuning_epochs, patience=1)
    tuning = FineTuning(data.train, data.tune, full.logits(full.aligned(data.train).rows), training)
    return fine_tune(full, tuning), tuning


def search(full: Ranker, data: Dataset, config: RunConfig) -> Search:
    """Cut fields, then rows, dims and neurons in rounds; stop at the first that does not pass.

    Every candidate is compared to the reference on the gate rows with the tolerance of the run:
    a fixed sequence of nested models needs no further correction (design of the verdict).
    """
    reference, tuning = fit_reference(full, data, config)
    groups = None if config.groups == "none" else config.groups
    ranking = rank_fields(reference, data.tune, config.importance, config.seed, groups)
    judge = _Judge(reference, data, config)
    candidates = [judge(reference, "full", 1.0)]
    chosen = 0
    for label, ratio, model in _path(reference, ranking, data, config, tuning):
        candidates.append(judge(model, label, ratio))
        gate = candidates[-1].gate
        logger.info("%s: %d bytes, gate %s", label, candidates[-1].bytes, gate and gate.outcome)
        if gate is None or gate.outcome != "PASS":
            break
        chosen = len(candidates) - 1
    encoded = judge(
        encode(candidates[chosen].model), "int8 and fp16", candidates[chosen].keep_ratio
    )
    place = chosen + 1
    candidates.insert(place, encoded)
    if encoded.gate is not None and encoded.gate.outcome == "PASS":
        chosen = place
    return Search(tuple(candidates), chosen, ranking, tuning)


def _path(
    reference: Ranker,
    ranking: FieldRanking,
    data: Dataset,
    config: RunConfig,
    tuning: FineTuning,
) -> Iterator[tuple[str, float, Ranker]]:
    """Yield ever smaller models; the caller stops asking when one does not pass."""
    model = reference
    fields = _first_fields(reference, ranking, data, config)
    if len(fields) < len(ranking.fields):
        model = fine_tune(cut(model, data.train, {"fields": fields}), tuning)
        yield f"{len(fields)} fields", 1.0, model
    model = rotate(model, data.train)
    for share, dims in zip(SHARES, DIMS, strict=True):
        keep: dict[str, Wanted] = {}
        if cuttable(model, "rows"):
            keep["rows"] = _rows(reference, share)
        if reference.neurons:
            keep["neurons"] = tuple(max(4, round(n * share)) for n in reference.neurons)
        if reference.dim:
            keep["dims"] = max(2, round(reference.dim * dims))
        model = fine_tune(cut(model, data.train, keep), tuning)
        yield f"{share:.0%} of rows and neurons", share, model


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


def _rows(reference: Ranker, share: float) -> int:
    total = sum(a.size - a.pinned for a in reference.layout.of_unit("row") if a.min_keep < a.size)
    return max(1, round(total * share))


class _Judge:
    """Compares a candidate to the reference on the gate rows."""

    def __init__(self, reference: Ranker, data: Dataset, config: RunConfig) -> None:
        self.data, self.config = data, config
        self.reference = reference
        self.score = self._logits(reference, data.gate)

    def __call__(self, model: Ranker, label: str, ratio: float) -> Candidate:
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
        return Candidate(
            label,
            ratio,
            model,
            stored_size(model.artifact()),
            auc(self.data.tune.label, self._logits(model, self.data.tune)),
            auc(gate_rows.label, score),
            gate,
        )

    @staticmethod
    def _logits(model: Ranker, split: Split) -> NDArray[np.float32]:
        return model.logits(model.aligned(split).rows)
