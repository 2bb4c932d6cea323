"""Models side by side on the same rows: verdicts, and what the smaller ones save."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.artifact import Artifact, read_artifact, stored_size, stored_weights
from recprune.data import Dataset, Split
from recprune.encoding import Rows
from recprune.errors import ParameterError
from recprune.evaluation import SliceResult, TestUses, Verdict, judge_rows, slice_groups
from recprune.evaluation.paired import Metric
from recprune.executor import Executor
from recprune.models import Ranker
from recprune.models.held_out import held_out_score
from recprune.pipeline.scoring import encoded_for, latencies, logits_in_blocks
from recprune.report.wording import (
    aligned,
    bytes_text,
    interval_text,
    listed,
    metric_name,
    micro_text,
    number_text,
    signed_text,
)
from recprune.runtime import Scorer

__all__ = ["Comparison", "Contender", "compare"]

METRICS = ("auc", "logloss", "accuracy")

#: A model: fitted, read, or the folder of a saved one.
Model = Ranker | Artifact | str | Path


@dataclass(frozen=True)
class Contender:
    """One model of a comparison.

    Args:
        name: as given, or the folder's.
        bytes: as stored.
        metrics: name → value on the rows; accuracy is at a probability of 0.5.
        latency_us: ``"1"`` and ``"1000"`` rows → median microseconds of an answer.
        verdict: against the full model; None of that itself.
    """

    name: str
    bytes: int
    metrics: Mapping[str, float]
    latency_us: Mapping[str, float]
    verdict: Verdict | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        out: dict[str, Any] = {
            "name": self.name,
            "bytes": self.bytes,
            "metrics": dict(self.metrics),
            "latency_us": dict(self.latency_us),
        }
        return out if self.verdict is None else {**out, "verdict": self.verdict.to_json()}


@dataclass(frozen=True)
class Comparison:
    """Every pruned model against the full one.

    Args:
        full: the reference.
        pruned: in the given order, each with its verdict.
    """

    full: Contender
    pruned: tuple[Contender, ...]

    @property
    def passed(self) -> bool:
        """Whether every verdict is PASS."""
        return all(verdict.outcome == "PASS" for verdict in self.verdicts)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The pruned models' verdicts, in order."""
        return tuple(each.verdict for each in self.pruned if each.verdict is not None)

    @property
    def verdict(self) -> Verdict:
        """The verdict on the first pruned model."""
        return self.verdicts[0]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary: passed, full, and pruned with bytes full ÷ pruned."""
        pruned = [
            {**each.to_json(), "compression": self.full.bytes / each.bytes} for each in self.pruned
        ]
        return {"passed": self.passed, "full": self.full.to_json(), "pruned": pruned}

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table for people, its head first."""
        metric = self.verdict.metric
        head = ("model", "bytes", metric_name(metric), "difference", "90 % interval", "verdict")
        out: list[tuple[str, ...]] = [head]
        for each in (self.full, *self.pruned):
            size = bytes_text(each.bytes)
            judged: tuple[str, ...] = ("", "", "")
            if each.verdict is not None:
                size += f" ({self.full.bytes / each.bytes:.1f}×)"
                found = each.verdict
                judged = signed_text(found.difference), interval_text(found.ci), found.outcome
            out.append((each.name, size, number_text(each.metrics[metric]), *judged))
        return out

    def notes(self) -> list[str]:
        """Return what stands below the table: how it was judged, latencies, why, and slices."""
        first, times = self.verdict, [_times(each) for each in (self.full, *self.pruned)]
        out = [f"{first.n_rows:,} rows, tolerance {first.tolerance:g}, {first.method}"]
        said = [
            f"{each.name} {time}"
            for each, time in zip((self.full, *self.pruned), times, strict=True)
        ]
        out.append(f"latency of 1 / 1,000 rows: {'; '.join(said)}")
        for each in self.pruned:
            found = each.verdict
            assert found is not None
            out += [f"{each.name}: {reason}" for reason in found.reasons]
            if found.outcome == "INCONCLUSIVE" and found.rows_needed is not None:
                out.append(f"{each.name}: about {found.rows_needed:,} rows would decide")
            if found.slices:
                out.append(f"{each.name}, {_told(found.slices)}")
        return out

    def __str__(self) -> str:
        rows = self.cells()
        return "\n".join([*aligned(rows, left=(0, len(rows[0]) - 1)), *self.notes()])


