"""Training that ends at a given step, as if somebody had stopped it there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from recprune.models.step import Step

__all__ = ["stopping"]


def stopping(monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> Callable[[int], None]:
    """Return what sets the step, counted from 1 and from then on, in whose place ``error`` comes.

    After it, training goes on as ever.
    """
    take, left = Step.take, 0

    def taken(step: Step, *arguments: object) -> float:
        nonlocal left
        left -= 1
        if not left:
            raise error
        return take(step, *arguments)  # type: ignore[arg-type]

    def at(step: int) -> None:
        nonlocal left
        left = step

    monkeypatch.setattr(Step, "take", taken)
    return at
