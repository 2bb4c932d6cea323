"""Methods by slopes against autograd row by row, and what their papers promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from recprune.data import Dataset, Split
from recprune.data.extras import Extras
from recprune.errors import ParameterError
from recprune.importance import importance, walk
from recprune.models import LR, DeepFM, FwFM, Ranker, SharedBottom, Training
from tests.planted import small_data

ROWS = 40
SLOPES = ["shark", "gauss_newton", "sfs", "integrated_gradients"]


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(3000)


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ranker:
    return DeepFM(4, (8,), training=Training(epochs=4)).fit(data.train, data.tune)


@pytest.fixture(scope="module")
def few(data: Dataset) -> Split:
    weight = np.random.default_rng(0).integers(1, 4, ROWS).astype(np.float32)
    return replace(data.tune.take(np.arange(ROWS)), extras=Extras(weight))


def moves(model: Ranker, split: Split) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return x, shape (n, F, W) in the network's order, its weighted mean, and the weights."""
    value, weight = model.net.embed(split.rows).detach(), torch.from_numpy(split.extras.weight)
    return value, (weight[:, None, None] * value).sum(dim=0) / weight.sum(), weight


def in_order(model: Ranker, plain: torch.Tensor) -> np.ndarray:
    return plain.numpy()[np.argsort(model.net.order.numpy())]


def test_shark_is_its_formula_row_by_row(model: Ranker, few: Split) -> None:
    value, mean, weight = moves(model, few)
    plain = torch.zeros(value.shape[1])
    for r in range(ROWS):
        leaf = value[r : r + 1].clone().requires_grad_()
        cross_entropy(model.net.head(leaf), torch.tensor([few.label[r]])).backward()
        plain += weight[r] * (leaf.grad[0] * (mean - value[r])).sum(dim=1).abs()
    ours = importance(model, few, "fields", "shark").score
    np.testing.assert_allclose(ours, in_order(model, plain / weight.sum()), rtol=1e-4)


def test_gauss_newton_is_the_second_order_term_of_autograd(data: Dataset, few: Split) -> None:
    """Of a linear model the Gauss-Newton matrix is the Hessian, which torch computes as such."""
    model = LR(training=Training(epochs=4)).fit(data.train)
    value, mean, weight = moves(model, few)
    plain = torch.zeros(value.shape[1])
    for r in range(ROWS):
        label = torch.tensor([few.label[r]])
        for f in range(value.shape[1]):

            def loss(
                x: torch.Tensor, r: int = r, f: int = f, y: torch.Tensor = label
            ) -> torch.Tensor:
                whole = torch.cat([value[r, :f], x[None], value[r, f + 1 :]])[None]
                return cross_entropy(model.net.head(whole), y)

            x, move = value[r, f], mean[f] - value[r, f]
            slope = torch.autograd.functional.jacobian(loss, x)
            bend = torch.autograd.functional.hessian(loss, x)
            plain[f] += weight[r] * (slope @ move + 0.5 * move @ bend @ move)
    ours = importance(model, few, "fields", "gauss_newton").score
    np.testing.assert_allclose(ours, in_order(model, plain / weight.sum()), rtol=1e-3, atol=1e-7)


def test_gauss_newton_tells_what_the_mean_does_to_the_loss(model: Ranker, data: Dataset) -> None:
    split = data.tune
    value, label = model.net.embed(split.rows).detach(), torch.from_numpy(split.label)
    mean = value.mean(dim=0)
    with torch.no_grad():
        before, after = cross_entropy(model.net.head(value), label), []
        for f in range(value.shape[1]):
            moved = value.clone()
            moved[:, f] = mean[f]
            after.append(cross_entropy(model.net.head(moved), label))
    true = in_order(model, torch.stack(after) - before)
    scores = importance(model, split, "fields", "gauss_newton")
    assert np.argsort(scores.score).tolist() == np.argsort(true).tolist()
    useful = true > 0.01
    np.testing.assert_allclose(scores.score[useful], true[useful], rtol=0.5)
    assert (np.abs(scores.score - true)[~useful] < 4 * scores.std[~useful] + 1e-3).all()


