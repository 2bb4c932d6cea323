"""One shared rotation of all embeddings, so that few dims carry most of what they hold."""

from __future__ import annotations

import numpy as np

from recprune.data import Split
from recprune.importance.statistics import use_counts
from recprune.models import Ranker

__all__ = ["rotate"]


def rotate(model: Ranker, split: Split) -> Ranker:
    """Return an equal ranker whose dims are principal axes, the largest variance first.

    The rotation is orthonormal and shared by all fields, so pair products keep their values and
    the first layer takes the inverse rotation: the outputs do not change (up to rounding).
    Variances are around each field's mean and weighted by how often a row is used. Models with
    fields of unequal dims, with none, or with a part that works dim by dim (cross layers, gates)
    come back as they are.
    """
    shape, parts = model.net.shape, dict(model.net.named_parts())
    equal = shape.dim and all(len(d) == shape.dim for d in shape.dims)
    if not equal or not all(part.rotates for part in parts.values()):
        return model
    split, state = model.aligned(split), dict(model.state)
    names, first = model.encoder.schema.names, int(shape.wide)
    scatter = np.zeros((shape.dim, shape.dim))
    for name in names:
        count = use_counts(model, split, model.layout.axes[f"rows.{name}"])
        embedding = state[f"table.{name}"][:, first:].astype(np.float64)
        centred = embedding - count @ embedding / max(count.sum(), 1)
        scatter += (centred * count[:, None]).T @ centred
    _, vectors = np.linalg.eigh(scatter)
    basis = vectors[:, ::-1]
    # eigh leaves the signs open; fix them so that equal inputs give equal bytes everywhere.
    basis = basis * np.where(basis[np.abs(basis).argmax(axis=0), np.arange(shape.dim)] < 0, -1, 1)
    for name in names:
        table = state[f"table.{name}"].copy()
        table[:, first:] = table[:, first:] @ basis
        state[f"table.{name}"] = table
    for part_name, part in parts.items():
        for parameter in part.spans():
            weight = state[f"{part_name}.{parameter}"]
            blocks = weight.reshape(len(weight), -1, shape.dim)
            state[f"{part_name}.{parameter}"] = (blocks @ basis).reshape(weight.shape)
    return model.with_state({n: np.asarray(a, np.float32) for n, a in state.items()})
