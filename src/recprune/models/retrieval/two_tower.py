"""Two towers: a user's vector from their columns, an item's from its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recprune.encoding import Encoder, Rows
from recprune.errors import DataError, ParameterError
from recprune.models.draft import Draft
from recprune.models.layers import Flow, Hidden
from recprune.models.objective import Objective
from recprune.models.parts.towers import SIDES, VECTORS, TowersPart
from recprune.models.retrieval.positives import Positives
from recprune.models.retrieval.retriever import Retriever
from recprune.models.retrieval.softmax import InBatchSoftmax
from recprune.models.taps import Tap
from recprune.models.training import Training

__all__ = ["TwoTower"]

F32 = NDArray[np.float32]
#: Rows that run through a tower at once.
BLOCK = 8192


class TwoTower(Retriever):
    """Two towers by softmax over the batch's items, corrected for their popularity (Yi et al. 2019).

    The user's tower reads user and context fields, the item's item fields, of any kind; what is not
    an id lets it rank for new users and new items. Vectors are not normalised, so that their length
    can say how popular an item is.

    Args:
        dim: dims of every field's embedding.
        hidden: the hidden layers of each tower, or their sizes; at least one.
        vector: dims of the towers' vectors.
        temperature: while training, scores are divided by it.
        training: how to train; None = at most 100 epochs; see the base.
        seed: of the initial weights and of training.

    Raises:
        ParameterError: an option out of range.
    """

    wide = False

    def __init__(
        self,
        dim: int = 16,
        hidden: Hidden | tuple[int, ...] = (128,),
        vector: int = 64,
        temperature: float = 1.0,
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, hidden, training or self.usual_training(), seed)
        if not self.hidden.sizes:
            raise ParameterError.of("hidden", "TwoTower", "at least one layer", hidden)
        if not (isinstance(vector, int) and 1 <= vector <= 4096):
            raise ParameterError.of("vector", "TwoTower", "an int in [1, 4096]", vector)
        if not (isinstance(temperature, int | float) and 0 < temperature < float("inf")):
            raise ParameterError.of("temperature", "TwoTower", "a finite float > 0", temperature)
        self.vector, self.temperature = vector, temperature

    def declare(self, draft: Draft) -> None:
        """Enter the towers."""
        TowersPart.declare(draft, self.hidden, self.vector)

    def fields_of(self, encoder: Encoder) -> Encoder:
        """Return the encoder as it is, if its fields make two towers.

        Raises:
            DataError: a cross field, which is neither the user's nor the item's, or a tower
                without fields.
        """
        sources = {f.name: f.source for f in encoder.schema.fields}
        if cross := [name for name, source in sources.items() if source == "cross"]:
            raise DataError(
                f"Cross field {cross[0]!r} depends on user and item together, and a tower reads only "
                "one of them. Drop it, or train a ranker."
            )
        for side, wanted in SIDES.items():
            if not any(source in wanted for source in sources.values()):
                raise DataError(
                    f"The {side}'s tower has no field: none has source {' or '.join(wanted)}. Name "
                    "the id columns with user=… and item=…, or state sources in the schema."
                )
        return encoder

    def learns(self, positives: Positives) -> tuple[Objective, Mapping[str, Tap]]:
        """Return the softmax, and the tap through which it sees the vectors."""
        softmax = InBatchSoftmax(positives, self.temperature)
        return softmax, {VECTORS: softmax.see}

    def user_vectors(self, rows: Rows) -> F32:
        """Return the users' vectors, shape ``(n, V)``."""
        return self._vectors("user", rows)

    def item_vectors(self, rows: Rows) -> F32:
        """Return the items' vectors, shape ``(n, V)``."""
        return self._vectors("item", rows)

    @torch.no_grad()
    def _vectors(self, side: str, rows: Rows) -> F32:
        net = self.net
        part: Any = net.parts["towers"]
        out = [np.empty((0, part.width), np.float32)]
        for _, block in rows.blocks(BLOCK):
            embedding = net.embed(block)[:, :, int(net.shape.wide) :]
            out.append(part.vector(side, embedding, Flow()).cpu().numpy())
        return np.concatenate(out)
