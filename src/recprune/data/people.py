"""What ingest does to users: pseudonyms in the place of their ids, and erased ones left out."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.crypto import Pseudonymiser, is_pseudonym
from recprune.data.frames import as_text
from recprune.data.quality import Finding
from recprune.data.source_bytes import read_bytes, stream_lines
from recprune.errors import DataError

__all__ = ["People", "read_erased"]


def read_erased(path: Path) -> frozenset[str]:
    """Return the users of a list: one id or pseudonym a line, blank lines and spaces around left out.

    Raises:
        DataError: the file is missing, cannot be read, or is not UTF-8.
    """
    if not read_bytes(path):
        return frozenset()
    return frozenset(line.strip() for line in stream_lines(path)) - {""}


class People:
    """Replaces the ids of a user column and leaves out the rows of erased users.

    Args:
        column: of the user ids.
        pseudonyms: makes pseudonyms; None = ids stay as they are.
        erased: ids, or pseudonyms of one key.
        already: fingerprint of the key that made the ids; "" = they are plain.

    Raises:
        DataError: the ids are pseudonyms of another key, or the erased users cannot be told among
            them without the key.
    """

    def __init__(
        self,
        column: str,
        pseudonyms: Pseudonymiser | None,
        erased: Collection[str] = (),
        already: str = "",
    ) -> None:
        self.column, self.pseudonyms, self.already = column, pseudonyms, already
        self.erased = frozenset(erased)
        if already and pseudonyms is not None and already != pseudonyms.fingerprint:
            raise DataError(
                f"Column {column!r} holds pseudonyms of the key {already}, but the key given is "
                f"{pseudonyms.fingerprint}. Give the first one, or ingest the plain ids."
            )
        if already and pseudonyms is None and not all(map(is_pseudonym, self.erased)):
            raise DataError(
                f"The list of erased users has plain ids, but column {column!r} holds pseudonyms: "
                "nobody could be found. Give the key too (--pseudonymise-users), or list pseudonyms."
            )
        self._known: dict[str, str] = {}
        self._listed = list(self.erased)
        if pseudonyms is not None:
            self._listed += [pseudonyms.pseudonym(id_) for id_ in self.erased]
        #: Rows left out, and users that had some.
        self.rows = 0
        self.met: set[str] = set()

    def apply(
        self, frame: pl.DataFrame, count: bool = True
    ) -> tuple[pl.DataFrame, NDArray[np.intp] | None]:
        """Return the rows that stay, with the ids that are stored, and their places if not all stay.

        Args:
            frame: the rows.
            count: take them into the findings.

        Raises:
            DataError: the list has pseudonyms, the ids are none, and there is no key to tell.
        """
        ids = id_texts_of(frame[self.column])
        shown = self._shown(ids)
        places = None
        if self.erased:
            self._check(ids)
            there = ids.str.strip_chars().is_in(self._listed) | shown.is_in(self._listed)
            gone = there.fill_null(False)
            if gone.any():
                if count:
                    self.rows += int(gone.sum())
                    self.met |= set(shown.filter(gone).unique())
                places = np.flatnonzero(~gone.to_numpy())
                frame, shown = frame.filter(~gone), shown.filter(~gone)
        if self.pseudonyms is not None:
            frame = frame.with_columns(shown.alias(self.column))
        return frame, places

    def about(self) -> dict[str, str]:
        """Return what the manifest says of pseudonyms: the column, and the key's fingerprint."""
        key = self.pseudonyms.fingerprint if self.pseudonyms is not None else self.already
        return {"column": self.column, "key": key} if key else {}

    def findings(self) -> list[Finding]:
        """Return how many rows were left out, and whether ids were replaced; no id is named."""
        found = []
        if self.erased:
            action = (
                f"left out: rows of {len(self.met)} erased users; {len(self.erased)} are listed"
            )
            found.append(Finding("erased_users", self.column, "info", self.rows, action))
        return found

    def _shown(self, ids: pl.Series) -> pl.Series:
        if self.pseudonyms is None or self.already:
            return ids
        distinct = ids.drop_nulls().unique()
        for value in distinct:
            if value not in self._known:
                self._known[value] = self.pseudonyms.pseudonym(value)
        hashes = pl.Series([self._known[v] for v in distinct], dtype=pl.String)
        return ids.replace_strict(distinct, hashes, default=None, return_dtype=pl.String)

    def _check(self, ids: pl.Series) -> None:
        """Refuse pseudonyms that could match nothing: erased users would come back unseen."""
        if self.pseudonyms is not None or self.already or not any(map(is_pseudonym, self.erased)):
            return
        first = ids.drop_nulls().head(1)
        if len(first) and not is_pseudonym(first[0]):
            raise DataError(
                f"The list of erased users has pseudonyms, but column {self.column!r} holds plain ids: "
                "nobody could be found. Give the key and pseudonymise (--pseudonymise-users), or list "
                "the ids."
            )


def id_texts_of(series: pl.Series) -> pl.Series:
    """Return ids as text, the same whether a file holds them as text, integers or whole floats.

    Each value by itself: what others there are does not matter.

    >>> id_texts_of(pl.Series([7.0, 0.5, None])).to_list()
    ['7', '0.5', None]
    >>> id_texts_of(pl.Series(["7.0", "07", "nan", " ann"])).to_list()
    ['7', '07', None, ' ann']
    """
    if series.dtype != pl.String:
        return as_text(series)
    whole = series.str.replace(r"^(-?\d+)\.0+$", "$1")
    return whole.set(whole.str.to_lowercase() == "nan", None)
