"""Models of any parts without torch: a layout with every axis, random weights, random cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from recprune._support import stream
from recprune.artifact import Artifact
from recprune.encoding import Encoder
from recprune.layout import Axis, Layout, Plan, Use, shrink
from recprune.lookups import Vocabulary

#: Every part, and how it is drawn; ``hidden`` are the layers of whatever has some.
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"parts": ["mlp"], "wide": False},
    "mlp_norm": {"parts": ["fm", "mlp"], "wide": True, "norm": True},
    "fm_narrow": {"parts": ["fm"], "wide": False},
    "pairs": {"parts": ["pairs"], "wide": True},
    "cross": {"parts": ["cross", "mlp"], "wide": False, "norm": True},
    "stack": {"parts": ["stack"], "wide": False},
    "final": {"parts": ["final"], "wide": False, "norm": True},
    "dot": {"parts": ["dot"], "wide": False},
    "dot_wide": {"parts": ["dot", "fm"], "wide": True, "norm": True},
    "shared": {"parts": ["shared"], "wide": False, "labels": ["click", "purchase", "return"]},
    "towers": {"parts": ["towers"], "wide": False, "norm": True},
    "towers_wide": {"parts": ["towers"], "wide": True},
    "all": {"parts": ["fm", "mlp", "pairs", "cross", "stack", "final"], "wide": True},
}


class Draft:
    """A layout in the making.

    Args:
        encoder: of the fields.
        dim: dims of each.
        hidden: neurons of each hidden layer, wherever there are some.
        norm: whether hidden layers have batch norms.
    """

    def __init__(self, encoder: Encoder, dim: int, hidden: Sequence[int], norm: bool) -> None:
        self.names, self.dim, self.hidden, self.norm = encoder.schema.names, dim, hidden, norm
        self.encoder, self.shapes = encoder, {}  # type: ignore[var-annotated]
        self.axes: dict[str, Axis] = {
            "fields": Axis("fields", "field", len(self.names), labels=self.names)
        }

    def use(self, axis: str, tensor: str, dim: int, offset: int = 0) -> None:
        before = self.axes[axis]
        self.axes[axis] = replace(before, uses=(*before.uses, Use(tensor, dim, offset)))

    def inputs(self, tensor: str, dim: int, names: Sequence[str]) -> None:
        for i, name in enumerate(names):
            self.use(f"dims.{name}", tensor, dim, i * self.dim)

    def neurons(self, name: str, size: int) -> str:
        axis = f"neurons.{name}"
        self.axes[axis] = Axis(axis, "neuron", size)
        return axis

    def tables(self, wide: bool) -> None:
        for i, name in enumerate(self.names):
            rows, parent = self.encoder.parts[name].rows, ("fields", i)
            self.shapes[f"table.{name}"] = (rows, wide + self.dim)
            self.axes[f"rows.{name}"] = Axis(f"rows.{name}", "row", rows, (), parent, pinned=2)
            self.use(f"rows.{name}", f"table.{name}", 0)
            self.axes[f"dims.{name}"] = Axis(f"dims.{name}", "dim", self.dim, (), parent)
            self.use(f"dims.{name}", f"table.{name}", 1, int(wide))

    def layers(self, name: str, width: int, names: Sequence[str] = ()) -> str:
        """Add hidden layers on ``names``' embeddings (or on nothing that is cut)."""
        axis = ""
        for n, size in enumerate(self.hidden):
            stage = f"{name}.{n}"
            self.shapes |= {f"{stage}.weight": (size, width), f"{stage}.bias": (size,)}
            if n == 0:
                self.inputs(f"{stage}.weight", 1, names)
            else:
                self.use(axis, f"{stage}.weight", 1)
            axis = self.neurons(stage, size)
            keys = [f"{stage}.bias", f"{stage}.weight"]
            if self.norm:
                keys += [f"{stage}.norm.{key}" for key in ("weight", "bias", "mean", "var")]
                self.shapes |= dict.fromkeys(keys[2:], (size,))
            for key in keys:
                self.use(axis, key, 0)
            width = size
        return axis

    def perceptron(
        self, name: str, width: int, out: int, names: Sequence[str] = (), bias: bool = False
    ) -> None:
        axis = self.layers(name, width, names)
        self.shapes[f"{name}.out.weight"] = (out, self.hidden[-1] if self.hidden else width)
        if axis:
            self.use(axis, f"{name}.out.weight", 1)
        else:
            self.inputs(f"{name}.out.weight", 1, names)
        if bias:
            self.shapes[f"{name}.out.bias"] = (out,)

    def crosses(self, name: str) -> None:
        width = len(self.names) * self.dim
        for n in range(2):
            self.shapes |= {f"{name}.{n}.weight": (width, width), f"{name}.{n}.bias": (width,)}
            for tensor, dim in ((f"{name}.{n}.weight", 0), (f"{name}.{n}.weight", 1)):
                self.inputs(tensor, dim, self.names)
            self.inputs(f"{name}.{n}.bias", 0, self.names)

    def pairs(self, members: Sequence[tuple[int, int]]) -> None:
        left, right = np.array(members, np.int32).reshape(-1, 2).T
        both = (("fields", left), ("fields", right))
        self.axes["pairs"] = Axis("pairs", "pair", len(left), min_keep=0, members=both)  # type: ignore[arg-type]

    def add(self, part: str, labels: int) -> None:
        """Add a part's tensors and axes."""
        fields, width = self.encoder.schema.fields, len(self.names) * self.dim
        if part == "mlp":
            self.perceptron("mlp", width, 1, self.names)
        elif part == "pairs":
            members = list(combinations(range(len(fields)), 2))
            self.pairs(members)
            self.shapes["pairs.weight"] = (len(members),)
            self.use("pairs", "pairs.weight", 0)
        elif part == "cross":
            self.crosses("cross")
            self.shapes["cross.out.weight"] = (1, width)
            self.inputs("cross.out.weight", 1, self.names)
        elif part == "stack":
            self.crosses("stack.cross")
            self.perceptron("stack.mlp", width, 1, self.names)
        elif part == "final":
            self._final(width)
        elif part == "dot":
            numeric = [self.names[i] for i in self.encoder.numeric]
            length = self.dim if numeric else 0
            if numeric:
                self.perceptron("dot.bottom", len(numeric) * self.dim, length, numeric, bias=True)
            vectors = [i for i in range(len(fields)) if i not in self.encoder.numeric]
            members = list(combinations([*([-1] if numeric else []), *vectors], 2))
            self.pairs(members)
            self.perceptron("dot.top", length + len(members), 1)
            first = "dot.top.0.weight" if self.hidden else "dot.top.out.weight"
            self.use("pairs", first, 1, length)
        elif part == "shared":
            axis = self.layers("shared.bottom", width, self.names)
            for t in range(labels):
                self.perceptron(f"shared.{t}", self.hidden[-1], 1)
                self.use(axis, f"shared.{t}.0.weight", 1)
        elif part == "towers":
            for tower, sources in (("user", ("user", "context")), ("item", ("item",))):
                names = [f.name for f in fields if f.source in sources]
                self.perceptron(f"towers.{tower}", len(names) * self.dim, 3, names, bias=True)

    def _final(self, width: int) -> None:
        pieces: list[list[str]] = []
        for k, source in ((1, "user"), (2, "item")):
            context = [f.name for f in self.encoder.schema.fields if f.source == source]
            gate, stream_ = f"final.gate{k}", f"final.stream{k}"
            if context:
                self.shapes[f"{gate}.weight"] = (width, len(context) * self.dim)
                self.inputs(f"{gate}.weight", 0, self.names)
                self.inputs(f"{gate}.weight", 1, context)
            self.shapes[f"{gate}.bias"] = (width,)
            self.inputs(f"{gate}.bias", 0, self.names)
            last = self.axes.pop(self.layers(stream_, width, self.names))
            # The last layer's neurons are two axes: each head has its own.
            size = last.size // 2
            pieces.append([])
            for j, (count, offset) in enumerate(((size, 0), (last.size - size, size))):
                name = f"{last.name}.{j}"
                uses = tuple(Use(u.tensor, u.dim, offset) for u in last.uses)
                self.axes[name] = replace(last, name=name, size=count, uses=uses)
                self.use(name, f"final.out{k}.weight", 1, offset)
                self.use(name, f"final.head.{j}.weight", k - 1)
                pieces[-1].append(name)
            self.shapes[f"final.out{k}.weight"] = (1, last.size)
        for j, (one, two) in enumerate(zip(*pieces, strict=True)):
            self.shapes[f"final.head.{j}.weight"] = (self.axes[one].size, self.axes[two].size)


