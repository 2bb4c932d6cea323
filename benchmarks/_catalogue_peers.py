"""The full model in PyTorch and in ONNX Runtime, ranking a catalogue for one user.

Both get what they need as encoded arrays, resident in memory, and all preparing of a user's arrays
is left out of their time. *torch eager*: rows of the user with each item, scored in batches of the
size that is quickest. *ONNX Runtime, cached*: the first layer's item side, the FM sums and the linear
part are an input that is kept; the graph adds the user's row and the cross fields' rows, which it
gathers by the item's code, and goes through the later layers; in batches likewise. Then seen items are
left out and the ten best taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.artifact import Artifact
from recprune.runtime import Scorer
from recprune.runtime.heads import FirstHead
from recprune.users import Users

__all__ = ["ARRAYS", "ORT", "SCRIPT", "TORCH", "write_arrays"]

Arrays = dict[str, NDArray[Any]]

BEGIN = r"""
import json, os, sys, time
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
folder, n_users, k = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
"""

#: What was written; ``folder``, ``n_users`` and ``k`` are given.
ARRAYS = r"""
from importlib.metadata import version
import numpy as np
w = dict(np.load(f"{folder}/model.npz"))
users = [dict(np.load(f"{folder}/user{i}.npz")) for i in range(n_users)]
n, bys, layers = len(w["codes"]), w["bys"].tolist(), int(w["layers"])
"""

#: The function ``eager(user, batch)``: positions and logits of the best.
TORCH = r"""
import torch
torch.set_num_threads(1)

class DeepFM(torch.nn.Module):
    def __init__(self):
        super().__init__()
        rows, width = w["table"].shape
        self.embedding = torch.nn.Embedding(rows, width - 1, _weight=torch.tensor(w["table"][:, 1:]))
        self.linear = torch.nn.Embedding(rows, 1, _weight=torch.tensor(w["table"][:, :1]))
        self.register_buffer("offsets", torch.tensor(w["offsets"]))
        self.numeric = torch.tensor(w["numeric"])
        self.bias = torch.nn.Parameter(torch.tensor(float(w["bias"])))
        parts = []
        for i in range(layers):
            layer = torch.nn.Linear(w[f"w{i}"].shape[1], w[f"w{i}"].shape[0])
            layer.weight.data, layer.bias.data = torch.tensor(w[f"w{i}"]), torch.tensor(w[f"b{i}"])
            parts += [layer, torch.nn.ReLU()]
        self.mlp = torch.nn.Sequential(*parts[:-1])

    def forward(self, codes, shares):
        at = codes + self.offsets
        value, first = self.embedding(at), self.linear(at)[:, :, 0]
        if len(self.numeric):
            low = at[:, self.numeric]
            step, weight = shares[:, :, None], shares
            value[:, self.numeric] += step * (self.embedding(low + 1) - value[:, self.numeric])
            first[:, self.numeric] += weight * (self.linear(low + 1)[:, :, 0] - first[:, self.numeric])
        total = value.sum(1)
        pairs = 0.5 * (total.square() - value.square().sum(1)).sum(1)
        return self.bias + first.sum(1) + pairs + self.mlp(value.flatten(1))[:, 0]

net = DeepFM().eval()
items = torch.tensor(w["codes"].astype(np.int64)), torch.tensor(w["shares"])
keys = {by: torch.tensor(w[f"keys.{by}"].astype(np.int64)) for by in bys}
for u in users:
    u["torch"] = {name: torch.tensor(a) for name, a in u.items()}
fields = {name: torch.tensor(w[name]) for name in w if name.startswith(("fields.", "numbers."))}

@torch.no_grad()
def eager(u, batch):
    t, logits = u["torch"], torch.empty(n)
    for low in range(0, n, batch):
        codes, shares = items[0][low : low + batch].clone(), items[1][low : low + batch].clone()
        codes[:, fields["fields.user"]] = t["codes"]
        shares[:, fields["numbers.user"]] = t["shares"]
        for by in bys:
            entry = t[f"entry.{by}"][keys[by][low : low + batch]]
            codes[:, fields[f"fields.{by}"]] = t[f"codes.{by}"][entry]
            shares[:, fields[f"numbers.{by}"]] = t[f"shares.{by}"][entry]
        logits[low : low + batch] = net(codes, shares)
    logits[t["seen"]] = -torch.inf
    best = torch.topk(logits, k)
    return best.indices.numpy(), best.values.numpy()
