"""Rankers: a network, the encoder of its inputs, and the layout of its prunable units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from recprune._support import stream
from recprune.artifact import Artifact, folder_written_whole, write_artifact
from recprune.data.encode import encode_frame
from recprune.encoding import Encoder, Rows
from recprune.errors import ArtifactError, ParameterError, RunError, nearest
from recprune.layout import Layout, Patch, Plan, State, shrink
from recprune.lookups import UNKNOWN
from recprune.models.axes import declare_axes
from recprune.models.held_out import held_out_score
from recprune.models.network import FieldNet
from recprune.models.objective import CrossEntropy, Target
from recprune.models.state import network_from_state, shape_of, state_of
from recprune.models.trainer import predict_logits, train
from recprune.models.training import Epoch, Training
from recprune.scratch import forget

if TYPE_CHECKING:
    from recprune.data import Split

__all__ = ["FM", "LR", "DeepFM", "Ranker", "ranker_of"]

T = TypeVar("T")


class Ranker:
    """Base of all rankers: fit, predict, cut, save.

    Args:
        dim: dims of every field's embedding.
        hidden: neurons of each hidden layer.
        dropout: share of hidden activations set to zero while training.
        training: how to train.
        seed: of the initial weights and of training.
    """

    fm: ClassVar[bool] = False

    def __init__(
        self,
        dim: int = 16,
        hidden: tuple[int, ...] = (128, 64),
        dropout: float = 0.0,
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        owner = type(self).__name__
        if not (isinstance(dim, int) and 0 <= dim <= 1024):
            raise ParameterError.of("dim", owner, "an int in [0, 1024]", dim)
        if not all(isinstance(h, int) and h >= 1 for h in hidden):
            raise ParameterError.of("hidden", owner, "a tuple of ints ≥ 1", hidden)
        if hidden and not dim:
            raise ParameterError.of("dim", owner, "at least 1 with hidden layers", dim)
        if not 0 <= dropout < 1:
            raise ParameterError.of("dropout", owner, "a float in [0, 1)", dropout)
        self.dim, self.hidden, self.dropout = dim, tuple(hidden), dropout
        self.training, self.seed = training or Training(), seed
        self.history: list[Epoch] = []
        self._net: FieldNet | None = None
        self._encoder: Encoder | None = None
        self._layout: Layout | None = None
        self.plan = Plan("")

    def fit(self, train_rows: Split, valid: Split | None = None, **options: Any) -> Ranker:
        """Train on a split, stopping early on the score of another.

        Args:
            train_rows: encoded rows and labels.
            valid: held-out rows; None = train for all epochs.
            options: ``checkpoint`` and ``watch`` of :func:`recprune.models.train`.

        Returns:
            self.
        """
        encoder = train_rows.encoder
        self._encoder = encoder
        self._layout = declare_axes(encoder, self.dim, self.hidden)
        self.plan = Plan(self._layout.hash)
        dims = tuple(np.arange(self.dim, dtype=np.int32) for _ in encoder.sizes)
        shape = shape_of(encoder, dims, self.dim, self.hidden, fm=self.fm)
        seed = int(stream(self.seed, "weights").integers(2**62))
        self._net = FieldNet(shape, self.dropout, torch.Generator().manual_seed(seed))
        self.history = self.train_on(train_rows, valid=valid, **options)
        return self

    def train_on(
        self,
        rows: Split,
        *,
        valid: Split | None = None,
        training: Training | None = None,
        teacher: NDArray[np.float32] | None = None,
        **options: Any,
    ) -> list[Epoch]:
        """Train further from the present weights (fine-tuning); see :func:`trainer.train`."""
        rows = self.aligned(rows)
        chosen = training or self.training
        score = None
        if valid is not None:
            score = self.held_out(self.aligned(valid), chosen.metric)
        return train(
            self.net,
            rows.rows,
            CrossEntropy(
                Target(rows.label, teacher, rows=rows.extras.weight, classes=chosen.class_weight)
            ),
            chosen,
            score=score,
            seed=self.seed,
            **options,
        )

    def aligned(self, split: Split) -> Split:
        """Return the split with its rows in this ranker's codes; cut values read as unknown.

        A split encoded by the vocabulary that this ranker descends from is renumbered; any other
        is encoded again from its raw columns.
        """
        if split.encoder is self.encoder:
            return split
        if split.encoder.hash() != self.layout.vocab_hash:
            return replace(
                split, rows=encode_frame(self.encoder, split.columns), encoder=self.encoder
            )
        given, names = split.encoder, self.encoder.schema.names
        aligned = split.rows.select(*given.columns_of(names))
        for name, slots in zip(names, self.encoder.slots, strict=True):
            units = self.layout.axes[f"rows.{name}"].units
            renumber = np.full(given.parts[name].rows, UNKNOWN, np.int32)
            renumber[units] = np.arange(len(units), dtype=np.int32)
            for slot in range(slots.start, slots.stop):
                aligned.codes[:, slot] = renumber[aligned.codes[:, slot]]
            forget(aligned.codes)
        return replace(split, rows=aligned, encoder=self.encoder)

    def held_out(self, valid: Split, name: str) -> Callable[[], float]:
        """Return a function that scores the present weights on ``valid`` by the training's metric."""
        return lambda: held_out_score(name, valid, self.logits(valid.rows))

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the logits of encoded rows, shape (n_rows,)."""
        return predict_logits(self.net, rows)

    def predict(self, rows: Rows) -> NDArray[np.float32]:
        """Return the probability of label 1 of encoded rows, shape (n_rows,)."""
        logits = self.logits(rows).astype(np.float64)
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)

    @property
    def net(self) -> FieldNet:
        """The torch network."""
        return self._fitted(self._net)

    @property
    def encoder(self) -> Encoder:
        """Vocabularies and knots of the fields."""
        return self._fitted(self._encoder)

    @property
    def layout(self) -> Layout:
        """The prunable axes as they are now."""
        return self._fitted(self._layout)

    @property
    def state(self) -> State:
        """The weights: tensor name → fp32 array, shapes as ``layout.shapes``."""
        return state_of(self.net, self.layout)

    @property
    def params(self) -> int:
        """Number of weights."""
        return sum(int(np.prod(shape)) for shape in self.layout.shapes.values())

    def with_state(
        self, state: State, layout: Layout | None = None, encoder: Encoder | None = None
    ) -> Ranker:
        """Return a new ranker of the same class with these weights; this one is unchanged."""
        return self.built_from(state, layout or self.layout, encoder or self.encoder)

    def built_from(self, state: State, layout: Layout, encoder: Encoder) -> Ranker:
        """Return a ranker of this one's class and options with the given weights and fields."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._layout, twin._encoder = layout, encoder
        twin._net = network_from_state(state, layout, encoder, fm=self.fm, dropout=self.dropout)
        twin.hidden = twin._net.shape.hidden
        return twin

    def apply(self, plan: Plan, patch: Patch | None = None) -> Ranker:
        """Return the smaller ranker that a plan makes of this one; this one is unchanged."""
        state, layout = shrink(self.state, self.layout, plan, patch)
        kept_fields = tuple(
            f for i, f in enumerate(self.encoder.schema.names) if f"rows.{f}" in layout.axes
        )
        # Row axes count in original coordinates; the present encoder's rows are positions in them.
        rows = {
            f: np.searchsorted(self.layout.axes[f"rows.{f}"].units, layout.axes[f"rows.{f}"].units)
            for f in kept_fields
        }
        smaller = self.with_state(state, layout, self.encoder.take(kept_fields, rows))
        both = self.plan | plan
        kept = {name: layout.axes[name].units for name in both.keep if name in layout.axes}
        smaller.plan = Plan(both.layout_hash, kept, both.encoding)
        return smaller

    def artifact(self, **extra: Any) -> Artifact:
        """Return what :meth:`save` writes; ``extra`` are further fields of :class:`Artifact`."""
        model = {
            "class": type(self).__name__,
            "dim": self.dim,
            "fm": self.fm,
            "hidden": list(self.hidden),
        }
        return Artifact(model, self.state, self.layout, self.plan, self.encoder, **extra)

    def save(self, path: str | Path) -> int:
        """Write the artefact folder, whole or not at all; return its bytes."""
        from recprune import __version__

        with folder_written_whole(Path(path)) as folder:
            return write_artifact(folder, self.artifact(), __version__)

    def _fitted(self, part: T | None) -> T:
        if part is None:
            name = type(self).__name__
            raise RunError(f"This {name} is not fitted yet. Call {name}.fit(train, valid) first.")
        return part


