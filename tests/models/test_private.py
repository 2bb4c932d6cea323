"""Private training: what is clipped, how much noise is added, what ε it comes to, what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from recprune.artifact import read_artifact
from recprune.data import Dataset
from recprune.encoding import Rows
from recprune.errors import MissingExtra, ParameterError
from recprune.layout import Patch, Plan, state_hash
from recprune.metrics import auc
from recprune.models import (
    DLRM,
    DNN,
    FM,
    LR,
    MF,
    CrossEntropy,
    DCNv2,
    DeepFM,
    FinalMLP,
    FwFM,
    Hidden,
    Penalty,
    PrivacyBudget,
    Ranker,
    SharedBottom,
    Training,
    WideDeep,
    ranker_of,
)
from recprune.models.privacy import CUT, LEARNT_BEFORE
from recprune.models.private import train_privately
from recprune.models.private_step import PrivateStep, UserRows, losses_of
from recprune.pruning import encode
from tests.models.ranker_suite import half_plan

RANKERS = (LR, FM, FwFM, WideDeep, DNN, DeepFM, DCNv2, FinalMLP, DLRM, SharedBottom)
CLIP = 0.7


@cache
def data(n: int = 600, users: int = 40) -> Dataset:
    """Fields of every kind and source, and a second label."""
    draws = np.random.default_rng(0)
    tags = [[f"t{i}" for i in draws.integers(0, 6, draws.integers(0, 4))] for _ in range(n)]
    kind = draws.integers(0, 4, n)
    frame = pl.DataFrame(
        {
            "user": [f"u{i}" for i in draws.integers(0, users, n)],
            "item": [f"i{i}" for i in draws.integers(0, 9, n)],
            "kind": [f"k{i}" for i in kind],
            "size": draws.normal(0, 1, n),
            "tags": tags,
            "vector": [list(v) for v in draws.normal(0, 1, (n, 3))],
            "y": (draws.random(n) < np.array([0.1, 0.9, 0.3, 0.7])[kind]).astype(int),
            "y2": draws.integers(0, 2, n),
        }
    )
    schema = {"other_labels": ["y2"]}
    read = Dataset.from_frame(frame, label="y", user="user", item="item", schema=schema)
    return read.split(by="user")


def begun(kind: type[Ranker]) -> Ranker:
    """Return a ranker whose weights are all away from zero, so that all have gradients."""
    ranker = kind(**({} if kind is LR else {"dim": 4})).begin(data().train)
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in ranker.net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draws) * 0.3)
    return ranker


def stepping(ranker: Ranker, noise: float = 1.0, users: float = 1.0, seed: int = 0) -> PrivateStep:
    budget = PrivacyBudget(noise_multiplier=noise, max_grad_norm=CLIP)
    draws = np.random.default_rng(seed)
    return PrivateStep(ranker.net, budget, noise, users, ranker.training, draws)


def chosen(users: int) -> np.ndarray[Any, Any]:
    """Return the rows of the first users, five of each at most, shape (U, 5)."""
    rows = data().train
    return UserRows(rows.users, len(rows)).draw(list(range(users)), 5, np.random.default_rng(0))


def read(at: np.ndarray[Any, Any]) -> Rows:
    return data().train.rows[np.maximum(at, 0).ravel()]


def summed(ranker: Ranker, at: np.ndarray[Any, Any]) -> dict[str, torch.Tensor]:
    """Return the clipped sum of users' gradients, before noise."""
    step = stepping(ranker)
    step.clip(read(at), len(at), losses_of(objective_of(ranker), at))
    grads = {n: torch.zeros_like(p) + p.grad for n, p in ranker.net.named_parameters()}
    step.close()
    return grads


def objective_of(ranker: Ranker) -> CrossEntropy:
    objective = ranker.objective(data().train)
    assert isinstance(objective, CrossEntropy)
    return objective


