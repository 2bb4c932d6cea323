"""Parts of a data set: encoded rows with labels, users and items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.disk_frame import Frame
from recprune.data.encode import encode_frame
from recprune.data.extras import Extras
from recprune.data.ids import id_texts, positions, read_id
from recprune.data.labels import LabelRule
from recprune.data.split import SplitRule, halves
from recprune.data.table import Table
from recprune.encoding import Encoder, Rows
from recprune.errors import DataError
from recprune.scratch import on_disk, parked
from recprune.users import Users

__all__ = ["Fitted", "Split", "all_ids", "encoded", "place_of", "places", "tune_and_gate"]

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Encoded rows with their labels.

    Args:
        rows: codes and shares, n rows.
        label: 0 or 1, shape ``(n,)``.
        encoder: what the rows were encoded with.
        columns: the raw columns: fields, user and item; in memory, or read when asked for.
        users: each row's user, a position in ``Dataset.users.ids``, shape ``(n,)``, or None.
        items: each row's item, a row of ``Dataset.items``, shape ``(n,)``, or None.
        extras: how much each row counts, and its other labels.
        rule: how the rows came by their labels.
    """

    rows: Rows
    label: NDArray[np.float32]
    encoder: Encoder
    columns: Frame
    users: Index | None = None
    items: Index | None = None
    extras: Extras = Extras()  # noqa: RUF009 (frozen)
    rule: LabelRule = LabelRule()  # noqa: RUF009 (frozen)

    def __len__(self) -> int:
        return len(self.label)

    def take(self, index: NDArray[Any] | slice) -> Split:
        """Return some of the rows: positions (none of them from the end), a mask, or a slice."""
        given = isinstance(index, np.ndarray) and index.dtype.kind in "iu"
        at = np.asarray(index) if given else np.arange(len(self))[index]
        # What has a value for each row lies where the rows do.
        keep = parked if on_disk(self.rows.codes) else np.asarray
        return replace(
            self,
            rows=self.rows.part(at),
            label=keep(self.label[at]),
            columns=self.columns[at],
            users=None if self.users is None else keep(self.users[at]),
            items=None if self.items is None else keep(self.items[at]),
            extras=self.extras.take(at, keep),
        )

    def only(self, encoder: Encoder) -> Split:
        """Return the rows with the fields of a part of their own encoder: same codes."""
        codes, shares = self.encoder.columns_of(encoder.schema.names)
        return replace(self, rows=self.rows.select(codes, shares), encoder=encoder)


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a split adds to a data set."""

    parts: Mapping[str, Split]
    items: pl.DataFrame | None
    users: Users | None
    exclude_seen: bool
    rule: SplitRule


def encoded(
    table: Table, encoder: Encoder, users: pl.Series | None, items: pl.Series | None
) -> Split:
    """Return all rows of a table as one part; ``users`` and ``items`` are the ids to place them by."""
    frame, schema = table.frame, table.schema
    owner, place = place_of(frame, schema.user, users), place_of(frame, schema.item, items)
    rows = encode_frame(encoder, frame)
    return Split(rows, table.label, encoder, frame, owner, place, table.extras)


def place_of(frame: Frame, column: str | None, ids: pl.Series | None) -> Index | None:
    """Return each row's position among the ids of a column; None without a column."""
    return None if column is None or ids is None else positions(frame[column], ids)


def tune_and_gate(valid: Split, seed: int) -> dict[str, Split]:
    """Return the halves of the validation rows."""
    tune, gate = halves(valid.label, valid.users, seed)
    return {"tune": valid.take(tune), "gate": valid.take(gate)}


def all_ids(frames: Mapping[str, pl.DataFrame], user: str | None) -> pl.Series | None:
    """Return the users of all frames, as text, sorted as they are stored."""
    if user is None:
        return None
    ids = [read_id(frame[user]) for frame in frames.values()]
    if len({str(each.dtype) for each in ids}) > 1:
        whole = all(each.dtype.is_integer() for each in ids)
        ids = [each.cast(pl.Int64 if whole else pl.String) for each in ids]
    return pl.Series(id_texts(pl.concat(ids).unique().sort()))


def places(
    frame: pl.DataFrame, column: str | None, ids: pl.Series | None, part: str
) -> Index | None:
    """Return each row's position among the ids; refuse a row whose id is not there."""
    if column is None or ids is None:
        return None
    values = read_id(frame[column])
    if ids.dtype != values.dtype:
        values = values.cast(pl.String)
        ids = ids.cast(pl.String)
    at = positions(values, ids)
    if (at < 0).any():
        stranger = frame[column][int(np.argmin(at))]
        raise DataError(f"The {part} rows hold {column} {stranger!r}, which is not listed.")
    return at
