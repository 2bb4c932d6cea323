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
    fields of unequal dims, or with none, come back as they are.
    """
    shape = model.net.shape
    if not shape.dim or any(len(d) != shape.dim for d in shape.dims):
        return model
    split, state = model.aligned(split), dict(model.state)
    names = model.encoder.schema.names
    scatter = np.zeros((shape.dim, shape.dim))
    for name in names:
        count = use_counts(model, split, model.layout.axes[f"rows.{name}"])
        embedding = state[f"table.{name}"][:, 1:].astype(np.float64)
        centred = embedding - count @ embedding / max(count.sum(), 1)
        scatter += (centred * count[:, None]).T @ centred
    _, vectors = np.linalg.eigh(scatter)
    basis = vectors[:, ::-1]
    # eigh leaves the signs open; fix them so that equal inputs give equal bytes everywhere.
    basis = basis * np.where(basis[np.abs(basis).argmax(axis=0), np.arange(shape.dim)] < 0, -1, 1)
    for name in names:
        table = state[f"table.{name}"].copy()
        table[:, 1:] = table[:, 1:] @ basis
        state[f"table.{name}"] = table
    if shape.hidden:
        weight = state["mlp.0.weight"]
        blocks = weight.reshape(len(weight), len(names), shape.dim)
        state["mlp.0.weight"] = np.ascontiguousarray(
            (blocks @ basis).reshape(weight.shape), np.float32
        )
    return model.with_state({n: np.asarray(a, np.float32) for n, a in state.items()})
