"""A reader of artefacts written from docs/format.md alone: NumPy, JSON, zlib, nothing of ours.

For models of the parts ``fm`` and ``mlp`` with categorical, numeric and sequence fields.
"""

import json
import zlib
from itertools import combinations
from pathlib import Path

import numpy as np


def tensors(file: Path) -> dict[str, np.ndarray]:
    data = file.read_bytes()
    if file.suffix == ".zlib":
        data = zlib.decompress(data)
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


def signed(number: int, bits: int) -> int:
    return number - (1 << bits) * (number >> (bits - 1))


def values(take, shape: list[int], how: str) -> np.ndarray:
    """The next tensor's values; ``take(kind, n)`` gives the next n elements of a vector."""
    size = int(np.prod(shape))
    if not size:
        return np.zeros(shape)
    if how in ("fp32", "fp16"):
        return take({"fp32": "float32", "fp16": "float16"}[how], size).reshape(shape).astype(float)
    if how == "int8":
        scale = take("float32", int(np.prod(shape[1:])))
        return take("int8", size).reshape(shape) * scale.reshape(shape[1:]).astype(float)
    n = shape[0] if len(shape) > 1 else 1
    k, out = size // n, []
    for _ in range(n):
        row = []
        byte, *packed = take("uint8", 1 + (k if how == "int8_row" else (k + 1) // 2)).tolist()
        scale = float(np.float32(2 ** ((byte - 192) / 8))) if byte else 0.0
        if how == "int8_row":
            row = [signed(b, 8) for b in packed]
        else:
            row = [signed(packed.pop(0), 8) / 16] if k % 2 else []
            row += [signed(half, 4) for b in packed for half in (b % 16, b // 16)]
        out.append([scale * number for number in row])
    return np.array(out).reshape(shape)


def from_planes(stored: np.ndarray) -> np.ndarray:
    return sum(plane.astype(int) << 8 * i for i, plane in enumerate(stored))


class Model:
    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text("utf-8"))
        self.vocab, self.plan = tensors(folder / "vocab.zlib"), self.kept(folder / "plan.zlib")
        encoding = json.loads((folder / "plan.json").read_text("utf-8"))["encoding"]
        vectors = tensors(folder / "model.safetensors")
        self.state = {}

        def take(kind: str, n: int) -> np.ndarray:
            taken, vectors[kind] = np.split(vectors[kind], [n])
            return taken

        for name, shape in sorted(self.config["layout"]["shapes"].items()):
            how = encoding.get(name, "fp32")
            if isinstance(how, str):
                self.state[name] = values(take, shape, how)
                continue
            units = self.plan.get("rows." + name.partition(".")[2], np.arange(shape[0]))
            starts = [start for start, _ in how] + [2**31]
            kept = np.histogram(units, starts)[0]
            parts = [([n, *shape[1:]], each) for n, (_, each) in zip(kept, how, strict=True)]
            self.state[name] = np.concatenate([values(take, *part) for part in parts])
        assert not any(map(len, vectors.values()))

    def kept(self, file: Path) -> dict[str, np.ndarray]:
        """The kept units of the axes that the plan names."""
        stored, out, start = tensors(file), {}, 0
        if not stored:
            return {}
        skipped = from_planes(stored["skipped"])
        for place in from_planes(stored["axes"]):
            about = [*self.config["layout"]["axes"], *self.config["layout"]["gone"]][place]
            if isinstance(about, dict):
                end = start + about["size"]
                out[about["name"]], start = np.cumsum(skipped[start:end] + 1) - 1, end
        return out

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
        texts = own.get("texts", np.empty(0, np.uint8)).tobytes().split(b"\xff")[:-1]
        values = [None if t == b"\xfe" else t.decode() for t in texts]
        if "numbers" in own:
            others = iter(values)
            values = [str(n - 1) if n else next(others) for n in from_planes(own["numbers"])]
        known = {value: i + 2 for i, value in enumerate(values)}
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
