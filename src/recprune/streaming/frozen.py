"""What a stream has learned, as an artefact: the values that have a row now, and their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.artifact import Artifact
from recprune.bags import Sequence as Bag
from recprune.catalogue import Catalogue
from recprune.encoding import Encoder
from recprune.layout import Plan, regrown
from recprune.lookups import FIRST, UNKNOWN, Lookup, Vocabulary
from recprune.models.network import FieldNet
from recprune.models.state import dense_state_of, located
from recprune.quantisation import ENCODINGS, Stored
from recprune.streaming.names import Names
from recprune.streaming.rows import Pool, vocabulary_of

__all__ = ["freeze"]


def freeze(
    reference: Artifact, net: FieldNet, pool: Pool, names: Names, weights: NDArray[np.float32]
) -> Artifact:
    """Return what a learner has learned as an artefact.

    Vocabularies hold the values that have a row, in the pool's order; fields, dims and neurons are
    those of the reference, and so are the encodings, but a table that was stored by runs of rows
    has the finest of theirs throughout. The catalogue has the reference's items in the new codes:
    a value of an item that the catalogue keeps no text of (lists, and columns left out of it) can
    only be one that the reference knew. Items that the stream brought are added by
    :class:`recprune.streaming.newcomers.Newcomers`. A statement of privacy does not hold any more.

    Args:
        reference: that the learner began with.
        net: of the dense weights.
        pool: which rows stay, and whose they are.
        names: what the other rows stand for.
        weights: of the rows, shape (R, W).
    """
    old, places = reference.encoder, located(net)
    state, parts, sizes = dict(dense_state_of(net)), dict(old.parts), dict[str, int]()
    for i, name in enumerate(old.schema.names):
        start = int(pool.starts[i])
        rows: NDArray[Any] = np.arange(start, start + pool.fixed_rows(i))
        if i in pool.open:
            own, texts = names.of(i)
            rows = np.concatenate([rows, own])
            parts[name] = _with_values(parts[name], Vocabulary(tuple(texts)))
            sizes[f"rows.{name}"] = len(rows)
        columns = places[f"table.{name}"][1][1]
        state[f"table.{name}"] = np.ascontiguousarray(weights[rows][:, columns])
    encoder = Encoder(old.schema, parts)
    layout = regrown(reference.layout, sizes, encoder.hash())
    tables = {f"table.{axis.removeprefix('rows.')}" for axis in sizes}
    plan = Plan(
        layout.hash,
        {name: units for name, units in reference.plan.keep.items() if name not in sizes},
        {n: _finest(e) if n in tables else e for n, e in reference.plan.encoding.items()},
    )
    meta = {name: value for name, value in reference.meta.items() if name != "privacy"}
    return replace(
        reference,
        state=state,
        layout=layout,
        plan=plan,
        encoder=encoder,
        catalogue=_recoded(reference.catalogue, old, encoder),
        meta=meta,
    )


def _with_values(part: Lookup, values: Vocabulary) -> Lookup:
    return replace(part, elements=values) if isinstance(part, Bag) else values


def _finest(stored: Stored) -> Stored:
    if isinstance(stored, str):
        return stored
    return min((each for _, each in stored), key=ENCODINGS.index)


def _recoded(
    tensors: Mapping[str, NDArray[Any]], old: Encoder, new: Encoder
) -> Mapping[str, NDArray[Any]]:
    """Return the catalogue in the codes of another vocabulary."""
    if not tensors:
        return tensors
    catalogue = Catalogue.from_tensors(old, tensors)
    codes = dict(catalogue.codes)
    for name in codes:
        before, after = vocabulary_of(old.parts[name]), vocabulary_of(new.parts[name])
        if before is None or after is None:
            continue
        texts = _texts(catalogue, name, old)
        if texts is not None:
            codes[name] = after.lookup(texts)[:, None]
            continue
        moved = np.array([after.codes.get(v, UNKNOWN) for v in before.values], np.int32)
        codes[name] = np.concatenate([np.arange(FIRST, dtype=np.int32), moved])[codes[name]]
    return replace(catalogue, codes=codes).tensors()


def _texts(catalogue: Catalogue, name: str, encoder: Encoder) -> list[str | None] | None:
    """Return the items' values of a field as the catalogue keeps them; None = it does not."""
    if isinstance(encoder.parts[name], Bag):
        return None
    if name == encoder.schema.item:
        return list(catalogue.ids)
    if name in catalogue.keys:
        places, values = catalogue.keys[name], catalogue.key_values[name]
    elif name in catalogue.texts:
        places, values = catalogue.texts[name]
    else:
        return None
    return [values[place] if place >= 0 else None for place in places.tolist()]
