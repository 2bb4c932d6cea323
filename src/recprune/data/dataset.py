"""The data set: a table read and checked, split, and encoded by its training rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.bad_rows import BadRows
from recprune.data.disk_frame import DiskFrame
from recprune.data.erased import Erased
from recprune.data.fit import fit_encoder
from recprune.data.frames import plain, to_polars
from recprune.data.given import checked_frames, given_part
from recprune.data.ids import read_id
from recprune.data.interactions import with_negatives
from recprune.data.labels import LabelRule
from recprune.data.negatives import Negatives
from recprune.data.opening import open_table
from recprune.data.parts import Fitted, Split, all_ids, encoded, place_of, tune_and_gate
from recprune.data.people import stays
from recprune.data.profiles import build_items, build_users, repeats
from recprune.data.quality import Finding
from recprune.data.sources import table_name
from recprune.data.spec import Stated, read_spec
from recprune.data.split import GIVEN, SplitRule, assign, check_classes
from recprune.data.split_leaks import given_leaks, split_leaks
from recprune.data.sql import read_query
from recprune.data.table import Table, build_table
from recprune.encoding import Encoder
from recprune.errors import DataError
from recprune.schema import Schema
from recprune.scratch import forget
from recprune.users import Users

__all__ = ["Dataset", "Split"]

Index = NDArray[np.int64]
PARTS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table with a label, its schema, and (after :meth:`split`) encoded parts.

    ``labels`` says how rows come by their label; after a split, also the rate of the negatives
    that were drawn.

    Make one with :meth:`from_frame`, :meth:`read`, :meth:`read_sql` or :meth:`from_splits`.

    >>> frame = pl.DataFrame({"colour": ["red", "blue", "red"] * 20, "y": [1, 0, 1] * 20})
    >>> data = Dataset.from_frame(frame, label="y").split(seed=0)
    >>> len(data.train), len(data.test), data.schema.names
    (42, 9, ('colour',))
    """

    schema: Schema
    findings: tuple[Finding, ...] = ()
    name: str = ""
    table: Table | None = None
    fitted: Fitted | None = field(default=None, repr=False)
    labels: LabelRule = LabelRule()  # noqa: RUF009 (frozen)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        label: str | None = None,
        user: str | None = None,
        item: str | None = None,
        time: str | None = None,
        threshold: float | None = None,
        negatives: Negatives | None = None,
        schema: Stated = None,
        drop: Iterable[str] = (),
    ) -> Dataset:
        """Read a pandas, Polars (lazy too) or Arrow table.

        Args:
            frame: the table.
            label: column of 0/1, true/false or a pair such as no/yes.
            user: column of user ids; rows then belong to users.
            item: column of item ids; items can then be ranked for users.
            time: column that orders the rows: dates or numbers.
            threshold: from this value up the label is 1, as for ratings.
            negatives: for a log of positives alone, how :meth:`split` draws the others; see
                :mod:`recprune.data.interactions`. The label may then be left out.
            schema: overrides for what is inferred; see :func:`recprune.data.spec.read_spec`.
            drop: columns to leave out.

        Raises:
            DataError: a column that does not exist, a label that is not two-valued (with negatives:
                one that is), fewer than 30 usable rows, no usable column, two columns of one name.
            SchemaError: a schema with an unknown key, or that contradicts itself.
        """
        stated = read_spec(schema)
        how: Any = {"threshold": threshold, "negatives": negatives}
        spec = stated.with_roles(drop, label=label, user=user, item=item, time=time, **how)
        table = build_table(to_polars(frame), spec)
        return cls(table.schema, table.findings, "", table, labels=spec.labels)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        label: str | None = None,
        user: str | None = None,
        item: str | None = None,
        time: str | None = None,
        threshold: float | None = None,
        negatives: Negatives | None = None,
        schema: Stated = None,
        drop: Iterable[str] = (),
        on_bad_rows: str | BadRows = "error",
        erased: Erased | None = None,
    ) -> Dataset:
        """Read a file, folder or pattern (see :func:`recprune.data.sources.read_table`), or a folder
        that :func:`recprune.data.ingest` wrote, with the roles named there.

        Rows of CSV and TSV files with fewer cells than the header are read with missing values, and
        counted in a finding. With ``on_bad_rows="skip"``, rows that cannot be read (too many cells,
        broken quotes, bytes that are not UTF-8) are left out and counted too; a
        :class:`recprune.data.bad_rows.BadRows` keeps them. With a user column, rows of ``erased``
        users are left out; the program gives this machine's list (``Erased.by_default()``).

        Raises:
            DataError: also for a file that is missing, empty, cut short or not UTF-8, and for the
                first row that cannot be read.
            ParameterError: ``on_bad_rows`` is another word.
        """
        bad = BadRows.of(on_bad_rows) if isinstance(on_bad_rows, str) else on_bad_rows
        stated = read_spec(schema)
        roles: Any = {"label": label, "user": user, "item": item, "time": time}
        how: Any = {"threshold": threshold, "negatives": negatives}
        opened = open_table(path, stated.with_roles(drop, **how, **roles), bad)
        frame, left_out = stays(opened.frame, opened.spec.user, erased, opened.already)
        table = build_table(frame, opened.spec, opened.from_text, opened.kinds)
        found = (*opened.findings, *left_out, *bad.findings(table.schema.label), *table.findings)
        table = replace(table, findings=found)
        return cls(table.schema, found, table_name(path), table, labels=opened.spec.labels)

    @classmethod
    def read_sql(
        cls,
        query: str,
        connection: str,
        *,
        label: str | None = None,
        user: str | None = None,
        item: str | None = None,
        time: str | None = None,
        threshold: float | None = None,
        negatives: Negatives | None = None,
        schema: Stated = None,
        drop: Iterable[str] = (),
        erased: Erased | None = None,
    ) -> Dataset:
        """Read the rows of a PostgreSQL query; see :func:`recprune.data.sql.read_query` for
        ``query``, ``connection`` and their errors, and :meth:`read` for the rest.
        """
        roles: Any = {"label": label, "user": user, "item": item, "time": time, "drop": drop}
        roles |= {"threshold": threshold, "negatives": negatives}
        of = user or read_spec(schema).user
        frame, left_out = stays(read_query(query, connection), of, erased)
        data = cls.from_frame(frame, schema=schema, **roles)
        return replace(data, name="query", findings=(*left_out, *data.findings))

    @classmethod
    def from_splits(
        cls,
        train: pl.DataFrame,
        valid: pl.DataFrame,
        test: pl.DataFrame,
        *,
        schema: Schema,
        items: pl.DataFrame | None = None,
        users: Users | None = None,
        exclude_seen: bool = False,
        name: str = "",
        seed: int = 0,
    ) -> Dataset:
        """Take rows that are split already; vocabularies and knots come from ``train``.

        Args:
            train, valid, test: the fields' columns, the label, and the user and item columns.
            schema: of all three.
            items: one row an item: its id, item fields, and the columns that index cross fields.
            users: as of the test rows.
            exclude_seen: whether lists leave out what a user has seen.
            name: of the data set.
            seed: of the halves of ``valid``, *tune* and *gate*.

        Raises:
            DataError: a column is absent, a label is not 0/1, a part lacks a class, a row's user
                (item) is not among ``users`` (``items``), or a column that the schema does not name
                holds e-mail addresses, phone or card numbers.
        """
        frames = {p: plain(to_polars(f)) for p, f in zip(PARTS, (train, valid, test), strict=True)}
        frames = checked_frames(frames, schema, items)
        encoder, found = fit_encoder(frames["train"], schema)
        user_ids = pl.Series(users.ids) if users is not None else all_ids(frames, schema.user)
        item_ids = read_id(items[schema.item]) if items is not None and schema.item else None
        ids = user_ids, item_ids
        parts = {p: given_part(p, f, encoder, schema, ids) for p, f in frames.items()}
        parts |= tune_and_gate(parts["valid"], seed)
        check_classes({p: s.label for p, s in parts.items()}, "the caller")
        found += given_leaks(frames, schema)
        fitted = Fitted(parts, items, users, exclude_seen, SplitRule(GIVEN, seed=seed))
        return cls(encoder.schema, tuple(found), name, None, fitted, LabelRule(schema.label))

    def split(
        self, by: str = "auto", valid: float = 0.15, test: float = 0.15, seed: int = 0, n: int = 1
    ) -> Dataset:
        """Return the data set split and encoded; *valid* is halved into *tune* and *gate*.

        Args:
            by: ``"time"``, ``"user"``, ``"last-n"``, ``"random"``, ``"stratified"`` or ``"auto"``;
                see :func:`recprune.data.split.assign`.
            valid: share of the rows that validate.
            test: share of the rows that test.
            seed: of the draw.
            n: rows of a user that test, and that validate, by ``"last-n"``.

        Vocabularies and knots are those of the training rows; users' columns, histories and seen
        items are as of the test. Every split is tested for leaks, which are findings: training rows
        that are later than their user's test rows, rows that both train and test.

        Raises:
            ParameterError: an unknown ``by``, or shares out of range.
            DataError: no column to split by, or a part that lacks a class.
        """
        source = self._table("split")
        user, item = self.schema.user, self.schema.item
        user_ids = source.frame[user].unique().sort() if user is not None else None
        owner = place_of(source.frame, user, user_ids)
        by, index, notes = assign(source, owner, by, (valid, test), seed, n)
        leaks = split_leaks(source, owner, index, by)
        table, index, rate, drawn = with_negatives(source, self.labels.negatives, index, seed)
        encoder, found = fit_encoder(table.frame[index[0]], table.schema, table.rules)
        items = build_items(source)
        item_ids = items[item] if item and items is not None else None
        whole = encoded(table, encoder, user_ids, item_ids)
        labels = self.labels if rate is None else replace(self.labels, negative_rate=rate)
        whole = replace(whole, rule=labels)
        parts = {part: whole.take(at) for part, at in zip(PARTS, index, strict=True)}
        parts |= tune_and_gate(parts["valid"], seed)
        check_classes({p: s.label for p, s in parts.items()}, by)
        users = None
        if user_ids is not None:
            known = np.ones(len(whole), np.bool_)
            known[index[2]] = False
            users = build_users(source, user_ids, known[: len(source.label)], items)
        again = repeats(table, index[0])
        rule = SplitRule(by, valid, test, seed)
        fitted = Fitted(parts, items, users, items is not None and not again, rule)
        findings = (*source.findings, *notes, *leaks, *drawn, *found)
        DiskFrame.release()
        for label in (source.label, *(split.label for split in parts.values())):
            forget(label)
        return replace(self, schema=encoder.schema, findings=findings, fitted=fitted, labels=labels)

    @property
    def train(self) -> Split:
        """Rows to learn from."""
        return self._fitted.parts["train"]

    @property
    def valid(self) -> Split:
        """Rows to choose by: *tune* and *gate* together."""
        return self._fitted.parts["valid"]

    @property
    def tune(self) -> Split:
        """Half of *valid*: early stopping, ranking, the search for a budget."""
        return self._fitted.parts["tune"]

    @property
    def gate(self) -> Split:
        """The other half of *valid*, with other users: decides which candidate passes."""
        return self._fitted.parts["gate"]

    @property
    def test(self) -> Split:
        """Rows for the one comparison at the end."""
        return self._fitted.parts["test"]

    @property
    def encoder(self) -> Encoder:
        """Vocabularies and knots of the training rows."""
        return self.train.encoder

    @property
    def items(self) -> pl.DataFrame | None:
        """One row an item, in catalogue order; None without an item column."""
        return self._fitted.items

    @property
    def users(self) -> Users | None:
        """The users as of the test rows; None without a user column."""
        return self._fitted.users

    @property
    def exclude_seen(self) -> bool:
        """Whether lists leave out seen items: nobody took an item twice in the training rows."""
        return self._fitted.exclude_seen

    @property
    def split_by(self) -> str:
        """How the rows were split."""
        return self._fitted.rule.by

    @property
    def split_rule(self) -> SplitRule:
        """How the rows were split, so that the same table can be split so again."""
        return self._fitted.rule

    def come_apart(self) -> Dataset:
        """Return the same parts, of which is told that no rule has made them.

        For a model that has learned from other parts, too: what is saved of it then tells no rule by
        which there would be rows that it has not seen.
        """
        fitted = replace(self._fitted, rule=SplitRule(GIVEN, seed=self.split_rule.seed))
        return Dataset(self.schema, self.findings, self.name, None, fitted, self.labels)

    @cached_property
    def sensitive(self) -> tuple[str, ...]:
        """Names of the fields that are personal attributes."""
        return tuple(f.name for f in self.schema.fields if f.sensitive)

    def only(self, names: Iterable[str]) -> Dataset:
        """Return the data set with these fields alone: same rows, same codes, no re-encoding.

        Raises:
            SchemaError: a name that is no field; the nearest one is named.
        """
        schema = self.schema.only(_names(names))
        if self.fitted is None:
            unsplit = replace(self._table("only"), schema=schema)
            return replace(self, schema=schema, table=unsplit)
        encoder = self.encoder.take(schema.names, {})
        parts = {part: split.only(encoder) for part, split in self.fitted.parts.items()}
        table = None if self.table is None else replace(self.table, schema=schema)
        return replace(self, schema=schema, table=table, fitted=replace(self.fitted, parts=parts))

    def drop_fields(self, names: Iterable[str]) -> Dataset:
        """Return the data set without these fields; see :meth:`only`."""
        gone = _names(names)
        self.schema.only(gone)
        return self.only(n for n in self.schema.names if n not in gone)

    def all_rows(self) -> Split:
        """Return all rows of the table as one part, encoded by themselves: for scoring a saved
        model, which encodes the raw columns by its own vocabularies, never for training. For a log
        of positives with negatives, which are drawn as for one window.
        """
        table = self._table("all_rows")
        table = with_negatives(table, self.labels.negatives, [np.arange(len(table.label))], 0).table
        encoder, _ = fit_encoder(table.frame, table.schema, table.rules)
        user, item = table.schema.user, table.schema.item
        users = table.frame[user].unique().sort() if user else None
        return encoded(table, encoder, users, table.frame[item].unique().sort() if item else None)

    @property
    def whole_table(self) -> Table:
        """The checked table as it was before any split."""
        return self._table("whole_table")

    @property
    def _fitted(self) -> Fitted:
        if self.fitted is None:
            raise DataError("The data set is not split yet: use data = data.split(by=…) first.")
        return self.fitted

    def _table(self, verb: str) -> Table:
        if self.table is None:
            raise DataError(f"Dataset.{verb} needs the whole table; this data set came split.")
        return self.table


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
