"""How a batch of events is scored and learned from: by a compiled pass, or through the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune._support import stream
from recprune.encoding import Encoder
from recprune.models.kernels import add_up
from recprune.models.network import FieldNet
from recprune.models.step import moments_of, restore_moments, under
from recprune.streaming import kernels
from recprune.streaming.adagrad import RowAdagrad

__all__ = ["FirstOrder", "Table", "Through", "Way", "way_of"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

#: The rate of the rows by that of the dense layers, which Adam moves: Adagrad's steps only shrink.
#: Weights that are only added up bear larger steps than embeddings, beside which layers learn too.
FIRST_ORDER_RATE, ROW_RATE = 100.0, 50.0


class Table:
    """The pool's weights, and their optimiser.

    Args:
        rows: R.
        width: W.
        rate: of Adagrad.
    """

    def __init__(self, rows: int, width: int, rate: float) -> None:
        self.weights = torch.zeros(rows, width)
        self.optimiser = RowAdagrad(self.weights, rate)
        self._place = np.full(rows, -1, np.int32)
        self._shared = np.zeros((1, width), np.float32)
        self._sums = np.empty(0, np.int32), np.empty((0, width), np.float32)
        self._groups = np.zeros((0, 0), np.int32)

    def learn(
        self, gradient: Floats, index: NDArray[Any], shares: Floats, number: NDArray[np.int64]
    ) -> None:
        """Update the rows that were read.

        Args:
            gradient: of the batch's loss by what was read, shape (B, S, W).
            index: the rows, of a number the lower knot's, shape (B, S).
            shares: shape (B, …).
            number: each slot's column of the shares if it is a number, else −1, shape (S,).
        """
        width, slots = gradient.shape[2], index.shape[1]
        most = len(index) * (slots + int((number >= 0).sum()))
        if len(self._sums[0]) < most or self._groups.shape[1] != slots:
            self._sums = np.empty(most, np.int32), np.empty((most, width), np.float32)
            self._groups = np.zeros((len(index), slots), np.int32)  # no row shares anything
        rows, total = self._sums
        given = gradient, index, self._groups, shares
        found = add_up((0, slots), given, number, self._place, (rows, total, self._shared))
        self.optimiser.step(rows[:found], total, len(index))

    def renew(self, rows: Ints, unknown: Ints) -> None:
        """Let rows stand for other values from now on: each begins as its field's unknown row."""
        self.optimiser.begin(rows, unknown)

    def state(self, used: int) -> dict[str, NDArray[Any]]:
        """Return the first ``used`` rows, and what their optimiser knows of them."""
        return self.optimiser.state(used)

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state` gave."""
        self.optimiser.restore(state)


class Way(Protocol):
    """Scores and learns from rows of the pool, shape (B, S), and shares, shape (B, …)."""

    table: Table

    def logits(self, rows: Ints, shares: Floats) -> Floats:
        """Return the logits, shape (B,)."""

    def learn(self, rows: Ints, shares: Floats, label: Floats) -> Floats:
        """Return the logits, shape (B,), and then take one step towards the labels."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what is learned beside the table, and its optimiser's state."""

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state` gave."""


def way_of(net: FieldNet, encoder: Encoder, rows: int, learning_rate: float) -> Way:
    """Return the quicker way of those that a network has, with a table of so many rows.

    Args:
        net: its dense weights are learned; its own table is not read.
        encoder: of the slots.
        rows: R.
        learning_rate: of the dense layers.
    """
    width = net.shape.width
    if net.shape.wide and not net.shape.dim and not len(net.parts):
        return FirstOrder(net, encoder, Table(rows, width, FIRST_ORDER_RATE * learning_rate))
    return Through(net, Table(rows, width, ROW_RATE * learning_rate), learning_rate)


class FirstOrder:
    """A model of first-order weights and a bias, compiled.

    Args:
        net: whose bias is learned.
        encoder: of the slots.
        table: the pool's weights; the bias is learned as a row is.
    """

    def __init__(self, net: FieldNet, encoder: Encoder, table: Table) -> None:
        self.table = table
        self.bias = RowAdagrad(net.bias.data.view(1, 1), table.optimiser.rate)
        column, number = [], []
        for field, slots, own in zip(
            encoder.schema.fields, encoder.slots, encoder.share_slots, strict=True
        ):
            shared = range(own.start, own.stop)
            column += list(shared) if shared else [-1] * (slots.stop - slots.start)
            number += [field.kind == "numeric"] * (slots.stop - slots.start)
        self.places = np.array(column, np.int64), np.array(number, np.bool_)
        self.number = np.where(self.places[1], self.places[0], -1)

    def logits(self, rows: Ints, shares: Floats) -> Floats:
        """Return the logits, shape (B,)."""
        weights, bias = self.table.weights.numpy(), float(self.bias.table[0, 0])
        return kernels.first_order(rows, shares, self.places, weights, bias)

    def learn(self, rows: Ints, shares: Floats, label: Floats) -> Floats:
        """Return the logits, shape (B,), and then take one step towards the labels."""
        logits = self.logits(rows, shares)
        gradient = np.empty((*rows.shape, 1), np.float32)
        of_bias = kernels.residual(logits, label, shares, self.places, gradient)
        self.table.learn(gradient, rows, shares, self.number)
        self.bias.step(np.zeros(1, np.int32), np.full((1, 1), of_bias, np.float32), len(label))
        return logits

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the bias, and what its optimiser knows of it."""
        return self.bias.state(1)

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state` gave."""
        self.bias.restore(state)


class Through:
    """Any other model, through its network.

    Args:
        net: whose dense weights are learned; its own table is not read.
        table: the pool's weights.
        learning_rate: of the dense weights.
    """

    def __init__(self, net: FieldNet, table: Table, learning_rate: float) -> None:
        self.net, self.table = net, table
        self.dense = torch.optim.Adam(net.dense_parameters(), learning_rate, fused=True)
        self.slots = len(net.slot_order)
        self.upper = torch.zeros(self.slots + net.n_numeric, dtype=torch.int32)
        self.upper[self.slots :] = 1
        self.number = np.full(self.slots, -1)
        self.number[net.n_single - net.n_numeric : net.n_single] = net.numeric_shares.numpy()
        self.steps = 0
        #: Whether the network learns from other outputs than it scores with.
        self.otherwise = net.dropout > 0 or bool(net.statistics())

    def logits(self, rows: Ints, shares: Floats) -> Floats:
        """Return the logits, shape (B,)."""
        with torch.no_grad():
            return self.net.finish(*self._read(rows, shares)).numpy()

    def learn(self, rows: Ints, shares: Floats, label: Floats) -> Floats:
        """Return the logits, shape (B,), and then take one step towards the labels."""
        net, logits = self.net, None
        if self.otherwise:
            logits = self.logits(rows, shares)
            seed = int(stream(0, "streaming", self.steps).integers(2**62))
            net.draws = torch.Generator().manual_seed(seed)
        value, given, index = self._read(rows, shares)
        output = net.finish(value.requires_grad_(), given, index)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(output, torch.from_numpy(label))
        self.dense.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        net.draws = None
        assert value.grad is not None
        looked = index[:, : self.slots].contiguous().numpy()
        self.table.learn(value.grad.contiguous().numpy(), looked, shares, self.number)
        self.dense.step()
        self.steps += 1
        return output.detach().numpy() if logits is None else logits

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the dense weights, what batch norm has seen, and Adam's moments."""
        own = {f"net.{n}": t for n, t in self._own().items()}
        own |= {f"adam.{n}": t for n, t in moments_of(self.dense).items()}
        own["steps"] = torch.tensor(self.steps)
        return {name: tensor.detach().numpy().copy() for name, tensor in own.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state` gave."""
        given = {name: torch.from_numpy(array) for name, array in state.items()}
        with torch.no_grad():
            for name, tensor in self._own().items():
                tensor.copy_(given[f"net.{name}"])
        restore_moments(self.dense, under("adam.", given))
        self.steps = int(given["steps"])

    def _own(self) -> dict[str, Tensor]:
        tensors = {"bias": self.net.bias, **self.net.parts.state_dict(keep_vars=True)}
        return dict(sorted(tensors.items()))

    def _read(self, rows: Ints, shares: Floats) -> tuple[Tensor, Tensor, Tensor]:
        net = self.net
        index = torch.from_numpy(rows)
        if not net.in_order:
            index = index.index_select(1, net.read)
        if net.n_numeric:
            index = index + self.upper
        given = torch.from_numpy(shares)
        with torch.no_grad():
            return net.look_up(self.table.weights, index, given), given, index
