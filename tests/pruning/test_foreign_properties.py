"""Random modules of tables and layers, against masks on what flows through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recprune.foreign import dims, neurons, plan_module, rows


@dataclass(frozen=True)
class Recipe:
    tables: tuple[tuple[int, int], ...]
    stacked: bool
    widths: tuple[int, ...]
    normed: bool
    residual: bool
    seed: int


class Block(nn.Module):
    def __init__(self, inputs: int, width: int, normed: bool, residual: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        self.norm = nn.BatchNorm1d(width) if normed else nn.Identity()
        self.residual = residual and inputs == width

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.norm(self.linear(x)))
        return out + x if self.residual else out


class Net(nn.Module):
    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        torch.manual_seed(recipe.seed)
        size = recipe.tables[0][1]
        self.stacked = recipe.stacked
        sizes = [size if recipe.stacked else d for _, d in recipe.tables]
        self.tables = nn.ModuleList(
            nn.Embedding(n, d) for (n, _), d in zip(recipe.tables, sizes, strict=True)
        )
        width, self.blocks = sum(sizes), nn.ModuleList()
        for new in recipe.widths:
            residual = recipe.residual and len(self.blocks) > 0
            self.blocks.append(Block(width, new, recipe.normed, residual))
            width = new
        self.head = nn.Linear(width, 1)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                nn.init.uniform_(module.running_mean, -1, 1)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.normal_(module.bias)

    def forward(self, ids: Tensor) -> Tensor:
        e = [table(ids[:, i]) for i, table in enumerate(self.tables)]
        x = torch.cat(e, 1)
        if self.stacked:
            s = torch.stack(e, 1)
            x = s.flatten(1)
        for block in self.blocks:
            x = block(x)
        out = self.head(x)
        if self.stacked:
            out = out + (s.sum(1) ** 2 - (s**2).sum(1)).sum(1, keepdim=True)
        return out


recipes = st.builds(
    Recipe,
    tables=st.lists(st.tuples(st.integers(12, 30), st.integers(4, 8)), min_size=1, max_size=3).map(
        tuple
    ),
    stacked=st.booleans(),
    widths=st.lists(st.sampled_from([3, 6, 6, 9]), min_size=1, max_size=3).map(tuple),
    normed=st.booleans(),
    residual=st.booleans(),
    seed=st.integers(0, 2**31),
)
shares = st.floats(0.05, 1.0)


def masked(net: Net, plan: Any, ids: Tensor) -> Tensor:
    """The uncut module's output with the cut units silenced as they flow, in float64."""
    mask: dict[str, Tensor] = {}
    unknown: dict[str, Tensor] = {}
    for cut in plan.cuts:
        for (name, dim), units in cut.axis.places.items():
            stays = torch.from_numpy(np.isin(units, cut.kept) | (units < 0))
            if cut.axis.unit == "row":
                unknown[name] = ~stays
            else:
                mask[f"{name}:{dim}"] = stays
    for name, module in net.named_modules():
        if isinstance(module, nn.Embedding):
            if (gone := unknown.get(f"{name}.weight")) is not None:
                with torch.no_grad():
                    module.weight[gone] = module.weight[gone].mean(0)
            silence = mask.get(f"{name}.weight:1")
        elif isinstance(module, Block):
            silence = mask.get(f"{name}.linear.weight:0")
        else:
            continue
        if silence is not None:
            module.register_forward_hook(lambda m, a, out, keep=silence: out * keep)
    return net(ids)


@settings(max_examples=30, deadline=None)
@given(recipe=recipes, neuron=st.floats(0.05, 0.6), dim=shares, row=shares)
def test_a_cut_is_a_mask_made_real(recipe: Recipe, neuron: float, dim: float, row: float) -> None:
    net = Net(recipe).eval()
    highs = [t.num_embeddings for t in net.tables]
    ids = torch.stack([torch.arange(8) * 5 % n for n in highs], 1)
    keep = {"tables": [rows(row), dims(dim)], "blocks": neurons(neuron)}
    plan = plan_module(net, ids, keep)
    small = plan.apply(net)
    for cut in plan.cuts:
        share = {"neuron": neuron, "dim": dim, "row": row}[cut.axis.unit]
        assert len(cut.kept) == max(1, round(share * cut.axis.size))
    assert plan.predicted_bytes == sum(t.nbytes for t in small.state_dict().values())
    assert plan.predicted_bytes <= plan.bytes_before
    assert set(plan.skipped.values()) <= {"a map of its ids takes as many bytes as the rows save"}
    every = torch.stack([torch.arange(30) % n for n in highs], 1)
    found, want = small(every), masked(Net(recipe).eval(), plan, every)
    scale = max(1.0, float(want.detach().abs().max()))
    torch.testing.assert_close(found / scale, want / scale, rtol=1e-4, atol=1e-5)
