"""Parts that come split already: checked as a table is, and encoded."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from recprune.data.encode import encode_frame
from recprune.data.extras import read_extras
from recprune.data.field_columns import as_fields
from recprune.data.identifiers import refuse_identifiers
from recprune.data.labels import read_label
from recprune.data.parts import Split, places
from recprune.data.spec import read_spec
from recprune.encoding import Encoder
from recprune.errors import DataError, nearest
from recprune.schema import Schema

__all__ = ["checked_frames", "given_part"]


def checked_frames(
    frames: Mapping[str, pl.DataFrame], schema: Schema, items: pl.DataFrame | None
) -> dict[str, pl.DataFrame]:
    """Return the parts' frames with each field's column as its kind is kept.

    Args:
        frames: part → plain columns.
        schema: of all of them.
        items: the catalogue, or None.

    Raises:
        DataError: a column is absent, or one that the schema does not name holds e-mail addresses,
            phone or card numbers.
    """
    roles = [c for c in (schema.label, schema.user, schema.item, schema.weight) if c]
    roles += schema.other_labels
    for part, frame in frames.items():
        needed = [f.of if f.of and f.name not in frame else f.name for f in schema.fields]
        for column in (*needed, *roles):
            if column not in frame.columns:
                raise DataError(
                    f"The {part} rows have no column {column!r}.{nearest(column, frame.columns)}"
                )
    known = {*schema.names, *roles, *(c for f in schema.fields for c in (f.by, f.of) if c)}
    for given in [*frames.values(), *([] if items is None else [items])]:
        refuse_identifiers(given, known)
    if items is not None and schema.item and schema.item not in items.columns:
        raise DataError(
            f"The items have no column {schema.item!r}.{nearest(schema.item, items.columns)}"
        )
    return {part: as_fields(frame, schema) for part, frame in frames.items()}


def given_part(
    part: str,
    frame: pl.DataFrame,
    encoder: Encoder,
    schema: Schema,
    ids: tuple[pl.Series | None, pl.Series | None],
) -> Split:
    """Encode one part.

    Args:
        part: its name.
        frame: one of :func:`checked_frames`.
        encoder: of the training rows.
        schema: as it was given.
        ids: all users and all items; None = there are none.

    Raises:
        DataError: a label is missing or not 0/1, or a row's user (item) is not among the ids.
    """
    label, found = read_label(frame[schema.label])
    for finding in found:
        if finding.kind == "missing label":
            raise DataError(
                f"The {part} rows have {finding.rows} without a label ({finding.column!r}). "
                "Drop them, or fill them in."
            )
    kept = (*schema.names, schema.user, schema.item)
    return Split(
        encode_frame(encoder, frame),
        label,
        encoder,
        frame.select(list(dict.fromkeys(c for c in kept if c))),
        places(frame, schema.user, ids[0], part),
        places(frame, schema.item, ids[1], part),
        read_extras(frame, read_spec(schema), from_text=False),
    )
