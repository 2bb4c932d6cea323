"""A user's row out of an artefact: cut like any other row, so that the id is read as unknown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.artifact import CONFIG, Artifact, read_artifact, write_artifact
from recprune.bags import Sequence as Bag
from recprune.catalogue import Catalogue
from recprune.encoding import Encoder
from recprune.erasure.names import Names
from recprune.erasure.records import Removed
from recprune.layout import Plan, composed, shrink
from recprune.lookups import FIRST, UNKNOWN, Lookup, Vocabulary

__all__ = ["clean_artifact", "rows_of", "values_of", "without_rows"]


def clean_artifact(folder: Path, names: Names) -> list[Removed]:
    """Write an artefact again without a user's rows; return what went.

    Args:
        folder: that nobody reads yet; its files are replaced, never written into.
        names: whom.

    Raises:
        ArtifactError: the folder is not sound.
    """
    artifact = read_artifact(folder)
    rows = rows_of(artifact.encoder, names)
    left = without_rows(artifact, rows) if rows else artifact
    catalogue, told = _catalogue(left, names)
    if not rows and not told:
        return []
    config = json.loads((folder / CONFIG).read_bytes())
    for name in {*config["sha256"], CONFIG}:
        (folder / name).unlink()  # it may be the same file as of the folder that is replaced
    write_artifact(folder, replace(left, catalogue=catalogue), config["recprune"])
    where = str(folder)
    removed = [
        Removed(where, f"vocabulary entries and table rows of {name!r}", len(some))
        for name, some in rows.items()
    ]
    return removed + ([Removed(where, "values of the catalogue", told)] if told else [])


def rows_of(encoder: Encoder, names: Names) -> dict[str, list[int]]:
    """Return field → rows of its table, positions, whose values are the user's names.

    In fields of user ids a value that is any name counts, in others one that has a telling name in it.
    Hashed values have no rows of their own: what is learnt of them is shared with others, as in all
    other weights.
    """
    known = {encoder.schema.user, *names.columns}
    found = {}
    for name, part in encoder.parts.items():
        values = pl.Series([v or "" for v in values_of(part)], dtype=pl.String)
        there = names.stand_in(values, name in known)
        rows = (np.flatnonzero(there.to_numpy()) + FIRST).tolist()
        if rows:
            found[name] = rows
    return found


def without_rows(artifact: Artifact, rows: Mapping[str, Sequence[int]]) -> Artifact:
    """Return the artefact without some rows, which read as unknown from then on.

    All other weights are what they were, to the bit.

    Args:
        artifact: a model, cut or not.
        rows: field → rows of its table, positions.
    """
    axes = artifact.layout.axes
    keep, kept = {}, {}
    for field, gone in rows.items():
        axis = axes[f"rows.{field}"]
        stay = np.ones(axis.size, np.bool_)
        stay[list(gone)] = False
        keep[axis.name], kept[field] = axis.units[stay], np.flatnonzero(stay)
    plan = Plan(artifact.layout.hash, keep)
    state, layout = shrink(artifact.state, artifact.layout, plan)
    encoder = artifact.encoder.take(artifact.encoder.schema.names, kept)
    catalogue = dict(artifact.catalogue)
    for field, left in kept.items():
        if (codes := catalogue.get(f"codes.{field}")) is not None:
            catalogue[f"codes.{field}"] = _renumbered(codes, left)
    return replace(
        artifact,
        state=state,
        layout=layout,
        plan=composed(artifact.plan, plan, artifact.layout, layout),
        encoder=encoder,
        catalogue=catalogue,
    )


def _renumbered(codes: NDArray[np.int32], stay: NDArray[np.intp]) -> NDArray[np.int32]:
    new = np.full(max(int(codes.max(initial=0)), int(stay.max())) + 1, UNKNOWN, np.int32)
    new[stay] = np.arange(len(stay), dtype=np.int32)
    return new[codes]


def _catalogue(artifact: Artifact, names: Names) -> tuple[Mapping[str, NDArray[np.generic]], int]:
    """Return the catalogue without telling names, but in items' ids, and how many there were."""
    if not artifact.catalogue or not names.telling:
        return artifact.catalogue, 0
    items = Catalogue.from_tensors(artifact.encoder, artifact.catalogue)
    told = 0
    keys, key_values, texts = dict(items.keys), dict(items.key_values), dict(items.texts)
    for by, values in items.key_values.items():
        keys[by], key_values[by], some = _untold(items.keys[by], values, names)
        told += some
    for name, (places, values) in items.texts.items():
        at, left, some = _untold(places, values, names)
        texts[name] = (at, left)
        told += some
    if not told:
        return artifact.catalogue, 0
    return replace(items, keys=keys, key_values=key_values, texts=texts).tensors(), told


def _untold(
    places: NDArray[np.int32], values: tuple[str, ...], names: Names
) -> tuple[NDArray[np.int32], tuple[str, ...], int]:
    gone = names.mentions(pl.Series(values, dtype=pl.String)).to_numpy().astype(np.bool_)
    if not gone.any():
        return places, values, 0
    new = np.append(np.where(gone, -1, np.cumsum(~gone) - 1), -1).astype(np.int32)
    left = tuple(value for value, out in zip(values, gone.tolist(), strict=True) if not out)
    return new[places], left, int(gone.sum())


def values_of(part: Lookup) -> tuple[str | None, ...]:
    """Return the values of a vocabulary, or of a list's elements; () of anything else."""
    elements = part.elements if isinstance(part, Bag) else part
    return elements.values if isinstance(elements, Vocabulary) else ()
