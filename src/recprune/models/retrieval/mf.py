"""Matrix factorisation: a vector for each user and each item, and a bias for each item."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from recprune.data import Negatives, Split
from recprune.encoding import Encoder, Rows
from recprune.errors import DataError, ParameterError
from recprune.models.draft import Draft
from recprune.models.objective import Objective
from recprune.models.parts import FMPart
from recprune.models.retrieval.bpr import Bpr
from recprune.models.retrieval.positives import Positives
from recprune.models.retrieval.retriever import Retriever
from recprune.models.taps import Tap
from recprune.models.training import Training

__all__ = ["MF"]

F32 = NDArray[np.float32]


class MF(Retriever):
    """Matrix factorisation by BPR (Rendle et al. 2009, section 4.3.1).

    An FM on two fields, the user's and the item's id: all others are left out. The user's own
    first-order weight orders nothing and stays zero.

    Args:
        dim: dims of a vector.
        per_positive: negatives drawn for a positive at every step.
        alpha: they are drawn by the item's popularity to this power; 0 = all items alike.
        training: how to train; None = at most 100 epochs; see the base.
        seed: of the initial weights and of training.

    Raises:
        ParameterError: an option out of range.
    """

    def __init__(
        self,
        dim: int = 64,
        per_positive: int = 4,
        alpha: float = 0.0,
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, (), training or self.usual_training(), seed)
        if not dim:
            raise ParameterError.of("dim", type(self).__name__, "at least 1", dim)
        self.negatives = Negatives(per_positive, alpha=alpha)
        self.per_positive, self.alpha = per_positive, alpha

    def declare(self, draft: Draft) -> None:
        """Enter the product of the two vectors."""
        FMPart.declare(draft)

    def fields_of(self, encoder: Encoder) -> Encoder:
        """Return the encoder of the user's and the item's id alone.

        Raises:
            DataError: an id is no field, or not a categorical one.
        """
        schema = encoder.schema
        names = (schema.user, schema.item)
        for role, name in zip(("user", "item"), names, strict=True):
            kind = next((f.kind for f in schema.fields if f.name == name), None)
            if kind != "categorical":
                raise DataError(
                    f"{type(self).__name__} needs the {role}'s id as a categorical field; it is "
                    f"{kind or 'no field'} here. Name its column with {role}=…, and do not drop it."
                )
        return encoder.take((str(schema.user), str(schema.item)), {})

    def aligned(self, split: Split) -> Split:
        """Return the split with the ids alone, in this model's codes."""
        if split.encoder is not self.encoder:
            split = split.only(self.fields_of(split.encoder))
        return super().aligned(split)

    def learns(self, positives: Positives) -> tuple[Objective, Mapping[str, Tap]]:
        """Return BPR, which needs no tap."""
        return Bpr(positives, self.negatives), {}

    def user_vectors(self, rows: Rows) -> F32:
        """Return the users' vectors and a one, shape ``(n, D + 1)``."""
        embedding = self._embedded(rows, self.encoder.schema.user)[:, 1:]
        return np.concatenate([embedding, np.ones((len(rows), 1), np.float32)], axis=1)

    def item_vectors(self, rows: Rows) -> F32:
        """Return the items' vectors and biases, shape ``(n, D + 1)``."""
        value = self._embedded(rows, self.encoder.schema.item)
        return np.concatenate([value[:, 1:], value[:, :1]], axis=1)

    @torch.no_grad()
    def _embedded(self, rows: Rows, name: str | None) -> F32:
        """Return a field's values, shape ``(n, 1 + D)``; zeros if the field was cut."""
        names = self.encoder.schema.names
        if name not in names:
            return np.zeros((len(rows), self.net.shape.width), np.float32)
        value: F32 = self.net.embed(rows)[:, names.index(name)].cpu().numpy()
        return value