@pytest.mark.parametrize("kind", RANKERS)
def test_clipped_sums_are_those_of_a_loop_over_single_users(kind: type[Ranker]) -> None:
    ranker, rows = begun(kind), data().train
    objective, net, at = objective_of(ranker), ranker.net, chosen(12)
    step = stepping(ranker)
    norms = step.clip(read(at), len(at), losses_of(objective, at))
    ours = {n: torch.zeros_like(p) + p.grad for n, p in net.named_parameters()}
    step.close()
    theirs = {n: torch.zeros_like(p) for n, p in net.named_parameters()}
    for own, norm in zip(at, norms.tolist(), strict=True):
        here = own[own >= 0]
        net.zero_grad(set_to_none=True)
        one = rows.rows[here]
        logits = net(torch.from_numpy(one.codes).long(), torch.from_numpy(one.shares))
        (objective.loss(logits, torch.from_numpy(here)) * len(here)).backward()
        grads = {n: p.grad for n, p in net.named_parameters() if p.grad is not None}
        true = math.sqrt(sum(float(g.double().square().sum()) for g in grads.values()))
        assert norm == pytest.approx(true, rel=1e-5)
        for name, grad in grads.items():
            theirs[name] += grad * min(1.0, CLIP / true)
    assert max(norms) > CLIP > 0  # something was clipped
    for name, grad in ours.items():
        torch.testing.assert_close(grad, theirs[name], rtol=1e-3, atol=2e-5)


def test_a_user_moves_the_sum_by_no_more_than_the_clip() -> None:
    ranker = begun(DeepFM)
    at = chosen(12)
    everyone, without = summed(ranker, at), summed(ranker, at[1:])
    moved = math.sqrt(sum(float((everyone[n] - without[n]).square().sum()) for n in everyone))
    assert 0.99 * CLIP < moved < 1.0001 * CLIP


def test_noise_is_as_counted() -> None:
    ranker = DeepFM(dim=4).begin(data().train)
    step = stepping(ranker, noise=3.0, users=10.0)
    step.clip(data().train.rows[np.arange(0)], 0, lambda logits: logits)  # nobody takes part
    step.update()
    noise = torch.cat([p.grad.ravel() for p in step.ghost.parameters()])
    step.close()
    assert float(noise.std()) == pytest.approx(3.0 * CLIP / 10.0, rel=0.05)
    assert abs(float(noise.mean())) < 4 * 3.0 * CLIP / 10.0 / math.sqrt(len(noise))


def test_no_small_part_of_a_seed_decides_the_noise() -> None:
    """Seeds that end in the same 32 bits: all that torch's own generator would look at."""
    ends = []
    for seed in (5, 5 + 2**32, 5 + 2**100):
        ranker = DeepFM(dim=2).begin(data().train)
        step = stepping(ranker, seed=seed)
        step.clip(data().train.rows[np.arange(0)], 0, lambda logits: logits)
        step.update()
        ends.append(ranker.state["bias"].tobytes() + ranker.state["table.item"].tobytes())
        step.close()
    assert len(set(ends)) == 3


def test_rows_of_a_user_are_bounded_its_own_and_all_in_turn() -> None:
    users = np.array([7, 3, 7, 7, 3, 9, 7, 7])
    own, draws = UserRows(users, len(users)), np.random.default_rng(0)
    seen: set[int] = set()
    for _ in range(60):
        at = own.draw([0, 1, 2], 3, draws)
        assert at.shape == (3, 3)
        for user, rows in zip((3, 7, 9), at, strict=True):
            taken = rows[rows >= 0]
            assert set(users[taken]) == {user}
            assert len(set(taken)) == len(taken) == min(3, (users == user).sum())
            seen |= set(taken.tolist())
    assert seen == set(range(8))
    assert UserRows(None, 4).unit == "row"
    assert len(UserRows(None, 4)) == 4


def fitted(seed: int | None = 5, noise: float = 1.0, **options: Any) -> Ranker:
    rows, training = data(), Training(epochs=3)
    budget = PrivacyBudget(noise_multiplier=noise, rows_per_user=4, noise_seed=seed, **options)
    return DeepFM(dim=2, hidden=(4,), training=training).fit(rows.train, rows.tune, privacy=budget)


def test_one_seed_gives_the_same_bytes_and_no_seed_does_not() -> None:
    first, again, other = (
        b"".join(a.tobytes() for a in fitted(s).state.values()) for s in (5, 5, 6)
    )
    assert first == again != other
    free = [b"".join(a.tobytes() for a in fitted(None).state.values()) for _ in range(2)]
    assert free[0] != free[1]


