"""Negatives, BPR and in-batch softmax against slow plain versions and planted truths."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.data import Dataset, Negatives, Split
from recprune.data.extras import Extras
from recprune.encoding import Encoder, Rows
from recprune.errors import DataError
from recprune.lookups import FIRST, Vocabulary
from recprune.models.retrieval.bpr import Bpr, bpr_loss
from recprune.models.retrieval.negatives import NegativeDraws
from recprune.models.retrieval.positives import Positives
from recprune.models.retrieval.softmax import InBatchSoftmax, in_batch_loss
from recprune.schema import Field, Schema


def log_of(
    users: list[int], items: list[int], label: list[int] | None = None, **extras: np.ndarray
) -> Split:
    """A split of pairs: user u has code u + 2, item i code i + 2."""
    schema = Schema(
        (Field("u", "categorical", "user"), Field("i", "categorical", "item")), "y", "u", "i"
    )
    counts = {"u": max(users) + 1, "i": max(items) + 1}
    parts = {n: Vocabulary(tuple(f"{n}{k}" for k in range(c))) for n, c in counts.items()}
    encoder = Encoder(schema, parts)
    codes = np.array([users, items], np.int32).T + FIRST
    frame = pl.DataFrame({"u": [f"u{u}" for u in users], "i": [f"i{i}" for i in items]})
    return Split(
        Rows(codes, np.zeros((len(users), 0), np.float32)),
        np.array(label or [1] * len(users), np.float32),
        encoder,
        frame,
        np.array(users),
        np.array(items),
        Extras(**extras),
    )


pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=60)


@settings(max_examples=150, deadline=None)
@given(pairs, st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 2**31))
def test_a_negative_is_never_a_positive(
    taken: list[tuple[int, int]], power: float, seed: int
) -> None:
    users, items = (list(each) for each in zip(*taken, strict=True))
    positives = Positives.of(log_of(users, items))
    draws = NegativeDraws(positives.window, power)
    own = {u: {p[1] for p in taken if p[0] == u} for u in users}
    every = set(items)
    for user in own:
        assert (draws.free[user] == 0) == (own[user] == every)
    able = np.array([u for u in users if draws.free[u]], np.int64)
    uniform = np.random.default_rng(seed).random((20, len(able)))
    uniform[0], uniform[1] = 0, np.nextafter(1, 0)
    for row in uniform:
        drawn = positives.window.ids[draws.draw(able, row)]
        assert all(i in every - own[u] for u, i in zip(able.tolist(), drawn.tolist(), strict=True))


@pytest.mark.parametrize("power", [0.0, 0.75])
def test_negatives_come_as_often_as_their_weight_says(power: float) -> None:
    draws = np.random.default_rng(0)
    users, items = draws.integers(0, 40, 600), np.minimum(draws.geometric(0.2, 600), 12)
    split = log_of(users.tolist(), items.tolist())
    window = Positives.of(split).window
    sampler, n, user = NegativeDraws(window, power), 200_000, 3
    drawn = sampler.draw(np.full(n, user), draws.random(n))
    popularity = np.bincount(window.pairs % window.n_items, minlength=window.n_items)
    weight = popularity.astype(float) ** power
    weight[window.taken_by(user)] = 0
    expected = weight / weight.sum()
    observed = np.bincount(drawn, minlength=window.n_items) / n
    np.testing.assert_allclose(observed, expected, atol=4 * np.sqrt(0.25 / n))
    assert (observed[weight == 0] == 0).all()


def test_the_items_columns_of_a_negative_are_exchanged_and_no_others() -> None:
    split = log_of([0, 0, 1, 2, 2], [0, 1, 2, 3, 0])
    positives = Positives.of(split)
    bpr = Bpr(positives, Negatives(3, "uniform"))
    chosen = torch.tensor([4, 1, 2])
    out = bpr.rows(positives.rows[chosen.numpy()], chosen, torch.Generator().manual_seed(0))
    assert out.codes.shape == (12, 2)
    np.testing.assert_array_equal(out.codes[:3], positives.rows.codes[[4, 1, 2]])
    np.testing.assert_array_equal(out.codes[:, 0], np.tile([4, 2, 3], 4))
    own = {2: {0, 1}, 3: {2}, 4: {3, 0}}
    for user, item in out.codes[3:]:
        assert item - FIRST not in own[int(user)]


def test_bpr_is_its_formula_and_has_its_gradient() -> None:
    draws = torch.Generator().manual_seed(0)
    positive = torch.randn(6, generator=draws, dtype=torch.float64, requires_grad=True)
    negative = torch.randn(2, 6, generator=draws, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(6, generator=draws, dtype=torch.float64)
    plain = np.mean(
        [
            -weight[i].item() * np.log(1 / (1 + np.exp(negative[n, i].item() - positive[i].item())))
            for n in range(2)
            for i in range(6)
        ]
    )
    assert bpr_loss(positive, negative, weight).item() == pytest.approx(plain)
    assert torch.autograd.gradcheck(bpr_loss, (positive, negative, weight))


def test_users_who_took_everything_have_no_loss() -> None:
    split = log_of([0, 0, 0, 1], [0, 1, 2, 0])
    positives = Positives.of(split)
    bpr = Bpr(positives, Negatives(1, "uniform"))
    chosen = torch.arange(4)
    bpr.rows(positives.rows, chosen, torch.Generator().manual_seed(0))
    output = torch.tensor([5.0, -3.0, 8.0, 1.0, 0.0, 0.0, 2.0, 1.0], requires_grad=True)
    bpr.loss(output, chosen).backward()
    assert output.grad is not None
    np.testing.assert_array_equal(output.grad[[0, 1, 2, 4, 5, 6]], 0)
    assert output.grad[3] < 0


def test_what_cannot_be_learned_is_refused() -> None:
    with pytest.raises(DataError, match="None of the 2 training rows is positive"):
        Positives.of(log_of([0, 1], [0, 1], label=[0, 0]))
    with pytest.raises(DataError, match="took all of the 2 items"):
        Bpr(Positives.of(log_of([0, 0], [0, 1])), Negatives(1, "uniform"))
    with pytest.raises(DataError, match="All positives are of one item"):
        InBatchSoftmax(Positives.of(log_of([0, 1], [0, 0])))
    frame = pl.DataFrame({"x": ["a", "b"] * 30, "y": [0, 1, 1] * 20})
    table = Dataset.from_frame(frame, label="y").split(seed=0)
    with pytest.raises(DataError, match="have no item column"):
        Positives.of(table.train)


def plain_softmax(
    user: np.ndarray, item: np.ndarray, at: list[int], positives: Positives, weight: np.ndarray
) -> float:
    """The paper's loss, row by row: its item against those of other rows that the user did not take."""
    count = np.bincount(positives.items)
    total = 0.0
    for row, i in enumerate(at):
        own = set(positives.window.taken_by(int(positives.users[i])).tolist())
        terms = []
        for column, j in enumerate(at):
            if column != row and int(positives.items[j]) in own:
                continue
            share = count[positives.items[j]] / len(positives)
            terms.append(np.exp(user[row] @ item[column] / 0.5 - np.log(share)))
        share = count[positives.items[i]] / len(positives)
        own_term = np.exp(user[row] @ item[row] / 0.5 - np.log(share))
        total -= weight[i] * np.log(own_term / np.sum(terms))
    return total / len(at)


