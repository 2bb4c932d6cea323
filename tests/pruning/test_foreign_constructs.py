"""Every way in which modules put layers together: what is cut, and that nothing else changes."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import recprune as rp
from recprune.foreign import ModulePlan, neurons, plan_module
from recprune.foreign.tracing import call

from .foreign_nets import CASES, WIDE, Case, Residual, ids


def evens_first(axis: Any, tensors: Any) -> Any:
    return -(np.arange(axis.size) % 2)


def outputs(net: nn.Module, inputs: Any) -> list[Tensor]:
    with torch.no_grad():
        return tree_leaves(call(net.eval(), inputs))


def made(case: Case) -> nn.Module:
    torch.manual_seed(1)
    return case.net().eval()


def state_bytes(net: nn.Module) -> int:
    """Each tensor once, however many names it has."""
    tensors = {id(t): t for t in net.state_dict(keep_vars=True).values()}
    return sum(t.numel() * t.element_size() for t in tensors.values())


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def test_cutting_units_that_do_nothing_changes_no_output(case: Case) -> None:
    net = made(case)
    case.deaden(net)
    plan = plan_module(net, case.inputs, case.keep, importance=evens_first)
    small = plan.apply(net)
    assert not plan.skipped
    before, after = outputs(net, case.inputs), outputs(small, case.inputs)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6)


def test_masks_leave_size_and_speed_unchanged_but_a_cut_does_not(case: Case) -> None:
    net = made(case)
    plan = plan_module(net, case.inputs, case.keep)
    small = plan.apply(net)
    before, after = dict(net.state_dict()), dict(small.state_dict())
    for name in case.smaller:
        assert after[name].numel() < before[name].numel()
        assert after[name].untyped_storage().nbytes() == after[name].nbytes
    assert plan.predicted_bytes == state_bytes(small) < state_bytes(net) == plan.bytes_before


def shared(case: Case, share: float) -> dict[str, Any]:
    """Return the case's wishes, each for this share."""
    return {
        name: [replace(s, keep=share) for s in (v if isinstance(v, list) else [v])]
        for name, v in case.keep.items()
    }


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_asked_10_percent_got_20(share: float, case: Case) -> None:
    plan = plan_module(made(case), case.inputs, shared(case, share))
    assert plan.cuts
    for cut in plan.cuts:
        assert abs(len(cut.kept) - max(1, share * cut.axis.size)) <= 0.5


def test_the_module_given_is_untouched(case: Case) -> None:
    net = made(case)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    classes = [type(m) for m in net.modules()]
    plan_module(net, case.inputs, case.keep).apply(net)
    assert classes == [type(m) for m in net.modules()]
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_a_cut_module_trains_on(case: Case) -> None:
    net = made(case)
    small = plan_module(net, case.inputs, case.keep).apply(net).train()
    before = {k: v.clone() for k, v in small.named_parameters()}
    optimizer = torch.optim.SGD(small.parameters(), 0.1)
    sum(t.square().sum() for t in tree_leaves(call(small, case.inputs))).backward()
    optimizer.step()
    moved = [k for k, v in small.named_parameters() if not torch.equal(v, before[k])]
    assert moved
    assert all(p.grad is None or p.grad.shape == p.shape for p in small.parameters())


def test_smaller_shares_keep_subsets(case: Case) -> None:
    net = made(case)

    def kept(share: float) -> dict[str, set[int]]:
        plan = plan_module(net, case.inputs, shared(case, share))
        return {c.axis.name: set(c.kept.tolist()) for c in plan.cuts}

    large, small = kept(0.7), kept(0.4)
    assert small
    assert all(small[name] <= large[name] for name in small if name in large)


def test_results_change_from_run_to_run_not_here(case: Case) -> None:
    net = made(case)
    plans = [plan_module(net, case.inputs, case.keep, importance="random") for _ in range(2)]
    assert str(plans[0]) == str(plans[1])
    states = [p.apply(net).state_dict() for p in plans]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_a_later_checkpoint_takes_the_same_plan(case: Case) -> None:
    plan = plan_module(made(case), case.inputs, case.keep)
    torch.manual_seed(9)
    later = case.net().eval()
    assert state_bytes(plan.apply(later)) == plan.predicted_bytes


class Normed(nn.Module):
    def __init__(self, affine: bool) -> None:
        super().__init__()
        self.first = nn.Linear(5, 8)
        self.norm = nn.LayerNorm(8, elementwise_affine=affine)
        self.head = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(torch.relu(self.first(x))))


@pytest.mark.parametrize("affine", [True, False])
def test_a_layer_norm_is_over_the_units_that_are_left(affine: bool) -> None:
    torch.manual_seed(0)
    net = Normed(affine).eval()
    plan = plan_module(net, WIDE, {"first": neurons(0.5)}, importance=evens_first)
    small = plan.apply(net)
    assert small.norm.normalized_shape == (4,)
    h = torch.relu(net.first(WIDE))[:, ::2]
    h = (h - h.mean(1, keepdim=True)) / (h.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    if affine:
        h = h * net.norm.weight[::2] + net.norm.bias[::2]
    want = h @ net.head.weight[:, ::2].T + net.head.bias
    torch.testing.assert_close(small(WIDE), want)


def test_export_equals_eager_with_batch_norm_sliced() -> None:
    case = CASES["batch norm, dropout, PReLU"]
    net = made(case)
    small = plan_module(net, case.inputs, case.keep).apply(net)
    program = torch.export.export(small, (WIDE,)).module()
    torch.testing.assert_close(program(WIDE + 1), small(WIDE + 1))


def test_a_remapped_table_exports() -> None:
    case = CASES["ModuleDict, concatenation"]
    net = made(case)
    small = plan_module(net, case.inputs, case.keep).apply(net)
    program = torch.export.export(small, (), dict(case.inputs)).module()
    other = {"user": ids(40).flip(0), "item": ids(60).flip(0)}
    torch.testing.assert_close(program(**other), small(**other))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    "name", ["ModuleDict, concatenation", "FM sums, stack and flatten, sparse"]
)
def test_onnx_runtime_gives_what_the_cut_module_gives(name: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    case = CASES[name]
    net = made(case)
    small = plan_module(net, case.inputs, case.keep).apply(net).eval()
    given = case.inputs if isinstance(case.inputs, dict) else {"x": case.inputs}
    file = io.BytesIO()
    torch.onnx.export(small, tuple(given.values()), file, dynamo=False, input_names=list(given))
    session = runtime.InferenceSession(file.getvalue())
    (found,) = session.run(None, {k: v.numpy() for k, v in given.items()})
    torch.testing.assert_close(torch.from_numpy(found), small(*given.values()).detach())


def test_groups_are_those_of_torch_pruning_where_it_is_right() -> None:
    """An independent tracer, on what it was made for: layers, residual adds, batch norm."""
    tp = pytest.importorskip("torch_pruning")
    torch.manual_seed(0)
    net = Residual()
    plan = rp.plan(net, example_inputs=WIDE, keep={"blocks.1": rp.neurons(3)})
    assert isinstance(plan, ModulePlan)
    (cut,) = plan.cuts
    mine = {(n.removesuffix(".weight"), d) for n, d in cut.axis.places if n.endswith("weight")}
    graph = tp.DependencyGraph().build_dependency(net, WIDE, verbose=False)
    group = graph.get_pruning_group(net.blocks[1], tp.prune_linear_out_channels, [0])
    names = {m: n for n, m in net.named_modules()}
    theirs = {
        (names[d.target.module], 0 if d.handler == tp.prune_linear_out_channels else 1)
        for d, _ in group
        if d.target.module in names
    }
    assert mine == theirs
