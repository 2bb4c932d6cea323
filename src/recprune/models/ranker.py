"""What every ranker is: a network, the encoder of its inputs, the layout of its prunable units."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from recprune._support import stream
from recprune.artifact import Artifact, folder_written_whole, write_artifact
from recprune.axes import Layout
from recprune.data.encode import encode_frame
from recprune.encoding import Encoder, Rows
from recprune.errors import ParameterError, RunError
from recprune.layout import Patch, Plan, State, composed, shrink, state_hash
from recprune.lookups import UNKNOWN
from recprune.models.draft import Draft
from recprune.models.held_out import held_out_score
from recprune.models.layers import Hidden
from recprune.models.network import FieldNet
from recprune.models.objective import CrossEntropy, Objective, Target
from recprune.models.privacy import CUT, LEARNT_BEFORE, PrivacyBudget, PrivacySpent
from recprune.models.private import train_privately
from recprune.models.state import network_from_state, new_network, state_of
from recprune.models.together import Alone
from recprune.models.trainer import predict_logits, train
from recprune.models.training import Epoch, Training
from recprune.sampling import sampling_shift
from recprune.scratch import forget

if TYPE_CHECKING:
    from recprune.data import Split

__all__ = ["Ranker"]

T = TypeVar("T")


class Ranker:
    """Base of all rankers: fit, predict, cut, save.

    A subclass says which parts its network has (:meth:`declare`); its constructor's parameters are
    its options, kept as attributes of the same names.

    Args:
        dim: dims of every field's embedding.
        hidden: the hidden layers, or their sizes.
        training: how to train.
        seed: of the initial weights and of training.

    Raises:
        ParameterError: an option out of range.
    """

    #: Whether every table row has a first-order weight.
    wide: ClassVar[bool] = True
    #: Whether training takes a ``checkpoint``.
    resumable: ClassVar[bool] = True
    #: Whether a row teaches the same whatever other rows there are, so that training can be private.
    private: ClassVar[bool] = True

    def __init__(
        self,
        dim: int = 16,
        hidden: Hidden | tuple[int, ...] = (128, 64),
        training: Training | None = None,
        seed: int = 0,
    ) -> None:
        owner, least = type(self).__name__, 0 if self.wide else 1
        if not (isinstance(dim, int) and least <= dim <= 1024):
            raise ParameterError.of("dim", owner, f"an int in [{least}, 1024]", dim)
        self.dim, self.hidden = dim, Hidden.of(hidden)
        if self.hidden.sizes and not dim:
            raise ParameterError.of("dim", owner, "at least 1 with hidden layers", dim)
        self.training, self.seed = training or Training(), seed
        #: Names of the labels that the network has a logit for.
        self.labels: tuple[str, ...] = ()
        #: How training rows came by their labels: the JSON of a label rule.
        self.rule: Mapping[str, Any] = {}
        self.history: list[Epoch] = []
        self._net: FieldNet | None = None
        self._encoder: Encoder | None = None
        self._layout: Layout | None = None
        self.plan = Plan("")
        #: What private training of these weights has spent; None = no statement.
        self.privacy: PrivacySpent | None = None

    def declare(self, draft: Draft) -> None:
        """Enter the network's parts into a draft of its layout."""

    def objective(self, split: Split, teacher: NDArray[np.float32] | None = None) -> Objective:
        """Return what training on a split minimises; ``teacher`` as :meth:`outputs` gives it."""
        classes = self.training.class_weight
        return CrossEntropy(Target(split.label, teacher, rows=split.extras.weight, classes=classes))

    def options(self) -> dict[str, Any]:
        """Return the constructor's options, but for training and seed, as plain data."""
        values = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        del values["training"], values["seed"]
        return {n: asdict(v) if isinstance(v, Hidden) else v for n, v in values.items()}

    def fit(
        self,
        train_rows: Split,
        valid: Split | None = None,
        privacy: PrivacyBudget | None = None,
        **options: Any,
    ) -> Ranker:
        """Train on a split, stopping early on the score of another.

        Args:
            train_rows: encoded rows and labels.
            valid: held-out rows; None = train for all epochs.
            privacy: train differentially privately (:mod:`recprune.models.private`); None = do not.
                What was spent is then in ``privacy``, and in the artefact.
            options: ``checkpoint``, ``together`` (neither if private) and ``watch`` of :func:`train`.

        Returns:
            self.
        """
        self.begin(train_rows, make=(options.get("together") or Alone()).network)
        if privacy is not None:
            self.train_privately(train_rows, privacy, valid=valid, **options)
        else:
            self.history = self.train_on(train_rows, valid=valid, **options)
        return self

    def train_privately(
        self, rows: Split, privacy: PrivacyBudget, *, valid: Split | None = None, **options: Any
    ) -> None:
        """Train further, privately: what is spent adds up; other learning is named as not covered."""
        gaps = [] if self.privacy or self._untaught() else [LEARNT_BEFORE]
        gaps += [CUT] if self.plan.keep else []
        before, self.privacy = self.privacy, None  # until it is through
        self.history, now = train_privately(self, rows, valid, privacy, **options)
        self.privacy = now.beside(*gaps).after(before)

    def begin(
        self,
        rows: Split,
        encoder: Encoder | None = None,
        kept_rows: Mapping[str, NDArray[np.int32]] | None = None,
        make: Callable[..., FieldNet] = FieldNet,
    ) -> Ranker:
        """Draw the first weights, without training.

        Args:
            rows: say what the labels are.
            encoder: of the fields; None = that of the rows.
            kept_rows: field → rows of its table that stay, increasing; the others are cut, as by a
                plan, before there is any. None = all stay.
            make: of the network, as :meth:`recprune.models.together.Alone.network`.

        Returns:
            self.
        """
        encoder = self.fields_of(encoder or rows.encoder)
        self.labels, self.rule = self.labels_of(rows), rows.rule.to_json()
        draft = Draft(encoder, self.dim, self.wide, len(self.labels))
        self.declare(draft)
        layout = draft.layout()
        self.plan = Plan(layout.hash, {f"rows.{n}": r for n, r in (kept_rows or {}).items()})
        if kept_rows:
            none = {n: np.broadcast_to(np.float32(0), s) for n, s in layout.shapes.items()}
            layout = shrink(none, layout, self.plan)[1]
            left = {name: layout.axes[f"rows.{name}"].units for name in kept_rows}
            encoder = encoder.take(encoder.schema.names, left)
        self._encoder, self._layout, self.privacy = encoder, layout, None
        self._net = self._drawn(draft.parts, make)
        return self

    def redrawn(self) -> Ranker:
        """Return a ranker cut as this one is, with first weights as drawn for its own sizes."""
        twin = self.with_state(self.state)
        twin._net = twin._drawn(self.parts)
        return twin

    def _drawn(self, parts: Sequence[str], make: Callable[..., FieldNet] = FieldNet) -> FieldNet:
        draws = torch.Generator().manual_seed(int(stream(self.seed, "weights").integers(2**62)))
        return new_network(self.encoder, self.layout, parts, draws, self.hidden.dropout, make)

    def _untaught(self) -> bool:
        """Tell whether the weights are the very ones that are drawn: no row taught them."""
        return state_hash(state_of(self._drawn(self.parts))) == state_hash(self.state)

    def like(self, **changed: Any) -> Ranker:
        """Return a ranker of the same class, options, training and seed, but for those given.

        It is not fitted.

        >>> Ranker(dim=8, seed=3).like(dim=4).options()["dim"]
        4
        """
        given = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return type(self)(**{**given, **changed})

    @property
    def fitted(self) -> bool:
        """Whether there are weights."""
        return self._net is not None

    def fields_of(self, encoder: Encoder) -> Encoder:
        """Return the encoder of the fields that this kind of ranker reads: all of them."""
        return encoder

    def labels_of(self, split: Split) -> tuple[str, ...]:
        """Return the names of the labels that the network has a logit for."""
        return (split.encoder.schema.label,)

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
        self.privacy = None  # rows are read without noise from here on
        rows = self.aligned(rows)
        score = self.held_out(self.aligned(valid)) if valid is not None else None
        return train(
            self.net,
            rows.rows,
            self.objective(rows, teacher),
            training or self.training,
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

    def held_out(self, valid: Split) -> Callable[[], float]:
        """Return a function that scores the present weights on ``valid`` by the training's metric."""
        return lambda: held_out_score(self.metric, valid, self.logits(valid.rows))

    def outputs(self, rows: Rows) -> NDArray[np.float32]:
        """Return the logits of encoded rows, shape (n_rows,), or (n_rows, T) with T labels."""
        return predict_logits(self.net, rows)

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the logits of the (first) label of encoded rows, shape (n_rows,)."""
        outputs = self.outputs(rows)
        return outputs if outputs.ndim == 1 else np.ascontiguousarray(outputs[:, 0])

    def predict(self, rows: Rows, *, calibrated: bool = False) -> NDArray[np.float32]:
        """Return the probability of label 1 of encoded rows, shape (n_rows,).

        Args:
            rows: in this ranker's codes.
            calibrated: whether among all rows, those that training left out included; see
                :meth:`recprune.runtime.Scorer.score`.

        Raises:
            InputError: ``calibrated``, and negatives were drawn by popularity.
        """
        logits = self.logits(rows).astype(np.float64)
        if calibrated:
            logits += sampling_shift(self.rule)
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)

    @property
    def metric(self) -> str:
        """The metric of held-out rows that decides which epoch is kept."""
        return self.training.metric

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
        return state_of(self.net)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the network's parts."""
        return tuple(self.net.parts)

    @property
    def neurons(self) -> tuple[int, ...]:
        """Neurons of each hidden layer as they are now."""
        return tuple(a.size for a in self.layout.axes.values() if a.unit == "neuron")

    @property
    def params(self) -> int:
        """Number of weights."""
        return sum(int(np.prod(shape)) for shape in self.layout.shapes.values())

    def with_state(
        self, state: State, layout: Layout | None = None, encoder: Encoder | None = None
    ) -> Ranker:
        """Return a new ranker of the same class with these weights; this one is unchanged."""
        return self.built_from(state, layout or self.layout, encoder or self.encoder, self.parts)

    def built_from(
        self, state: State, layout: Layout, encoder: Encoder, parts: tuple[str, ...]
    ) -> Ranker:
        """Return a ranker of this one's class and options with the given weights and fields."""
        twin = type(self).__new__(type(self))
        # Nobody knows where these weights come from, or what they spent.
        twin.__dict__.update(self.__dict__, _layout=layout, _encoder=encoder, privacy=None)
        # A part of which nothing is left adds nothing.
        left = [p for p in parts if p == "fm" or any(n.startswith(f"{p}.") for n in state)]
        twin._net = network_from_state(state, layout, encoder, left, self.hidden.dropout)
        return twin

    def apply(self, plan: Plan, patch: Patch | None = None) -> Ranker:
        """Return the smaller ranker that a plan makes of this one; this one is unchanged."""
        state, layout = shrink(self.state, self.layout, plan, patch)
        kept_fields = tuple(f for f in self.encoder.schema.names if f"rows.{f}" in layout.axes)
        # Row axes count in original coordinates; the present encoder's rows are positions in them.
        rows = {
            f: np.searchsorted(self.layout.axes[f"rows.{f}"].units, layout.axes[f"rows.{f}"].units)
            for f in kept_fields
        }
        smaller = self.with_state(state, layout, self.encoder.take(kept_fields, rows))
        smaller.plan = composed(self.plan, plan, self.layout, layout)
        if patch is None and self.privacy:  # a patch is computed from rows
            smaller.privacy = self.privacy.beside(*[CUT] * bool(plan.keep))
        return smaller

    def artifact(self, **extra: Any) -> Artifact:
        """Return what :meth:`save` writes; ``extra`` are further fields of :class:`Artifact`."""
        model = {
            "class": type(self).__name__,
            "labels": list(self.labels),
            "options": self.options(),
            "parts": list(self.parts),
            "wide": self.wide,
        }
        spent = {"privacy": self.privacy.to_json()} if self.privacy is not None else {}
        extra["meta"] = {**extra.get("meta", {}), **spent}
        return Artifact(model, self.state, self.layout, self.plan, self.encoder, **extra)

    def save(self, path: str | Path) -> int:
        """Write the artefact folder, whole or not at all; return its bytes."""
        from recprune import __version__

        with folder_written_whole(Path(path)) as folder:
            return write_artifact(folder, self.artifact(), __version__)

    def __getstate__(self) -> dict[str, Any]:
        """Travel between processes as arrays: torch would share memory with the sender."""
        net = None if self._net is None else (self.state, self.parts)
        return {**self.__dict__, "_net": net}

    def __setstate__(self, given: dict[str, Any]) -> None:
        self.__dict__.update(given)
        if given["_net"] is not None:
            state, parts = given["_net"]
            net = network_from_state(state, self.layout, self.encoder, parts, self.hidden.dropout)
            self._net = net

    def _fitted(self, part: T | None) -> T:
        if part is None:
            name = type(self).__name__
            raise RunError(f"This {name} is not fitted yet. Call {name}.fit(train, valid) first.")
        return part
