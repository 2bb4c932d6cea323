"""What an audit of membership is made of: losses, means of users, rates, intervals, by hand."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from recprune.errors import DataError
from recprune.evaluation import clustered_delong
from recprune.evaluation.bootstrap import Clusters, PairedAuc
from recprune.evaluation.intervals import effective_freedom
from recprune.evaluation.membership import (
    Attack,
    MembershipAudit,
    judge_membership,
    membership_audit,
    membership_difference,
    membership_rows,
    users_apart,
)
from recprune.metrics import auc


class Rows(SimpleNamespace):
    """Rows with labels and, it may be, users: what an audit reads of a split."""

    label: np.ndarray
    users: np.ndarray | None

    def __len__(self) -> int:
        return len(self.label)

    def take(self, index: Any) -> Rows:
        users = None if self.users is None else self.users[index]
        return Rows(label=self.label[index], users=users, rows=self.rows[index])


def rows(n: int, seed: int, users: tuple[int, int] | None = None) -> Any:
    draws = np.random.default_rng(seed)
    owner = None if users is None else draws.integers(*users, n)
    label = (draws.random(n) < 0.4).astype(np.float32)
    return Rows(label=label, users=owner, rows=np.arange(n) + 1000 * seed)


INSIDE, OUTSIDE = rows(260, 1, (0, 40)), rows(230, 2, (40, 90))
MEMBER = np.repeat([1, 0], [260, 230])
LABEL = np.concatenate([INSIDE.label, OUTSIDE.label])
USERS = np.concatenate([INSIDE.users, OUTSIDE.users])


def logits(known: float, seed: int = 0) -> np.ndarray:
    """Return logits that are right by ``known`` more on members, users alike in part."""
    draws = np.random.default_rng(seed)
    own = 0.5 * draws.normal(size=90)[USERS]
    sign = np.where(LABEL == 1, 1, -1)
    return sign * (known * MEMBER + own) + draws.normal(size=490)


def losses(given: np.ndarray) -> np.ndarray:
    p = 1 / (1 + np.exp(-given))
    return -np.log(np.where(LABEL == 1, p, 1 - p))


def interval(first: np.ndarray, second: np.ndarray, users: Any = USERS) -> tuple[float, float]:
    """Return the paired difference's 95 % interval by the clustered DeLong."""
    difference, error = clustered_delong(MEMBER, first, second, users)
    owner = Clusters(490, users)
    pair = PairedAuc(MEMBER, first[None], second[None], owner)
    freedom = effective_freedom(pair.influence[0], owner.code, owner.size)
    reach = stats.t.ppf(0.975, freedom) * error
    return difference - reach, difference + reach


@pytest.mark.parametrize(("known", "of_reference", "best"), [(1.0, 0.0, 3), (0.9, 0.9, 1)])
def test_attacks_are_by_loss_and_by_loss_beside_the_references(
    known: float, of_reference: float, best: int
) -> None:
    model, reference = logits(known), logits(of_reference, 1)
    found = judge_membership(INSIDE, OUTSIDE, model, reference)
    scores = {
        "loss": -losses(model),
        "reference": -losses(reference),
        "calibrated": losses(reference) - losses(model),
    }
    assert [(a.attack, a.level) for a in found.attacks] == [(name, "row") for name in scores]
    for name, score in scores.items():
        told = found[name]
        assert told == found[f"{name} by row"]
        assert told.auc == pytest.approx(auc(MEMBER, score))
        expected = [bound + 0.5 for bound in interval(np.zeros(490), score)]
        assert told.interval == pytest.approx(expected, rel=1e-4)
        assert (told.members, told.non_members) == (260, 230)
        edge = np.sort(score[MEMBER == 0])[-3]  # two of 230 may be above it
        assert told.caught == pytest.approx((score[MEMBER == 1] > edge).mean())
    higher = max(("loss", "calibrated"), key=lambda name: found[name].auc)
    assert found.advantage == pytest.approx(found[higher].auc - found["reference"].auc)
    assert found.advantage_interval == pytest.approx(
        interval(scores["reference"], scores[higher]), rel=1e-4
    )
    assert found.leaks == (known > of_reference)


