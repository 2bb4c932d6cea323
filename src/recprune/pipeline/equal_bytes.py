"""What trivial ways of being small reach at the bytes of a pruned model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import byte_count, logger, progress
from recprune.artifact import stored_size
from recprune.data import Dataset, Split
from recprune.errors import ParameterError, nearest
from recprune.executor import Executor
from recprune.models import DeepFM, Ranker
from recprune.models.held_out import held_out_score
from recprune.models.retrieval import Retriever
from recprune.pipeline.effort import Effort
from recprune.pipeline.procedures import one_worker_on_disk
from recprune.pipeline.recipes import (
    Recipe,
    int8_alone,
    magnitude,
    minimum_count,
    narrower,
    random_fields,
)
from recprune.pruning import FineTuning, encode
from recprune.report import plots
from recprune.report.plots import styled

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

__all__ = ["Baseline", "Baselines", "baselines"]

METRICS = ("auc", "logloss")
KINDS = ("narrower dense", "minimum count", "random fields", "global magnitude", "int8 alone")


@dataclass(frozen=True, eq=False)
class Baseline:
    """One trivial model.

    Args:
        name: which kind.
        settings: what was chosen, in words.
        bytes: as stored. Those of "global magnitude" count values and positions, a form that is not
            written: saved, the ranker holds its zeros.
        fits: whether these bytes are within the budget.
        model: the ranker as stored, rounded to its bits; None where not even the smallest of the
            kind fits, whose bytes these are.
        metrics: name → value on the rows asked for; empty without a model.
    """

    name: str
    settings: str
    bytes: int
    fits: bool
    model: Ranker | None
    metrics: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return all but the model, as plain data."""
        facts = {n: getattr(self, n) for n in ("name", "settings", "bytes", "fits")}
        return {**facts, "metrics": dict(self.metrics)}


@dataclass(frozen=True, eq=False)
class Baselines:
    """All baselines at one budget.

    Args:
        budget: bytes.
        found: the baselines.
        given: the full model, and the pruned one if there is one, as they were given.
    """

    budget: int
    found: tuple[Baseline, ...]
    given: tuple[Baseline, ...]

    def __iter__(self) -> Iterator[Baseline]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, name: str) -> Baseline:
        """Return the baseline of this name, or ``"full"`` or ``"pruned"``.

        Raises:
            ParameterError: there is none.
        """
        known = {each.name: each for each in (*self.given, *self.found)}
        if name not in known:
            raise ParameterError(f"There is no baseline {name!r}.{nearest(name, known)}")
        return known[name]

    @property
    def best(self) -> Baseline | None:
        """The baseline within the budget that has the highest AUC; None if none is within it."""
        fitting = [b for b in self.found if b.fits]
        return max(fitting, key=lambda b: b.metrics["auc"]) if fitting else None

    def to_frame(self) -> pl.DataFrame:
        """Return one row a model, the given ones first: name, settings, bytes, fits, metrics."""
        import polars as pl

        rows = []
        for each in (*self.given, *self.found):
            facts = each.to_json()
            values = facts.pop("metrics")
            rows.append({**facts, **{name: values.get(name) for name in METRICS}})
        return pl.DataFrame(rows)

    def plot(self) -> Figure:
        """Draw AUC against bytes; a pruned model is a star."""
        with styled():
            return plots.baselines({"baselines": self.to_json()})

    def to_json(self) -> dict[str, Any]:
        """Return the budget and all models, the given ones first, as plain data."""
        models = [each.to_json() for each in (*self.given, *self.found)]
        return {"budget": self.budget, "models": models}

    def __str__(self) -> str:
        lines = [
            f"{'baseline':<17} {'bytes':>12} {'budget':>7} {'AUC':>7} {'log loss':>8}  settings"
        ]
        for each in (*self.given, *self.found):
            values = [f"{each.metrics[n]:.4f}" if n in each.metrics else "–" for n in METRICS]
            share = f"{each.bytes / self.budget:.1%}"
            note = "" if each.model is not None else " (the smallest there is; not trained)"
            lines.append(
                f"{each.name:<17} {each.bytes:>12,} {share:>7} {values[0]:>7} {values[1]:>8}  "
                f"{each.settings}{note}"
            )
        return "\n".join(lines)


