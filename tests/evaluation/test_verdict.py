"""Planted outcomes, what decides them, and how often they are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from recprune.errors import ParameterError
from recprune.evaluation import (
    clustered_delong,
    fixed_sequence,
    reference_reasons,
    verdict,
    weak_reference,
)
from recprune.metrics import accuracy, auc, log_loss_of_logits

from .worlds import World, judge


def rows(n: int = 4000, users: int = 300, seed: int = 0, **world: float) -> dict[str, np.ndarray]:
    return World(**world).draw(np.random.default_rng(seed), n, users)  # type: ignore[arg-type]


def test_a_copy_passes_and_costs_nothing() -> None:
    world = rows()
    copy = judge({**world, "pruned": 3 * world["full"] + 1}, 0.002)
    assert (copy.outcome, copy.difference, copy.ci) == ("PASS", 0, (0, 0))
    assert copy.rows_needed is None
    assert (copy.method, copy.n_rows, copy.metric) == ("user bootstrap", 4000, "auc")


def test_planted_outcomes() -> None:
    world = rows(20_000, 1000)
    truth = judge(world, 0.002).difference
    assert truth < -0.01
    assert judge(world, 0.002).outcome == "FAIL"
    assert judge(world, -truth + 0.01).outcome == "PASS"
    close = judge(world, -truth + 1e-4)
    assert close.outcome == "INCONCLUSIVE"
    assert close.rows_needed is not None
    assert close.rows_needed > 20_000
    assert judge(world, -truth).rows_needed is None  # at the tolerance: more rows do not help


def test_the_difference_and_both_errors_are_those_of_the_rows() -> None:
    world = rows()
    found = judge(world, 0.002)
    expected = auc(world["label"], world["pruned"]) - auc(world["label"], world["full"])
    assert found.difference == pytest.approx(expected)
    d, se = clustered_delong(*world.values())
    assert found.crosscheck["delong_difference"] == pytest.approx(d)
    assert found.crosscheck["delong_se"] == se
    assert (found.ci[1] - found.ci[0]) / 3.29 == pytest.approx(se, rel=0.3)
    assert found.ci[0] < found.difference < found.ci[1]
    assert found.to_json()["ci"] == list(found.ci)


def test_one_seed_gives_one_verdict_in_any_order_of_rows() -> None:
    world = rows()
    order = np.random.default_rng(1).permutation(4000)
    first = judge(world, 0.002)
    assert judge(world, 0.002) == first
    again = judge({k: v[order] for k, v in world.items()}, 0.002)
    assert again.ci == pytest.approx(first.ci, abs=1e-12)
    assert judge(world, 0.002, seed=1).ci != first.ci


def test_rows_of_one_user_are_not_many() -> None:
    world = rows(6000, 60)
    by_user = judge(world, 0.002)
    by_row = verdict(world["label"], world["full"], world["pruned"])
    assert by_row.method == "row bootstrap"
    assert by_user.ci[1] - by_user.ci[0] > 1.3 * (by_row.ci[1] - by_row.ci[0])


def test_the_wider_of_the_two_intervals_decides() -> None:
    rng = np.random.default_rng(0)
    n, users, items = 6000, rng.integers(0, 600, 6000), rng.integers(0, 25, 6000)
    label = rng.integers(0, 2, n)
    full = label + rng.normal(size=n)
    # What is lost hangs on the items: twenty-five of them, not six thousand rows.
    pruned = full + 0.8 * rng.normal(size=25)[items]
    found = verdict(label, full, pruned, users=users, items=items)
    ways = found.crosscheck["intervals"]
    assert set(ways) == {"user bootstrap", "users and items"}
    assert found.method == "users and items"
    assert list(found.ci) == ways["users and items"]
    user = ways["user bootstrap"]
    assert found.ci[1] - found.ci[0] > 2 * (user[1] - user[0])
    once = verdict(label, full, pruned, users=users, items=np.arange(n))
    assert once.method == "user bootstrap"
    assert set(once.crosscheck["intervals"]) == {"user bootstrap"}


@pytest.mark.parametrize("metric", ["logloss", "accuracy"])
def test_other_metrics_count_worse_as_negative(metric: str) -> None:
    world = rows(20_000, 1000)
    label = world["label"]
    full, pruned = world["full"] - 1, world["full"] + 1  # the second is far too sure
    value = {
        "logloss": lambda x: -log_loss_of_logits(label, x),
        "accuracy": lambda x: accuracy(label, x, 0.0),
    }[metric]
    for users in (None, world["users"]):
        found = verdict(label, full, pruned, users=users, metric=metric)  # type: ignore[arg-type]
        assert found.difference == pytest.approx(value(pruned) - value(full))
        assert (found.outcome, found.metric) == ("FAIL", metric)
        error = found.crosscheck["clustered_se"]
        assert (found.ci[1] - found.ci[0]) / 3.29 == pytest.approx(error, rel=0.25)
    # Another scale of the logits is no other ranking, but another log loss.
    assert verdict(label, full, pruned).outcome == "PASS"


def test_too_few_rows_or_users_carry_no_verdict() -> None:
    label = np.repeat([0, 1], [200, 5])
    score = label + np.linspace(0, 0.5, 205)
    found = verdict(label, score, score)
    assert found.outcome == "INCONCLUSIVE"
    assert found.reasons == ("too few rows: 5 of the rarer class, 30 are needed",)
    assert found.rows_needed == 205 * 6
    world = rows(2000, 3)
    assert "too few users" in judge(world, 0.5).reasons[0]
    alone = verdict(*(world[k] for k in ("label", "full", "pruned")), users=np.zeros(2000, int))
    assert alone.outcome == "INCONCLUSIVE"


def test_a_reference_must_be_worth_beating() -> None:
    assert reference_reasons(0.80, 0.70, 0.79, 0.002) == ()
    weak = reference_reasons(0.705, 0.70, 0.79, 0.002)
    assert len(weak) == 2
    assert all(reason.startswith("weak reference") for reason in weak)
    world = rows()
    good = judge({**world, "pruned": world["full"]}, 0.002)
    assert weak_reference(good, ()) is good
    guarded = weak_reference(good, weak)
    assert (guarded.outcome, guarded.reasons) == ("INCONCLUSIVE", weak)


def test_an_undertrained_reference_is_caught() -> None:
    # The full model is noise around popularity; pruning it loses nothing, which proves nothing.
    rng = np.random.default_rng(0)
    popularity = rng.normal(size=5000)
    label = (rng.random(5000) < 1 / (1 + np.exp(-popularity))).astype(float)
    full = popularity + 0.05 * rng.normal(size=5000)
    found = verdict(label, full, full)
    assert found.outcome == "PASS"
    reasons = reference_reasons(auc(label, full), auc(label, popularity), 0.5, 0.002)
    assert weak_reference(found, reasons).outcome == "INCONCLUSIVE"


def test_a_fixed_sequence_stops_at_the_first_that_does_not_pass() -> None:
    assert fixed_sequence(["PASS", "PASS", "FAIL", "PASS"]) == 1
    assert fixed_sequence(["INCONCLUSIVE", "PASS"]) is None
    assert fixed_sequence([]) is None
    world = rows()
    copy = judge({**world, "pruned": world["full"]}, 0.002)
    assert fixed_sequence([copy, judge(world, 0.002)]) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tolerance": 0.0}, "'tolerance'"),
        ({"tolerance": float("nan")}, "'tolerance'"),
        ({"draws": 10}, "'draws'"),
        ({"metric": "aucc"}, "Did you mean 'auc'?"),
        ({"users": np.arange(3)}, "'users'"),
        ({"pruned": np.arange(3.0)}, "'pruned'"),
        ({"full": np.array([0, np.inf] * 20)}, "not finite"),
        ({"label": np.ones(40)}, "both classes"),
        ({"label": np.tile([0, 2], 20)}, "0 and 1"),
    ],
)
def test_bad_input_is_named(change: dict, words: str) -> None:
    given = {"label": np.tile([0, 1], 20), "full": np.arange(40.0), "pruned": np.arange(40.0)}
    with pytest.raises(ParameterError) as error:
        verdict(**{**given, **change})
    assert words in str(error.value)


def share(count: int, runs: int) -> tuple[float, float]:
    """Return a share and twice its binomial error at 5 %."""
    return count / runs, 2 * (0.05 * 0.95 / runs) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("users", [60, 300])
@pytest.mark.parametrize("tied", [False, True])
def test_a_drop_of_the_tolerance_passes_one_time_in_twenty(users: int, tied: bool) -> None:
    world, n, runs = World(tied=tied), 1000, 400
    tolerance = -world.truth(n / users)
    outcomes = [
        judge(world.draw(np.random.default_rng([1, run]), n, users), tolerance, 150, run).outcome
        for run in range(runs)
    ]
    for wrong in ("PASS", "FAIL"):
        found, error = share(outcomes.count(wrong), runs)
        assert found <= 0.05 + error, wrong


@pytest.mark.slow
def test_the_rows_asked_for_suffice_and_are_not_many_too_many() -> None:
    # No true drop: both models carry independent noise of the same size.
    world, n, users, runs = World(missed=0.2, kept=0.2), 2000, 200, 150
    tolerance, asked, passed = 0.003, [], 0
    for run in range(runs):
        rng = np.random.default_rng([2, run])
        pilot = judge(world.draw(rng, n, users), tolerance, 150, run)
        if pilot.rows_needed is None:
            continue
        asked.append(pilot.rows_needed)
        more = world.draw(rng, pilot.rows_needed, users * pilot.rows_needed // n)
        passed += judge(more, tolerance, 150, run).outcome == "PASS"
    assert len(asked) > runs / 3
    assert passed / len(asked) >= 0.8 - 2 * (0.16 / len(asked)) ** 0.5
    draws = (world.draw(np.random.default_rng([3, run]), n, users) for run in range(runs))
    spread = np.std([judge(rows, 0.5, 100).difference for rows in draws])
    needed = n * (2.4865 * spread / tolerance) ** 2
    assert np.median(asked) < 1.3 * needed