def test_the_better_of_two_attacks_counts() -> None:
    """Calibrated wins where rows differ in ease; the loss where the reference is noise."""
    ease = np.random.default_rng(5).normal(0, 3, 490)
    sign = np.where(LABEL == 1, 1, -1)
    noise = np.random.default_rng(6).normal(0, 4, 490)
    for reference, name in ((sign * ease, "calibrated"), (noise, "loss")):
        model = sign * ((ease if name == "calibrated" else 0) + 0.8 * MEMBER)
        found = judge_membership(INSIDE, OUTSIDE, model, reference)
        aucs = {a.attack: a.auc for a in found.attacks}
        assert max(("loss", "calibrated"), key=aucs.__getitem__) == name
        assert found.advantage == pytest.approx(aucs[name] - aucs["reference"])


def test_without_a_reference_a_guess_is_what_it_is_held_to() -> None:
    model = logits(1.0)
    found = judge_membership(INSIDE, OUTSIDE, model)
    assert [a.attack for a in found.attacks] == ["loss"]
    assert found.advantage == pytest.approx(found["loss"].auc - 0.5)
    bounds = interval(np.zeros(490), -losses(model))
    assert found.advantage_interval == pytest.approx(bounds, rel=1e-4)
    guess = judge_membership(INSIDE, OUTSIDE, np.random.default_rng(8).normal(size=490))
    assert not guess.leaks


def test_users_are_attacked_by_the_mean_of_their_rows() -> None:
    model = logits(1.0)
    found = judge_membership(INSIDE, OUTSIDE, model, apart=True)
    assert [a.level for a in found.attacks] == ["row", "user"]
    told, names = found["loss by user"], np.unique(USERS)
    means = np.array([-losses(model)[u == USERS].mean() for u in names])
    kind = np.isin(names, INSIDE.users)
    assert told.auc == pytest.approx(auc(kind, means))
    assert (told.members, told.non_members) == (kind.sum(), (~kind).sum())
    assert told.caught is None  # of fewer than 200 users nobody is one in a hundred
    assert told.interval is not None
    assert told.interval[0] < told.auc < told.interval[1]
    assert found.advantage == pytest.approx(found["loss"].auc - 0.5)  # by row


def test_rows_without_users_stand_alone() -> None:
    model, inside = logits(1.0), Rows(label=INSIDE.label, users=None, rows=INSIDE.rows)
    for pair in ((inside, OUTSIDE), (OUTSIDE, inside)):
        assert not users_apart(*pair)  # type: ignore[arg-type]
    found = judge_membership(inside, OUTSIDE, model)  # type: ignore[arg-type]
    bounds = interval(np.zeros(490), -losses(model), None)
    assert found.advantage_interval == pytest.approx(bounds, rel=1e-4)
    assert users_apart(INSIDE, OUTSIDE)
    assert not users_apart(INSIDE, INSIDE.take(slice(0, 5)))
    one = Rows(label=np.ones(2, np.float32), users=np.array([39, 50]), rows=np.arange(2))
    assert not users_apart(INSIDE, one)  # type: ignore[arg-type]


def test_where_all_members_are_one_user_no_interval_is_told() -> None:
    alone = Rows(label=INSIDE.label, users=np.zeros(260, int), rows=INSIDE.rows)
    found = judge_membership(alone, OUTSIDE, logits(1.0))  # type: ignore[arg-type]
    assert (found.advantage_interval, found["loss"].interval, found.leaks) == (None, None, False)
    text = str(found)
    assert text.splitlines()[-1] == f"advantage            {found.advantage:+.3f}"


@pytest.mark.parametrize(("n", "told"), [(199, False), (200, True)])
def test_one_in_a_hundred_is_told_of_two_hundred(n: int, told: bool) -> None:
    outside = OUTSIDE.take(slice(0, n))
    given = logits(1.0)[: 260 + n]
    assert (judge_membership(INSIDE, outside, given)["loss"].caught is not None) == told


