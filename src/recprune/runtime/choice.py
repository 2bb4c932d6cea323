"""Among which items a request chooses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from recprune.topk import check_k

__all__ = ["Among", "Choice", "Places"]

IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Places:
    """Items of one scorer's catalogue, looked up once: see :meth:`recprune.runtime.Scorer.places`.

    Args:
        at: their positions.
    """

    at: IntArray


class Among(TypedDict, total=False):
    """Which items may be recommended: options that every request takes, all of which must hold.

    Args:
        candidates: item ids to choose from; None (the default) = the whole catalogue.
        filter: item column → what it may be: a text or several, a number, or a range ``"2..5"``,
            ``"2.."``, ``"..5"``; see :mod:`recprune.runtime.filters`. None (the default) = anything.
        deny: item ids to leave out whoever asks, such as what is sold out; unknown ones are ignored.
            It does what ``seen`` does, which comes with one user.
        hidden: likewise, items that many requests leave out, looked up once by
            :meth:`recprune.runtime.Scorer.places`. None (the default) = there are none.
        strict: whether a candidate that is not in the catalogue, or a text of the filter that no
            item has, is an error (the default) or is left out.
    """

    candidates: Iterable[Any] | None
    filter: Mapping[str, Any] | None
    deny: Iterable[Any]
    hidden: Places | None
    strict: bool


@dataclass(frozen=True, eq=False)
class Choice:
    """How many items are wanted, and among which.

    Args:
        k: how many, at least 1.
        only: positions in the catalogue to choose from; None = all.
        without: positions to leave out.

    Raises:
        ParameterError: ``k`` is not a positive whole number.
    """

    k: int
    only: IntArray | None
    without: IntArray

    def __post_init__(self) -> None:
        check_k(self.k, "recommend")

    def also_without(self, places: IntArray) -> Choice:
        """Return the choice with more positions left out."""
        if not len(places):
            return self
        if len(self.without):
            places = np.concatenate([self.without, places])
        return Choice(self.k, self.only, places)

    def open(self, n: int) -> NDArray[np.bool_]:
        """Return which of ``n`` items may be returned, shape ``(n,)``."""
        mask = np.full(n, self.only is None)
        if self.only is not None:
            mask[self.only] = True
        mask[self.without] = False
        return mask
