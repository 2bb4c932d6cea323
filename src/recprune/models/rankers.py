"""The field's rankers: each names its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from recprune.errors import DataError, ParameterError
from recprune.models.draft import Draft
from recprune.models.layers import Hidden
from recprune.models.objective import CrossEntropy, Objective, Target
from recprune.models.parts import (
    CrossPart,
    DotPart,
    FinalPart,
    FMPart,
    MLPPart,
    PairsPart,
    SharedPart,
    StackPart,
)
from recprune.models.ranker import Ranker
from recprune.models.training import Training

if TYPE_CHECKING:
    from recprune.data import Split

__all__ = [
    "DLRM",
    "DNN",
    "FM",
    "LR",
    "DCNv2",
    "DeepFM",
    "FinalMLP",
    "FwFM",
    "SharedBottom",
    "WideDeep",
]

Layers = Hidden | tuple[int, ...]


class LR(Ranker):
    """Logistic regression: bias and first-order weights only."""

    def __init__(self, training: Training | None = None, seed: int = 0) -> None:
        super().__init__(dim=0, hidden=(), training=training, seed=seed)


class FM(Ranker):
    """Factorisation machine (Rendle 2010, eq. 1)."""

    def __init__(self, dim: int = 16, training: Training | None = None, seed: int = 0) -> None:
        super().__init__(dim, (), training, seed)

    def declare(self, draft: Draft) -> None:
        """Enter the pairs, where there are embeddings."""
        if self.dim:
            FMPart.declare(draft)


class FwFM(Ranker):
    """Field-weighted factorisation machine: one weight a pair of fields (Pan et al. 2018, eq. 5)."""

    def __init__(self, dim: int = 16, training: Training | None = None, seed: int = 0) -> None:
        super().__init__(dim, (), training, seed)

    def declare(self, draft: Draft) -> None:
        """Enter the weighted pairs, where there are two fields."""
        if self.dim and len(draft.names) > 1:
            PairsPart.declare(draft)


class _Deep(Ranker):
    """A ranker that has hidden layers on all embeddings."""

    def declare(self, draft: Draft) -> None:
        """Enter the hidden layers."""
        if self.hidden.sizes:
            MLPPart.declare(draft, self.hidden)


class WideDeep(_Deep):
    """First-order weights beside hidden layers (Cheng et al. 2016, eq. 3)."""


class DNN(_Deep):
    """Hidden layers alone, without first-order weights."""

    wide = False

    def __init__(
        self,
        dim: int = 16,
        hidden: Layers = (128, 64),
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, _some("hidden", "DNN", hidden), training, seed)


class DeepFM(_Deep):
    """FM and hidden layers over shared embeddings (Guo et al. 2017, eq. 1)."""

    def declare(self, draft: Draft) -> None:
        """Enter the pairs, then the hidden layers."""
        if self.dim:
            FMPart.declare(draft)
        super().declare(draft)


class DCNv2(Ranker):
    """Cross layers beside or below hidden layers (Wang et al. 2021, section 3).

    Args:
        dim: dims of every field's embedding.
        hidden: the hidden layers, or their sizes.
        crosses: cross layers.
        structure: ``"parallel"``: both read the embeddings, and their outputs are added;
            ``"stacked"``: the hidden layers read the last cross layer.
        training: how to train.
        seed: of the initial weights and of training.
    """

    wide = False

    def __init__(
        self,
        dim: int = 16,
        hidden: Layers = (128, 64),
        crosses: int = 3,
        structure: Literal["parallel", "stacked"] = "parallel",
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, hidden, training, seed)
        if not isinstance(crosses, int) or crosses < 1:
            raise ParameterError.of("crosses", "DCNv2", "an int ≥ 1", crosses)
        if structure not in ("parallel", "stacked"):
            raise ParameterError.of("structure", "DCNv2", "'parallel' or 'stacked'", structure)
        if structure == "stacked":
            _some("hidden", "DCNv2", hidden)
        self.crosses, self.structure = crosses, structure

    def declare(self, draft: Draft) -> None:
        """Enter cross and hidden layers."""
        if self.structure == "stacked":
            StackPart.declare(draft, self.crosses, self.hidden)
            return
        CrossPart.declare(draft, self.crosses)
        if self.hidden.sizes:
            MLPPart.declare(draft, self.hidden)


class FinalMLP(Ranker):
    """Two gated streams of hidden layers, fused by bilinear forms (Mao et al. 2023).

    The gates of the first stream follow the fields of users, those of the second the fields of
    items; without such fields they are the same for all rows.

    Args:
        dim: dims of every field's embedding.
        hidden: hidden layers of the first stream.
        second: hidden layers of the second stream; None = as the first's.
        heads: bilinear forms; each fuses its own piece of the two last layers.
        training: how to train.
        seed: of the initial weights and of training.
    """

    wide = False

    def __init__(
        self,
        dim: int = 16,
        hidden: Layers = (128, 64),
        second: Layers | None = None,
        heads: int = 2,
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, _some("hidden", "FinalMLP", hidden), training, seed)
        self.second = self.hidden if second is None else _some("second", "FinalMLP", second)
        last = [h.sizes[-1] for h in (self.hidden, self.second)]
        if not isinstance(heads, int) or heads < 1 or any(size % heads for size in last):
            constraint = f"an int ≥ 1 that divides the streams' last layers, {last}"
            raise ParameterError.of("heads", "FinalMLP", constraint, heads)
        self.heads = heads

    def declare(self, draft: Draft) -> None:
        """Enter gates, streams and their fusion."""
        FinalPart.declare(draft, self.hidden, self.second, self.heads)


class DLRM(Ranker):
    """Inner products of all vectors below hidden layers (Naumov et al. 2019).

    Args:
        dim: dims of every field's embedding.
        hidden: the layers on top of the products.
        bottom: the layers that turn all numeric fields into one vector.
        training: how to train.
        seed: of the initial weights and of training.
    """

    wide = False

    def __init__(
        self,
        dim: int = 16,
        hidden: Layers = (128, 64),
        bottom: Layers = (64,),
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, _some("hidden", "DLRM", hidden), training, seed)
        self.bottom = _some("bottom", "DLRM", bottom)

    def declare(self, draft: Draft) -> None:
        """Enter bottom, products and top."""
        kinds = [f.kind for f in draft.fields]
        if "numeric" not in kinds and len(kinds) < 2:
            raise DataError("DLRM needs a numeric field or two others. Use LR or DNN on one field.")
        DotPart.declare(draft, self.bottom, self.hidden)


class SharedBottom(Ranker):
    """One logit a label (click, purchase) on shared hidden layers (Caruana 1997, section 1).

    The first label is the table's own; it is what ``logits`` and early stopping speak of. The
    others are the schema's ``other_labels``; a row whose label is missing teaches that label
    nothing.

    Args:
        dim: dims of every field's embedding.
        hidden: the shared layers.
        own: each label's own layers, after the shared ones.
        training: how to train.
        seed: of the initial weights and of training.
    """

    wide = False

    def __init__(
        self,
        dim: int = 16,
        hidden: Layers = (128,),
        own: Layers = (64,),
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, _some("hidden", "SharedBottom", hidden), training, seed)
        self.own = Hidden.of(own)

    def labels_of(self, split: Split) -> tuple[str, ...]:
        """Return the table's label and its further ones."""
        return (split.encoder.schema.label, *split.extras.labels)

    def declare(self, draft: Draft) -> None:
        """Enter shared layers and each label's own."""
        SharedPart.declare(draft, self.hidden, self.own, draft.shapes["bias"][0])

    def objective(self, split: Split, teacher: NDArray[np.float32] | None = None) -> Objective:
        """Return the cross-entropy of all labels, each counting alike."""
        others = split.extras.labels.values()
        labels = np.stack([split.label, *others], axis=1) if others else split.label
        classes = self.training.class_weight
        return CrossEntropy(Target(labels, teacher, rows=split.extras.weight, classes=classes))


def _some(name: str, owner: str, hidden: Layers) -> Hidden:
    """Return the hidden layers, of which there must be one."""
    layers = Hidden.of(hidden)
    if not layers.sizes:
        raise ParameterError.of(name, owner, "at least one layer", layers.sizes)
    return layers