def test_sfs_is_the_slope_of_a_mask(model: Ranker, few: Split) -> None:
    """Two batches; the mask is a parameter here, through a tap."""
    from recprune._support import stream
    from recprune.models.step import tensors

    dealt = stream(0, "sfs").permutation(ROWS) % 2
    batches = []
    for b in range(2):
        part = few.take(dealt == b)
        mask = torch.ones(4, 1, requires_grad=True)
        logit = model.net(*tensors(part.rows), {"fields": lambda x, _, mask=mask: x * mask})
        weight = torch.from_numpy(part.extras.weight)
        loss = cross_entropy(logit, torch.from_numpy(part.label), weight, reduction="sum")
        (loss / weight.sum()).backward()
        batches.append(mask.grad[:, 0].abs())
    scores = importance(model, few, "fields", "sfs", batches=2)
    np.testing.assert_allclose(
        scores.score, in_order(model, torch.stack(batches).mean(dim=0)), rtol=1e-4
    )
    np.testing.assert_allclose(
        scores.std, in_order(model, (batches[0] - batches[1]).abs() / 2), rtol=1e-3
    )


@pytest.mark.parametrize("axis", ["fields", "neurons.0", "pairs"])
def test_integrated_gradients_are_complete(axis: str, model: Ranker, data: Dataset) -> None:
    if axis == "pairs":
        model = FwFM(4, training=Training(epochs=2)).fit(data.train)
    from recprune.models.step import tensors

    split, seen = data.tune, []
    rows, label = tensors(split.rows), torch.from_numpy(split.label)

    def see(x: torch.Tensor, _: torch.Tensor | None) -> torch.Tensor:
        seen.append(x)
        return x

    with torch.no_grad():
        here = cross_entropy(model.net(*rows, {axis: see}), label)
        mean = seen[0].mean(dim=0)
        there = cross_entropy(model.net(*rows, {axis: lambda x, _: mean.expand_as(x)}), label)
    score = importance(model, split, axis, "integrated_gradients", steps=32).score
    assert score.sum() == pytest.approx(float(there - here), rel=2e-3)


@pytest.mark.parametrize("method", ["shark", "gauss_newton", "integrated_gradients"])
def test_a_weight_of_two_is_a_row_twice(method: str, model: Ranker, data: Dataset) -> None:
    split = data.tune.take(np.arange(200))
    weight = 1 + (np.arange(200) % 2)
    weighted = replace(split, extras=Extras(weight.astype(np.float32)))
    twice = split.take(np.repeat(np.arange(200), weight))
    ours, theirs = (importance(model, s, "fields", method).score for s in (weighted, twice))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("method", SLOPES)
def test_blocks_and_samples_of_rows(method: str, model: Ranker, data: Dataset, monkeypatch) -> None:
    whole = importance(model, data.tune, "fields", method)
    monkeypatch.setattr(walk, "BLOCK", 64)
    np.testing.assert_allclose(
        importance(model, data.tune, "fields", method).score, whole.score, rtol=1e-3, atol=1e-6
    )
    if method != "sfs":
        part = importance(model, data.tune, "fields", method, max_rows=100)
        assert (part.std > whole.std).all()
        assert (np.abs(part.score - whole.score) < 5 * part.std + 1e-6).all()


@pytest.mark.parametrize("method", SLOPES)
def test_of_several_labels_the_first_counts(method: str) -> None:
    data = small_data(2000, second_label=True)
    model = SharedBottom(4, (8,), training=Training(epochs=4)).fit(data.train)
    score = importance(model, data.tune, "fields", method).score
    assert set(np.argsort(score)[-2:].tolist()) == {0, 2}, score


def test_options_are_checked(model: Ranker, data: Dataset) -> None:
    with pytest.raises(ParameterError, match="'steps' parameter of integrated_gradients"):
        importance(model, data.tune, "fields", "integrated_gradients", steps=0)
    with pytest.raises(ParameterError, match="'batches' parameter of sfs"):
        importance(model, data.tune, "fields", "sfs", batches=1)
