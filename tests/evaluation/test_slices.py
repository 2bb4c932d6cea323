"""Slices: where the pruned model is worse, and where nobody can tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from recprune.evaluation import clustered_delong, judge_slices

from .worlds import World


def test_a_harmed_group_is_found_among_many_that_are_not() -> None:
    rng = np.random.default_rng(0)
    world = World().draw(rng, 20_000, 1000)
    label, full, users = world["label"], world["full"], world["users"]
    group = np.array([f"g{u % 8}" for u in users], object)
    noise = rng.normal(size=20_000)
    pruned = np.where(group == "g3", noise, full + 0.05 * noise)
    found = judge_slices(label, full, pruned, {("group", "sensitive"): group}, users)
    assert [s.slice for s in found] == [f"group=g{i}" for i in range(8)]
    assert [s.slice for s in found if s.outcome == "alarm"] == ["group=g3"]
    assert all(s.kind == "sensitive" for s in found)
    assert sum(s.users or 0 for s in found) == len(np.unique(users))
    assert sum(s.rows for s in found) == 20_000
    for s in found:
        here = group == s.slice.removeprefix("group=")
        d, se = clustered_delong(label[here], full[here], pruned[here], users[here])
        assert s.ci is not None
        assert s.difference == d
        reach = (s.ci[1] - s.ci[0]) / 2  # Student's: 125 users, of whom a few weigh most
        assert stats.t.ppf(0.95, 124) * se < reach < stats.t.ppf(0.95, 5) * se
        assert sum(s.ci) / 2 == pytest.approx(d)
        assert list(s.ci) == s.to_json()["ci"]


def test_a_small_slice_is_listed_and_undecided() -> None:
    rng = np.random.default_rng(0)
    world = World().draw(rng, 3000, 300)
    group = np.full(3000, "many", object)
    group[:20] = "few"
    group[world["users"] < 3] = "three users"
    label = np.where(group == "one class", 1, world["label"])
    found = judge_slices(
        label, world["full"], -world["full"], {("g", "attribute"): group}, world["users"]
    )
    outcomes = {s.slice: s.outcome for s in found}
    assert outcomes == {"g=few": "undecided", "g=many": "alarm", "g=three users": "undecided"}
    few = next(s for s in found if s.slice == "g=few")
    assert (few.difference, few.ci, few.to_json()["ci"]) == (None, None, None)


def test_slices_too_small_to_test_do_not_dilute_the_others() -> None:
    # Holm divides the 5 % among the slices that are tested, not among a thousand empty ones.
    rng = np.random.default_rng(3)
    label = np.tile([0, 1], 600)
    full = label + 0.5 * rng.normal(size=1200)
    pruned = full + 0.32 * rng.normal(size=1200)
    alone = np.full(1200, "a", object)
    many = np.array([f"x{i}" for i in range(1200)], object)
    first, *_ = judge_slices(label, full, pruned, {("g", "x"): alone})
    assert first.outcome == "alarm"
    both = judge_slices(label, full, pruned, {("g", "x"): alone, ("id", "x"): many})
    assert both[0].outcome == "alarm"
    assert {s.outcome for s in both[1:]} == {"undecided"}


def test_without_any_true_harm_alarms_are_rare() -> None:
    runs, alarms = 60, 0
    for run in range(runs):
        rng = np.random.default_rng([4, run])
        world = World(missed=0.2, kept=0.2).draw(rng, 3000, 300)
        group = (world["users"] % 6).astype(object)
        found = judge_slices(*list(world.values())[:3], {("g", "x"): group}, world["users"], 1e-9)
        alarms += any(s.outcome == "alarm" for s in found)
    assert alarms / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5
