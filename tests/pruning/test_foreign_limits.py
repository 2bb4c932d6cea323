"""Modules of which some parts cannot be followed: those stay, the rest is cut all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recprune as rp
from recprune.errors import PlanError
from recprune.foreign import ModulePlan

from .foreign_nets import BATCH, WIDE, ids

KEEP = {"emb": [rp.rows(0.5), rp.dims(0.5)], "*": rp.neurons(0.5)}


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return out


class Sequential(nn.Module):
    """A history through a core that someone else wrote."""

    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.emb = nn.Embedding(50, 8, padding_idx=0)
        self.before, self.core, self.head = nn.Linear(8, 8), core, nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.core(self.before(self.emb(x)))
        h = h[0] if isinstance(h, tuple) else h
        return self.head(h.sum(1))


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)


CORES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "gru": (lambda: nn.GRU(8, 8, batch_first=True), "fails without some of them"),
    "lstm": (lambda: nn.LSTM(8, 8, batch_first=True), "rnn_layer"),
    "attention": (Attends, "multi_head_attention"),
    "transformer": (transformer, "multi_head_attention"),
    "root mean square": (lambda: nn.RMSNorm(8), "mean in core is over all of its units"),
    "weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)),
        "fixed size",
    ),
    "softmax": (lambda: nn.Softmax(-1), "_softmax in core is over all of its units"),
}


@pytest.mark.parametrize("core, words", CORES.values(), ids=CORES.keys())
def test_what_feeds_an_opaque_core_stays_and_the_tables_are_cut(
    core: Callable[[], nn.Module], words: str
) -> None:
    torch.manual_seed(0)
    net = Sequential(core()).eval()
    past = ids(50, 5)
    plan = rp.plan(net, example_inputs=past, keep=KEEP)
    assert isinstance(plan, ModulePlan)
    assert words in plan.skipped["neurons.before"]
    small = plan.apply(net)
    assert small.before.weight.shape == (8, 4)
    assert small.emb.weight.shape == (26, 4)  # half of 49, padding, the row of the cut ids
    assert small(past).shape == (BATCH, 1)
    small.train()(past).sum().backward()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_kept_and_counted(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = Sequential(nn.Linear(8, 8)).to(dtype).eval()
    plan = rp.plan(net, example_inputs=ids(50, 5), keep=KEEP)
    small = plan.apply(net)
    assert isinstance(plan, ModulePlan)
    assert {p.dtype for p in small.parameters()} == {dtype}
    assert plan.predicted_bytes == sum(t.nbytes for t in small.state_dict().values())


class Sides(nn.Module):
    """A concatenation of two layers, added to one as wide as both."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.both = nn.Linear(5, 4), nn.Linear(5, 6), nn.Linear(5, 10)
        self.head = nn.Linear(10, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.a(x), self.b(x)], 1) + self.both(x))


def test_a_layer_beside_two_others_keeps_its_share_in_each() -> None:
    net = Sides().eval()
    small = rp.plan(net, example_inputs=WIDE, keep={"both": rp.neurons(0.5)}).apply(net)
    assert (small.a.out_features, small.b.out_features, small.both.out_features) == (2, 3, 5)
    with pytest.raises(PlanError, match=r"'both' are cut with 2 other layers.*share"):
        rp.plan(net, example_inputs=WIDE, keep={"both": rp.neurons(5)})


def test_experts_under_a_gate_are_cut_together_and_the_gate_stays() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.ModuleList(nn.Linear(5, 8) for _ in range(3))
            self.gate = nn.Linear(5, 3)
            self.tasks = nn.ModuleDict({"click": nn.Linear(8, 1), "buy": nn.Linear(8, 1)})

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            share = self.gate(x).softmax(-1)
            stack = torch.stack([torch.relu(e(x)) for e in self.experts], 1)
            mix = torch.einsum("be,bed->bd", share, stack)
            return {name: torch.sigmoid(t(mix)) for name, t in self.tasks.items()}

    net = Experts().eval()
    plan: Any = rp.plan(net, example_inputs=WIDE, keep={"*": rp.neurons(0.5)})
    assert "_softmax is over all" in plan.skipped["neurons.gate"]
    small = plan.apply(net)
    assert {e.out_features for e in small.experts} == {4}
    assert {t.in_features for t in small.tasks.values()} == {4}


def test_a_module_that_cannot_be_copied_says_so() -> None:
    net = Sides()
    net.last = net(WIDE)  # type: ignore[assignment]  # a result with its graph
    with pytest.raises(PlanError, match=r"Sides cannot be copied.*before planning"):
        rp.plan(net, example_inputs=WIDE, keep={"both": rp.neurons(0.5)})


def test_a_size_that_is_close_but_wrong_is_found_with_weights_near_zero() -> None:
    """Outputs that hardly depend on the weights would hide a wrong cut; noise shows it."""

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.head = nn.Linear(5, 8), nn.Linear(8, 1)
            for p in self.parameters():
                nn.init.normal_(p, std=1e-7)

        def forward(self, x: Tensor) -> Tensor:
            h = self.hidden(x)
            return torch.sigmoid(self.head(h) * h.shape[-1])

    with pytest.raises(PlanError, match=r"neurons\.hidden: the code depends on their number"):
        rp.plan(Tiny(), example_inputs=WIDE, keep={"hidden": rp.neurons(0.5)})
