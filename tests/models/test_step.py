"""A step of training: stopping and going on changes nothing."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from recprune.data import Dataset
from recprune.models import CrossEntropy, DeepFM, Penalty, Target, Training
from recprune.models.frequency import FrequencyPrior
from recprune.models.network import FieldNet
from recprune.models.step import Step, Updates
from tests.planted import small_data


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(2_000)


@pytest.fixture
def net(data: Dataset) -> FieldNet:
    return DeepFM(4, (8,), training=Training(epochs=0)).fit(data.train).net


def step_of(net: FieldNet, data: Dataset, penalty: Penalty | None = None) -> Step:
    rows = data.train.rows
    prior = FrequencyPrior(net, rows, 50.0, 5)
    updates = Updates(1e-2, penalty or Penalty(), horizon=10)
    return Step(net, prior, CrossEntropy(Target(data.train.label)), updates)


def take(step: Step, data: Dataset, first: int, last: int) -> float:
    loss = 0.0
    for number in range(first, last):
        chosen = np.arange(number * 32, (number + 1) * 32)
        draws = torch.Generator().manual_seed(number)
        loss = step.take(data.train.rows[chosen], torch.from_numpy(chosen), draws)
    return loss


def test_a_restored_step_goes_on_bit_by_bit(net: FieldNet, data: Dataset) -> None:
    step = step_of(net, data)
    take(step, data, 0, 5)
    kept = {name: tensor.clone() for name, tensor in step.state().items()}
    other = copy.deepcopy(net)
    take(step, data, 5, 12)
    step.mean.swap_in()

    again = step_of(other, data)
    take(again, data, 20, 21)  # a step that restoring must undo
    other.load_state_dict(copy.deepcopy(net_after(data, 5)))
    again.restore(kept)
    take(again, data, 5, 12)
    again.mean.swap_in()
    for name, tensor in net.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    for name, tensor in step.state().items():
        assert torch.equal(again.state()[name], tensor), name


def net_after(data: Dataset, steps: int) -> dict[str, torch.Tensor]:
    net = DeepFM(4, (8,), training=Training(epochs=0)).fit(data.train).net
    take(step_of(net, data), data, 0, steps)
    return net.state_dict()


def test_the_rate_scales_every_update(net: FieldNet, data: Dataset) -> None:
    before = copy.deepcopy(net.state_dict())
    step = step_of(net, data)
    step.rate(0.0)
    take(step, data, 0, 3)
    for name, tensor in net.state_dict().items():
        assert torch.equal(before[name], tensor), name
    step.rate(1.0)
    take(step, data, 3, 4)
    assert not torch.equal(before["table"], net.table)
    assert not torch.equal(before["bias"], net.bias)
