"""What a cut saves, held by every class of ranker: operations, multiplications, bytes on disk.

Nothing is timed here; ``python -m benchmarks.one_engine`` does that.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from recprune.export import export_onnx
from recprune.layout import Plan
from recprune.models import Ranker, Training
from recprune.models.step import tensors
from recprune.pruning import encode

from .test_every_ranker import MAKERS, data, fitted

UNITS = ("fields", "rows", "dims", "dims apart", "neurons", "pairs")
#: Classes whose logit is no sum of products of matrices: they have no layers.
SHALLOW = ("LR", "FM")


class Operations(TorchDispatchMode):
    """Counts the operations of torch that make or read numbers; views cost nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.count = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.count[str(func)] += not func.is_view
        return out


def halved(model: Ranker, units: tuple[str, ...]) -> Plan:
    """Return a plan that halves every axis of these kinds of unit; two fields stay at least.

    ``dims apart``: each field keeps dims of its own, so that fields have different ones.
    """
    keep: dict[str, np.ndarray] = {}
    for place, axis in enumerate(model.layout.axes.values()):
        count = max(axis.min_keep, axis.size // 2)
        if axis.unit == "field" and "fields" in units:
            keep[axis.name] = axis.units[1:3]  # one of them numeric
        elif axis.unit == "dim" and "dims apart" in units and axis.name != "dims.dot":
            keep[axis.name] = axis.units[: 1 + place % 3]
        elif f"{axis.unit}s" in units and axis.min_keep < axis.size:
            keep[axis.name] = axis.units[:count]
    return Plan(model.layout.hash, keep)


def torch_costs(model: Ranker) -> tuple[int, int]:
    """Return operations and floating-point ones of products, of a batch of 16 rows."""
    batch = tensors(model.aligned(data(model.layout.shapes["bias"][0] > 1).test).rows[:16])
    operations, flops = Operations(), FlopCounterMode(display=False)
    with torch.no_grad():
        with operations:
            model.net(*batch)
        with flops:
            model.net(*batch)
    return operations.count.total(), flops.get_total_flops()


def onnx_nodes(model: Ranker, folder: Path) -> int:
    """Return the nodes that ONNX Runtime runs for a request, when it has loaded the file."""
    path = export_onnx(model, folder / "model.onnx").path
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "loaded.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return len(onnx.load(folder / "loaded.onnx").graph.node)


def cuts(model: Ranker) -> list[tuple[str, ...]]:
    """Return the kinds of unit that a model has, each alone, and all together."""
    kinds = {f"{a.unit}s" for a in model.layout.axes.values()}
    own = [(u,) for u in UNITS if u.removesuffix(" apart") in kinds]
    return [*own, tuple(sorted(kinds))]


def params(model: Ranker) -> int:
    return sum(a.size for a in model.state.values())


def tensor_bytes(file: Path) -> int:
    """Return the bytes of a safetensors file behind its header."""
    raw = file.read_bytes()
    return len(raw) - 8 - int.from_bytes(raw[:8], "little")


@pytest.mark.parametrize("name", MAKERS)
def test_a_cut_adds_no_operation_and_saves_multiplications(name: str, tmp_path: Path) -> None:
    model = fitted(name)
    operations, flops = torch_costs(model)
    nodes = onnx_nodes(model, tmp_path)
    for units in cuts(model):
        small = model.apply(halved(model, units))
        fewer_operations, fewer_flops = torch_costs(small)
        # Fields with dims of their own: each part of torch's picks its inputs; the graph orders
        # the codes, and picks where it needs embeddings by field and dim.
        apart = units == ("dims apart",)
        assert fewer_operations <= operations + apart * len(small.parts), units
        assert onnx_nodes(small, tmp_path) <= nodes + 2 * apart, units
        assert params(small) < params(model), units
        if name in SHALLOW or units in (("rows",), ("pairs",)):
            assert fewer_flops <= flops, units
        else:
            assert fewer_flops < flops, units


@pytest.mark.parametrize("name", MAKERS)
def test_the_file_has_the_bytes_that_the_plan_predicted(name: str, tmp_path: Path) -> None:
    model = fitted(name)
    for number, units in enumerate(cuts(model)):
        small = model.apply(halved(model, units))
        for what, ranker in (("fp32", small), ("stored", encode(small))):
            ranker.save(tmp_path / f"{number}-{what}")
            written = tensor_bytes(tmp_path / f"{number}-{what}" / "model.safetensors")
            assert written == ranker.plan.predicted_bytes(model.layout), (units, what)
        assert tensor_bytes(tmp_path / f"{number}-fp32" / "model.safetensors") < params(model) * 4


def test_training_leaves_the_columns_that_a_field_lacks_at_zero() -> None:
    """Only so may a network that scores pass by the mask of dims."""
    small = fitted("DeepFM").apply(halved(fitted("DeepFM"), ("dims apart",)))
    split = data().train
    small.train_on(split, training=Training(epochs=2, batch_size=128, device="cpu"))
    mask = small.net.column_mask[torch.argsort(small.net.order)]
    rows = torch.tensor(small.net.shape.sizes)
    lacks = mask.repeat_interleave(rows, dim=0) == 0
    assert lacks.any()
    assert not small.net.table[lacks].any()
    batch = tensors(small.aligned(split).rows[:50])
    with torch.no_grad():
        scored = small.net(*batch)
    torch.testing.assert_close(scored, small.net(*batch).detach(), rtol=0, atol=0)
