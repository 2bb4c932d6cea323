"""What came of asking which columns need not be collected: records, and their words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recprune.errors import ParameterError, nearest
from recprune.evaluation import SliceResult, Verdict
from recprune.evaluation.slices import SLICE_TOLERANCE
from recprune.models import Ranker
from recprune.report import plots
from recprune.report.plots import styled
from recprune.report.wording import (
    aligned,
    bytes_text,
    interval_text,
    listed,
    metric_name,
    number_text,
    signed_text,
)

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

__all__ = ["Minimisation", "Removal", "Step"]

STOP, KEEP = "stop collecting", "keep"


@dataclass(frozen=True, eq=False)
class Removal:
    """A model without some columns, against the full one on the same rows.

    Args:
        columns: that it does without.
        verdict: on the difference; its slices are the values of the columns and how much is known
            of a user.
        drops: metric → full less without, turned where lower is better: a positive number is harm.
        bytes: what the stored model saves.
        cost: what a year of collecting the columns costs, of those whose schema says; else None.
    """

    columns: tuple[str, ...]
    verdict: Verdict
    drops: Mapping[str, float]
    bytes: int
    cost: float | None

    @property
    def worst(self) -> SliceResult | None:
        """The slice that loses most, an alarm before others; None where none is large enough."""
        known = [s for s in self.verdict.slices if s.difference is not None]
        return min(known, key=lambda s: (s.outcome != "alarm", s.difference), default=None)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {
            "columns": list(self.columns),
            "verdict": self.verdict.to_json(),
            "drops": dict(self.drops),
            "bytes": self.bytes,
            "cost": self.cost,
        }


@dataclass(frozen=True, eq=False)
class Step:
    """One test of the sequence on the gate rows.

    Args:
        column: that was to go, beside those that had gone.
        removal: of all of them.
        bound: what the difference is above, at this step's level.
        passed: whether the bound is above minus the tolerance, and no slice raised an alarm.
    """

    column: str
    removal: Removal
    bound: float
    passed: bool

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        facts = {"column": self.column, "bound": self.bound, "passed": self.passed}
        return {**facts, **self.removal.to_json()}


@dataclass(frozen=True, eq=False)
class Minimisation:
    """Which columns need not be collected, and what each that stays is needed for.

    Args:
        alone: each column removed by itself, judged on the gate rows, in the schema's order.
        steps: the sequence that found how many can go together, on the gate rows.
        joint: all of them removed, judged once on the test rows; None if none can go.
        model: the model without them; the full one if none can go.
    """

    alone: tuple[Removal, ...]
    steps: tuple[Step, ...]
    joint: Removal | None
    model: Ranker

    @property
    def confirmed(self) -> bool:
        """Whether the test rows confirm what the gate rows let go; also where nothing went."""
        return self.joint is None or self.joint.verdict.outcome == "PASS"

    @property
    def stop(self) -> tuple[str, ...]:
        """Columns to stop collecting: those that can go together, confirmed on the test rows."""
        return self.joint.columns if self.joint is not None and self.confirmed else ()

    def __getitem__(self, column: str) -> Removal:
        """Return a column's removal by itself.

        Raises:
            ParameterError: it was not asked about.
        """
        known = {r.columns[0]: r for r in self.alone}
        if column not in known:
            raise ParameterError(
                f"The minimisation has no column {column!r}.{nearest(column, known)}"
            )
        return known[column]

    def why(self, column: str) -> str:
        """Return why a column goes or stays, in words."""
        own, name = self[column], metric_name(self[column].verdict.metric)
        change = f"{name} {signed_text(own.verdict.difference)} ({interval_text(own.verdict.ci)})"
        if column in self.stop:
            return f"without it, {change}"
        if self.joint is not None and column in self.joint.columns:
            outcome = self.joint.verdict.outcome
            return f"could go by the gate rows, but the test rows say {outcome}"
        if own.verdict.outcome == "FAIL" and own.verdict.ci[1] < -own.verdict.tolerance:
            hit = own.worst
            if hit is None or hit.outcome != "alarm":
                return f"without it, {change}"
            return f"without it, {change}, and {hit.slice} {signed_text(hit.difference)}"
        alarms = [s for s in own.verdict.slices if s.outcome == "alarm"]
        if alarms:
            alarms.sort(key=lambda s: s.difference or 0.0)
            hit_most = [f"{s.slice} ({signed_text(s.difference)})" for s in alarms]
            return f"without it, {change}, and these would lose: {listed(hit_most, 3)}"
        if own.verdict.outcome == "PASS":
            return f"could go by itself; {self._beside(column)}"
        return f"these rows cannot tell: {change}{_more(own.verdict)}"

    def _beside(self, column: str) -> str:
        """Return what the sequence says of a column that could go by itself, in words."""
        step = next((s for s in self.steps if s.column == column), None)
        if step is None:
            return "not tried beside others, since too many sets before it did not pass"
        others, found = step.removal.columns[:-1], step.removal.verdict
        change = f"{metric_name(found.metric)} {signed_text(found.difference)}"
        change += f" ({interval_text(found.ci)})"
        beside = f"beside {listed(others, 4)}" if others else "as one of several that are tried"
        if found.outcome == "FAIL":
            return f"not {beside}: {change}"
        return f"{beside}, these rows cannot tell: {change}{_more(found)}"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        first = self.alone[0].verdict
        fields = [
            {
                "column": r.columns[0],
                "decision": STOP if r.columns[0] in self.stop else KEEP,
                "why": self.why(r.columns[0]),
                **r.to_json(),
            }
            for r in self.alone
        ]
        return {
            "metric": first.metric,
            "tolerance": first.tolerance,
            "stop": list(self.stop),
            "confirmed": self.confirmed,
            "fields": fields,
            "steps": [step.to_json() for step in self.steps],
            "joint": None if self.joint is None else self.joint.to_json(),
            "findings": self.findings(),
        }

    def to_frame(self) -> pl.DataFrame:
        """Return one row a column: decision, difference with its interval, the slice that loses
        most, and what stopping saves."""
        import polars as pl

        rows = []
        for r in self.alone:
            worst = r.worst
            rows.append(
                {
                    "column": r.columns[0],
                    "decision": STOP if r.columns[0] in self.stop else KEEP,
                    "difference": r.verdict.difference,
                    "low": r.verdict.ci[0],
                    "high": r.verdict.ci[1],
                    "outcome": r.verdict.outcome,
                    "worst_slice": None if worst is None else worst.slice,
                    "worst_difference": None if worst is None else worst.difference,
                    "bytes": r.bytes,
                    "cost": r.cost,
                    "why": self.why(r.columns[0]),
                }
            )
        schema = {"worst_slice": pl.String, "worst_difference": pl.Float64, "cost": pl.Float64}
        return pl.DataFrame(rows, schema_overrides=schema, infer_schema_length=None)

    def plot(self) -> Figure:
        """Draw what removing each column does, overall and to the slice that loses most."""
        with styled():
            return plots.minimisation({"minimisation": self.to_json()})

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table for people, its head first; with costs where the schema states some."""
        name = metric_name(self.alone[0].verdict.metric)
        out: list[tuple[str, ...]] = [
            (
                "column",
                "decision",
                f"{name} without",
                "90 % interval",
                "loses most",
                "bytes",
                "cost",
            )
        ]
        every = [
            (r.columns[0], "stop" if r.columns[0] in self.stop else KEEP, r) for r in self.alone
        ]
        if self.joint is not None:
            decision = "stop" if self.confirmed else "unconfirmed"
            every.append((f"{len(self.joint.columns)} together (test)", decision, self.joint))
        for label, decision, r in every:
            worst = r.worst
            hit = "" if worst is None else f"{worst.slice} {signed_text(worst.difference)}"
            change, interval = signed_text(r.verdict.difference), interval_text(r.verdict.ci)
            cost = "" if r.cost is None else f"{r.cost:,g}"
            out.append((label, decision, change, interval, hit, bytes_text(r.bytes), cost))
        stated = any(r.cost is not None for r in self.alone)
        return out if stated else [row[:-1] for row in out]

    def findings(self) -> list[str]:
        """Return what was found, in plain sentences."""
        out = []
        if self.joint is None:
            out.append("None of these columns can be shown to be needless at this tolerance.")
        else:
            v, names = self.joint.verdict, listed(self.joint.columns, 8)
            change = (
                f"{metric_name(v.metric)} {signed_text(v.difference)} "
                f"(90 % interval {interval_text(v.ci)}) on {v.n_rows:,} test rows"
            )
            if self.confirmed:
                cost = "" if self.joint.cost is None else f"{self.joint.cost:,g} a year and "
                saves = f"it saves {cost}{bytes_text(self.joint.bytes)} a stored model"
                out.append(f"Stop collecting {names}: {change}; {saves}.")
            else:
                out.append(f"Without {names}, the test rows say {v.outcome}: {change}.")
                out += [f"{reason[:1].upper()}{reason[1:]}." for reason in v.reasons]
        out += [
            f"Keep {r.columns[0]}: {self.why(r.columns[0])}."
            for r in self.alone
            if r.columns[0] not in self.stop
        ]
        tolerance = number_text(self.alone[0].verdict.tolerance, 3)
        out.append(
            f"The promise: to lose less than {tolerance}, and no group more than {SLICE_TOLERANCE:g}."
        )
        return out

    def __str__(self) -> str:
        return "\n".join([*aligned(self.cells(), left=(0, 1, 4)), *self.findings()])


def _more(verdict: Verdict) -> str:
    """Return how many gate rows would tell, if any number would."""
    needed = verdict.rows_needed
    return "" if needed is None else f"; about {needed:,} gate rows would tell"
