"""A slow forward, row by row in float64, from the papers' formulae alone: the runtime's oracle."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from recprune.artifact import Artifact
from recprune.encoding import Rows


class Oracle:
    """The logits of one artefact.

    Args:
        artifact: whatever :func:`tests.runtime.drafts.random_model` makes, or a saved ranker.
    """

    def __init__(self, artifact: Artifact) -> None:
        self.state = {n: a.astype(np.float64) for n, a in artifact.state.items()}
        self.artifact, self.fields = artifact, artifact.encoder.schema.fields
        self.wide, self.parts = artifact.model["wide"], artifact.model["parts"]
        axes = artifact.layout.axes
        self.dims = {f.name: axes[f"dims.{f.name}"].units.tolist() for f in self.fields}
        self.numeric = [f.name for f in self.fields if f.kind == "numeric"]
        #: Names of the two fields of each pair that is left; None = the numbers' vector.
        names = dict(enumerate(axes["fields"].labels or ())) | {-1: None}
        self.pairs = []
        if "pairs" in axes:
            (_, left), (_, right) = axes["pairs"].members
            self.pairs = [(names[a], names[b]) for a, b in zip(left, right, strict=True)]

    def logits(self, rows: Rows, label: int = 0) -> np.ndarray:
        """Return every row's logit, shape (n,)."""
        return np.array(
            [self._logit(*row, label) for row in zip(rows.codes, rows.shares, strict=True)]
        )

    def _logit(self, codes: np.ndarray, shares: np.ndarray, label: int) -> float:
        encoder, logit = self.artifact.encoder, self.state["bias"][label]
        e: dict[str, dict[int, float]] = {}
        for i, field in enumerate(self.fields):
            table, slots = self.state[f"table.{field.name}"], encoder.slots[i]
            value = table[codes[slots.start]].copy()
            if field.kind == "numeric":
                share = shares[encoder.share_slots[i].start]
                if share:
                    value += share * (table[codes[slots.start] + 1] - value)
            elif field.kind != "categorical":
                given = shares[encoder.share_slots[i]]
                value = sum(s * table[c] for s, c in zip(given, codes[slots], strict=True))
            if self.wide:
                logit, value = logit + value[0], value[1:]
            e[field.name] = dict(zip(self.dims[field.name], value, strict=True))
        for part in self.parts:
            logit += getattr(self, f"_{part}")(e, label)
        return float(logit)

    def _inputs(self, e: dict[str, dict[int, float]], *sources: str) -> np.ndarray:
        names = [f.name for f in self.fields if not sources or f.source in sources]
        return np.array([v for n in names for v in e[n].values()])

    def _layers(self, name: str, x: np.ndarray) -> np.ndarray:
        n = 0
        while f"{name}.{n}.bias" in self.state:
            x = self._affine(f"{name}.{n}", x)
            if f"{name}.{n}.norm.mean" in self.state:
                scale, shift, mean, var = (
                    self.state[f"{name}.{n}.norm.{k}"] for k in ("weight", "bias", "mean", "var")
                )
                x = scale * (x - mean) / np.sqrt(var + 1e-5) + shift
            x, n = np.maximum(x, 0), n + 1
        return x

    def _affine(self, name: str, x: np.ndarray) -> np.ndarray:
        # A matrix whose inputs were all cut is not stored.
        product = self.state[f"{name}.weight"] @ x if f"{name}.weight" in self.state else 0
        return product + self.state[f"{name}.bias"]

    def _out(self, name: str, x: np.ndarray) -> float:
        return float(self.state[f"{name}.out.weight"][0] @ x)

    def _fm(self, e: dict[str, dict[int, float]], label: int) -> float:
        return sum(_inner(a, b) for a, b in combinations(e.values(), 2))

    def _mlp(self, e: dict[str, dict[int, float]], label: int) -> float:
        return self._out("mlp", self._layers("mlp", self._inputs(e)))

    def _pairs(self, e: dict[str, dict[int, float]], label: int) -> float:
        return sum(
            w * _inner(e[a], e[b])
            for w, (a, b) in zip(self.state.get("pairs.weight", ()), self.pairs, strict=True)
        )

    def _crossed(self, name: str, x: np.ndarray) -> np.ndarray:
        start, n = x, 0
        while f"{name}.{n}.bias" in self.state:
            x, n = start * self._affine(f"{name}.{n}", x) + x, n + 1
        return x

    def _cross(self, e: dict[str, dict[int, float]], label: int) -> float:
        return self._out("cross", self._crossed("cross", self._inputs(e)))

    def _stack(self, e: dict[str, dict[int, float]], label: int) -> float:
        crossed = self._crossed("stack.cross", self._inputs(e))
        return self._out("stack.mlp", self._layers("stack.mlp", crossed))

    def _final(self, e: dict[str, dict[int, float]], label: int) -> float:
        ends, x = [], self._inputs(e)
        for k, source in ((1, "user"), (2, "item")):
            gate = 2 / (1 + np.exp(-self._affine(f"final.gate{k}", self._inputs(e, source))))
            ends.append(self._layers(f"final.stream{k}", gate * x))
        one, two = ends
        logit = self.state["final.out1.weight"][0] @ one + self.state["final.out2.weight"][0] @ two
        j = 0
        while f"final.head.{j}.weight" in self.state:
            weight = self.state[f"final.head.{j}.weight"]
            a, b = weight.shape
            logit += one[:a] @ weight @ two[:b]
            one, two, j = one[a:], two[b:], j + 1
        return float(logit)

    def _dot(self, e: dict[str, dict[int, float]], label: int) -> float:
        vectors: dict[str | None, dict[int, float]] = {**e}
        top: list[float] = []
        if "dot.bottom.out.bias" in self.state:
            numbers = np.array([v for n in self.numeric if n in e for v in e[n].values()])
            z = self._affine("dot.bottom.out", self._layers("dot.bottom", numbers))
            top = np.maximum(z, 0).tolist()
            dims = self.artifact.layout.axes["dims.dot"].units.tolist()
            vectors[None] = dict(zip(dims, top, strict=True))
        top += [_inner(vectors[a], vectors[b]) for a, b in self.pairs]
        return self._out("dot.top", self._layers("dot.top", np.array(top)))

    def _shared(self, e: dict[str, dict[int, float]], label: int) -> float:
        bottom = self._layers("shared.bottom", self._inputs(e))
        return self._out(f"shared.{label}", self._layers(f"shared.{label}", bottom))

    def _towers(self, e: dict[str, dict[int, float]], label: int) -> float:
        user, item = (
            self._affine(f"towers.{k}.out", self._layers(f"towers.{k}", self._inputs(e, *sources)))
            for k, sources in (("user", ("user", "context")), ("item", ("item",)))
        )
        return float(user @ item)


def _inner(a: dict[int, float], b: dict[int, float]) -> float:
    return sum(v * b[d] for d, v in a.items() if d in b)
