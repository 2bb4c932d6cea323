"""What an alarm says, when it may be raised, and how often a false one is allowed."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ParameterError

__all__ = ["BLOCK", "Alarm", "Bells", "State", "Watching", "under"]

#: Events after which what fades fades, so that nothing depends on where chunks end.
BLOCK = 4096

State = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Alarm:
    """Something moved.

    Args:
        kind: ``"shadow"`` (a dropped field matters), ``"importance"`` (a kept one stopped to, or
            matters far more), ``"calibration"`` or ``"input"``.
        field: the column; None = the model as a whole.
        event: number of the event that raised it, from 0.
        detail: figures that led to it.
    """

    kind: str
    field: str | None
    event: int
    detail: dict[str, float] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the alarm as a log has it."""
        return {
            "kind": self.kind,
            "field": self.field,
            "event": self.event,
            "detail": {name: round(value, 6) for name, value in self.detail.items()},
        }

    def __str__(self) -> str:
        of = "" if self.field is None else f" of {self.field!r}"
        figures = ", ".join(f"{name} {value:.4g}" for name, value in self.detail.items())
        return f"{self.kind} drift{of} at event {self.event:,}: {figures}"


@dataclass(frozen=True)
class Watching:
    """How closely to watch.

    Args:
        run_length: each sequential test raises at most one false alarm in so many events, on
            average (its average run length); a whole watch of *t* tests at most *t*.
        auc: what is worth an alarm: a dropped field that would add more AUC than that.
        memory: events over which figures of late fade by e.
        window: events of the reference, and of each look at the inputs. No test of the model's
            calibration, importance or inputs raises an alarm within the first one.
        every: events from one look at the importances to the next.
        seed: of the rows that are looked at.

    Raises:
        ParameterError: a value outside what is said here.
    """

    run_length: float = 1e9
    auc: float = 0.002
    memory: int = 20_000
    window: int = 50_000
    every: int = 100_000
    seed: int = 0

    def __post_init__(self) -> None:
        owner = "Watching"
        if not (math.isfinite(self.run_length) and self.run_length > 1):
            raise ParameterError.of("run_length", owner, "a number above 1", self.run_length)
        if not 0 < self.auc < 0.5:
            raise ParameterError.of("auc", owner, "a number in (0, 0.5)", self.auc)
        for name in ("memory", "window", "every"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < BLOCK:
                raise ParameterError.of(name, owner, f"an int ≥ {BLOCK}", value)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ParameterError.of("seed", owner, "an int ≥ 0", self.seed)


class Bells:
    """One alarm a drift: a bell that rang rings again only after things were calm.

    Args:
        n: bells.
        rest: events for which a bell that rang stays silent at least.
    """

    def __init__(self, n: int, rest: int) -> None:
        self.rest = rest
        self.armed = np.ones(n, np.bool_)
        self.rang = np.full(n, -1, np.int64)

    def ring(self, loud: NDArray[np.bool_], event: int) -> NDArray[np.int64]:
        """Return which bells ring now."""
        found = np.flatnonzero(loud & self.armed)
        self.armed[found], self.rang[found] = False, event
        return found

    def settle(self, calm: NDArray[np.bool_], event: int) -> None:
        """Arm again those whose cause is gone."""
        self.armed |= calm & (event - self.rang >= self.rest)

    def state(self) -> State:
        """Return what :meth:`restore` takes."""
        return {"armed": self.armed.copy(), "rang": self.rang.copy()}

    def restore(self, state: State) -> None:
        """Go on from there."""
        self.armed, self.rang = state["armed"].copy(), state["rang"].copy()


def under(name: str, state: State) -> State:
    """Return the part of a state whose names begin so, without it.

    >>> under("a", {"a.x": np.zeros(1), "ab.x": np.zeros(1)}).keys()
    dict_keys(['x'])
    """
    start = f"{name}."
    return {k.removeprefix(start): v.copy() for k, v in state.items() if k.startswith(start)}
