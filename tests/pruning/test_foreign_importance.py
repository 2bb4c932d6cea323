"""How the units of a user's own module are scored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import recprune as rp
from recprune.errors import ParameterError, PlanError

from .foreign_nets import WIDE, Fm, ids
from .test_foreign_plan import SIDES, planned, towers


def test_look_ups_are_counted_in_batches() -> None:
    net = Fm().eval()
    seen = torch.tensor([[0, 3, 7], [1, 3, 8], [1, 4, 9]])
    plan = planned(net, ids(50, 3), {"emb": rp.rows(2)}, importance="frequency", batches=[seen])
    kept = {c.axis.name: c.kept.tolist() for c in plan.cuts}
    assert kept == {"rows.emb.0": [0, 1], "rows.emb.1": [3, 4], "rows.emb.2": [7, 8]}


def test_counts_that_are_given_stand_beside_those_of_batches() -> None:
    net = Fm().eval()
    seen = torch.tensor([[0, 3, 7], [1, 3, 8], [1, 4, 9]])
    given = {"emb.0": (np.arange(50) == 5) + 2.0 * (np.arange(50) == 6)}
    plan = planned(
        net, ids(50, 3), {"emb": rp.rows(2)}, importance="frequency", batches=[seen], counts=given
    )
    kept = {c.axis.name: c.kept.tolist() for c in plan.cuts}
    assert kept == {"rows.emb.0": [5, 6], "rows.emb.1": [3, 4], "rows.emb.2": [7, 8]}


def test_norm_count_is_the_norm_times_the_root_of_the_count() -> None:
    net = nn.Sequential(nn.Embedding(4, 4))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, 2.0, 3.0, 9.0])[:, None].expand(4, 4))
    counts = {"0": [16, 5, 1, 0]}  # 4, 4.47, 3 and unseen
    plan = planned(net, torch.tensor([0, 1]), {"0": rp.rows(1)}, counts=counts)
    assert plan.cuts[0].kept.tolist() == [1]


def test_taylor_is_the_change_that_a_cut_makes_in_a_linear_loss() -> None:
    """With a loss linear in the units, |Σ w·g| over a unit is exactly what cutting it changes."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(5, 6, bias=False), nn.Linear(6, 1, bias=False)).double()
    x = torch.randn(7, 5, dtype=torch.float64)
    plan = planned(
        net, x, {"0": rp.neurons(2)}, importance="taylor", loss=lambda n, batch: n(batch).sum()
    )
    moved = (net[0](x) * net[1].weight[0]).sum(0).abs()
    assert plan.cuts[0].kept.tolist() == sorted(moved.topk(2).indices.tolist())
    assert all(p.grad is None for p in net.parameters())


def test_norms_are_over_the_coupled_group() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]]))
        net[0].bias.zero_()
        net[1].weight.copy_(torch.tensor([[1.0, 0.5, 2.3]]))
    by = {m: planned(net, WIDE[:, :2], {"0": rp.neurons(1)}, importance=m) for m in ("l1", "l2")}
    assert by["l1"].cuts[0].kept.tolist() == [0]  # 3 > 2.5 > 2.3
    assert by["l2"].cuts[0].kept.tolist() == [2]  # 3 < 4.25 < 5.29


def test_importance_by_unit_and_by_a_function_of_ones_own() -> None:
    def last(axis: Any, tensors: Any) -> Any:
        assert "emb.item.weight" in tensors
        return np.arange(axis.size)

    keep = {"emb": [rp.rows(2), rp.dims(2)]}
    plan = planned(towers(), SIDES, keep, importance={"dims": last, "rows": "l1"})
    kept = {c.axis.name: c.kept.tolist() for c in plan.cuts}
    assert kept["dims.emb.user"] == [4, 5]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"importance": "l3"}, "no importance 'l3'"),
        ({"importance": {"row": "l1"}}, "no unit 'row'.*'rows'"),
        ({"importance": {"neurons": "frequency"}}, "'frequency' is of rows"),
        ({"importance": "taylor"}, "'loss' parameter"),
        ({"importance": {"rows": "frequency"}}, "'batches' parameter"),
        ({"importance": lambda axis, tensors: [1.0]}, "finite numbers for axis"),
        ({"counts": {"emb.user": [1, 2]}}, "40 finite numbers"),
        ({"counts": {"emb.user": [np.inf] + [1] * 39}}, "40 finite numbers"),
        ({"batches": iter(())}, "'batches' parameter of plan must be at least one batch"),
        ({"counts": {"emb.usr": [1] * 40}}, r"Did you mean 'emb\.user'"),
    ],
)
def test_methods_say_what_they_lack(options: dict[str, Any], words: str) -> None:
    keep = {"emb": [rp.rows(0.5), rp.dims(0.5)]}
    with pytest.raises((ParameterError, PlanError), match=words):
        planned(towers(), SIDES, keep, **options)
