"""Fewer bits for what is left: how tables and layers are stored, on top of any plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recprune.artifact import as_stored, stored_size
from recprune.data import Split
from recprune.errors import ParameterError
from recprune.importance.statistics import use_counts
from recprune.layout import Plan
from recprune.lookups import UNKNOWN
from recprune.models import Ranker
from recprune.quantisation import ENCODINGS, Encoding, Stored

__all__ = ["BITS", "MIXED", "Tiers", "encode", "encoded_size", "encoding_plan"]

#: Encoding → share of uses, or uses, from the widest to the narrowest.
Tiers = Mapping[Encoding, float | int]
#: The rows that make up four fifths of a field's uses have eight bits, the others four.
MIXED: Tiers = {"int8_row": 0.8, "int4_row": 1.0}
#: Of all rows alike, or by their use.
Tables = Encoding | Literal["mixed"]
#: What ``recprune prune --bits`` calls the encodings of tables and layers.
BITS: Mapping[str, tuple[Tables, Encoding]] = {
    "fp32": ("fp32", "fp32"),
    "fp16": ("fp16", "fp16"),
    "int8": ("int8", "fp16"),
    "int8_row": ("int8_row", "int8_row"),
    "int4_row": ("int4_row", "int8_row"),
    "mixed": ("mixed", "int8_row"),
}


def encode(
    model: Ranker,
    tables: Tables | Tiers | None = "int8",
    layers: Encoding | None = "fp16",
    rows: Split | None = None,
) -> Ranker:
    """Return the ranker with its weights rounded to how they will be stored.

    Args:
        model: fitted ranker.
        tables: of the fields' tables: ``"fp32"``, ``"fp16"``, ``"int8"`` (a scale a column),
            ``"int8_row"`` or ``"int4_row"`` (a scale a row), ``"mixed"`` (:data:`MIXED`), or tiers
            of rows by their use (F-Quantization: Zhang et al. 2023), from the widest.
            A float is a share of uses: ``{"fp16": 0.5, "int8_row": 0.9, "int4_row": 1.0}`` stores
            the rows that make up half of a field's uses in fp16, those up to nine tenths in
            int8_row, the others in int4_row. An int is a count: ``{"fp16": 1000, "int4_row": 0}``
            stores rows used a thousand times in fp16. The last tier takes all rows that are left.
            None leaves tables as they are.
        layers: of the weights of layers and pairs: an encoding, or None. Biases and batch norm
            stay in fp32: they are few, and what they move is every output.
        rows: the rows to count uses in, as the training rows; tiers need them.

    Raises:
        ParameterError: there is no such encoding, tiers not from the widest, or without rows.
        PlanError: a weight is too large for its encoding.
    """
    plan = encoding_plan(model, tables, layers, rows)
    encoded = model.with_state(as_stored(model.state, plan.encodings(model.layout)))
    encoded.plan = plan
    encoded.privacy = model.privacy if rows is None else None  # rows are counted without noise
    return encoded


def encoding_plan(
    model: Ranker,
    tables: Tables | Tiers | None = "int8",
    layers: Encoding | None = "fp16",
    rows: Split | None = None,
) -> Plan:
    """Return the ranker's plan with the encodings that :func:`encode` would give it.

    A table of a single column, or a tier of its rows, is stored in int8 where a scale a row is
    asked for: these scales would take as much as the values.
    """
    tiers = _tiers(MIXED if tables == "mixed" else tables)
    if tiers is None:
        _check("tables", tables, (*ENCODINGS, "mixed"))
    elif rows is None:
        raise ParameterError.of("rows", "encode", "the rows to count uses in", rows)
    _check("layers", layers, ENCODINGS)
    counted = model.aligned(rows) if tiers and rows is not None else None
    encoding: dict[str, Stored] = dict(model.plan.encoding)
    for name, shape in model.layout.shapes.items():
        kind: Any = layers if name.endswith(".weight") else None
        if kind and ".norm." in name:
            kind = "fp32"
        if name.startswith("table."):
            kind = tables
            if tiers and counted is not None:
                axis = model.layout.axis(f"rows.{name.removeprefix('table.')}")
                kind = _runs(use_counts(model, counted, axis, weighted=False), tiers, axis.units)
            if shape[1] == 1:
                kind = _without_scales_a_row(kind)
        if kind == "fp32":
            encoding.pop(name, None)
        elif kind is not None:
            encoding[name] = kind
    return Plan(model.plan.layout_hash, model.plan.keep, encoding)


def encoded_size(
    model: Ranker, tables: Tables = "int8", layers: Encoding = "fp16", *, zeros: bool = True
) -> int:
    """Return the stored bytes of the ranker once it is encoded; ``zeros`` as ``stored_size``'s."""
    return stored_size(encode(model, tables, layers).artifact(), zeros)


