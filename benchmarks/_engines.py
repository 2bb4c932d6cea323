"""A DeepFM in other engines: the peers of :mod:`benchmarks.runtime`, in a process of their own.

``small`` and ``full`` are the weights of a model whose fields are all categorical: one table (R, 1 +
D) with offsets, the hidden layers, a bias. PyTorch runs it as its users write it; ONNX Runtime runs
a graph of its own operators, in the better of two forms of the gather.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._common import PeerProcess
from recprune.artifact import Artifact

__all__ = ["Engines", "plain_weights"]

SCRIPT = r"""
import json, os, sys, time
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what a library prints is no answer
from importlib.metadata import version
import numpy as np, onnx, onnxruntime as ort, torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
torch.set_num_threads(1)
folder = sys.argv[1]
models = {n: dict(np.load(f"{folder}/{n}.npz")) for n in sys.argv[2:]}

class DeepFM(torch.nn.Module):
    def __init__(self, w):
        super().__init__()
        rows, width = w["table"].shape
        self.embedding = torch.nn.Embedding(rows, width - 1, _weight=torch.tensor(w["table"][:, 1:]))
        self.linear = torch.nn.Embedding(rows, 1, _weight=torch.tensor(w["table"][:, :1]))
        self.register_buffer("offsets", torch.tensor(w["offsets"]))
        self.bias = torch.nn.Parameter(torch.tensor(float(w["bias"])))
        layers = []
        for i in range(int(w["layers"])):
            layer = torch.nn.Linear(w[f"w{i}"].shape[1], w[f"w{i}"].shape[0])
            layer.weight.data, layer.bias.data = torch.tensor(w[f"w{i}"]), torch.tensor(w[f"b{i}"])
            layers += [layer, torch.nn.ReLU()]
        self.mlp = torch.nn.Sequential(*layers[:-1])

    def forward(self, ids):
        at = ids + self.offsets
        value = self.embedding(at)
        total = value.sum(1)
        pairs = 0.5 * (total.square() - value.square().sum(1)).sum(1)
        deep = self.mlp(value.flatten(1))[:, 0]
        return self.bias + self.linear(at)[:, :, 0].sum(1) + pairs + deep

def graph(w, one_gather):
    nodes, tensors = [], []
    def const(name, array):
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name
    def add(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output
    fields, width = len(w["offsets"]), w["table"].shape[1]
    at = add("Add", ["ids", const("offsets", w["offsets"])], "at")
    one = const("one", np.array([1]))
    if one_gather:
        both = add("Gather", [const("table", w["table"]), at], "both")
        sizes = const("sizes", np.array([1, width - 1]))
        nodes.append(helper.make_node("Split", [both, sizes], ["first", "value"], axis=2))
        first, value = "first", "value"
    else:
        value = add("Gather", [const("table", w["table"][:, 1:]), at], "value")
        first = add("Gather", [const("linear", w["table"][:, :1]), at], "first")
    wide = add("ReduceSum", [first, const("axes", np.array([1, 2]))], "wide", keepdims=0)
    total = add("ReduceSum", [value, one], "total", keepdims=0)
    square = add("Mul", [total, total], "square")
    squares = add("ReduceSumSquare", [value, one], "squares", keepdims=0)
    pairs = add("ReduceSum", [add("Sub", [square, squares], "less"), one], "sums", keepdims=0)
    half = add("Mul", [pairs, const("half", np.float32(0.5))], "pairs")
    x = add("Reshape", [value, const("shape", np.array([-1, fields * (width - 1)]))], "flat")
    for i in range(int(w["layers"])):
        if i:
            x = add("Relu", [x], f"relu{i}")
        x = add("Gemm", [x, const(f"w{i}", w[f"w{i}"].T), const(f"b{i}", w[f"b{i}"])], f"layer{i}")
    deep = add("Squeeze", [x, one], "deep")
    logit = add("Add", [add("Add", [wide, half], "shallow"), deep], "both_terms")
    add("Add", [logit, const("bias", w["bias"].astype(np.float32))], "logits")
    made = helper.make_graph(
        nodes, "deepfm",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", fields])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n"])], tensors,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model

def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

