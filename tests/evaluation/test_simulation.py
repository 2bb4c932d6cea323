"""The benchmark's simulated world: its truth is exact, and the verdict holds its promises in it."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks._crossed_world import World
from benchmarks.verdict import Scenario, at_tolerance, claims, of_seeds

from recprune.executor import Executor
from recprune.metrics import auc


def test_the_true_auc_is_that_of_very_many_rows() -> None:
    world = World(per_user=1, per_item=1)  # nobody twice: the rows are independent
    lower = world.pruned_rho(0.02)
    assert world.area(world.rho) - world.area(lower) == pytest.approx(0.02, abs=1e-12)
    rows = world.draw(np.random.default_rng(0), 400_000, [lower])
    error = 0.5 / np.sqrt(400_000 * world.rate)
    assert rows.label.mean() == pytest.approx(world.rate, abs=0.005)
    for score, rho in ((rows.full[0], world.rho), (rows.pruned[0], lower)):
        assert auc(rows.label, score) == pytest.approx(world.area(rho), abs=4 * error)
        assert len(np.unique(score)) < 200  # nearly all rows are tied


def test_rows_of_one_user_hang_together_and_so_do_those_of_one_item() -> None:
    world = World(user=0.3, item=0.2)
    rows = world.draw(np.random.default_rng(0), 50_000, [world.rho])
    gap = rows.pruned[0] - rows.full[0]
    gap = (gap - gap.mean()) / gap.std()
    for owner, share in ((rows.users, 0.3), (rows.items, 0.2)):
        sums, sizes = np.bincount(owner, gap), np.bincount(owner)
        pairs = (sums**2 - np.bincount(owner, gap**2)).sum() / (sizes * (sizes - 1)).sum()
        assert pairs == pytest.approx(share, abs=0.05)
    sizes = np.bincount(rows.users)
    assert sizes.max() > 10 * np.median(sizes)


def test_parts_of_the_simulation_run_and_repeat() -> None:
    small = Scenario("small_selected", 1000, World(), selected=True)
    first, again = (at_tolerance(small, 3, np.random.default_rng(5)) for _ in range(2))
    assert first == again
    assert np.shape(first) == (3, 3)
    assert np.shape(of_seeds(small, 2, np.random.default_rng(5))) == (2, 2)


@pytest.mark.slow
def test_the_verdict_holds_its_promises_where_users_and_items_hang_together() -> None:
    wrong, power, rows = claims(Scenario("1k", 1000, World()), 600, Executor())
    assert wrong.value <= 0.05 + 2 * (0.05 * 0.95 / 600) ** 0.5
    assert power.value >= 0.8 - 2 * power.detail["error"]
    assert rows.value <= 1.3


@pytest.mark.slow
def test_choosing_on_other_rows_is_no_luck_and_on_the_test_rows_it_is() -> None:
    scenario = Scenario("1k_selected", 1000, World(), selected=True)
    found = np.array(at_tolerance(scenario, 600, np.random.default_rng(0)), float)
    honest, _, peeked = found.mean(axis=0)
    error = (0.05 * 0.95 / 600) ** 0.5
    assert honest <= 0.05 + 2 * error
    assert peeked > 0.05 + 4 * error
