"""Adam on touched rows, and proximal steps, against plain versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recprune.errors import ParameterError
from recprune.models import LazyAdam, Penalty


def test_with_every_row_touched_it_is_adam() -> None:
    draws = torch.Generator().manual_seed(0)
    start = torch.randn(20, 5, generator=draws)
    ours, theirs = start.clone(), torch.nn.Parameter(start.clone())
    lazy = LazyAdam(ours, 0.01, epsilon=1e-4)
    dense = torch.optim.Adam([theirs], lr=0.01, eps=1e-4)
    rows = torch.arange(20)
    for _ in range(30):
        gradient = torch.randn(20, 5, generator=draws)
        lazy.step(rows, ours[rows].clone(), gradient)
        theirs.grad = gradient.clone()
        dense.step()
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)


def test_rows_that_are_not_touched_do_not_move() -> None:
    table = torch.ones(6, 2)
    lazy = LazyAdam(table, 0.1, Penalty(l1=1.0, l2=1.0))
    rows = torch.tensor([1, 4])
    for _ in range(3):
        lazy.step(rows, table[rows].clone(), torch.ones(2, 2))
    assert torch.equal(table[[0, 2, 3, 5]], torch.ones(4, 2))
    assert (table[rows] < 1).all()


def test_the_proximal_steps_are_the_closed_forms() -> None:
    weight = torch.tensor([[3.0, -4.0], [0.3, 0.4]])
    soft = Penalty(l1=1.0).shrink(weight, 0.5)
    np.testing.assert_allclose(soft, [[2.5, -3.5], [0.0, 0.0]], atol=1e-6)
    group = Penalty(group=1.0).shrink(weight, 1.0)
    np.testing.assert_allclose(group, [[3 * 0.8, -4 * 0.8], [0.0, 0.0]], atol=1e-6)


@pytest.mark.parametrize("value", [-1, float("inf"), float("nan"), "much"])
def test_bad_strengths_are_refused(value: object) -> None:
    with pytest.raises(ParameterError, match="'l1' parameter of Penalty"):
        Penalty(l1=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("every", [1, 4])
def test_l2_decays_a_row_as_adamw_does_whenever_a_batch_holds_it(every: int) -> None:
    """So a rare value decays once for each time it occurs, however large the batches are."""
    start = torch.full((2, 3), 2.0)
    ours, theirs = start.clone(), torch.nn.Parameter(start[:1].clone())
    lazy = LazyAdam(ours, 0.1, Penalty(l2=0.05))
    dense = torch.optim.AdamW([theirs], lr=0.1, eps=1e-4, weight_decay=2 * 0.05)
    for step in range(8):
        rows = torch.tensor([0] if step % every == 0 else [1])
        lazy.step(rows, ours[rows].clone(), torch.zeros(1, 3))
        if step % every == 0:
            theirs.grad = torch.zeros(1, 3)
            dense.step()
    torch.testing.assert_close(ours[:1], theirs.detach())
    assert float(ours[0, 0]) == pytest.approx(2 * (1 - 2 * 0.05 * 0.1) ** (8 // every))