def compare(
    full: Model,
    pruned: Model | Sequence[Model] | Mapping[str, Model],
    rows: Dataset | Split,
    *,
    metric: Metric = "auc",
    tolerance: float = 0.002,
    by: Iterable[str] = (),
    seed: int = 0,
    executor: Executor | None = None,
) -> Comparison:
    """Judge pruned models against the full one on the same rows, as they ship.

    Each verdict stands by itself: a model that is worse by the tolerance passes at most once in 20
    times, and among many such one may. So decide beforehand which model counts, or compare on other
    rows first: every model that rows have judged is counted, and more than one warns.

    Args:
        full: fitted ranker, artefact, or the folder of a saved model.
        pruned: likewise; several as a sequence, or by name.
        rows: a split data set, whose test rows are used, or labelled rows that none of the models was
            trained or chosen on: then without slices by activity and popularity, which training rows
            tell.
        metric: ``"auc"``, ``"logloss"`` or ``"accuracy"``; slices are judged by AUC.
        tolerance: largest drop that passes.
        by: further columns whose values are slices; sensitive fields are without being named.
        seed: of the resamples.
        executor: where the resamples run; None = here. The verdicts do not depend on it.

    Raises:
        ParameterError: nothing to compare with, an unknown metric or column, or a tolerance out of
            range.
        ArtifactError: a folder that is no artefact.

    Warns:
        RecpruneWarning: these rows have judged more than one model.
    """
    given = _named(pruned)
    train = rows.train if isinstance(rows, Dataset) else None
    rows = rows.test if isinstance(rows, Dataset) else rows
    groups = slice_groups(rows, train, by)
    reference, *others = [_Entry.of(n, m, rows) for n, m in ((_called(full, "full"), full), *given)]
    times = latencies([(each.scorer, each.rows) for each in (reference, *others)])
    found = [
        each.contender(rows, taken) for each, taken in zip((reference, *others), times, strict=True)
    ]
    options: dict[str, Any] = {"metric": metric, "tolerance": tolerance, "seed": seed}
    options["executor"] = executor
    verdicts = [
        judge_rows(rows, reference.logits, each.logits, groups, **options) for each in others
    ]
    uses = _count(rows, others)
    return Comparison(
        found[0],
        tuple(
            replace(each, verdict=replace(decision, test_uses=count))
            for each, decision, count in zip(found[1:], verdicts, uses, strict=True)
        ),
    )


@dataclass(frozen=True, eq=False)
class _Entry:
    """A model, ready to be judged."""

    name: str
    artifact: Artifact
    scorer: Scorer
    rows: Rows
    logits: NDArray[np.float32]

    @classmethod
    def of(cls, name: str, model: Model, rows: Split) -> _Entry:
        artifact = _artifact(model)
        scorer, encoded = Scorer(artifact), encoded_for(artifact.encoder, rows)
        return cls(name, artifact, scorer, encoded, logits_in_blocks(scorer, encoded))

    def contender(self, rows: Split, latency: Mapping[str, float]) -> Contender:
        values = {name: held_out_score(name, rows, self.logits) for name in METRICS}
        return Contender(self.name, stored_size(self.artifact), values, latency)


def _times(contender: Contender) -> str:
    return " / ".join(micro_text(contender.latency_us[size]) for size in ("1", "1000"))


def _told(slices: Sequence[SliceResult]) -> str:
    """Return how many slices came out how, and which are open."""
    many = {kind: sum(s.outcome == kind for s in slices) for kind in ("alarm", "ok", "undecided")}
    text = (
        f"{len(slices)} slices: {many['alarm']} alarms, {many['ok']} no worse, "
        f"{many['undecided']} undecided"
    )
    open_ones = [s.slice for s in slices if s.outcome == "undecided"]
    return f"{text} ({listed(open_ones, 4)})" if open_ones else text


def _artifact(model: Model) -> Artifact:
    if isinstance(model, Ranker):
        return model.artifact()
    return model if isinstance(model, Artifact) else read_artifact(model)


def _called(model: Model, otherwise: str) -> str:
    """Return the folder of a saved model, or the name of another."""
    return str(model) if isinstance(model, str | Path) else otherwise


def _named(pruned: Model | Sequence[Model] | Mapping[str, Model]) -> list[tuple[str, Model]]:
    """Return the pruned models by name."""
    if isinstance(pruned, Mapping):
        named = list(pruned.items())
    elif isinstance(pruned, Ranker | Artifact | str | Path):
        named = [(_called(pruned, "pruned"), pruned)]
    else:
        named = [(_called(each, f"pruned {number}"), each) for number, each in enumerate(pruned, 1)]
    if not named:
        raise ParameterError.of("pruned", "compare", "a model, or several", pruned)
    return named


def _count(rows: Split, others: Sequence[_Entry]) -> list[int]:
    """Count every model as a use of the rows; warn once, after the last."""
    ledger, uses = TestUses(), []
    for number, each in enumerate(others, 1):
        with warnings.catch_warnings():
            if number < len(others):
                warnings.simplefilter("ignore")
            uses.append(ledger.count(rows.label, stored_weights(each.artifact)))
    return uses
