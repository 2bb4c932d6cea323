"""A model that learns from events as they come: score first, then learn, in bounded bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from recprune._support import byte_count
from recprune.artifact import Artifact
from recprune.errors import InputError, ParameterError
from recprune.lookups import UNKNOWN
from recprune.models.loading import ranker_of
from recprune.models.ranker import Ranker
from recprune.streaming.frozen import freeze
from recprune.streaming.names import Names
from recprune.streaming.rows import Encoded, Pool, Renewed
from recprune.streaming.ways import way_of

__all__ = ["Learner"]


class Learner:
    """Goes on from an artefact's weights, event by event.

    Encoding and learning are apart: :meth:`encode` reads no weights and may run ahead in a thread of
    its own, as long as :meth:`learn` gets the chunks in the same order. Both are functions of the
    events and their chunks alone.

    Args:
        reference: a ranker with one label that learns by cross-entropy; it is not changed.
        bytes: of the pool: its rows' weights and Adagrad's sums, and all that is kept of their values; a
            number, or a text such as ``"64 MB"``. :func:`recprune.streaming.rows.row_bytes` of it
            are a row. Memory for a chunk's own arrays comes on top.
        half_life: events after which a use counts half.
        least: how often a value has to come, by the sketch's count, before it may have a row.
        batch: events a step, and between two admissions.
        learning_rate: of the dense layers, which Adam moves; the rows' is fifty times that, of a
            model of first-order weights alone a hundred times, and shrinks as they learn
            (:class:`~recprune.streaming.adagrad.RowAdagrad`).

    Raises:
        ParameterError: a value out of range, or fewer bytes than the reference's values need.
        InputError: a model of several labels, or one that does not learn by cross-entropy.
    """

    def __init__(
        self,
        reference: Artifact,
        *,
        bytes: int | str,
        half_life: int = 200_000,
        least: int = 2,
        batch: int = 1024,
        learning_rate: float = 1e-3,
    ) -> None:
        for name, value in (("half_life", half_life), ("least", least), ("batch", batch)):
            if not (isinstance(value, int) and value >= 1):
                raise ParameterError.of(name, "Learner", "an int ≥ 1", value)
        if not 0 < learning_rate < 1:
            raise ParameterError.of("learning_rate", "Learner", "a float in (0, 1)", learning_rate)
        ranker = ranker_of(reference)
        _check(ranker)
        encoder, net = reference.encoder, ranker.net
        width = net.shape.width
        self.rows = Pool(encoder, byte_count(bytes, "Learner"), width, half_life, least, batch)
        self.batch = batch
        self.way = way_of(net, encoder, self.rows.capacity, learning_rate)
        self.table = self.way.table
        self.names = Names(self.rows.capacity, self.rows.room)
        self._fill(net.table.detach(), net.offsets.tolist())
        net.table = torch.nn.Parameter(torch.empty(0, width))
        self.net = net
        #: Events learned from.
        self.events = 0

    def encode(self, frame: pl.DataFrame) -> Encoded:
        """Look up a chunk's values and admit those that have become frequent: :meth:`Pool.encode`."""
        return self.rows.encode(frame)

    def learn(self, encoded: Encoded, label: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score a chunk and learn from it, batch by batch.

        Args:
            encoded: the next chunk, whole.
            label: 0 or 1, shape (n,).

        Returns:
            the logits, shape (n,), each of the weights before the step that saw its label.
        """
        label = np.ascontiguousarray(label, np.float32)
        if label.shape != (len(encoded),):
            raise ParameterError.of("label", "learn", f"of shape ({len(encoded)},)", label.shape)
        logits = np.empty(len(encoded), np.float32)
        for number, start in enumerate(range(0, len(encoded), self.batch)):
            at = slice(start, start + self.batch)
            logits[at] = self.way.learn(encoded.rows[at], encoded.shares[at], label[at])
            self._renew(encoded.renewed, number)
        self.events += len(encoded)
        return logits

    def score(self, encoded: Encoded) -> NDArray[np.float32]:
        """Return the logits, shape (n,), by the weights as they are now.

        Of a chunk that was learned from, a row that changed hands on the way is read as what it
        stands for now.
        """
        logits = np.empty(len(encoded), np.float32)
        for start in range(0, len(encoded), self.batch):
            at = slice(start, start + self.batch)
            logits[at] = self.way.logits(encoded.rows[at], encoded.shares[at])
        return logits

    def artifact(self, reference: Artifact) -> Artifact:
        """Return what would be served now: :func:`recprune.streaming.frozen.freeze`.

        Args:
            reference: that the learner began with.
        """
        weights = self.table.weights.numpy()
        made = freeze(reference, self.net, self.rows, self.names, weights)
        return replace(made, meta={**made.meta, "stream": {"events": self.events}})

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what was learned; what the other thread knows is in ``rows.state()``."""
        used = int(np.flatnonzero(self.names.field >= 0).max(initial=self.rows.fixed - 1)) + 1
        own = {"table": self.table.state(used), "names": self.names.state(used)}
        state = {f"{part}.{n}": a for part, some in own.items() for n, a in some.items()}
        state |= {f"way.{name}": array for name, array in self.way.state().items()}
        return {**state, "events": np.array(self.events)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state of a learner with the same arguments, as if never stopped."""
        for prefix, part in (("table.", self.table), ("names.", self.names), ("way.", self.way)):
            part.restore(
                {n.removeprefix(prefix): a for n, a in state.items() if n.startswith(prefix)}
            )
        self.events = int(state["events"])

    def _fill(self, weights: torch.Tensor, offsets: list[int]) -> None:
        """Copy the reference's rows into the pool, and note what they stand for."""
        pool, after = self.rows, self.rows.fixed
        for i, (start, own) in enumerate(zip(pool.starts.tolist(), offsets, strict=True)):
            stay, size = pool.fixed_rows(i), pool.encoder.sizes[i]
            self.table.weights[start : start + stay] = weights[own : own + stay]
            moved = size - stay
            self.table.weights[after : after + moved] = weights[own + stay : own + size]
            after += moved
        self.names.put(pool.first.rows, pool.first.fields, pool.first.texts)

    def _renew(self, renewed: Renewed, block: int) -> None:
        first, last = np.searchsorted(renewed.blocks, [block, block + 1])
        if first < last:
            rows, fields = renewed.rows[first:last], renewed.fields[first:last]
            self.table.renew(rows, self.rows.starts[fields] + np.int32(UNKNOWN))
            starts, sizes, data = renewed.texts
            self.names.put(rows, fields, (starts[first:last], sizes[first:last], data))


def _check(ranker: Ranker) -> None:
    name, labels = type(ranker).__name__, ranker.labels
    if type(ranker).objective is not Ranker.objective or len(labels) != 1:
        raise InputError(
            f"A stream teaches rankers of one label by cross-entropy. This {name} has "
            f"{len(labels)} label(s) and an objective of its own. Train an LR, FM, FwFM, WideDeep, "
            "DNN, DeepFM, DCNv2, FinalMLP or DLRM as the reference."
        )