def baselines(
    data: Dataset,
    *,
    bytes: int | str | None = None,
    full: Ranker | None = None,
    pruned: Ranker | None = None,
    rows: Split | None = None,
    effort: Effort | None = None,
    draws: int = 3,
    kinds: Collection[str] | None = None,
    seed: int = 0,
    executor: Executor | None = None,
) -> Baselines:
    """Train the trivial models that a pruned one of these bytes must beat.

    - *narrower dense*: fewer dims and smaller hidden layers;
    - *minimum count*: rarer values have no row of their own and read as unknown;
    - *random fields*: a random subset of the fields, in several draws;
    - *global magnitude*: the smallest weights set to zero, positions counted, and kept at zero in
      fine-tuning (Han et al. 2015, section 3);
    - *int8 alone*: nothing is cut; its bytes are what they are.

    What each keeps is chosen by bytes alone. The first three are trained from the start as ``full``
    is, the others begin from ``full``; then all are fine-tuned as a pruned model is, stopping early
    on the tune rows, and stored with int8 tables and fp16 layers.

    Args:
        data: a split data set.
        bytes: the budget: a number, or a text such as ``"2 MB"``; None = those of ``pruned``.
        full: the full model, of which the class, options and training are taken. Where it is not
            fitted, a copy is. None = DeepFM as it comes.
        pruned: a model to hold beside them; encoded as they are (:func:`recprune.pruning.encode`), or at
            equal bytes they have more weights.
        rows: what metrics are computed on; None = the gate rows. They choose nothing.
        effort: what the pruned model was given; None = one round of two epochs.
        draws: of random fields, at least 1.
        kinds: which of them: :data:`KINDS`; None = all.
        seed: of random fields and of first weights.
        executor: where baselines are trained; the result is the same, bit by bit, for any number of
            workers. None = one after another.

    Raises:
        ParameterError: a budget that is no size, or that none of the baselines can meet (the
            smallest that one can is named); an unknown kind; a retriever; workers and rows that are on
            disk.
    """
    if bytes is None and pruned is not None:
        bytes = stored_size(pruned.artifact())
    budget = byte_count(bytes, "baselines")
    if not isinstance(draws, int) or draws < 1:
        raise ParameterError.of("draws", "baselines", "an int ≥ 1", draws)
    executor = one_worker_on_disk(executor or Executor(), data, "baselines")
    full = _fitted(full or DeepFM(), data)
    effort, rows = effort or Effort(), data.gate if rows is None else rows
    kinds = KINDS if kinds is None else tuple(kinds)
    for kind in kinds:
        if kind not in KINDS:
            raise ParameterError(f"There is no kind of baseline {kind!r}.{nearest(kind, KINDS)}")
    recipes = _recipes(full, data.train, budget, draws, kinds, seed)
    bench = _Bench(effort.tuning(full, data), rows, effort)
    wanted = [r for r in recipes if r.bytes <= budget or r.name == "int8 alone"]
    made = executor.map(_made, wanted, shared=bench, seed=seed, text="baselines")
    found = []
    for recipe in recipes:
        model, values = made[wanted.index(recipe)] if recipe in wanted else (None, {})
        size = recipe.bytes if model is None else stored_size(model.artifact(), recipe.zeros)
        found.append(Baseline(recipe.name, recipe.settings, size, size <= budget, model, values))
    named = [("full", full), *([("pruned", pruned)] if pruned is not None else [])]
    given = (
        Baseline(name, "as given", size, size <= budget, model, _scores(model, rows))
        for name, model in named
        for size in [stored_size(model.artifact())]
    )
    return Baselines(budget, tuple(found), tuple(given))


@dataclass(frozen=True, eq=False)
class _Bench:
    """What every baseline is trained with and scored on."""

    tuning: FineTuning
    rows: Split
    effort: Effort


def _fitted(full: Ranker, data: Dataset) -> Ranker:
    if isinstance(full, Retriever):
        raise ParameterError.of("full", "baselines", "a ranker, no retriever", type(full).__name__)
    return full if full.fitted else full.like().fit(data.train, data.tune)


def _recipes(
    full: Ranker, train: Split, budget: int, draws: int, kinds: Collection[str], seed: int
) -> list[Recipe]:
    drawn = range(1, draws + 1)
    known: dict[str, list[Callable[[], Recipe | None]]] = {
        "narrower dense": [partial(narrower, full, train, budget, seed)],
        "minimum count": [partial(minimum_count, full, train, budget, seed)],
        "random fields": [partial(random_fields, full, train, budget, seed, d) for d in drawn],
        "global magnitude": [partial(magnitude, full, budget)],
        "int8 alone": [partial(int8_alone, full)],
    }
    ways = [way for kind in KINDS if kind in kinds for way in known[kind]]
    recipes = [way() for way in progress(ways, "sizes", len(ways))]
    there = [recipe for recipe in recipes if recipe is not None]
    smallest = min(there, key=lambda recipe: recipe.bytes)
    if smallest.bytes > budget:
        constraint = f"at least {smallest.bytes:,}, the smallest baseline's ({smallest.name})"
        raise ParameterError.of("bytes", "baselines", constraint, budget)
    return there


def _made(bench: _Bench, recipe: Recipe, _: np.random.Generator) -> tuple[Ranker, dict[str, float]]:
    """Train one baseline; return it as stored, and its metrics."""
    model, tuning = recipe.start, bench.tuning
    # Encoded once, not by every training.
    tuning = replace(tuning, rows=model.aligned(tuning.rows), valid=model.aligned(tuning.valid))
    if recipe.begins == "anew":
        model.history = model.train_on(tuning.rows, valid=tuning.valid)
    if not recipe.zeros:
        tuning = replace(tuning, training=replace(tuning.training, keep_zeros=True))
    model = bench.effort.given_to(model, tuning)
    model = encode(model)
    logger.info("baseline %s: trained", recipe.name)
    return model, _scores(model, bench.rows)


def _scores(model: Ranker, rows: Split) -> dict[str, float]:
    rows = model.aligned(rows)
    logits: NDArray[np.float32] = model.logits(rows.rows)
    return {name: held_out_score(name, rows, logits) for name in METRICS}