def _check(parameter: str, value: Any, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise ParameterError.of(parameter, "encode", f"one of {', '.join(known)}, or None", value)


def _tiers(tables: Any) -> Tiers | None:
    if not isinstance(tables, Mapping):
        return None
    for name, bound in tables.items():
        share = isinstance(bound, float) and 0 < bound <= 1
        count = isinstance(bound, int) and not isinstance(bound, bool) and bound >= 0
        if name not in ENCODINGS or not (share or count):
            constraint = f"encodings ({', '.join(ENCODINGS)}), each with a share of uses in (0, 1] or a count"
            raise ParameterError.of("tables", "encode", constraint, tables)
    if not tables:
        raise ParameterError.of("tables", "encode", "at least one tier", tables)
    if list(tables) != [name for name in ENCODINGS if name in tables]:
        widest = f"tiers from the widest ({', '.join(ENCODINGS)})"
        raise ParameterError.of("tables", "encode", widest, tables)
    return tables


def _runs(counts: NDArray[np.float64], tiers: Tiers, units: NDArray[np.int32]) -> Stored:
    """Return the encodings of a table's rows by their uses, as runs in the uncut model's rows.

    Rows stand in order of use as a rule. Where they do not, a row is stored as wide as any row
    after it, so that none has fewer bits than its use asks for, and runs stay as few as tiers. The
    unknown row is of the widest tier: it stands for all values that were cut.

    >>> _runs(np.array([0, 0, 60, 30, 5, 5.0]), {"int8_row": 0.8, "int4_row": 1.0}, np.arange(6))
    ((0, 'int8_row'), (4, 'int4_row'))
    """
    total = max(counts.sum(), 1)
    # Uses of rows that are used more: rows of equal use are of one tier.
    known, place = np.unique(-counts, return_inverse=True)
    uses = np.bincount(place, counts, minlength=len(known))
    before = ((np.cumsum(uses) - uses) / total)[place]
    tier = np.full(len(counts), len(tiers) - 1)
    for number, bound in reversed(list(enumerate(tiers.values()))):
        tier[before < bound if isinstance(bound, float) else counts >= bound] = number
    tier[: UNKNOWN + 1] = 0
    tier = np.minimum.accumulate(tier[::-1])[::-1]
    firsts = np.flatnonzero(np.diff(tier, prepend=-1))
    names = list(tiers)
    runs = tuple((int(units[first]), names[tier[first]]) for first in firsts)
    return runs if len(runs) > 1 else runs[0][1]


def _without_scales_a_row(kind: Stored | None) -> Stored | None:
    """Return an encoding with int8 in the place of those that store each row's scale.

    >>> _without_scales_a_row(((0, "fp16"), (3, "int8_row"), (9, "int4_row")))
    ((0, 'fp16'), (3, 'int8'))
    """
    if kind is None or isinstance(kind, str):
        return "int8" if kind in ("int8_row", "int4_row") else kind
    runs: list[tuple[int, Encoding]] = []
    for first, name in kind:
        encoding: Encoding = "int8" if name in ("int8_row", "int4_row") else name
        if not runs or runs[-1][1] != encoding:
            runs.append((first, encoding))
    return tuple(runs) if len(runs) > 1 else runs[0][1]