"""

#: Likewise ``cached(user, batch)``.
ORT = r"""
import onnx, onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

def graph():
    nodes, tensors = [], []
    def const(name, array):
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name
    def add(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output
    width, hidden = w["side"].shape[1], len(w["b0"])
    total = add("Add", ["side", "shift"], "total")
    floats, ints = TensorProto.FLOAT, TensorProto.INT64
    inputs = [("side", floats, ["n", width]), ("shift", floats, [width])]
    for by in bys:
        entry = add("Gather", [f"entry.{by}", f"keys.{by}"], f"at.{by}")
        rows = add("Gather", [f"table.{by}", entry], f"rows.{by}")
        total = add("Add", [total, rows], f"with.{by}")
        inputs += [(f"entry.{by}", ints, ["v_" + by]), (f"keys.{by}", ints, ["n"])]
        inputs += [(f"table.{by}", floats, ["e_" + by, width])]
    sizes = const("sizes", np.array([hidden, 1, width - hidden - 1]))
    nodes.append(helper.make_node("Split", [total, sizes], ["x0", "first", "sums"], axis=1))
    one = const("one", np.array([1]))
    squares = add("ReduceSumSquare", ["sums", one], "squares", keepdims=0)
    pairs = add("Mul", [squares, const("half", np.float32(0.5))], "pairs")
    x = "x0"
    for i in range(1, layers):
        x = add("Relu", [x], f"relu{i}")
        x = add("Gemm", [x, const(f"w{i}", w[f"w{i}"].T), const(f"b{i}", w[f"b{i}"])], f"x{i}")
    deep = add("Squeeze", [x, one], "deep")
    flat = add("Squeeze", ["first", one], "flat")
    add("Add", [add("Add", [flat, pairs], "shallow"), deep], "logits")
    inputs = [helper.make_tensor_value_info(*i) for i in inputs]
    outputs = [helper.make_tensor_value_info("logits", floats, ["n"])]
    made = helper.make_graph(nodes, "deepfm", inputs, outputs, tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString()

options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(graph(), options, providers=["CPUExecutionProvider"])
codes = {by: w[f"keys.{by}"].astype(np.int64) for by in bys}
def cached(u, batch):
    logits = np.empty(n, np.float32)
    feed = {name: u[name] for name in ["shift", *(f"{x}.{by}" for x in ("entry", "table") for by in bys)]}
    for low in range(0, n, batch):
        feed["side"] = w["side"][low : low + batch]
        for by in bys:
            feed[f"keys.{by}"] = codes[by][low : low + batch]
        logits[low : low + batch] = session.run(None, feed)[0]
    logits[u["seen"]] = -np.inf
    best = np.argpartition(-logits, k)[:k]
    best = best[np.argsort(-logits[best], kind="stable")]
    return best, logits[best]
"""

ASKED = r"""
works = {"torch_eager": eager, "ort_cached": cached}
def timed(name, user, batch):
    start = time.perf_counter()
    places, logits = works[name](users[user], batch)
    return time.perf_counter() - start, places.tolist(), logits.tolist()
batches = {}
for name in works:
    took = {b: min(timed(name, 0, b)[0] for _ in range(3)) for b in (500, 1000, 2000, 5000, n)}
    batches[name] = min(took, key=took.get)
def tell(**what):
    print(json.dumps(what), file=answer, flush=True)
tell(peer=f"torch {version('torch')}", ort=f"onnxruntime {version('onnxruntime')}", batches=batches)
for line in sys.stdin:
    name, user = json.loads(line)
    seconds, places, logits = timed(name, user, batches[name])
    tell(seconds=seconds, places=places, logits=logits)
"""

SCRIPT = BEGIN + ARRAYS + TORCH + ORT + ASKED


def write_arrays(
    folder: Path,
    artifact: Artifact,
    users: Users,
    chosen: Sequence[int],
    k: int,
    checked: int | None = None,
) -> list[list[float]]:
    """Write the full model's weights, items and chosen users for the script.

    Args:
        folder: where to.
        artifact: a DeepFM without batch norms whose fields are categorical or numeric, all of the
            same dims, with its catalogue.
        users: the store.
        chosen: positions of the users that will be asked for.
        k: how many items.
        checked: how many of the chosen users' answers are returned; None = all.

    Returns:
        Our own scorer's best k logits for each of these users, without seen items: what the peers
        must find.
    """
    scorer = Scorer(artifact)
    ranking, head = scorer._ranking, scorer._weights.heads[0]
    assert ranking is not None
    assert isinstance(head, FirstHead)
    encoder, catalogue = artifact.encoder, ranking.catalogue
    fields, numeric = encoder.schema.fields, list(encoder.numeric)
    state, names = artifact.state, encoder.schema.names
    columns = [i for i in range(head.inputs) if i != head.hidden]

    def places(names: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        at = [i for i, f in enumerate(fields) if f.name in names]
        return np.array(at, np.int64), np.array([numeric.index(i) for i in at if i in numeric], int)

    layers = sum(n.startswith("mlp.") and n.endswith(".bias") for n in state)
    model: Arrays = {
        "table": np.concatenate([state[f"table.{name}"] for name in names]),
        "offsets": np.cumsum([0, *(len(state[f"table.{name}"]) for name in names[:-1])]),
        "numeric": np.array(numeric, np.int64),
        "bias": state["bias"][0].reshape(()),
        "layers": np.array(layers + 1),
        "bys": np.array(list(ranking._cross), "U"),
        "codes": np.zeros((len(catalogue), len(fields)), np.int32),
        "shares": np.zeros((len(catalogue), len(numeric)), np.float32),
    }
    for i in range(layers):
        model[f"w{i}"], model[f"b{i}"] = state[f"mlp.{i}.weight"], state[f"mlp.{i}.bias"]
    model[f"w{layers}"], model[f"b{layers}"] = state["mlp.out.weight"], np.zeros(1, np.float32)
    item_encoder, block = ranking.item
    rows = item_encoder.blank(len(catalogue))
    for i, name in enumerate(item_encoder.schema.names):
        rows.codes[:, item_encoder.slots[i]] = catalogue.codes[name]
        if name in catalogue.shares:
            rows.shares[:, item_encoder.share_slots[i]] = catalogue.shares[name]
    at, numbers = places(item_encoder.schema.names)
    model["codes"][:, at], model["shares"][:, numbers] = rows.codes, rows.shares
    model["side"] = block.all(rows)[:, columns]
    request, user_block = ranking.user
    model["fields.user"], model["numbers.user"] = places(request.names)
    for by, (part, _) in ranking._cross.items():
        model[f"fields.{by}"], model[f"numbers.{by}"] = places(part.schema.names)
        size = len(catalogue.key_values[by])
        model[f"keys.{by}"] = np.where(catalogue.keys[by] < 0, size, catalogue.keys[by])
    np.savez(folder / "model.npz", **model)  # type: ignore[arg-type]
    expected = []
    for number, user in enumerate(chosen):
        arrays: Arrays = {"seen": ranking.seen(users, user)}
        one = request.record(users.record_at(user))
        arrays["codes"], arrays["shares"] = one.codes[0].astype(np.int64), one.shares[0]
        shift = user_block.one(one.codes, one.shares) + head.start
        for by, history in ranking.stored(users, user).items():
            part, block = ranking._cross[by]
            entries = part.encode(history.fields)
            arrays[f"codes.{by}"] = entries.codes.astype(np.int64)
            arrays[f"shares.{by}"] = entries.shares
            table = block.all(entries)
            arrays[f"table.{by}"] = table[:, columns]
            entry = np.full(len(catalogue.key_values[by]) + 1, len(history.keys), np.int64)
            entry[history.keys] = np.arange(len(history.keys))
            arrays[f"entry.{by}"] = entry
        arrays["shift"] = shift[columns]
        np.savez(folder / f"user{number}.npz", **arrays)  # type: ignore[arg-type]
        if checked is not None and number >= checked:
            continue
        logits = scorer.catalogue_logits(users, user)
        logits[arrays["seen"]] = -np.inf
        expected.append(np.sort(logits)[::-1][:k].tolist())
    return expected
