"""Models that a search tried, and which of them nothing else beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recprune.data import Split
from recprune.evaluation import Verdict
from recprune.metrics import auc
from recprune.models import Ranker
from recprune.pipeline.budget import Sizes
from recprune.pruning import BITS, encode, encoded_size

__all__ = ["Candidate", "Latency", "Rough", "Scale", "Trial", "Tried", "front", "scored"]

Logits = NDArray[np.float32]


class Latency(Protocol):
    """What tells how long an answer takes, as :class:`HostProfile` does."""

    def latency_us(self, model: Ranker, rows: int = 1) -> float:
        """Return the microseconds of an answer of so many rows."""

    def to_json(self) -> dict[str, Any]:
        """Return the profile as plain data."""


@dataclass(frozen=True)
class Scale:
    """What models are weighed by.

    Args:
        profile: of the host that shall serve them; None = latency is not known.
        rows: of the answer whose latency counts.
    """

    profile: Latency | None = None
    rows: int = 1000

    def sizes(self, model: Ranker, bits: str) -> Sizes:
        """Return what a model takes once it is stored in these bits."""
        latency = self.latency(model)
        size = encoded_size(model, *BITS[bits])
        return Sizes(size, float("nan") if latency is None else latency, model.params)

    def latency(self, model: Ranker) -> float | None:
        """Return a model's microseconds; None without a profile."""
        return None if self.profile is None else self.profile.latency_us(model, self.rows)


@dataclass(frozen=True)
class Trial:
    """A model that was tried: what it is, takes and scores.

    Args:
        label: what was cut for it, in words.
        bits: how it is stored (:data:`recprune.pruning.BITS`).
        sizes: what it takes.
        units: what it keeps, by kind: fields, rows, dims, neurons, tables, layers.
        auc_tune: of the tune rows, as stored.
        drop: of that AUC by its last step, after a short fine-tuning.
        error: standard error of the drop.
        seconds: that making it took.
    """

    label: str
    bits: str
    sizes: Sizes
    units: Mapping[str, Any]
    auc_tune: float
    drop: float = 0.0
    error: float = 0.0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the trial as plain data; see :meth:`from_json`."""
        return {
            "label": self.label,
            "bits": self.bits,
            **self.sizes.to_json(),
            "units": dict(self.units),
            "auc_tune": self.auc_tune,
            "drop": self.drop,
            "error": self.error,
            "seconds": round(self.seconds, 3),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Trial:
        """Return the trial again."""
        kept = dict(told)
        sizes = (kept.pop(name) for name in Sizes._fields)
        return cls(sizes=Sizes(*(float("nan") if s is None else s for s in sizes)), **kept)


@dataclass(frozen=True, eq=False)
class Rough:
    """A model that was cut, before it is fine-tuned and stored as it would ship.

    Args:
        label: what was cut, in words.
        model: before it is encoded.
        bits: how it will be stored.
    """

    label: str
    model: Ranker
    bits: str


@dataclass(frozen=True, eq=False)
class Tried:
    """A trial with its model.

    Args:
        trial: what it is and scores.
        model: its ranker.
    """

    trial: Trial
    model: Ranker

    @property
    def label(self) -> str:
        """What was cut, in words."""
        return self.trial.label

    @property
    def bits(self) -> str:
        """How it is stored."""
        return self.trial.bits

    @property
    def bytes(self) -> int:
        """As stored."""
        return int(self.trial.sizes.bytes)


@dataclass(frozen=True, eq=False)
class Candidate(Tried):
    """A trial that was fine-tuned as it would ship, and what the gate rows say of it.

    Args:
        trial: what it is and scores.
        model: as it is stored.
        auc_gate: of the gate rows.
        gates: the verdict against the full model by each metric that the budget limits, the AUC
            first; empty for the full model itself.
    """

    auc_gate: float
    gates: tuple[Verdict, ...] = ()

    @property
    def auc_tune(self) -> float:
        """Of the tune rows."""
        return self.trial.auc_tune

    @property
    def gate(self) -> Verdict | None:
        """The verdict by AUC; None for the full model."""
        return self.gates[0] if self.gates else None

    @property
    def outcome(self) -> str:
        """PASS if every metric's verdict is one, else FAIL if any is, else INCONCLUSIVE."""
        found = {gate.outcome for gate in self.gates} or {"PASS"}
        return next(o for o in ("FAIL", "INCONCLUSIVE", "PASS") if o in found)

    @property
    def passed(self) -> bool:
        """Whether the gate rows let it pass; the full model has nothing to pass."""
        return self.outcome == "PASS"

    def judged(self) -> dict[str, Any]:
        """Return what the gate rows say, as plain data."""
        gate = self.gate
        return {
            "auc_gate": self.auc_gate,
            "difference": gate.difference if gate else 0.0,
            "ci": list(gate.ci) if gate else [0.0, 0.0],
            "outcome": self.outcome,
        }


def scored(rough: Rough, tune: Split, scale: Scale) -> tuple[Trial, Logits]:
    """Return what a model is, takes and scores as it is stored, and its logits of the tune rows."""
    label, model, bits = rough.label, rough.model, rough.bits
    stored = encode(model, *BITS[bits])
    logits = stored.logits(stored.aligned(tune).rows)
    score = auc(tune.label, logits, tune.extras.weight)
    return Trial(label, bits, scale.sizes(model, bits), _units(model, bits), score), logits


def front(trials: Sequence[Trial]) -> list[int]:
    """Return the places of the trials that no other beats, by falling bytes.

    One beats another that is no better in bytes, latency and AUC, and worse in one of them. Of
    equal ones the first stays.
    """
    taken = np.array([[t.sizes.bytes, t.sizes.latency_us, -t.auc_tune] for t in trials])
    taken = np.nan_to_num(taken, nan=0.0)
    kept = []
    for place, mine in enumerate(taken):
        no_worse, better = (taken <= mine).all(axis=1), (taken < mine).any(axis=1)
        twin = no_worse & ~better
        if not (no_worse & better).any() and not twin[:place].any():
            kept.append(place)
    return sorted(kept, key=lambda place: (-taken[place, 0], place))


def _units(model: Ranker, bits: str) -> dict[str, Any]:
    tables, layers = BITS[bits]
    return {
        "fields": len(model.encoder.schema.names),
        "rows": int(sum(model.encoder.sizes)),
        "dims": max((len(d) for d in model.net.shape.dims), default=0),
        "neurons": list(model.neurons),
        "tables": tables,
        "layers": layers,
    }
