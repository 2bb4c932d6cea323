"""The axes of the field-embedding rankers, declared once."""

from __future__ import annotations

from recprune.encoding import Encoder
from recprune.layout import Axis, Layout, Use
from recprune.lookups import FIRST

__all__ = ["declare_axes"]

MIN_DIM = 1


def declare_axes(encoder: Encoder, dim: int, hidden: tuple[int, ...]) -> Layout:
    """Return the layout of a ranker with ``dim`` dims a field and these hidden layers.

    ``table.<field>`` has shape (rows, 1 + dim): the first-order weight, then the embedding.
    The rows of knots and of a vector's components go with their field, never one by one.
    """
    names = encoder.schema.names
    axes = {"fields": Axis("fields", "field", len(names), labels=names)}
    shapes: dict[str, tuple[int, ...]] = {}
    for i, name in enumerate(names):
        part = encoder.parts[name]
        shapes[f"table.{name}"] = (part.rows, 1 + dim)
        axes[f"rows.{name}"] = Axis(
            f"rows.{name}",
            "row",
            part.rows,
            (Use(f"table.{name}", 0),),
            parent=("fields", i),
            pinned=FIRST,
            min_keep=FIRST if part.prunable else part.rows,
        )
        if dim:
            uses = [Use(f"table.{name}", 1, 1)]
            if hidden:
                uses.append(Use("mlp.0.weight", 1, i * dim))
            axes[f"dims.{name}"] = Axis(
                f"dims.{name}", "dim", dim, tuple(uses), parent=("fields", i), min_keep=MIN_DIM
            )
    shapes["bias"] = (1,)
    width = len(names) * dim
    for number, size in enumerate(hidden):
        last = number == len(hidden) - 1
        after = "mlp.out.weight" if last else f"mlp.{number + 1}.weight"
        shapes[f"mlp.{number}.weight"], shapes[f"mlp.{number}.bias"] = (size, width), (size,)
        axes[f"neurons.{number}"] = Axis(
            f"neurons.{number}",
            "neuron",
            size,
            (Use(f"mlp.{number}.weight", 0), Use(f"mlp.{number}.bias", 0), Use(after, 1)),
        )
        width = size
    if hidden:
        shapes["mlp.out.weight"] = (1, width)
    return Layout(axes, shapes, encoder.hash())