ids, works = {}, {}
for name, w in models.items():
    ids[name] = w["ids"]
    net = DeepFM(w).eval()
    works[name, "torch_eager"] = net
    works[name, "torch_compile"] = torch.compile(net, dynamic=False)
    for kind in ("split", "apart"):
        path = f"{folder}/{name}_{kind}.onnx"
        onnx.save(graph(w, kind == "split"), path)
        works[name, f"ort_{kind}"] = session(path)
        quantize_dynamic(path, f"{path}.int8", weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
        works[name, f"ort_{kind}_int8"] = session(f"{path}.int8")

@torch.no_grad()
def timed(name, engine, rows, calls):
    work = works[name, engine]
    batches = [ids[name][i : i + rows] for i in range(0, len(ids[name]) - rows + 1, rows)][:calls]
    if engine.startswith("torch"):
        batches, run = [torch.from_numpy(b) for b in batches], work
    else:
        run = lambda batch: work.run(None, {"ids": batch})[0]
    out, took = run(batches[0]), []
    for i in range(calls):
        batch = batches[i % len(batches)]
        start = time.perf_counter()
        run(batch)
        took.append(time.perf_counter() - start)
    return min(took), np.asarray(out, np.float64)

def tell(**what):
    print(json.dumps(what), file=answer, flush=True)

tell(peer="engines", versions={name: version(name) for name in ("torch", "onnxruntime")})
for line in sys.stdin:
    name, engine, rows, calls = json.loads(line)
    seconds, out = timed(name, engine, rows, calls)
    tell(seconds=seconds, out=out[:200].tolist())
"""


def plain_weights(artifact: Artifact, codes: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
    """Return a categorical DeepFM's weights for the script, and the rows to answer.

    Args:
        artifact: with a first-order weight, FM and hidden layers without batch norms. A dim that
            not all fields have is zero in the others.
        codes: encoded rows, (n, F).
    """
    state, names, axes = artifact.state, artifact.encoder.schema.names, artifact.layout.axes
    dims = [axes[f"dims.{name}"].units for name in names]
    union = np.unique(np.concatenate(dims))
    places = [np.searchsorted(union, units) for units in dims]
    tables = []
    for name, place in zip(names, places, strict=True):
        given = state[f"table.{name}"]
        table = np.zeros((len(given), 1 + len(union)), np.float32)
        table[:, [0, *(1 + place)]] = given
        tables.append(table)
    inputs = np.concatenate([i * len(union) + place for i, place in enumerate(places)])
    layers = sum(n.startswith("mlp.") and n.endswith(".bias") for n in state)
    weights: dict[str, NDArray[Any]] = {
        "table": np.concatenate(tables),
        "offsets": np.cumsum([0, *map(len, tables[:-1])]).astype(np.int64),
        "bias": np.array(state["bias"][0], np.float32),
        "layers": np.array(layers + 1),
        "ids": codes.astype(np.int64),
    }
    for i in range(layers):
        weights[f"w{i}"], weights[f"b{i}"] = state[f"mlp.{i}.weight"], state[f"mlp.{i}.bias"]
    first = np.zeros((len(weights["w0"]), len(names) * len(union)), np.float32)
    first[:, inputs] = weights["w0"]
    out = state["mlp.out.weight"]
    return {**weights, "w0": first, f"w{layers}": out, f"b{layers}": np.zeros(1, np.float32)}


class Engines:
    """The peers' process.

    Args:
        models: name → :func:`plain_weights`.
    """

    def __init__(self, models: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        for name, weights in models.items():
            np.savez(Path(self.folder.name) / f"{name}.npz", **dict[str, Any](weights))
        self.process = PeerProcess("engines", SCRIPT, [self.folder.name, *models])
        #: Package → version.
        self.versions: dict[str, str] = self.process.ready["versions"]

    def run(self, model: str, engine: str, rows: int, calls: int) -> tuple[float, list[float]]:
        """Return the least seconds of calls of so many rows, after one to warm up, and logits.

        One batch after another is answered, the same as ours.
        """
        told = self.process.ask(json.dumps([model, engine, rows, calls]))
        return told["seconds"], told["out"]

    def close(self) -> None:
        """End the process."""
        self.process.close()
        self.folder.cleanup()
