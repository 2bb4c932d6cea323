"""Models of any parts with random weights and random cuts, none of them trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recprune._support import stream
from recprune.artifact import Artifact
from recprune.axes import Axis
from recprune.encoding import Encoder
from recprune.layout import Plan, shrink
from recprune.models.draft import Draft
from recprune.models.layers import Hidden
from recprune.models.parts import (
    CrossPart,
    DotPart,
    FinalPart,
    FMPart,
    MLPPart,
    PairsPart,
    SharedPart,
    StackPart,
    TowersPart,
)

#: Every part, alone and beside others.
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


def _declare(draft: Draft, part: str, hidden: Hidden, labels: int) -> None:
    match part:
        case "fm":
            FMPart.declare(draft)
        case "mlp":
            MLPPart.declare(draft, hidden)
        case "pairs":
            PairsPart.declare(draft)
        case "cross":
            CrossPart.declare(draft, 2)
        case "stack":
            StackPart.declare(draft, 2, hidden)
        case "final":
            FinalPart.declare(draft, hidden, hidden, 2)
        case "dot":
            DotPart.declare(draft, hidden, hidden)
        case "shared":
            SharedPart.declare(draft, hidden, hidden, labels)
        case "towers":
            TowersPart.declare(draft, hidden, 3)


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
        hidden: neurons of each hidden layer; the last is even.
        cut: the kinds of units of which some are cut.
    """
    draws, labels = stream(seed, "model"), model.get("labels", [encoder.schema.label])
    draft = Draft(encoder, dim, model["wide"], len(labels))
    for part in model["parts"]:
        _declare(draft, part, Hidden(tuple(hidden), model.get("norm", False)), len(labels))
    layout = draft.layout()
    # A tensor on no field at all is not stored.
    shapes = {n: s for n, s in layout.shapes.items() if 0 not in s}
    state = {n: draws.normal(0, 0.5, s).astype(np.float32) for n, s in shapes.items()}
    state |= {n: np.abs(a) for n, a in state.items() if n.endswith(".var")}
    config = {"class": "Any", "options": {}, "parts": model["parts"], "wide": model["wide"]}
    keep = {n: _some(a, draws) for n, a in layout.axes.items() if a.unit in cut}
    plan = Plan(layout.hash, keep)
    if keep:
        empty = {n: np.zeros(s, np.float32) for n, s in layout.shapes.items() if 0 in s}
        smaller, layout = shrink(state | empty, layout, plan)
        names = tuple(n for n in encoder.schema.names if f"rows.{n}" in layout.axes)
        encoder = encoder.take(names, {n: layout.axes[f"rows.{n}"].units for n in names})
        state = dict(smaller)
    return Artifact({**config, "labels": labels}, state, layout, plan, encoder)


def _some(axis: Axis, draws: np.random.Generator) -> np.ndarray:
    few = min(max(axis.pinned, axis.min_keep), axis.size)
    kept = draws.permutation(axis.size)[: int(draws.integers(few, axis.size + 1))]
    return np.union1d(kept, np.arange(axis.pinned)).astype(np.int32)
