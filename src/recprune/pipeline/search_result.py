"""What a search came to: every trial, the front, the chosen model, and why it was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from recprune.errors import BudgetError
from recprune.importance import FieldRanking
from recprune.models import Ranker
from recprune.pipeline.budget import Budget
from recprune.pipeline.trial import Candidate, Trial, front
from recprune.pruning import FineTuning
from recprune.report import plots
from recprune.report.plots import styled
from recprune.report.wording import signed_text

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

__all__ = ["Search"]


@dataclass(frozen=True, eq=False)
class Search:
    """All models that a search tried.

    Args:
        budget: what was asked for.
        trials: all of them, in the order that they were tried in; the first is the full model.
        candidates: those that were fine-tuned as they would ship and judged on the gate rows; the
            full model, with the same fine-tuning, is the first.
        chosen: place of the chosen one among them.
        met: whether it keeps the budget, on tune and gate rows.
        ranking: of the fields.
        tuning: the fine-tuning that the full model and all candidates got.
        seconds: that all took, also before the search was stopped and went on.
        profile: of the host that latencies are foretold for, as plain data; None = without.
        cut_short: whether its time (``search_seconds``) was over before it was.
    """

    budget: Budget
    trials: tuple[Trial, ...]
    candidates: tuple[Candidate, ...]
    chosen: int
    met: bool
    ranking: FieldRanking
    tuning: FineTuning
    seconds: float
    profile: Mapping[str, Any] | None
    cut_short: bool = False

    @property
    def reference(self) -> Ranker:
        """The full model, with the same fine-tuning as its smaller rivals."""
        return self.candidates[0].model

    @property
    def small(self) -> Candidate:
        """The chosen model, as it is stored."""
        return self.candidates[self.chosen]

    @cached_property
    def front(self) -> tuple[Trial, ...]:
        """The trials that no other beats in bytes, latency and tune rows' AUC, by falling bytes."""
        return tuple(self.trials[place] for place in front(self.trials))

    @property
    def nearest(self) -> list[Candidate]:
        """What could be had instead of a budget that was not met.

        The best model that keeps the sizes, whatever it costs, and the smallest that costs no more
        than may be, whatever it takes.
        """
        inside = [c for c in self.candidates if c.trial.sizes.within(self.budget.limit)]
        passing = [c for c in self.candidates[1:] if c.passed] or [self.small]
        best = max(inside, key=lambda c: c.auc_tune, default=None)
        smallest = min(passing, key=lambda c: self.budget.excess(c.trial.sizes))
        return [c for c in (best, smallest) if c is not None]

    def refuse_unmet(self) -> None:
        """Raise an error that says what could be had, if the limits of size were not met.

        Raises:
            BudgetError: it was not.
        """
        if self.met or not self.budget.limited:
            return
        nearest = [
            {"label": c.label, **c.trial.sizes.to_json(), **c.judged()} for c in self.nearest
        ]
        could = "; ".join(
            f"{c.bytes:,} bytes, {c.trial.sizes.params:,} weights"
            + (f", {us:,.1f} µs" if (us := c.trial.sizes.latency_us) == us else "")
            + f": {c.outcome} ({_change(c)})"
            for c in self.nearest
        )
        raise BudgetError(
            f"No model keeps the budget ({self.budget}). What could be had, on gate rows: {could}."
            + self._late,
            nearest,
        )

    @property
    def why(self) -> str:
        """Why this model was chosen, in a sentence or two."""
        return self._why + self._late

    @property
    def _late(self) -> str:
        if not self.cut_short:
            return ""
        return " The search's time (search_seconds) was over before it had gone all the way."

    @property
    def _why(self) -> str:
        many = f"Of {len(self.trials):,} models that were tried"
        judged = f"{len(self.candidates) - 1} of them judged on gate rows"
        if not self.met and not self.budget.limited:
            asked = f"what was said of the fields is {self.small.outcome} on gate rows"
            return f"{many}, {judged}, {asked} ({_change(self.small)}); nothing else was cut."
        if not self.met:
            inside = [c for c in self.candidates if c.trial.sizes.within(self.budget.limit)]
            lost = max(inside, key=lambda c: c.auc_tune, default=None)
            said = (
                "none keeps all sizes of the budget"
                if lost is None
                else f"the best that keeps the sizes is {lost.outcome} on gate rows ({_change(lost)})"
            )
            return (
                f"{many}, {judged}, {said}; {self.small.bytes:,} bytes is the smallest that passes."
            )
        if self.chosen == 0 and self.budget.limited:
            return f"{many}, {judged}, none passes but the full one, which keeps the budget."
        if self.budget.limited:
            return (
                f"{many}, {judged}, this one keeps every size of the budget with the highest AUC on "
                f"tune rows, and passes on gate rows ({_change(self.small)})."
            )
        said = f"{many}, {judged}, this is the smallest that passes there ({_change(self.small)})."
        if self.chosen == 0:
            said = f"{many}, {judged}, no smaller one passed."
        for after in self.candidates[self.chosen + 1 :]:
            return f"{said} The next smaller one ({after.bytes:,} bytes) is {after.outcome} there."
        return said

    def to_json(self, training_seconds: float | None = None) -> dict[str, Any]:
        """Return the report's section ``search``.

        Args:
            training_seconds: of the full model, to tell the search's cost by; None = not known.
        """
        judged = {id(c.trial): c for c in self.candidates}
        best = {id(t) for t in self.front}
        none = {"auc_gate": None, "difference": None, "ci": None, "outcome": None}
        trials = [
            {
                "number": number,
                **trial.to_json(),
                **(judged[id(trial)].judged() if id(trial) in judged else none),
                "on_front": id(trial) in best,
                "chosen": trial is self.small.trial,
            }
            for number, trial in enumerate(self.trials)
        ]
        over = self.seconds / training_seconds if training_seconds else None
        return {
            "budget": self.budget.to_json(),
            "met": self.met,
            "cost": {"seconds": round(self.seconds, 1), "over_full_training": over},
            "trials": trials,
            "chosen": next(t["number"] for t in trials if t["chosen"]),
            "why": self.why,
            "profile": self.profile,
        }

    def to_frame(self) -> pl.DataFrame:
        """Return one row a trial: what it is, takes, scores, and what gate rows say of it."""
        import polars as pl

        rows = []
        for trial in self.to_json()["trials"]:
            low, high = trial.pop("ci") or (None, None)
            units = trial.pop("units")
            units["neurons"] = "-".join(map(str, units["neurons"]))
            rows.append({**trial, "ci_low": low, "ci_high": high, **units})
        return pl.DataFrame(rows, infer_schema_length=None)

    def plot(self) -> Figure:
        """Draw the front: difference of AUC by bytes, the chosen model as a star."""
        sizes = {"full": {"bytes": self.candidates[0].bytes}, "pruned": {"bytes": self.small.bytes}}
        with styled():
            return plots.front({"search": self.to_json(), **sizes})

    def __str__(self) -> str:
        lines = [f"{'bytes':>12} {'µs':>9} {'AUC, tune':>9} {'gate':<12} what was cut"]
        judged = {id(c.trial): c.outcome for c in self.candidates[1:]}
        for trial in self.front:
            latency = f"{trial.sizes.latency_us:,.1f}"
            star = "  ← chosen" if trial is self.small.trial else ""
            lines.append(
                f"{trial.sizes.bytes:>12,} {latency:>9} {trial.auc_tune:>9.4f} "
                f"{judged.get(id(trial), '–'):<12} {trial.label}{star}"
            )
        return "\n".join([*lines, self.why])


def _change(candidate: Candidate) -> str:
    gate = candidate.gate
    if gate is None:
        return "the full model"
    low, high = map(signed_text, gate.ci)
    return f"AUC {signed_text(gate.difference)}, {low} to {high}"