def test_it_learns_and_pays_for_privacy() -> None:
    draws, n = np.random.default_rng(1), 4_000
    values = draws.integers(0, 6, (n, 4))
    effect = draws.normal(0, 1, (4, 6))
    logit = sum(effect[i][values[:, i]] for i in range(4))
    frame = {f"f{i}": [f"v{v}" for v in values[:, i]] for i in range(4)}
    frame |= {"who": [f"u{v}" for v in draws.integers(0, 400, n)]}
    frame |= {"y": (draws.random(n) < 1 / (1 + np.exp(-logit))).astype(int)}
    rows = Dataset.from_frame(pl.DataFrame(frame), label="y", user="who").split(by="user")
    found = []
    for budget in (None, PrivacyBudget(epsilon=8, noise_seed=0), PrivacyBudget(0.5, noise_seed=0)):
        training = Training(learning_rate=1e-2 if budget is None else 1e-3)
        ranker = LR(training).fit(rows.train, rows.tune, privacy=budget)
        found.append(auc(rows.test.label, ranker.logits(rows.test.rows)))
    plain, loose, strict = found
    assert plain > loose > strict
    assert loose > 0.7  # far above chance


def test_what_was_spent_travels_with_the_model_and_falls_when_rows_are_read(tmp_path: Path) -> None:
    ranker, rows = fitted(), data()
    spent = ranker.privacy
    assert spent is not None
    assert spent.unit == "user"
    assert spent.seeded
    ((noise, rate, steps),) = spent.spells
    assert (noise, steps) == (1.0, 3 * math.ceil(1 / rate))
    assert "whoever knows it" in spent.sentence()
    assert "vocabulary of 'user'" in spent.sentence()
    ranker.save(tmp_path / "private")
    again = ranker_of(read_artifact(tmp_path / "private"))
    assert again.privacy == spent
    plan = half_plan(ranker)
    assert ranker.apply(plan).privacy == spent.beside(CUT)  # the weights were only looked at
    assert encode(ranker).privacy == spent
    patch = Patch(state_hash(ranker.state), {"bias": np.zeros(1, np.float32)})
    assert ranker.apply(Plan(ranker.layout.hash), patch).privacy is None
    again.train_privately(rows.train, PrivacyBudget(noise_multiplier=2.0, delta=1e-4, noise_seed=1))
    assert again.privacy is not None
    assert again.privacy.epsilon > spent.epsilon
    assert len(again.privacy.spells) == 2
    again.train_on(rows.train, training=Training(epochs=1))
    assert again.privacy is None


def test_what_was_learnt_before_without_privacy_is_not_said_to_be_private(tmp_path: Path) -> None:
    rows, budget = data(), PrivacyBudget(noise_multiplier=2.0, delta=1e-4, noise_seed=1)

    def told(ranker: Ranker) -> bool:
        ranker.train_privately(rows.train, budget)
        assert ranker.privacy is not None
        assert (LEARNT_BEFORE in ranker.privacy.sentence()) == (
            LEARNT_BEFORE in ranker.privacy.not_covered
        )
        return LEARNT_BEFORE in ranker.privacy.not_covered

    def learnt() -> Ranker:
        return FM(dim=2, training=Training(epochs=1)).fit(rows.train)

    learnt().save(tmp_path / "learnt")
    assert told(learnt())
    assert told(ranker_of(read_artifact(tmp_path / "learnt"))), "nobody knows where it comes from"
    assert told(learnt().with_state(learnt().state))
    moved = FM(dim=2, training=Training(epochs=1)).begin(rows.train)
    with torch.no_grad():
        moved.net.bias.add_(1e-3)
    assert told(moved), "whoever wrote to the weights, by whatever way"
    assert not told(FM(dim=2, training=Training(epochs=1)).begin(rows.train))
    private = fitted()
    assert private.privacy is not None
    assert not told(private), "what was learnt before is counted in"
    redrawn = learnt().apply(half_plan(learnt())).redrawn()
    assert not told(redrawn)
    assert redrawn.privacy is not None
    assert CUT in redrawn.privacy.not_covered, "rows chose what was cut"


