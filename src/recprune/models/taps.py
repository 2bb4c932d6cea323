"""Taps: functions on the value that flows through the units of an axis."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

__all__ = ["Tap"]

#: ``fn(value, index)`` sees the value that flows through an axis's units and returns its
#: replacement: of ``"fields"`` (B, F, W), of an axis of neurons or pairs (B, units). ``index``
#: holds the table row of each value, shape (B, S), for the tap ``"rows"``, and is None elsewhere.
Tap = Callable[[Tensor, Tensor | None], Tensor]
