"""The rows that a method of importance may see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recprune.data import Dataset, Split
from recprune.data.split import halves
from recprune.encoding import Encoder
from recprune.errors import ParameterError
from recprune.models import Ranker

__all__ = ["Evidence"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Rows to learn from and rows to score on: never test rows, and never the gate's.

    Where only one split is given, both are that split; :meth:`apart` halves it for the methods
    that need rows of two kinds. Rows of weight 0 are left out, and the weights of the others have
    mean 1: to a method, rows that do not count do not exist.

    Args:
        given_train: training rows, in any encoding that the model descends from.
        given_held_out: rows that the model was not trained on, likewise.
        model: in whose codes :attr:`train` and :attr:`held_out` are; None = in their own.
    """

    given_train: Split
    given_held_out: Split
    model: Ranker | None = None

    @classmethod
    def of(cls, data: Dataset | Split | Evidence, model: Ranker | None = None) -> Evidence:
        """Return a data set's training and tune rows, or one split for both.

        Raises:
            ParameterError: neither a data set nor a split.
        """
        if isinstance(data, Evidence):
            return replace(data, model=model)
        if isinstance(data, Split):
            return cls(data, data, model)
        if isinstance(data, Dataset):
            return cls(data.train, data.tune, model)
        raise ParameterError.of("data", "importance", "a Dataset or a Split", data)

    @cached_property
    def train(self) -> Split:
        """Rows to learn from."""
        return self._aligned(self.given_train)

    @cached_property
    def held_out(self) -> Split:
        """Rows to score on."""
        if self.given_held_out is self.given_train:
            return self.train
        return self._aligned(self.given_held_out)

    @property
    def encoder(self) -> Encoder:
        """Of the fields that are scored."""
        return self.given_train.encoder if self.model is None else self.model.encoder

    @property
    def weight(self) -> NDArray[np.float32] | None:
        """How much each held-out row counts, shape (n,); None = alike."""
        return self.held_out.extras.weight

    def apart(self, seed: int) -> tuple[Split, Split]:
        """Return rows to learn weights from and others to learn gates from, no user in both.

        These are the training and the held-out rows, or halves of the one split that there is.
        """
        if self.given_train is not self.given_held_out:
            return self.train, self.held_out
        one, two = halves(self.train.label, self.train.users, seed)
        return self.train.take(one), self.train.take(two)

    def _aligned(self, split: Split) -> Split:
        weight = split.extras.weight
        if not (len(split) if weight is None else weight.any()):
            raise ParameterError(
                "Importance needs rows that count: of these, none does. Give others."
            )
        if weight is not None and not weight.all():
            split = split.take(np.flatnonzero(weight))
            weight = weight[weight > 0]
            extras = replace(split.extras, weight=(weight / weight.mean()).astype(np.float32))
            split = replace(split, extras=extras)
        return split if self.model is None else self.model.aligned(split)