def test_users_who_choose_the_epoch_are_not_covered() -> None:
    private = fitted().privacy
    assert private is not None
    assert any("held-out rows, who choose the epoch" in gap for gap in private.not_covered)


def test_training_losses_are_not_told_and_all_epochs_are_run() -> None:
    ranker = fitted(noise=30.0)
    assert [e.epoch for e in ranker.history] == [0, 1, 2, 3]
    assert all(math.isnan(e.loss) for e in ranker.history)


def test_held_out_rows_of_those_who_train_choose_no_epoch() -> None:
    rows = data()

    def end(valid: Any) -> bytes:
        ranker = DeepFM(dim=2, hidden=(4,), training=Training(epochs=3, learning_rate=0.03))
        ranker.fit(rows.train, valid, privacy=PrivacyBudget(noise_multiplier=5.0, noise_seed=3))
        assert ranker.privacy is not None
        assert ("held-out rows" in ranker.privacy.sentence()) == (valid is not None)
        assert all(e.score is None for e in ranker.history)
        return b"".join(a.tobytes() for a in ranker.state.values())

    assert end(rows.train.take(slice(0, 50))) == end(None)


def test_a_pruned_model_trains_privately_and_absent_columns_stay_zero() -> None:
    rows = data()
    model = FM(dim=4, training=Training(epochs=2)).begin(rows.train)
    units = [np.array([0, 1]), *[np.array([1, 3])] * (len(model.encoder.schema.names) - 1)]
    keep = {
        f"dims.{n}": u.astype(np.int32)
        for n, u in zip(model.encoder.schema.names, units, strict=True)
    }
    small = model.apply(Plan(model.layout.hash, keep))
    before = small.net.table.detach().clone()
    small.train_privately(rows.train, PrivacyBudget(noise_multiplier=1.0, noise_seed=0))
    assert small.net.ragged
    assert not torch.equal(before, small.net.table)
    mask = small.net.column_mask[torch.argsort(small.net.order)]
    absent = mask.repeat_interleave(torch.tensor(small.net.shape.sizes), 0) == 0
    assert not small.net.table[absent].any()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: DNN(hidden=Hidden((4,), batch_norm=True)), "batch_norm"),
        (lambda: DNN(training=Training(class_weight="balanced")), "class_weight"),
        (lambda: DNN(training=Training(penalty=Penalty(l1=0.1))), "l1"),
        (lambda: DNN(training=Training(penalty=Penalty(group=0.1))), "group"),
        (lambda: DNN(training=Training(keep_zeros=True)), "keep_zeros"),
        (lambda: MF(), "privacy"),
    ],
)
def test_what_goes_past_the_noise_is_refused_by_name(
    make: Callable[[], Ranker], named: str
) -> None:
    with pytest.raises(ParameterError, match=f"'{named}'"):
        make().fit(data().train, privacy=PrivacyBudget(noise_multiplier=1.0))


def test_a_part_that_nobody_can_clip_is_named() -> None:
    ranker = DeepFM(dim=2).begin(data().train)
    ranker.net.parts["mlp"].register_parameter("odd", torch.nn.Parameter(torch.zeros(3)))
    with pytest.raises(ParameterError, match=r"'mlp' has weights \(parts.mlp.odd\)"):
        ranker.train_privately(data().train, PrivacyBudget(noise_multiplier=1.0))


def test_budgets_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ({}, {"epsilon": 1.0, "noise_multiplier": 1.0}, {"epsilon": -1.0}):
        with pytest.raises(ParameterError, match="'epsilon'"):
            PrivacyBudget(**given)
    for name, value in (("delta", 1.0), ("rows_per_user", 0), ("max_grad_norm", 0.0)):
        with pytest.raises(ParameterError, match=f"'{name}'"):
            PrivacyBudget(epsilon=1.0, **{name: value})
    with pytest.raises(ParameterError, match=r"'delta'.* below 1 / user"):
        fitted(delta=0.2)
    with pytest.raises(ParameterError, match="'checkpoint'"):
        train_privately(
            DNN().begin(data().train), data().train, None, PrivacyBudget(1.0), checkpoint="x"
        )
    monkeypatch.setitem(__import__("sys").modules, "opacus", None)
    with pytest.raises(MissingExtra, match=r"recprune\[privacy\]"):
        fitted()
