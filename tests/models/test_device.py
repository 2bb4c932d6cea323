"""Precision and device: bf16 costs no quality, and a step makes tensors where the table is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from recprune.errors import ParameterError
from recprune.metrics import auc
from recprune.models import CrossEntropy, DeepFM, Hidden, Penalty, Target, Training, device
from recprune.models.frequency import FrequencyPrior
from recprune.models.layers import MLP, Flow
from recprune.models.step import Step, Updates
from recprune.models.table import PlainTable
from tests.planted import small_data


def test_bf16_ranks_as_well_as_fp32() -> None:
    data = small_data(20_000)
    scores, states = [], []
    for precision in ("fp32", "bf16"):
        training = Training(epochs=4, precision=precision, device="cpu")
        model = DeepFM(8, (32, 16), training=training).fit(data.train, data.tune)
        scores.append(auc(data.test.label, model.logits(data.test.rows)))
        states.append(model.state)
        assert all(value.dtype == np.float32 for value in model.state.values())
    assert scores[0] > 0.78
    assert scores[1] == pytest.approx(scores[0], abs=0.001)
    name = "mlp.0.weight"
    assert not np.array_equal(states[0][name], states[1][name])


def test_scores_are_fp32_whatever_training_was() -> None:
    data = small_data(2_000)
    training = Training(epochs=1, precision="bf16", device="cpu")
    model = DeepFM(4, (8,), training=training).fit(data.train)
    twin = DeepFM(4, (8,), training=Training(epochs=1)).fit(data.train).with_state(model.state)
    np.testing.assert_array_equal(model.logits(data.test.rows), twin.logits(data.test.rows))


def test_only_the_hidden_products_are_bf16() -> None:
    draws = torch.Generator().manual_seed(0)
    shapes = {"0.weight": (8, 20), "0.bias": (8,), "out.weight": (1, 8)}
    mlp, value = MLP("n", 20, shapes, draws), torch.randn(64, 20, generator=draws)
    seen: list[torch.dtype] = []

    def tap(hidden: torch.Tensor, _: torch.Tensor | None) -> torch.Tensor:
        seen.append(hidden.dtype)
        return hidden

    outputs = [mlp(value, Flow({"n.0": tap}, bf16=bf16)) for bf16 in (False, True)]
    assert seen == [torch.float32, torch.bfloat16]
    assert outputs[1].dtype == torch.float32
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0.05, atol=0.02)


@pytest.mark.parametrize("native", [False, True])
def test_auto_is_bf16_only_where_the_processor_has_it(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: native, raising=False)
    processor = torch.device("cpu")
    assert device.uses_bf16("auto", processor) == native
    assert device.uses_bf16("bf16", processor)
    assert not device.uses_bf16("fp32", processor)


@pytest.mark.parametrize("given", [{"precision": "fp16"}, {"device": "tpu"}, {"device": None}])
def test_other_names_are_refused(given: Mapping[str, Any]) -> None:
    (name,) = given
    with pytest.raises(ParameterError, match=f"'{name}' parameter of Training"):
        Training(**given)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_cuda_that_is_not_there_is_refused() -> None:
    with pytest.raises(ParameterError, match="finds no CUDA device"):
        Training(device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_trains_to_the_same_quality_and_comes_back() -> None:
    data = small_data(6_000)
    models = [
        DeepFM(8, (16,), training=Training(epochs=3, device=name, precision="fp32")).fit(
            data.train, data.tune
        )
        for name in ("cpu", "cuda")
    ]
    assert all(p.device.type == "cpu" for p in models[1].net.parameters())
    scores = [auc(data.test.label, m.logits(data.test.rows)) for m in models]
    assert scores[0] == pytest.approx(scores[1], abs=0.005)


class NewTensors(TorchDispatchMode):
    """Notes tensors that are made without saying where, but for draws, which are moved."""

    def __init__(self) -> None:
        super().__init__()
        self.made, self.nowhere = 0, []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.name().split(".")[0]
        if name in {f"aten::{n}" for n in ("zeros", "ones", "full", "arange", "empty", "rand")}:
            self.made += 1
            if kwargs.get("device") is None and kwargs.get("generator") is None:
                self.nowhere.append(name)
        return func(*args, **kwargs)


def test_a_step_off_the_processor_makes_no_tensor_on_it() -> None:
    """On a machine without CUDA, the step that CUDA takes is watched on the processor."""
    data = small_data(2_000)
    hidden = Hidden((8,), batch_norm=True, dropout=0.2)
    net = DeepFM(4, hidden, training=Training(epochs=0)).fit(data.train).net
    prior = FrequencyPrior(net, data.train.rows, 50.0, 5)
    step = Step(
        net, prior, CrossEntropy(Target(data.train.label)), Updates(1e-2, Penalty(l2=0.1), 10)
    )
    assert step.mean.rows is not None
    step.table = PlainTable(net, prior, step.lazy, step.mean.rows)
    chosen = np.arange(64)
    with NewTensors() as watch:
        step.take(data.train.rows[chosen], torch.from_numpy(chosen), torch.Generator())
        step.mean.swap_in()
        prior.fold(net)
    assert watch.made > 3
    assert not watch.nowhere
