"""Small modules of the kinds that users write, each with units that do nothing.

``deaden`` makes every odd unit of what ``keep`` names useless (its outgoing weights are zero, or
the rows that go are all alike), so that cutting just those must leave every output as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recprune.foreign import Share, dims, neurons, rows

BATCH = 6


@dataclass
class Case:
    net: Callable[[], nn.Module]
    inputs: Any
    keep: dict[str, Share | list[Share]]
    deaden: Callable[[Any], None]
    smaller: tuple[str, ...]


def ids(high: int, *shape: int) -> Tensor:
    torch_ids = torch.arange(BATCH * max(1, int(torch.tensor(shape).prod()) if shape else 1))
    return ((torch_ids * 7 + 3) % high).reshape(BATCH, *shape)


def odd(weight: Tensor, dim: int, value: float = 0.0) -> None:
    """Set every odd position of a dimension."""
    with torch.no_grad():
        weight.movedim(dim, 0)[1::2] = value


def alike(weight: Tensor) -> None:
    """Make all odd rows the same vector."""
    with torch.no_grad():
        weight[1::2] = weight[1].clone()


class Mlp(nn.Module):
    """Batch norm, dropout and a PReLU with a slope for each unit."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(
            nn.Linear(5, 8), nn.BatchNorm1d(8), nn.PReLU(8), nn.Dropout(0.5), nn.Linear(8, 6)
        )
        self.head = nn.Linear(6, 1)
        with torch.no_grad():
            self.tower[1].running_mean.uniform_(-1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.head(F.relu(self.tower(x))))


def _dead_mlp(net: Mlp) -> None:
    odd(net.tower[4].weight, 1)
    odd(net.head.weight, 1)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 8)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for block in self.blocks:
            h = h + F.gelu(block(h))
        return self.head(h)


def _dead_residual(net: Residual) -> None:
    for layer in (*net.blocks, net.head):
        odd(layer.weight, 1)


class Towers(nn.Module):
    """Tables in a ModuleDict, two towers of unequal width side by side, inputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.ModuleDict({"user": nn.Embedding(40, 6), "item": nn.Embedding(60, 6)})
        self.towers = nn.ModuleDict({"user": nn.Linear(6, 8), "item": nn.Linear(6, 4)})
        self.head = nn.Linear(12, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        sides = {"user": user, "item": item}
        out = [torch.tanh(self.towers[k](self.emb[k](v))) for k, v in sides.items()]
        return self.head(torch.cat(out, dim=-1))


def _dead_towers(net: Towers) -> None:
    odd(net.head.weight, 1)
    for key in ("user", "item"):
        odd(net.towers[key].weight, 1)
        alike(net.emb[key].weight)


class Fm(nn.Module):
    """stack → flatten → Linear beside second-order sums: one dim is many columns."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.ModuleList(nn.Embedding(50, 6, sparse=True) for _ in range(3))
        self.deep = nn.Linear(18, 8)
        self.head = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        e = torch.stack([table(x[:, i]) for i, table in enumerate(self.emb)], dim=1)
        pairs = 0.5 * (e.sum(1) ** 2 - (e**2).sum(1)).sum(1, keepdim=True)
        return self.head(F.relu(self.deep(e.flatten(1)))) + pairs


def _dead_fm(net: Fm) -> None:
    odd(net.head.weight, 1)
    for table in net.emb:
        odd(table.weight, 1)
        alike(table.weight)


class Attention(nn.Module):
    """A shared table for a target and a history, masked softmax over the history, transposes."""

    def __init__(self) -> None:
        super().__init__()
        self.item = nn.Embedding(80, 8, padding_idx=0)
        self.value = nn.Linear(8, 6)
        self.head = nn.Linear(14, 1)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        target, past = self.item(batch["target"]), self.item(batch["past"])
        scores = torch.bmm(past, target.unsqueeze(2)).squeeze(2)
        scores = scores.masked_fill(batch["past"] == 0, -1e9).softmax(-1)
        read = torch.einsum("bt,btd->bd", scores, self.value(past))
        return {"y_pred": self.head(torch.cat([target, read], 1)).squeeze(1)}


def _dead_attention(net: Attention) -> None:
    odd(net.item.weight, 1)
    odd(net.head.weight[:, 8:], 1)
    with torch.no_grad():  # the padding row is none of the units, so units and rows differ by one
        net.item.weight[2::2] = net.item.weight[2].clone()


