"""Audits of membership: what they find where there is something, and where there is nothing."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset, Split
from recprune.errors import DataError
from recprune.evaluation import MembershipAudit, membership_audit
from recprune.evaluation.membership import judge_membership, membership_rows
from recprune.models import DNN, LR, PrivacyBudget, Ranker, Training


@cache
def data(by: str = "random") -> Dataset:
    """Two thousand rows of 500 users, a tenth of whose labels can be told; the rest is chance."""
    draws, n = np.random.default_rng(0), 3000
    kind = draws.integers(0, 5, n)
    frame = {
        "user": [f"u{i}" for i in draws.integers(0, 600, n)],
        "id": [f"i{i}" for i in draws.integers(0, 1500, n)],
        "kind": [f"k{i}" for i in kind],
        "y": (draws.random(n) < 0.3 + 0.1 * kind).astype(int),
    }
    read = Dataset.from_frame(pl.DataFrame(frame), label="y", user="user")
    return read.split(by=by, valid=0.3, test=0.3)


@cache
def overfitted(by: str = "random") -> Ranker:
    training = Training(epochs=40, learning_rate=0.02, unknown_rate=0.0, batch_size=128)
    return DNN(dim=8, hidden=(32,), training=training).fit(data(by).train)


@cache
def reference(by: str = "random") -> Ranker:
    training = Training(epochs=4, learning_rate=0.01)
    return LR(training).fit(data(by).tune)


def audit(model: Ranker, by: str = "random", **options: Any) -> MembershipAudit:
    rows = data(by)
    return membership_audit(model, rows.train, rows.test, reference(by), **options)


def test_a_model_that_knows_its_rows_by_heart_is_found_out() -> None:
    found = audit(overfitted())
    assert found["loss"].interval is not None
    assert found["loss"].interval[0] > 0.7
    assert found.leaks
    assert found["reference"].auc == pytest.approx(0.5, abs=0.05)
    assert "loss by row" in str(found)


def test_rows_that_no_model_has_seen_are_a_guess() -> None:
    rows = data()
    found = membership_audit(overfitted(), rows.gate, rows.test, reference())
    low, high = found["loss"].interval or (1, 0)
    assert low < 0.5 < high
    assert not found.leaks


def test_privacy_takes_the_attack_its_edge() -> None:
    training = Training(epochs=40, learning_rate=0.02, batch_size=128)
    budget = PrivacyBudget(epsilon=2, delta=1e-4, noise_seed=0)
    private = DNN(dim=8, hidden=(32,), training=training).fit(data().train, privacy=budget)
    loud, quiet = audit(overfitted())["loss"], audit(private)["loss"]
    assert loud.interval is not None
    assert quiet.interval is not None
    assert quiet.interval[1] < loud.interval[0]
    assert quiet.interval[0] < 0.53


def test_users_are_attacked_where_none_is_on_both_sides() -> None:
    found = audit(overfitted("user"), "user")
    assert found["loss by user"].auc > found["loss"].auc > 0.6  # several rows tell more than one
    assert found["loss by user"].members == len(np.unique(data("user").train.users))
    shared = audit(overfitted())
    assert {a.level for a in shared.attacks} == {"row"}


class Told:
    """A model whose logits are given."""

    def __init__(self, logits: dict[int, np.ndarray[Any, Any]]) -> None:
        self.given = logits

    def aligned(self, split: Split) -> Split:
        return split

    def logits(self, rows: Any) -> np.ndarray[Any, Any]:
        return self.given[len(rows)]


def test_what_differs_between_the_rows_is_no_leak() -> None:
    """Members that are easier for any model: the loss attack sees them, the advantage does not."""
    rows, draws = data(), np.random.default_rng(0)
    inside, outside = rows.train.take(slice(0, 900)), rows.test.take(slice(0, 800))
    ease = np.concatenate([draws.normal(2, 1, 900), draws.normal(0, 1, 800)])
    sign = np.where(np.concatenate([inside.label, outside.label]) > 0.5, 1, -1)
    model, other = (sign * (ease + draws.normal(0, 0.5, 1700)) for _ in range(2))
    found = judge_membership(inside, outside, model, other)
    assert found["loss"].auc > 0.85
    assert found["reference"].auc > 0.85
    assert abs(found.advantage) < 0.05
    assert not found.leaks
    known = other + sign * np.repeat([0.5, 0.0], [900, 800])  # a little was learned by heart
    assert judge_membership(inside, outside, known, other).leaks


def test_intervals_hold_as_often_as_they_say() -> None:
    rows, draws, held = data(), np.random.default_rng(1), []
    inside, outside = rows.train.take(slice(0, 400)), rows.test.take(slice(0, 300))
    users = np.concatenate([inside.users, outside.users])  # type: ignore[list-item]
    for _ in range(150):
        logits = draws.normal(0, 1, users.max() + 1)[users] + draws.normal(0, 1, 700)
        low, high = judge_membership(inside, outside, logits)["loss"].interval or (1, 0)
        held.append(low < 0.5 < high)
    assert np.mean(held) > 0.89


def test_rates_at_one_in_a_hundred_are_counted() -> None:
    rows = data()
    inside, outside = rows.train.take(slice(0, 500)), rows.test.take(slice(0, 400))
    sign = np.where(np.concatenate([inside.label, outside.label]) > 0.5, 1, -1)
    ease = np.concatenate([np.arange(500) * 0.01, np.arange(400) * 0.01])
    found = judge_membership(inside, outside, sign * ease)["loss"]
    # 4 of 400 non-members, from 3.96 on, may be above; members above 3.95 are 104 of 500.
    assert found.caught == 104 / 500
    few = judge_membership(inside, outside.take(slice(0, 100)), (sign * ease)[:600])["loss"]
    assert few.caught is None


def test_many_users_are_looked_at_rather_than_many_rows_of_one() -> None:
    train = data().train
    assert train.users is not None
    n_users = len(np.unique(train.users))
    some = membership_rows(train, n_users + 100, 0, "members")
    assert len(some) == n_users + 100
    assert np.bincount(some.users).max() == 2  # type: ignore[arg-type]
    assert len(np.unique(some.users)) == n_users  # type: ignore[arg-type]
    again, other = (membership_rows(train, 300, s, "members").label for s in (0, 1))
    np.testing.assert_array_equal(again, membership_rows(train, 300, 0, "members").label)
    assert not np.array_equal(other, again)
    assert audit(overfitted(), most=300)["loss"].members == 300


def test_users_with_rows_on_both_sides_are_not_attacked_though_none_was_drawn_twice() -> None:
    few = audit(overfitted(), most=2)
    assert {a.level for a in few.attacks} == {"row"}


def test_no_rows_are_refused() -> None:
    rows = data()
    with pytest.raises(DataError, match="held out"):
        membership_audit(overfitted(), rows.train, rows.test.take(slice(0, 0)))