def test_two_models_are_compared_by_the_loss_attack() -> None:
    first, second = logits(0.5), logits(1.5, 1)
    difference, bounds = membership_difference(INSIDE, OUTSIDE, first, second)
    expected = auc(MEMBER, -losses(second)) - auc(MEMBER, -losses(first))
    assert difference == pytest.approx(expected)
    assert bounds == pytest.approx(interval(-losses(first), -losses(second)), rel=1e-4)


def test_an_audit_is_printed_and_written() -> None:
    attacks = (
        Attack("loss", "row", 0.61234, (0.6, 0.625), 0.0512, 300, 200),
        Attack("reference", "user", 0.5, None, None, 30, 20),
    )
    told = MembershipAudit(attacks, 0.1119, (-0.01, 0.2))
    assert str(told).splitlines() == [
        "loss by row          0.612  0.600 to 0.625     5.1% at 1 % false alarms",
        "reference by user    0.500                   ",
        "advantage            +0.112 (-0.010 to +0.200)",
    ]
    assert told["reference by user"] is attacks[1]
    with pytest.raises(StopIteration):
        told["reference"]
    assert not told.leaks
    assert not MembershipAudit(attacks, 0.1, (0.0, 0.2)).leaks
    assert MembershipAudit(attacks, 0.1, (0.001, 0.2)).leaks
    plain = json.loads(json.dumps(told.to_json()))
    assert (plain["advantage"], plain["leaks"]) == (0.1119, False)
    assert plain["attacks"][0]["attack"] == "loss"
    assert plain["advantage_interval"] == [-0.01, 0.2]


# ---- which rows are looked at


def test_of_each_user_no_more_rows_are_taken_than_it_takes() -> None:
    many = rows(5000, 3, (0, 50))
    some = membership_rows(many, 120, 0, "members")
    count = np.bincount(some.users)
    assert (count.sum(), count.min(), count.max()) == (120, 2, 3)
    assert some.rows.tolist() == sorted(some.rows)
    assert membership_rows(many, 5000, 0, "members") is many
    assert len(membership_rows(many, 4999, 0, "members")) == 4999
    other = membership_rows(many, 120, 1, "members").rows.tolist()
    assert some.rows.tolist() != other
    assert some.rows.tolist() != membership_rows(many, 120, 0, "non-members").rows.tolist()
    assert some.rows.tolist() == membership_rows(many, 120, 0, "members").rows.tolist()
    plain = rows(500, 4)
    assert len(set(membership_rows(plain, 90, 0, "members").rows)) == 90


def test_an_audit_asks_both_models_for_both_kinds_of_rows() -> None:
    asked: list[tuple[str, int]] = []

    class Model:
        def __init__(self, name: str, given: np.ndarray) -> None:
            self.name, self.given = name, dict(enumerate(given))

        def aligned(self, part: Any) -> Any:
            return part

        def logits(self, at: np.ndarray) -> np.ndarray:
            asked.append((self.name, len(at)))
            return np.array([self.given[n - 1000 if n < 2000 else n - 2000 + 260] for n in at])

    model, reference = Model("model", logits(1.0)), Model("reference", logits(0.0, 1))
    found = membership_audit(model, INSIDE, OUTSIDE, reference)  # type: ignore[arg-type]
    assert asked == [("model", 260), ("model", 230), ("reference", 260), ("reference", 230)]
    expected = judge_membership(INSIDE, OUTSIDE, logits(1.0), logits(0.0, 1), apart=True)
    assert found == expected
    alone = membership_audit(model, INSIDE, OUTSIDE)  # type: ignore[arg-type]
    assert alone == judge_membership(INSIDE, OUTSIDE, logits(1.0), apart=True)
    few = membership_audit(model, INSIDE, OUTSIDE, most=50, seed=1)  # type: ignore[arg-type]
    assert (few["loss"].members, few["loss"].non_members) == (50, 50)
    other = membership_audit(model, INSIDE, OUTSIDE, most=50, seed=2)  # type: ignore[arg-type]
    assert few != other
    nobody = OUTSIDE.take(slice(0, 0))
    for pair in ((nobody, OUTSIDE), (INSIDE, nobody)):
        with pytest.raises(DataError, match="rows of training and rows held out from it"):
            judge_membership(*pair, np.zeros(0))
