"""What follows from how often a value occurs in the training rows.

Rare values know too few rows to learn from alone. They are read as unknown now and then, which
keeps them near the unknown row and trains it; and values of like frequency share a part, so that a
value starts from what its group has in common (partial pooling: Gelman & Hill 2007, chapter 12).
Both are folded into the table, and cost nothing when the model scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recprune.encoding import Rows
from recprune.lookups import FIRST, PADDING, UNKNOWN
from recprune.models.draws import Draws, uniform
from recprune.models.network import FieldNet

__all__ = ["GROUPS", "FrequencyPrior", "count_values"]

#: Most frequency groups of a categorical field.
GROUPS = 24
#: A group takes at least this many of the field's values: on what few values share, their own rows
#: have learned enough.
VALUES_A_GROUP = 20
#: Rows counted at once.
BLOCK = 1 << 16


class FrequencyPrior:
    """The chance that each table row is read as unknown, and the parts that rows share.

    While training, a row's value is ``own + shared[group]``. With chance k / (k + count) the
    unknown row's own part stands in for ``own``.

    Args:
        net: the network that will be trained.
        rows: the training rows.
        unknown_rate: k.
        groups: most frequency groups of a categorical field, equal in training rows; 0 = none.
        unseen_rare: whether an unseen value, but of users, shares the part of the rarest.
        sizes: values of each field that ``rows`` are in the codes of, where not each has a table
            row: which has one is told by :meth:`hold`. None = a value is a row.
    """

    def __init__(
        self,
        net: FieldNet,
        rows: Rows,
        unknown_rate: float,
        groups: int,
        unseen_rare: bool = True,
        sizes: Sequence[int] | None = None,
    ) -> None:
        few, sizes = sizes is not None, sizes or net.shape.sizes
        #: Chance of being read as unknown, shape (R,).
        self.unknown = torch.zeros(sum(sizes))
        #: Group of each table row, shape (R,); group 0 shares nothing.
        self.group = torch.zeros(sum(sizes), dtype=torch.int64)
        known = 0
        counts = count_values(sizes, net.shape.slots, rows)
        offsets = np.cumsum([0, *sizes[:-1]]).tolist()
        for i, (offset, size) in enumerate(zip(offsets, sizes, strict=True)):
            kind, count, block = net.shape.kinds[i], counts[i], slice(offset, offset + size)
            # A number is looked up in every row of the data, whichever knots it falls between.
            seen = np.full(size, len(rows)) if kind == "numeric" else np.maximum(count, 1)
            # The weights of a vector's components are no use to the unknown row.
            rate = 0.0 if kind == "dense" else unknown_rate
            self.unknown[block] = torch.from_numpy(rate / (unknown_rate + seen)).float()
            whole = kind in ("numeric", "dense")
            here = 0 if whole else min(groups, size // VALUES_A_GROUP)
            if here > 1:
                group = _groups(count, here)
                self.group[block] = torch.from_numpy(known + 1 + group)
                # What was never seen, or was cut, is rare; but for users: most of them are new, and
                # as active as others.
                rare = known + 1 + int(group[FIRST:].min())
                user = net.shape.sources[i] == "user"
                self.group[offset + PADDING] = 0
                self.group[offset + UNKNOWN] = rare if unseen_rare and not user else 0
                known += int(group.max()) + 1
        device = net.table.device
        #: Chance and group of each value, of which some have a table row.
        self.values = self.unknown, self.group
        if few:
            self.values = self.unknown, self.group.int()
            self.unknown = torch.zeros(net.n_rows)
            self.group = torch.zeros(net.n_rows, dtype=torch.int64)
        self.unknown, self.group = self.unknown.to(device), self.group.to(device)
        #: What the rows of a group have in common, shape (1 + G, 1 + D); group 0 stays zero.
        self.shared = nn.Parameter(torch.zeros(1 + known, net.table.shape[1], device=device))

    def hold(self, rows: Tensor, values: Tensor) -> None:
        """Let table rows, shape (U,), stand for these values: places among all fields' values."""
        chance, group = (each[values].to(self.unknown.device) for each in self.values)
        self.unknown[rows], self.group[rows] = chance, group.long()

    def read(
        self, net: FieldNet, codes: Tensor, shares: Tensor, draws: Draws
    ) -> tuple[Tensor, Tensor]:
        """Return ``codes`` (B, S) and shares with some values read as unknown."""
        return self.hidden(net, codes, shares, self.unknown[codes + net.slot_offsets], draws)

    def hidden(
        self, net: FieldNet, codes: Tensor, shares: Tensor, chance: Tensor, draws: Draws
    ) -> tuple[Tensor, Tensor]:
        """Return ``codes`` and shares with values read as unknown by these chances, (B, S)."""
        hidden = uniform(codes.shape, draws).to(codes.device) < chance
        shares = shares.masked_fill(hidden[:, net.share_slots] & net.share_is_number, 0)
        return torch.where(hidden, UNKNOWN, codes), shares

    def share(self, net: FieldNet, codes: Tensor) -> Tensor | float:
        """Return the shared parts of ``codes`` (B, S) in the network's order, (B, S, 1 + D)."""
        return self.shared_by(net, self.group[codes + net.slot_offsets])

    def shared_by(self, net: FieldNet, group: Tensor) -> Tensor | float:
        """Return the shared parts of these groups (B, S) in the network's order, (B, S, 1 + D)."""
        if len(self.shared) == 1:
            return 0.0
        return nn.functional.embedding(group[:, net.slot_order], self.shared, padding_idx=0)

    @torch.no_grad()
    def fold(self, net: FieldNet) -> None:
        """Turn own and shared parts into the rows that score.

        A row that training reads as unknown with chance p is scored by the mean of what training
        saw, (1 − p)·own + p·unknown, just as dropout scales its weights, plus its group's part.
        """
        self._spread(net, 1 - self.unknown)
        net.table.add_(self.shared[self.group])

    @torch.no_grad()
    def folded(self, net: FieldNet, rows: Tensor) -> Tensor:
        """Return some rows of the table, shape (U, W), as :meth:`fold` would make them."""
        field = torch.bucketize(rows, net.offsets, right=True) - 1
        base = net.table[net.unknown_rows()][field]
        own = torch.lerp(base, net.table[rows], 1 - self.unknown[rows].unsqueeze(1))
        return own + self.shared[self.group[rows]]

    @torch.no_grad()
    def unfold(self, net: FieldNet) -> None:
        """Turn rows that score into own and shared parts, from which training goes on.

        Of the many ways to split a row, the shared part is what a group's rows are away from the
        unknown row in the mean. The unknown row's own group starts from it.
        """
        total = torch.zeros_like(self.shared)
        for block, base in net.blocks():
            total.index_add_(0, self.group[block], net.table[block] - base)
        size = self.everyones(torch.bincount(self.group, minlength=len(total)).unsqueeze(1))
        mean = self.everyones(total) / size.clamp(min=1)
        mean[self.groups_of_unknown(net)] = 0
        mean[0] = 0
        self.shared.copy_(mean)
        net.table.sub_(self.shared[self.group])
        self._spread(net, 1 / (1 - self.unknown))

    def groups_of_unknown(self, net: FieldNet) -> Tensor:
        """Return the group of each field's unknown row, shape (F,)."""
        return self.group[net.unknown_rows()]

    def everyones(self, total: Tensor) -> Tensor:
        """Return the sum over all processes that hold rows of the table: this one's alone."""
        return total

    def _spread(self, net: FieldNet, factor: Tensor) -> None:
        """Move every row to its field's unknown row plus ``factor`` times its way from it."""
        for block, base in net.blocks():
            rows = net.table[block]
            torch.lerp(base.expand_as(rows), rows, factor[block].unsqueeze(1), out=rows)


def count_values(sizes: Sequence[int], slots: Sequence[int], rows: Rows) -> list[NDArray[np.int64]]:
    """Return how often each field's values are looked up; a block of rows at a time.

    Args:
        sizes: values of each field.
        slots: slots of each field.
        rows: encoded rows.
    """
    counts = [np.zeros(size, np.int64) for size in sizes]
    ends = np.cumsum(slots)
    for _, block in rows.blocks(BLOCK):
        for count, end, width in zip(counts, ends, slots, strict=True):
            codes = block.codes[:, end - width : end]
            count += np.bincount(codes.ravel(), minlength=len(count))
    return counts


def _groups(count: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """Return the frequency group of each row of a field's block, rarest first, shape (size,)."""
    known = np.sort(count[FIRST:])
    reached = np.searchsorted(np.cumsum(known), known.sum() * np.arange(1, groups) / groups)
    edges = np.unique(known[reached]) + 1
    return np.searchsorted(edges, count, side="right")
