"""Uniform draws for the rows of a batch, of which a process may have a part."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Dealt", "Draws", "generator_of", "uniform"]


@dataclass(frozen=True)
class Dealt:
    """A stream of draws for a whole batch, of which this process takes those of its own rows.

    Every process draws for all rows, so that the streams stay together, and each row's draws are
    the same wherever it is.

    Args:
        generator: the stream.
        part: the process's rows of the batch.
        rows: rows of the batch.
    """

    generator: torch.Generator
    part: slice
    rows: int


#: Where a step's draws come from.
Draws = torch.Generator | Dealt


def uniform(shape: torch.Size | tuple[int, ...], draws: Draws) -> Tensor:
    """Return draws from [0, 1), of this shape, whose first axis is the rows at hand.

    >>> whole = uniform((4, 2), torch.Generator().manual_seed(0))
    >>> part = uniform((3, 2), Dealt(torch.Generator().manual_seed(0), slice(1, 4), 4))
    >>> torch.equal(part, whole[1:])
    True
    """
    if isinstance(draws, Dealt):
        return torch.rand(draws.rows, *shape[1:], generator=draws.generator)[draws.part]
    return torch.rand(shape, generator=draws)


def generator_of(draws: Draws) -> torch.Generator:
    """Return the stream itself."""
    return draws.generator if isinstance(draws, Dealt) else draws
