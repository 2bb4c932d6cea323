"""Fewer bits for what is left: int8 tables, fp16 layers."""

from __future__ import annotations

from recprune.artifact import as_stored, stored_size
from recprune.layout import Encoding, Plan
from recprune.models import Ranker

__all__ = ["encode", "encoded_size"]


def encode(
    model: Ranker, tables: Encoding | None = "int8", layers: Encoding | None = "fp16"
) -> Ranker:
    """Return the ranker with its weights rounded to how they will be stored.

    Args:
        model: fitted ranker.
        tables: of the fields' tables; int8 has one scale a column, so it costs next to nothing.
        layers: of the hidden layers' matrices. None leaves a kind at fp32.
    """
    encoding: dict[str, Encoding] = dict(model.plan.encoding)
    for name in model.layout.shapes:
        kind = tables if name.startswith("table.") else layers if name.endswith(".weight") else None
        if kind is not None:
            encoding[name] = kind
    plan = Plan(model.plan.layout_hash, model.plan.keep, encoding)
    encoded = model.with_state(as_stored(model.state, plan))
    encoded.plan = plan
    return encoded


def encoded_size(model: Ranker, zeros: bool = True) -> int:
    """Return the stored bytes of the ranker once it is encoded; ``zeros`` as ``stored_size``'s."""
    return stored_size(encode(model).artifact(), zeros)