class Bags(nn.Module):
    """EmbeddingBags of each mode, with offsets, and weights of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.EmbeddingBag(40, 6)
        self.top = nn.EmbeddingBag(40, 6, mode="max")
        self.weighted = nn.EmbeddingBag(40, 6, mode="sum")
        self.head = nn.Linear(18, 1)

    def forward(self, x: Tensor, flat: Tensor, offsets: Tensor) -> Tensor:
        weights = torch.linspace(0.1, 2, x.numel()).reshape(x.shape)
        bags = [self.mean(x), self.top(flat, offsets), self.weighted(x, per_sample_weights=weights)]
        return self.head(torch.cat(bags, 1))


def _dead_bags(net: Bags) -> None:
    odd(net.head.weight, 1)
    for bag in (net.mean, net.top, net.weighted):
        alike(bag.weight)


class Tied(nn.Module):
    """Two tables with one Parameter, and a decoder that reuses the encoder's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.item = nn.Embedding(60, 6), nn.Embedding(60, 6, max_norm=2.0)
        self.item.weight = self.query.weight
        self.encode = nn.Linear(6, 8)
        self.bias = nn.Parameter(torch.rand(6))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        h = torch.relu(self.encode(self.query(a)))
        back = F.linear(h, self.encode.weight.t(), self.bias)
        return (back * self.item(b)).sum(-1)


def _dead_tied(net: Tied) -> None:
    odd(net.query.weight, 1)
    alike(net.query.weight)
    with torch.no_grad():
        net.encode.weight[1::2] = 0
        net.encode.bias[1::2] = -1


class Cosine(nn.Module):
    """Two towers that end in a normalised product, under a raw cross layer."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Linear(5, 8), nn.Embedding(50, 8)
        self.kernel, self.shift = nn.Parameter(torch.rand(8, 1)), nn.Parameter(torch.rand(8))
        self.register_buffer("scale", torch.rand(8))

    def forward(self, x: Tensor, item: Tensor) -> Tensor:
        u = self.user(x) * self.scale
        u = u * (u @ self.kernel) + self.shift + u
        return (F.normalize(u, dim=-1) * F.normalize(self.item(item), dim=-1)).sum(-1)


def _dead_cosine(net: Cosine) -> None:
    for tensor, dim in ((net.item.weight, 1), (net.kernel, 0), (net.shift, 0), (net.scale, 0)):
        odd(tensor, dim)
    alike(net.item.weight)


class Convolved(nn.Module):
    """A Conv1d over a history, pooled over time."""

    def __init__(self) -> None:
        super().__init__()
        self.item = nn.Embedding(50, 6)
        self.conv = nn.Conv1d(6, 8, 3, padding=1)
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 1)

    def forward(self, past: Tensor) -> Tensor:
        h = self.norm(self.conv(self.item(past).transpose(1, 2)))
        return self.head(h.amax(dim=2))


def _dead_convolved(net: Convolved) -> None:
    odd(net.head.weight, 1)
    odd(net.conv.weight, 1)
    alike(net.item.weight)


WIDE = torch.linspace(-2, 2, BATCH * 5).reshape(BATCH, 5)
PAST = ids(80, 4) * (ids(3, 4) > 0)
HALF = {"neuron": neurons(0.5), "dim": dims(0.5), "row": rows(0.5)}
TABLE = [HALF["dim"], HALF["row"]]

CASES: dict[str, Case] = {
    "batch norm, dropout, PReLU": Case(
        Mlp, WIDE, {"tower.*": HALF["neuron"]}, _dead_mlp, ("tower.0.weight", "head.weight")
    ),
    "residual adds": Case(
        Residual, WIDE, {"blocks": HALF["neuron"]}, _dead_residual, ("first.bias", "head.weight")
    ),
    "ModuleDict, concatenation": Case(
        Towers,
        {"user": ids(40), "item": ids(60)},
        {"towers": HALF["neuron"], "emb.*": TABLE},
        _dead_towers,
        ("emb.user.weight", "towers.item.weight", "head.weight"),
    ),
    "FM sums, stack and flatten, sparse": Case(
        Fm,
        ids(50, 3),
        {"emb": TABLE, "deep": HALF["neuron"]},
        _dead_fm,
        ("emb.0.weight", "emb.2.weight", "deep.weight"),
    ),
    "attention, shared table, padding": Case(
        Attention,
        {"target": ids(80), "past": PAST},
        {"item": TABLE, "value": HALF["neuron"]},
        _dead_attention,
        ("item.weight", "value.weight", "head.weight"),
    ),
    "bags": Case(
        Bags,
        (ids(40, 3), ids(40, 3).flatten(), torch.arange(0, BATCH * 3, 3)),
        {"mean": TABLE, "top": TABLE, "weighted": TABLE},
        _dead_bags,
        ("mean.weight", "top.weight", "weighted.weight", "head.weight"),
    ),
    "tied tables and layers, max_norm": Case(
        Tied,
        (ids(60), ids(59)),
        {"query": TABLE, "item": TABLE, "encode": HALF["neuron"]},
        _dead_tied,
        ("query.weight", "encode.weight", "bias"),
    ),
    "normalised towers, raw parameters": Case(
        Cosine,
        (WIDE, ids(50)),
        {"user": HALF["neuron"], "item": TABLE},
        _dead_cosine,
        ("item.weight", "user.weight", "kernel", "scale"),
    ),
    "convolution": Case(
        Convolved,
        ids(50, 4),
        {"conv": HALF["neuron"], "item": TABLE},
        _dead_convolved,
        ("item.weight", "conv.weight", "norm.running_var"),
    ),
}