def test_the_softmax_is_its_formula() -> None:
    draws = np.random.default_rng(1)
    users, items = draws.integers(0, 6, 40), draws.integers(0, 9, 40)
    weight = draws.random(40).astype(np.float32)
    positives = Positives.of(log_of(users.tolist(), items.tolist(), weight=weight))
    softmax = InBatchSoftmax(positives, temperature=0.5)
    at = draws.permutation(40)[:17]
    vectors = draws.normal(size=(17, 2, 4))
    softmax.rows(positives.rows, torch.from_numpy(at), torch.Generator())
    softmax.see(torch.from_numpy(vectors), None)
    loss = softmax.loss(torch.zeros(17), torch.from_numpy(at))
    expected = plain_softmax(vectors[:, 0], vectors[:, 1], at.tolist(), positives, weight)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    vectors[5, 1, 2] = np.nan
    softmax.see(torch.from_numpy(vectors), None)
    alone = [softmax.loss(torch.zeros(1), torch.from_numpy(at[[i]])).item() for i in range(17)]
    assert np.flatnonzero(~np.isfinite(alone)).tolist() == [5]


def test_the_softmax_has_its_gradient() -> None:
    draws = torch.Generator().manual_seed(0)
    score = torch.randn(5, 5, generator=draws, dtype=torch.float64, requires_grad=True)
    hidden = torch.rand(5, 5, generator=draws) < 0.3
    hidden.fill_diagonal_(False)
    share = torch.log(torch.rand(5, generator=draws, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda s: in_batch_loss(s, hidden, share), (score,))


@pytest.mark.parametrize("corrected", [True, False])
def test_the_correction_recovers_the_order_under_popularity(corrected: bool) -> None:
    """Planted: an item that one in five takes, whoever they are; two that only one kind of user
    takes, nearly as often; ten others. Softmax of a score must be the chance of being taken; without
    the correction it is the chance over the popularity, and the popular item falls behind."""
    draws = np.random.default_rng(0)
    chance = np.array([[0.20, 0.14, 0.01, *[0.065] * 10], [0.20, 0.01, 0.14, *[0.065] * 10]])
    kind = draws.integers(0, 2, 8_000)
    items = (draws.random(8_000)[:, None] > np.cumsum(chance, axis=1)[kind]).sum(axis=1)
    # Every row is another user, so that nothing is hidden but the same item.
    positives = Positives.of(log_of(list(range(8_000)), items.tolist()))
    softmax = InBatchSoftmax(positives, corrected=corrected)
    score = torch.zeros(2, 13, requires_grad=True)
    optimiser = torch.optim.Adam([score], lr=0.1)
    kinds, one_hot = torch.from_numpy(kind), torch.eye(13)
    for _ in range(150):
        at = torch.from_numpy(draws.permutation(8_000)[:256])
        vectors = torch.stack([score[kinds[at]], one_hot[positives.items[at.numpy()]]], dim=1)
        softmax.rows(positives.rows, at, torch.Generator())
        softmax.see(vectors, None)
        optimiser.zero_grad()
        softmax.loss(torch.zeros(256), at).backward()
        optimiser.step()
    best = score.detach().argsort(dim=1, descending=True).numpy()[:, :2]
    expected = [[0, 1], [0, 2]] if corrected else [[1], [2]]
    np.testing.assert_array_equal(best[:, : len(expected[0])], expected)
