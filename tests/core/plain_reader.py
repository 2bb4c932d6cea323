"""A reader of artefacts written from docs/format.md alone: NumPy and JSON, nothing of ours.

For models of the parts ``fm`` and ``mlp`` with categorical, numeric and sequence fields.
"""

import json
from itertools import combinations
from pathlib import Path

import numpy as np


def tensors(file: Path) -> dict[str, np.ndarray]:
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    kinds = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "I8": "i1", "U8": "u1", "I32": "<i4"}
    kinds |= {"U32": "<u4", "I64": "<i8"}
    out = {}
    for name, about in json.loads(data[8:start]).items():
        if name != "__metadata__":
            first, last = (start + n for n in about["data_offsets"])
            array = np.frombuffer(data[first:last], kinds[about["dtype"]])
            out[name] = array.reshape(about["shape"])
    return out


class Model:
    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text("utf-8"))
        self.plan, self.vocab = (tensors(folder / f"{n}.safetensors") for n in ("plan", "vocab"))
        stored = tensors(folder / "model.safetensors")
        self.state = {
            n: a * stored[f"scale.{n}"] if f"scale.{n}" in stored else a.astype(np.float64)
            for n, a in stored.items()
            if not n.startswith("scale.")
        }

    def rows(self, field: dict, raw: object) -> list[tuple[int, float]]:
        """The rows that a raw value reads, each with its weight."""
        own = {k[len(field["name"]) + 1 :]: a for k, a in self.vocab.items()
               if k.rpartition(".")[0] == field["name"]}  # fmt: skip
        if field["kind"] == "numeric":
            if raw is None or raw != raw:
                return [(1, 1.0)]
            knots = own["knots"]
            place = float(np.interp(float(raw), knots, np.arange(len(knots))))
            low = min(int(place), len(knots) - 2)
            return [(low + 2, 1 - (place - low)), (low + 3, place - low)]
        ends = np.cumsum(own["lengths"].astype(int))
        blob, starts = own["bytes"].tobytes(), ends - own["lengths"]
        known = {
            blob[a:b].decode(): i + 2 for i, (a, b) in enumerate(zip(starts, ends, strict=True))
        }
        for row in own.get("missing", ()):
            known = {v: r for v, r in known.items() if r != row} | {None: int(row)}
        if field["kind"] == "categorical":
            return [(known.get(raw, 1), 1.0)]
        length, mean, *separator = own["sequence"].tolist()
        if isinstance(raw, str):
            raw = raw.split(bytes(separator).decode())
        last = [v for v in raw or () if v is not None and v != ""][-length:]
        return [(known.get(v, 1), 1 / len(last) if mean else 1.0) for v in last] or [(1, 1.0)]

    def probability(self, record: dict) -> float:
        logit, embeddings = float(self.state["bias"][0]), []
        for field in self.config["schema"]["fields"]:
            name = field["name"]
            table = self.state[f"table.{name}"]
            value = sum(w * table[r] for r, w in self.rows(field, record.get(name)))
            if self.config["model"]["wide"]:
                logit, value = logit + value[0], value[1:]
            dims = self.plan.get(f"dims.{name}", np.arange(len(value)))
            embeddings.append(dict(zip(dims.tolist(), value, strict=True)))
        if "fm" in self.config["model"]["parts"]:
            for one, other in combinations(embeddings, 2):
                logit += sum(one[d] * other[d] for d in one.keys() & other.keys())
        if "mlp" in self.config["model"]["parts"]:
            x, n = np.array([v for e in embeddings for v in e.values()]), 0
            while f"mlp.{n}.bias" in self.state:
                x = self.state[f"mlp.{n}.weight"] @ x + self.state[f"mlp.{n}.bias"]
                norm = [
                    self.state.get(f"mlp.{n}.norm.{k}") for k in ("weight", "bias", "mean", "var")
                ]
                if norm[0] is not None:
                    x = norm[0] * (x - norm[2]) / np.sqrt(norm[3] + 1e-5) + norm[1]
                x, n = np.maximum(x, 0), n + 1
            logit += float(self.state["mlp.out.weight"][0] @ x)
        return 1 / (1 + np.exp(-logit))
