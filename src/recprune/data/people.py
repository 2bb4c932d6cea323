"""What becomes of users as tables are read: pseudonyms for their ids, and erased ones left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune._support import logger
from recprune.crypto import Pseudonymiser, is_pseudonym
from recprune.data.disk_frame import DiskFrame, Frame, blocks
from recprune.data.erased import Erased
from recprune.data.frames import as_text, plain
from recprune.data.quality import Finding
from recprune.errors import DataError

__all__ = ["NO_USERS", "USER_COLUMNS", "People", "id_texts_of", "key_of", "stays", "user_column"]

NO_USERS = "There is a list of erased users, but no user column is named to tell them by."
#: How columns of user ids are called where nothing says which they are.
USER_COLUMNS = ("user_id", "user")


class People:
    """Replaces the ids of a user column and leaves out the rows of erased users.

    Args:
        column: of the user ids.
        pseudonyms: makes pseudonyms; None = ids stay as they are.
        erased: users who are left out.
        already: fingerprint of the key that made the ids; "" = they are plain.

    Raises:
        DataError: the ids are pseudonyms of another key, or the erased users cannot be told among
            them without the key.
    """

    def __init__(
        self,
        column: str,
        pseudonyms: Pseudonymiser | None,
        erased: Erased | Collection[str] = (),
        already: str = "",
    ) -> None:
        self.column, self.pseudonyms, self.already = column, pseudonyms, already
        self.erased = Erased.of(erased)
        if already and pseudonyms is not None and already != pseudonyms.fingerprint:
            raise DataError(
                f"Column {column!r} holds pseudonyms of the key {already}, but the key given is "
                f"{pseudonyms.fingerprint}. Give the first one, or ingest the plain ids."
            )
        if already and pseudonyms is None and not all(map(is_pseudonym, self.erased.named)):
            raise DataError(
                f"The list of erased users has plain ids, but column {column!r} holds pseudonyms: "
                "nobody could be found. Give the key too (--pseudonymise-users), or list pseudonyms."
            )
        self._known: dict[str, str] = {}
        # Ids of data that are pseudonymised already: plain ids of the list, hashed.
        self._listed = frozenset[str]()
        if already and pseudonyms is not None:
            self._listed = frozenset(map(pseudonyms.pseudonym, self.erased.named))
        self._judged: set[str] = set()
        self._gone: set[str] = set()
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
        if len(self.erased):
            gone = self.gone(ids, count)
            if gone.any():
                places = np.flatnonzero(~gone.to_numpy())
                frame, shown = frame.filter(~gone), shown.filter(~gone)
        if self.pseudonyms is not None:
            frame = frame.with_columns(shown.alias(self.column))
        return frame, places

    def gone(self, ids: pl.Series, count: bool = True) -> pl.Series:
        """Return which rows are left out.

        Args:
            ids: as :func:`id_texts_of` spells them.
            count: take them into the findings.

        Raises:
            DataError: the list has pseudonyms, the ids are none, and there is no key to tell.
        """
        self._check(ids)
        new = set(ids.drop_nulls().unique().to_list()) - self._judged
        self._judged |= new
        self._gone.update(filter(self._is_erased, new))
        gone = ids.is_in(list(self._gone)).fill_null(False)
        if count and self._gone and gone.any():
            self.rows += int(gone.sum())
            self.met |= set(ids.filter(gone).unique())
        return gone

    def _is_erased(self, id_: str) -> bool:
        if self.erased.holds(id_) or id_ in self._listed:
            return True
        if self.pseudonyms is None or self.already:
            return False
        return self.erased.holds(self._known.get(id_) or self.pseudonyms.pseudonym(id_))

    def about(self) -> dict[str, str]:
        """Return what the manifest says of pseudonyms: the column, and the key's fingerprint."""
        key = self.pseudonyms.fingerprint if self.pseudonyms is not None else self.already
        return {"column": self.column, "key": key} if key else {}

    def findings(self) -> list[Finding]:
        """Return how many rows were left out, and whether ids were replaced; no id is named."""
        found = []
        if len(self.erased):
            action = f"left out: rows of {len(self.met)} erased users"
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
        if (
            self.pseudonyms is not None
            or self.already
            or not any(map(is_pseudonym, self.erased.named))
        ):
            return
        first = ids.drop_nulls().head(1)
        if len(first) and not is_pseudonym(first[0]):
            raise DataError(
                f"The list of erased users has pseudonyms, but column {self.column!r} holds plain ids: "
                "nobody could be found. Give the key and pseudonymise (--pseudonymise-users), or list "
                "the ids."
            )


def stays(
    frame: Frame, user: str | None, erased: Erased | None, already: str = ""
) -> tuple[Frame, list[Finding]]:
    """Return the frame without the rows of erased users, and how many were left out.

    Args:
        frame: in memory or on disk.
        user: its column of user ids; None = one of :data:`USER_COLUMNS`; all rows stay if it is not
            there.
        erased: who is left out.
        already: fingerprint of the key that made the ids; "" = they are plain.

    Raises:
        DataError: the erased users cannot be told among the ids without the key of pseudonyms.
    """
    if not erased:
        return frame, []
    user = user_column(user, frame.columns)
    if user is None or user not in frame.columns:
        return frame, []
    people = People(user, None, erased, already)
    told = frame.digest(user) if isinstance(frame, DiskFrame) else None
    if (
        told is not None
        and told.values.dtype == pl.String  # each text once
        and not people.gone(id_texts_of(told.values), count=False).any()
    ):
        return frame, []
    stay = np.ones(len(frame), np.bool_)
    for block, ids in blocks(frame, user):
        stay[block] = ~people.gone(id_texts_of(plain(ids.to_frame())[user])).to_numpy()
    if stay.all():
        return frame, []
    left = frame[stay] if isinstance(frame, DiskFrame) else frame.filter(pl.Series(stay))
    return left, people.findings()


def user_column(named: str | None, columns: Collection[str]) -> str | None:
    """Return the column by which erased users are left out; None, with a warning, if there is none.

    Nobody may come back because a role was not named: ``forget`` takes these columns for users', too.
    """
    user = named or next((name for name in USER_COLUMNS if name in columns), None)
    if user is None:
        logger.warning(NO_USERS)
    return user


def key_of(pseudonyms: Mapping[str, str], user: str | None) -> str:
    """Return the fingerprint of the key that made a user column's ids; "" = they are plain.

    Args:
        pseudonyms: of a folder's column of pseudonyms, its name and the key's fingerprint.
        user: the user column.
    """
    return pseudonyms.get("key", "") if pseudonyms.get("column") == user else ""


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
