"""What a user asks of ``rp.plan`` for a module of their own, and what they are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import recprune as rp
from recprune.errors import ParameterError, PlanError
from recprune.foreign import ModulePlan

from .foreign_nets import BATCH, CASES, WIDE, Attention, Bags, Fm, Mlp, Residual, Tied, Towers, ids

SIDES = {"user": ids(40), "item": ids(60)}


def towers() -> Towers:
    torch.manual_seed(0)
    return Towers().eval()


def planned(net: nn.Module, inputs: Any, keep: Any, **options: Any) -> ModulePlan:
    plan = rp.plan(net, example_inputs=inputs, keep=keep, **options)
    assert isinstance(plan, ModulePlan)
    return plan


def test_an_unmatched_layer_name_is_no_silent_noop() -> None:
    with pytest.raises(PlanError, match=r"'keep'.*'towrs\.user'.*Did you mean 'towers\.user'\?"):
        planned(towers(), SIDES, {"towrs.user": rp.neurons(0.5)})
    with pytest.raises(PlanError, match=r"'protect'.*'heat'.*Did you mean 'head'\?"):
        planned(towers(), SIDES, {"towers": rp.neurons(0.5)}, protect=["heat"])
    with pytest.raises(ParameterError, match=r"'protect'.*a list of patterns\. Got 'head'"):
        planned(towers(), SIDES, {"towers": rp.neurons(0.5)}, protect="head")
    with pytest.raises(PlanError, match=r"names no layer with rows.*Linear"):
        planned(towers(), SIDES, {"towers.user": rp.rows(0.5)})


@pytest.mark.parametrize("share", [0.0, 1.5, -1, 0, True, "half", float("nan")])
def test_a_share_out_of_range_is_refused(share: Any) -> None:
    with pytest.raises(ParameterError, match="'keep' parameter of neurons"):
        rp.neurons(share)


@pytest.mark.parametrize("least", [0, True, 2.5, "two"])
def test_a_least_number_of_units_is_whole(least: Any) -> None:
    with pytest.raises(ParameterError, match="'min_keep' parameter of rows must be an int ≥ 1"):
        rp.rows(0.5, min_keep=least)


@pytest.mark.parametrize("keep", [{}, None, {"head": 0.5}, {"head": [rp.rows(0.5), 3]}])
def test_keep_is_a_mapping_to_shares(keep: Any) -> None:
    with pytest.raises(ParameterError, match="keep"):
        planned(towers(), SIDES, keep)


def test_the_wrong_kind_of_arguments_names_the_right_one() -> None:
    with pytest.raises(ParameterError, match="example_inputs"):
        rp.plan(towers(), SIDES, {"head": 0.5})  # type: ignore[call-overload]
    with pytest.raises(ParameterError, match="'model' parameter of plan"):
        rp.plan({"a": 1}, None, {"rows": 0.5})  # type: ignore[call-overload]


def test_whole_layers_are_never_removed() -> None:
    net = towers()
    plan = planned(net, SIDES, {"towers": rp.neurons(0.001), "emb": [rp.dims(0.01), rp.rows(0.01)]})
    assert {len(c.kept) for c in plan.cuts} == {1}
    small = plan.apply(net)
    assert small.towers["user"].weight.shape == (1, 1)
    assert small(**SIDES).shape == (BATCH, 1)
    floor = planned(net, SIDES, {"towers": rp.neurons(0.001, min_keep=3)})
    assert {len(c.kept) for c in floor.cuts} == {3}


def test_the_output_and_protected_modules_stay_with_the_reason() -> None:
    net = Residual().eval()
    plan = planned(net, WIDE, {"*": rp.neurons(0.5)})
    assert plan.skipped == {"neurons.head": "part of the output"}
    assert plan.apply(net).head.weight.shape == (2, 4)
    with pytest.raises(PlanError, match=r"Nothing of what 'keep' asks.*protected"):
        planned(net, WIDE, {"first": rp.neurons(0.5)}, protect=["blocks.0"])
    kept = planned(towers(), SIDES, {"emb": rp.rows(0.5)}, protect=["emb.user"])
    assert [c.axis.name for c in kept.cuts] == ["rows.emb.item"]
    assert kept.skipped == {"rows.emb.user": "protected"}


def test_coupled_layers_cannot_be_asked_for_different_shares() -> None:
    keep = {"first": rp.neurons(0.5), "blocks.0": rp.neurons(0.25)}
    with pytest.raises(PlanError, match=r"'first' and 'blocks\.0' are cut together.*0\.5.*0\.25"):
        planned(Residual().eval(), WIDE, keep)


def test_the_later_of_two_patterns_holds() -> None:
    keep = {"towers.*": rp.neurons(0.5), "towers.user": rp.neurons(2)}
    plan = planned(towers(), SIDES, keep)
    assert {c.axis.name: len(c.kept) for c in plan.cuts} == {
        "neurons.towers.user": 2,
        "neurons.towers.item": 2,
    }


def test_keeping_everything_is_the_identity() -> None:
    net = towers()
    plan = planned(net, SIDES, {"towers": rp.neurons(1.0), "emb": [rp.dims(6), rp.rows(99)]})
    assert not plan.cuts
    assert plan.predicted_bytes == plan.bytes_before
    assert torch.equal(plan.apply(net)(**SIDES), net(**SIDES))


def test_a_printed_plan_names_the_coupled_group_and_what_is_not_cut() -> None:
    text = str(planned(Residual().eval(), WIDE, {"*": rp.neurons(0.5)}))
    assert "blocks.1.weight[1]" in text
    assert "4/8" in text
    assert "not cut: neurons.head: part of the output" in text
    assert "tensor bytes 840 → " in text


class Split(nn.Module):
    """A gated layer by position, a softmax over units, a size known by heart."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.soft = nn.Linear(5, 8), nn.Linear(5, 8)
        self.fixed, self.unused = nn.Linear(5, 8), nn.Linear(5, 8)
        self.free, self.head = nn.Linear(5, 8), nn.Linear(8, 1)
        self.scaled = nn.Linear(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.gate(x).chunk(2, dim=-1)
        soft = torch.softmax(self.soft(x), -1).sum(-1)
        fixed = self.fixed(x).view(-1, 2, 4).sum((1, 2))
        scaled = self.scaled(x)
        scaled = scaled.sum(-1) / scaled.shape[-1]
        return (
            (a * torch.sigmoid(b)).sum(-1) + soft + fixed + scaled + self.head(self.free(x))[:, 0]
        )


def test_what_cannot_be_cut_safely_is_listed_with_the_reason() -> None:
    torch.manual_seed(0)
    net = Split().eval()
    plan = planned(net, WIDE, {"*": rp.neurons(0.5)})
    assert [c.axis.name for c in plan.cuts] == ["neurons.free"]
    for layer, words in {
        "gate": "picks its units by position",
        "soft": "_softmax is over all of its units",
        "fixed": "fails without some of them",
        "unused": "never reads it",
        "scaled": "depends on their number",
        "head": "one unit only",
    }.items():
        assert words in plan.skipped[f"neurons.{layer}"]


def test_tables_that_are_read_otherwise_keep_their_rows() -> None:
    class Full(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.item, self.other = nn.Embedding(50, 8), nn.Embedding(50, 8)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            near = nn.functional.embedding(x, self.other.weight)
            return self.item(x) @ self.item.weight.T, near.sum(-1)

    net = Full().eval()
    plan = planned(net, ids(50), {"*": [rp.rows(0.5), rp.dims(0.5)]})
    assert "read by permute too" in plan.skipped["rows.item"]
    assert "without its module being called" in plan.skipped["rows.other"]
    assert {c.axis.unit for c in plan.cuts} == {"dim"}


def test_a_table_whose_map_would_cost_more_than_it_saves_stays() -> None:
    net = nn.Sequential(nn.Embedding(100, 1), nn.Flatten(0), nn.Unflatten(0, (-1, 1)))
    with pytest.raises(PlanError, match="map of its ids takes as many bytes"):
        planned(net, ids(100), {"0": rp.rows(0.5)})


def test_ids_read_the_mean_of_the_cut_rows_by_their_counts() -> None:
    net = nn.Sequential(nn.Embedding(30, 8, padding_idx=4))
    counts = np.arange(30.0)
    plan = planned(net, ids(30), {"0": rp.rows(9)}, importance="frequency", counts={"0": counts})
    small = plan.apply(net)
    rows, table = small(torch.arange(30)), net[0].weight
    kept = [4, *range(21, 30)]
    torch.testing.assert_close(rows[kept], table[kept])
    cut = [i for i in range(30) if i not in kept]
    share = torch.tensor(counts[cut] / counts[cut].sum(), dtype=torch.float32)
    torch.testing.assert_close(rows[cut], (share @ table[cut]).expand(len(cut), 8))
    assert small[0].weight.shape == (11, 8)
    rows.sum().backward()
    assert not small[0].weight.grad[small[0].padding_idx].any()


def test_padding_counts_in_no_bag_before_or_after() -> None:
    net = nn.Sequential(nn.EmbeddingBag(30, 8, mode="mean", padding_idx=20))
    bags = torch.stack([torch.full((BATCH,), 20), ids(9), ids(9)], 1)
    plan = planned(net, bags, {"0": rp.rows(9)}, importance=lambda axis, _: -np.arange(axis.size))
    small = plan.apply(net)
    assert plan.cuts[0].kept.tolist() == list(range(9))
    torch.testing.assert_close(small(bags), net(bags))
    torch.testing.assert_close(small(bags), net[0].weight[ids(9)])


def test_the_row_of_cut_ids_is_trained_by_all_of_them() -> None:
    net = nn.Sequential(nn.Embedding(30, 8))
    small = planned(net, ids(30), {"0": rp.rows(9)}).apply(net)
    cut = [i for i in range(30) if small[0].remap[i] == 9]
    assert len(cut) == 21
    small(torch.tensor(cut)).sum().backward()
    gradient = small[0].weight.grad
    assert torch.equal(gradient[9], torch.full((8,), 21.0))
    assert not gradient[:9].any()


@pytest.mark.parametrize("bad", [-1, 30])
def test_an_id_that_was_an_error_stays_one(bad: int) -> None:
    net = nn.Sequential(nn.Embedding(30, 8))
    small = planned(net, ids(30), {"0": rp.rows(9)}).apply(net)
    for module in (net, small):
        with pytest.raises((IndexError, RuntimeError)):
            module(torch.tensor([bad]))


def test_inputs_that_the_module_does_not_take_are_told() -> None:
    with pytest.raises(PlanError, match=r"forward pass of Towers fails.*forward\(net, inputs\)"):
        planned(towers(), WIDE, {"towers": rp.neurons(0.5)})


def test_a_forward_of_ones_own_runs_more_than_the_call() -> None:
    net = Towers().eval()

    def run(module: Any, batch: Any) -> Any:
        return module(batch["user"], batch["item"]), module.emb["item"].weight.T

    plan = planned(net, SIDES, {"emb": rp.rows(0.5)}, forward=run)
    assert "rows.emb.item" in plan.skipped
    assert [c.axis.name for c in plan.cuts] == ["rows.emb.user"]


def test_a_plan_of_another_module_is_refused() -> None:
    plan = planned(towers(), SIDES, {"towers": rp.neurons(0.5)})
    with pytest.raises(PlanError, match="made for a Towers with a tensor"):
        plan.apply(Mlp())
    wide = Towers()
    wide.head = nn.Linear(12, 2)
    with pytest.raises(PlanError, match=r"'head\.weight' is \[1, 12\] float32; this one's is \[2"):
        plan.apply(wide)


def test_a_cut_module_can_be_cut_again() -> None:
    torch.manual_seed(0)
    net = Attention().eval()
    batch = CASES["attention, shared table, padding"].inputs
    keep = {"item": [rp.rows(0.5), rp.dims(0.75)], "value": rp.neurons(0.5)}
    once = planned(net, batch, keep).apply(net)
    plan = planned(once, batch, {"item": [rp.rows(10), rp.dims(3)]})
    twice = plan.apply(once)
    assert twice.item.weight.shape == (12, 3)  # padding and the row of the cut ids besides
    assert plan.predicted_bytes == sum(t.nbytes for t in twice.state_dict().values())
    assert not twice.item(torch.tensor([0])).any()
    assert next(c.axis.size for c in plan.cuts if c.axis.unit == "row") == 40
    dims = next(c for c in plan.cuts if c.axis.unit == "dim").kept
    alive = twice.item.remap != twice.item.remap.max()
    every = torch.arange(80)
    same = once.item(every)[:, dims.tolist()][alive]
    torch.testing.assert_close(twice.item(every)[alive], same)


def test_tied_tables_stay_tied() -> None:
    net = Tied().eval()
    plan = planned(net, (ids(60), ids(59)), {"query": rp.rows(0.5)})
    small = plan.apply(net)
    assert small.query.weight is small.item.weight
    assert small.item.weight.shape == (31, 6)
    assert small.item.max_norm == 2.0


def test_settings_of_tables_stay() -> None:
    net = Bags().eval()
    case = CASES["bags"]
    small = planned(net, case.inputs, {"mean": rp.rows(0.5), "top": rp.rows(0.5)}).apply(net)
    assert (small.mean.mode, small.top.mode) == ("mean", "max")
    fm = Fm().eval()
    cut = planned(fm, ids(50, 3), {"emb": rp.rows(0.5)}).apply(fm)
    assert cut.emb[0].sparse
    cut(ids(50, 3)).sum().backward()
    assert cut.emb[0].weight.grad.is_sparse
