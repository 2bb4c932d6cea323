"""The optimiser of a user's own module follows the units that are left."""

from __future__ import annotations

import pytest
import torch

import recprune as rp
from recprune.errors import PlanError

from .foreign_nets import WIDE, Fm, Mlp, Residual, ids
from .test_foreign_plan import planned


def test_the_optimiser_does_not_hold_stale_parameters() -> None:
    net = Mlp().train()
    optimizer = torch.optim.Adam(
        [{"params": net.tower.parameters()}, {"params": net.head.parameters(), "lr": 1e-4}], lr=0.01
    )
    for _ in range(3):
        optimizer.zero_grad()
        net(WIDE).square().sum().backward()
        optimizer.step()
    plan = planned(net, WIDE, {"tower": rp.neurons(0.5)})
    small = plan.apply(net)
    follower = plan.follow(optimizer, net, small)
    trained = {id(p) for group in follower.param_groups for p in group["params"]}
    assert trained == {id(p) for p in small.parameters()}
    assert [g["lr"] for g in follower.param_groups] == [0.01, 1e-4]
    kept = next(c for c in plan.cuts if c.axis.name == "neurons.tower.0").kept
    for key in ("exp_avg", "exp_avg_sq"):
        old, new = optimizer.state[net.tower[0].weight], follower.state[small.tower[0].weight]
        assert torch.equal(new[key], old[key][kept])
    small.train()(WIDE).square().sum().backward()
    follower.step()
    assert optimizer.state[net.tower[0].weight]["step"] == 3
    with pytest.raises(PlanError, match="trains parameters that the module does not have"):
        plan.follow(torch.optim.SGD(small.parameters(), 0.1), net, small)


def test_zeros_do_not_revive_after_a_momentum_step() -> None:
    """What was cut does not exist: no momentum can bring it back, and sizes stay."""
    net = Fm().train()
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net.emb.apply(lambda m: setattr(m, "sparse", False))
    net(ids(50, 3)).sum().backward()
    optimizer.step()
    plan = planned(net, ids(50, 3), {"emb": [rp.rows(0.5), rp.dims(0.5)], "deep": rp.neurons(0.5)})
    small = plan.apply(net)
    follower = plan.follow(optimizer, net, small)
    table = follower.state[small.emb[0].weight]["momentum_buffer"]
    assert table.shape == small.emb[0].weight.shape
    assert not table[-1].any()  # the row of the cut ids starts without momentum
    for _ in range(3):
        follower.zero_grad()
        small(ids(50, 3)).sum().backward()
        follower.step()
    assert sum(t.nbytes for t in small.state_dict().values()) == plan.predicted_bytes


def test_optimisers_and_lists_that_a_module_holds_follow_it() -> None:
    net = Residual()
    net.optimizer = torch.optim.Adam(net.parameters())  # type: ignore[assignment]
    net.penalised = [net.first.weight]  # type: ignore[assignment]
    net(WIDE).sum().backward()
    net.optimizer.step()
    small = planned(net, WIDE, {"blocks": rp.neurons(0.5)}).apply(net)
    assert small.penalised[0] is small.first.weight
    small(WIDE).sum().backward()
    small.optimizer.step()
    assert small.optimizer.state[small.first.weight]["exp_avg"].shape == (4, 5)
    assert net.optimizer.state[net.first.weight]["exp_avg"].shape == (8, 5)
