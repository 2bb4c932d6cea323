"""A small two-field model to cut, store and read: every kind of axis, every kind of field."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recprune.artifact import Artifact
from recprune.encoding import Encoder
from recprune.layout import Axis, Layout, Plan, State, Use, shrink
from recprune.lookups import Knots, Vocabulary
from recprune.schema import Field, Schema

COLOURS = ("red", "", None, "naïve ☃", "blue", "a" * 300)
DIM, HIDDEN = 3, 4
MODEL = {
    "class": "DeepFM",
    "labels": ["bought"],
    "options": {"dim": DIM, "hidden": [HIDDEN]},
    "parts": ["fm", "mlp"],
    "wide": True,
}


def encoder() -> Encoder:
    schema = Schema(
        (Field("colour", "categorical", "item"), Field("price", "numeric")),
        label="bought",
        user="user_id",
        item="item_id",
    )
    return Encoder(
        schema, {"colour": Vocabulary(COLOURS), "price": Knots(np.array([0.0, 1.5, 9.0]))}
    )


def layout(fields: Mapping[str, int] | None = None, dim: int = DIM, hidden: int = HIDDEN) -> Layout:
    """Return the layout of one hidden layer over the concatenated dims of these fields."""
    fields = fields or dict(zip(encoder().schema.names, encoder().sizes, strict=True))
    axes = {"fields": Axis("fields", "field", len(fields), labels=tuple(fields))}
    shapes: dict[str, tuple[int, ...]] = {"bias": (1,), "mlp.0.bias": (hidden,)}
    shapes["mlp.0.weight"] = (hidden, dim * len(fields))
    shapes["mlp.out.weight"] = (1, hidden)
    for i, (name, rows) in enumerate(fields.items()):
        table, parent = f"table.{name}", ("fields", i)
        shapes[table] = (rows, 1 + dim)
        axes[f"rows.{name}"] = Axis(
            f"rows.{name}", "row", rows, (Use(table, 0),), parent, pinned=2, min_keep=2
        )
        uses = (Use(table, 1, 1), Use("mlp.0.weight", 1, i * dim))
        axes[f"dims.{name}"] = Axis(f"dims.{name}", "dim", dim, uses, parent)
    uses = (Use("mlp.0.weight", 0), Use("mlp.0.bias", 0), Use("mlp.out.weight", 1))
    axes["neurons.0"] = Axis("neurons.0", "neuron", hidden, uses)
    return Layout(axes, shapes, "vocabulary")


def state(of: Layout, seed: int = 0) -> State:
    draw = np.random.default_rng(seed)
    return {n: draw.normal(size=s).astype(np.float32) for n, s in of.shapes.items()}


def kept(**axes: list[int]) -> dict[str, np.ndarray]:
    """Return a plan's ``keep``; ``rows__colour`` stands for the axis ``rows.colour``."""
    return {n.replace("__", "."): np.array(units, np.int32) for n, units in axes.items()}


def artifact(encoding: Mapping[str, str] | None = None, **axes: list[int]) -> Artifact:
    """Return the sample model after a cut, as an artefact."""
    uncut, whole = layout(), encoder()
    plan = Plan(uncut.hash, kept(**axes), encoding or {})  # type: ignore[arg-type]
    cut, after = shrink(state(uncut), uncut, plan)
    names = tuple(n for n in whole.schema.names if f"rows.{n}" in after.axes)
    rows = {n: after.axes[f"rows.{n}"].units for n in names}
    return Artifact(
        MODEL,
        cut,
        after,
        plan,
        whole.take(names, rows),
        {"codes.colour": np.array([2, 3], np.int32)},
        {"threshold": 0.25, "label": "bought"},
    )