def random_model(
    encoder: Encoder,
    model: Mapping[str, Any],
    seed: int,
    *,
    dim: int = 4,
    hidden: Sequence[int] = (5, 4),
    cut: Sequence[str] = (),
) -> Artifact:
    """Return an artefact of these parts with random weights.

    Args:
        encoder: of its fields.
        model: one of :data:`MODELS`.
        seed: of weights and cuts.
        dim: dims of each field.
        hidden: neurons of each hidden layer.
        cut: the kinds of units of which some are cut.
    """
    draws, labels = stream(seed, "model"), model.get("labels", [])
    draft = Draft(encoder, dim, hidden, model.get("norm", False))
    draft.tables(model["wide"])
    draft.shapes["bias"] = (max(len(labels), 1),)
    for part in model["parts"]:
        draft.add(part, max(len(labels), 1))
    state = {n: draws.normal(0, 0.5, s).astype(np.float32) for n, s in draft.shapes.items()}
    state |= {n: np.abs(a) for n, a in state.items() if n.endswith(".var")}
    layout = Layout(draft.axes, draft.shapes, encoder.hash())
    config = {k: model[k] for k in ("parts", "wide", "labels") if k in model}
    keep = {n: _some(a, draws) for n, a in layout.axes.items() if _can_lose(a, encoder, cut)}
    plan = Plan(layout.hash, keep)
    if keep:
        smaller, layout = shrink(state, layout, plan)
        names = tuple(n for n in encoder.schema.names if f"rows.{n}" in layout.axes)
        encoder = encoder.take(names, {n: layout.axes[f"rows.{n}"].units for n in names})
        state = dict(smaller)
    return Artifact({"class": "Any", "dim": dim, **config}, state, layout, plan, encoder)


def _can_lose(axis: Axis, encoder: Encoder, cut: Sequence[str]) -> bool:
    if axis.unit == "row":
        vocabulary = isinstance(encoder.parts[axis.name.removeprefix("rows.")], Vocabulary)
        return "row" in cut and vocabulary
    return axis.unit in cut


def _some(axis: Axis, draws: np.random.Generator) -> np.ndarray:
    few = max(axis.pinned, axis.min_keep)
    kept = draws.permutation(axis.size)[: int(draws.integers(few, axis.size + 1))]
    return np.union1d(kept, np.arange(axis.pinned)).astype(np.int32)