class LR(Ranker):
    """Logistic regression: bias and first-order weights only."""

    def __init__(self, training: Training | None = None, seed: int = 0) -> None:
        super().__init__(dim=0, hidden=(), training=training, seed=seed)


class FM(Ranker):
    """Factorisation machine (Rendle 2010, eq. 1)."""

    fm = True

    def __init__(self, dim: int = 16, training: Training | None = None, seed: int = 0) -> None:
        super().__init__(dim=dim, hidden=(), training=training, seed=seed)


class DeepFM(Ranker):
    """FM and hidden layers over shared embeddings (Guo et al. 2017, eq. 1)."""

    fm = True


def ranker_of(artifact: Artifact) -> Ranker:
    """Return the trainable ranker of an artefact.

    Raises:
        ArtifactError: the artefact's model class is not one of this version's.
    """
    classes: dict[str, type[Ranker]] = {c.__name__: c for c in (LR, FM, DeepFM)}
    name = artifact.model.get("class")
    if name not in classes:
        raise ArtifactError(f"There is no model class {name!r}.{nearest(str(name), classes)}")
    ranker = classes[name].__new__(classes[name])
    Ranker.__init__(ranker, int(artifact.model["dim"]), tuple(artifact.model["hidden"]))
    whole = ranker.built_from(artifact.state, artifact.layout, artifact.encoder)
    whole.plan = artifact.plan
    return whole
