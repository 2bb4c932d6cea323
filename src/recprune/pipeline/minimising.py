"""Which personal attributes does a ranker not need? Data minimisation by removal and verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import logger, progress
from recprune.artifact import stored_size, stored_weights
from recprune.data import Dataset, Split
from recprune.errors import ParameterError, nearest
from recprune.evaluation import TestUses, judge_rows, slice_groups
from recprune.evaluation.paired import Metric
from recprune.evaluation.selection import QUANTILES
from recprune.metrics import auc
from recprune.metrics import metric as named
from recprune.models import Ranker
from recprune.models.held_out import held_out_score
from recprune.models.retrieval import Retriever
from recprune.pipeline.minimisation import Minimisation, Removal, Step
from recprune.pruning import FineTuning, cut, fine_tune
from recprune.schema import Field

__all__ = ["minimise"]

#: Normal quantile of the bounds of a 90 % interval.
ONE_SIDED = 1.6449


def minimise(
    full: Ranker,
    data: Dataset,
    *,
    columns: Iterable[str] = (),
    tolerance: float = 0.002,
    metric: Metric = "auc",
    retrain: bool = False,
    epochs: int = 2,
    seed: int = 0,
) -> Minimisation:
    """Find the personal columns that need not be collected, and what each that stays is needed for.

    Two readings of data minimisation (Biega et al. 2020, "Operationalizing the legal principle of
    data minimization for personalization", section 3) are kept at once: the *global* one, that all
    users together lose no more than the tolerance, and one for groups in the place of the *per-user*
    one, since what all hardly feel may hit some: every value of the columns, and users by what is
    known of them (new, light, heavy), are slices with a tolerance of their own (0.005).

    1. Each column is removed by itself, and the difference judged on the *gate* rows.
    2. Greedily on the *tune* rows (Leysen et al. 2025, "What data is really necessary?", greedy
       removal), columns are put in the order in which their loss hurts least, given those that went
       before; there they are replaced by their mean, without training.
    3. In this order they are tried on the gate rows, each beside those that are gone: a set passes
       if its difference is above minus the tolerance and no slice raises an alarm. Where one does
       not, its column stays and the sequence goes on at half the level, at most four times (Wiens
       2003); all errors together are at most 5 %.
    4. The set that is left is judged once on the test rows.

    A model without columns is cut and trained further on labels alone, as long as the full one is:
    a teacher would hand on what it learned from them. ``retrain`` trains each from the start: the
    truth about a table in which the columns never were, at the price of a training for each.

    Rows' weights count in training and in the drops; intervals count every row once.

    Args:
        full: fitted ranker; unchanged.
        data: the split data set that it was trained on.
        columns: to ask about; none = the sensitive ones. A column of dates goes with all its parts.
        tolerance: largest drop that passes.
        metric: ``"auc"``, ``"logloss"`` or ``"accuracy"``.
        retrain: train from the start instead of cutting and fine-tuning.
        epochs: of fine-tuning, for the full model and the others alike.
        seed: of the resamples.

    Raises:
        ParameterError: no column is sensitive, one that the model does not read, all that it reads,
            an option out of range, a retriever, or no data set.

    Warns:
        RecpruneWarning: the test rows have judged more than one model.
    """
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise ParameterError.of("epochs", "minimise", "an int ≥ 1", epochs)
    if not 0 < tolerance < 1:
        raise ParameterError.of("tolerance", "minimise", "a float in (0, 1)", tolerance)
    if not isinstance(data, Dataset):
        raise ParameterError.of("data", "minimise", "a split Dataset", data)
    if isinstance(full, Retriever):
        kind = type(full).__name__
        raise ParameterError.of(
            "full", "minimise", "a ranker, such as DeepFM", f"the retriever {kind}"
        )
    asked = _asked(full, columns)
    options: dict[str, Any] = {"tolerance": tolerance, "metric": metric, "seed": seed}
    bench = _Bench(full, data, retrain, epochs, tuple(asked), options)
    gate = bench.ground(data.gate)
    alone = tuple(bench.judged((column,), gate) for column in progress(asked, "columns removed"))
    steps, gone = _sequence(bench, gate, _order(bench))
    if not gone:
        return Minimisation(alone, steps, None, bench.reference)
    model = bench.without(gone)
    joint = bench.judged(gone, bench.ground(data.test))
    used = TestUses().count(data.test.label, stored_weights(model.artifact()))
    joint = replace(joint, verdict=replace(joint.verdict, test_uses=used))
    return Minimisation(alone, steps, joint, model)


def _asked(full: Ranker, columns: Iterable[str]) -> list[str]:
    """Return the columns to ask about, in the model's order."""
    fields = full.encoder.schema.fields
    known = list(dict.fromkeys(_column(f) for f in fields))
    wanted = (columns,) if isinstance(columns, str) else tuple(columns)
    for name in wanted:
        if name not in known:
            raise ParameterError(f"The model reads no column {name!r}.{nearest(name, known)}")
    personal = {_column(f) for f in fields if f.sensitive}
    asked = [c for c in known if c in (wanted or personal)]
    if not asked:
        raise ParameterError(
            "No column that the model reads is sensitive. Name some with columns=, or say sensitive "
            "= true for them in the schema."
        )
    if len(asked) == len(known):
        raise ParameterError(
            f"The model reads nothing but these columns: {', '.join(known)}. Leave at least one out."
        )
    return asked


def _column(field: Field) -> str:
    """Return the column of the table that a field is read from."""
    return field.of or field.name


@dataclass(frozen=True, eq=False)
class _Ground:
    """Rows to judge on: with the full model's logits, and the groups that may lose."""

    rows: Split
    full: NDArray[np.float32]
    groups: dict[tuple[str, str], NDArray[np.object_]]


class _Bench:
    """Makes models without some columns and judges them against the full one.

    Args:
        full, data, retrain: as given.
        epochs: of fine-tuning.
        asked: the columns.
        options: of the verdict.
    """

    def __init__(
        self,
        full: Ranker,
        data: Dataset,
        retrain: bool,
        epochs: int,
        asked: tuple[str, ...],
        options: dict[str, Any],
    ) -> None:
        self.full, self.data, self.retrain = full, data, retrain
        self.asked, self.options = asked, options
        training = replace(full.training, epochs=epochs, patience=1)
        self.tuning = FineTuning(data.train, data.tune, None, training)
        #: The full model, trained as long as the others.
        self.reference = full if retrain else fine_tune(full, self.tuning)
        self._made: dict[frozenset[str], Ranker] = {}

    def ground(self, rows: Split) -> _Ground:
        """Return rows to judge on; groups are the columns' values, and what is known of a user."""
        single = [
            f.name
            for f in self.full.encoder.schema.fields
            if f.name in self.asked
            and f.kind in ("categorical", "numeric")
            and f.name in rows.columns.columns
        ]
        groups = slice_groups(rows, self.data.train, single)
        own = {key: g for key, g in groups.items() if key[0] in single or key[1] == "activity"}
        return _Ground(rows, _logits(self.reference, rows), own)

    def kept(self, gone: Sequence[str]) -> tuple[str, ...]:
        """Return the fields that are left without some columns."""
        fields = self.full.encoder.schema.fields
        return tuple(f.name for f in fields if _column(f) not in gone)

    def without(self, gone: Sequence[str]) -> Ranker:
        """Return the model that does without some columns, trained once."""
        key = frozenset(gone)
        if key not in self._made:
            kept = self.kept(gone)
            if self.retrain:
                only = self.data.only(kept)
                made = self.full.like().fit(only.train, only.tune)
            else:
                made = fine_tune(cut(self.full, self.data.train, {"fields": kept}), self.tuning)
            self._made[key] = made
        return self._made[key]

    def judged(self, gone: Sequence[str], ground: _Ground) -> Removal:
        """Return what some rows say of the model without these columns."""
        model, rows, before = self.without(gone), ground.rows, ground.full
        after = _logits(model, rows)
        decision = judge_rows(rows, before, after, ground.groups, **self.options)
        drops = {}
        for name in dict.fromkeys(("auc", "logloss", self.full.metric)):
            first, second = (held_out_score(name, rows, logits) for logits in (before, after))
            drops[name] = (first - second) * (1 if named(name).higher_is_better else -1)
        saved = stored_size(self.reference.artifact()) - stored_size(model.artifact())
        return Removal(tuple(gone), decision, drops, saved, self._cost(gone))

    def _cost(self, gone: Sequence[str]) -> float | None:
        """Return what a year of these columns costs; the parts of a date are one column."""
        costs: dict[str, float] = {}
        for field in self.data.schema.fields:
            if _column(field) in gone and field.cost is not None:
                costs[_column(field)] = max(costs.get(_column(field), 0.0), field.cost)
        return sum(costs.values()) if costs else None


def _order(bench: _Bench) -> list[str]:
    """Return the columns in the order in which the tune rows miss them least, one after another."""
    tune, left, gone = bench.data.tune, list(bench.asked), list[str]()
    while left:
        reached = {
            c: _auc(cut(bench.reference, tune, {"fields": bench.kept([*gone, c])}), tune)
            for c in left
        }
        gone.append(max(left, key=lambda c: reached[c]))
        left.remove(gone[-1])
    return gone


def _sequence(
    bench: _Bench, gate: _Ground, order: Sequence[str]
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """Return the tests on the gate rows, and the columns that can go together."""
    steps, gone, failures = list[Step](), list[str](), 0
    for column in progress(order, "columns removed together"):
        removal = bench.judged([*gone, column], gate)
        found = removal.verdict
        # The interval's half-width, stretched from its own level to this step's.
        reach = (found.difference - found.ci[0]) * QUANTILES[failures] / ONE_SIDED
        bound = found.difference - reach
        alarm = any(s.outcome == "alarm" for s in found.slices)
        # Too few rows are INCONCLUSIVE with a reason, whatever the interval says.
        passed = bound > -found.tolerance and not alarm and not found.reasons
        steps.append(Step(column, removal, bound, passed))
        logger.info("without %s: above %.5f, %s", removal.columns, bound, passed)
        if passed:
            gone.append(column)
            continue
        failures += 1
        if failures == len(QUANTILES):
            break
    return tuple(steps), tuple(c for c in bench.asked if c in gone)


def _logits(model: Ranker, rows: Split) -> NDArray[np.float32]:
    return model.logits(model.aligned(rows).rows)


def _auc(model: Ranker, rows: Split) -> float:
    return auc(rows.label, _logits(model, rows), rows.extras.weight)
