"""Events from payloads: whole blocks of JSON objects become columns, and nothing is lost on the way.

A payload is one JSON object. Numbers in a column of texts read as they do on ingest
(:func:`recprune.texts.text`); an empty text is missing, as is an absent key and null. What is no
event is told with its reason, never guessed at: text or true where a number belongs, a list where
there is one value, no label, no id. See :mod:`recprune.streaming.one_event` for each.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.crypto import Pseudonymiser
from recprune.data.erased import Erased
from recprune.data.people import People, id_texts_of
from recprune.errors import ParameterError
from recprune.streaming.columns import valid
from recprune.streaming.flat import Flat
from recprune.streaming.hashes import byte_hashes, hashes
from recprune.streaming.one_event import Poison, Unreadable, cells, parsed
from recprune.streaming.screen import ALONE, CHECK, joined, screened
from recprune.texts import text

__all__ = ["ANY", "EventReader", "Events"]

#: A column of values of any kind, taken as texts: a list or an object as its JSON.
ANY = pl.Object()
#: What a column may hold.
READ = (pl.String(), pl.Float64(), pl.List(pl.String()), pl.List(pl.Float64()), ANY)
#: A block that cannot be read is halved down to so many events, which are read one by one.
FEW = 64
#: Texts that Polars also makes of a list, an object, or a number that the house spells otherwise.
AMBIGUOUS = r"^(\[|\{|-0$|-?0\.0000|-?[0-9]{16,}0$)"
#: Events after which users that were met are forgotten, so that memory is bounded.
RENEWED = 1 << 20

#: Columns, each row's place among the payloads, what is no event, and how many users' were erased.
_Rows = tuple[pl.DataFrame, NDArray[np.int32], list[Poison], int]


@dataclass(frozen=True)
class Events:
    """Events in the order of their payloads.

    Args:
        frame: the columns that the reader was given, in their order, then the users if they were not
            among them; n rows.
        label: 0 or 1, shape ``(n,)``.
        ids: a hash of each event's id, shape ``(n,)``.
        at: the place of each among the payloads, ascending, shape ``(n,)``.
        erased: how many more there were, of users who were erased.
    """

    frame: pl.DataFrame
    label: NDArray[np.float32]
    ids: NDArray[np.uint64]
    at: NDArray[np.int32]
    erased: int

    def __len__(self) -> int:
        return len(self.ids)


class EventReader:
    """Reads payloads as events.

    Args:
        columns: name → type of each that is wanted: String, Float64, a list of either, or
            :data:`ANY`.
        label: the key of 0 and 1, or false and true.
        id: the key that tells events apart, a text or a number; None = the payload's bytes do.
        user: the key of the user; None = there is none.
        erased: users whose events are left out and counted.
        pseudonyms: makes pseudonyms of users; None = they stay as they are.

    Raises:
        ParameterError: a column has another type, the label is among them, or there are users to
            leave out or to rename, and no key of theirs.

    >>> reader = EventReader({"city": pl.String(), "price": pl.Float64()}, "clicked", id="event")
    >>> events, poison = reader.read([b'{"event": 1, "clicked": 0, "city": 7.0, "price": 2}', b"?"])
    >>> events.frame.rows(), events.label.tolist(), poison[0].reason
    ([('7', 2.0)], [0.0], 'no sound JSON: Expecting value at character 0')
    """

    def __init__(
        self,
        columns: Mapping[str, pl.DataType],
        label: str,
        id: str | None = None,
        user: str | None = None,
        erased: Erased | None = None,
        pseudonyms: Pseudonymiser | None = None,
    ) -> None:
        for name, kind in columns.items():
            if kind not in READ:
                wanted = f"String, Float64 or a list of either for {name!r}"
                raise ParameterError.of("columns", "EventReader", wanted, kind)
        self._loose = frozenset(name for name, kind in columns.items() if kind == ANY)
        columns = {n: pl.String() if n in self._loose else kind for n, kind in columns.items()}
        if label in columns or label in (id, user):
            raise ParameterError.of("label", "EventReader", "a key of its own", label)
        for role, key in (("id", id), ("user", user)):
            if key is not None and columns.get(key, pl.String()) != pl.String:
                raise ParameterError.of(role, "EventReader", "a column of type String", key)
        if user is None and (erased or pseudonyms is not None):
            raise ParameterError.of(
                "user", "EventReader", "the key by which users are left out or renamed", user
            )
        self._label, self._id, self._user = label, id, user
        self._shown = [*columns, *([user] if user and user not in columns else [])]
        keys = {key: pl.String() for key in (user, id, label) if key is not None}
        self._columns: dict[str, pl.DataType] = {**columns, **keys}
        self._texts = [n for n, k in self._columns.items() if k == pl.String]
        self._lists = [n for n, k in self._columns.items() if k == pl.List(pl.String)]
        self._flat = Flat(self._columns)
        self._people = None if user is None else _Everybody(user, erased or Erased(), pseudonyms)

    @property
    def private(self) -> bool:
        """Whether users are renamed or left out, so that payloads are not to be kept."""
        return self._people is not None and not self._people.idle

    def read(self, payloads: Sequence[bytes]) -> tuple[Events, list[Poison]]:
        """Return the events of payloads, and the payloads that are none, both in order.

        Raises:
            DataError: the list of erased users has pseudonyms, the users are none, and there is no
                key to tell.
        """
        frame, at, poison, erased = self._rows(payloads)
        return self._events(frame, at, payloads, poison, erased)

    def _rows(self, payloads: Sequence[bytes]) -> _Rows:
        """Return the columns of all payloads that can be read, and the rest."""
        data, lengths = joined(payloads)
        if not self._flat.able:
            return self._any_rows(payloads, data, lengths)
        frame, plain = self._flat.read(data, lengths)
        if plain.all():
            return frame, np.arange(len(frame), dtype=np.int32), [], 0
        others = np.flatnonzero(~plain).astype(np.int32)
        left = [payloads[i] for i in others.tolist()]
        more, places, poison, erased = self._any_rows(left, *joined(left))
        at = np.concatenate((np.flatnonzero(plain).astype(np.int32), others[places]))
        order = np.argsort(at)
        poison = [replace(each, index=int(others[each.index])) for each in poison]
        return pl.concat([frame, more])[order], at[order], poison, erased

    def _any_rows(
        self, payloads: Sequence[bytes], data: bytes, lengths: NDArray[np.int64]
    ) -> _Rows:
        """Return what :meth:`_rows` does, of payloads of any kind."""
        flags = screened(data, lengths)
        alone = np.flatnonzero(flags == ALONE)
        if alone.size:
            kept = list(payloads)
            for i in alone.tolist():
                kept[i] = b"{}"
            data, lengths = joined(kept)
        frame, unread = self._blocks(data, lengths)
        alone = np.union1d(alone, [*unread, *self._ambiguous(frame, flags)]).astype(np.intp)
        at, poison, erased = np.arange(len(payloads), dtype=np.int32), list[Poison](), 0
        if alone.size:
            frame, at, poison, erased = self._mended(frame, payloads, alone)
        filled = (pl.when(pl.col(n) != "").then(pl.col(n)) for n in self._texts)
        return frame.with_columns(filled), at, poison, erased

    def _blocks(self, data: bytes, lengths: NDArray[np.int64]) -> tuple[pl.DataFrame, list[int]]:
        """Return the columns, and which rows of them are to be read one by one instead."""
        bounds = np.concatenate(([0], np.cumsum(lengths + 1)))
        frames, unread, waiting = [], list[int](), [(0, len(lengths))]
        while waiting:
            start, stop = waiting.pop()
            if start == stop:
                continue
            frame = self._block(data[bounds[start] : bounds[stop]], stop - start)
            if frame is None and stop - start > FEW:
                middle = (start + stop) // 2
                waiting += [(middle, stop), (start, middle)]
                continue
            if frame is None:
                frame = pl.DataFrame(schema=self._columns).clear(stop - start)
                unread += range(start, stop)
            frames.append(frame)
        whole = pl.concat(frames, rechunk=True) if frames else pl.DataFrame(schema=self._columns)
        return whole, unread

    def _block(self, data: bytes, n: int) -> pl.DataFrame | None:
        try:
            frame = pl.read_ndjson(io.BytesIO(data), schema=self._columns)
        except pl.exceptions.PolarsError:
            return None
        return frame if len(frame) == n else None

    def _ambiguous(self, frame: pl.DataFrame, flags: NDArray[np.uint8]) -> NDArray[np.intp]:
        """Return which rows hold a text that may have been none."""
        rows = np.flatnonzero(flags == CHECK)
        if not rows.size:
            return rows
        tests = [pl.col(n).str.contains(AMBIGUOUS) for n in self._texts]
        tests += [
            pl.col(n).list.eval(pl.element().str.contains(AMBIGUOUS)).list.any()
            for n in self._lists
        ]
        found = frame[rows].select(pl.any_horizontal(tests).fill_null(False)).to_series()
        places: NDArray[np.intp] = rows[found.to_numpy()]
        return places

    def _mended(
        self, frame: pl.DataFrame, payloads: Sequence[bytes], alone: NDArray[np.intp]
    ) -> _Rows:
        """Return the columns with some rows read one by one, without those that are no event."""
        rows, good = [], []
        poison, users = [], []
        for i in alone.tolist():
            user = None
            try:
                event = parsed(payloads[i])
                user = event.get(self._user) if self._user is not None else None
                rows.append(cells(event, self._columns, self._loose))
                good.append(i)
            except Unreadable as error:
                poison.append(Poison(i, error.fault, error.reason))
                users.append(user if isinstance(user, str | int | float) else None)
        gone = self._gone(users)
        poison = [each for each, left in zip(poison, gone, strict=True) if not left]
        read = pl.DataFrame(rows, schema=self._columns, orient="row")
        whole = np.setdiff1d(np.arange(len(frame)), alone)
        at = np.concatenate((whole, np.array(good, np.intp)))
        order = np.argsort(at)
        frame = pl.concat([frame[whole], read])[order]
        return frame, at[order].astype(np.int32), poison, sum(gone)

    def _events(
        self,
        frame: pl.DataFrame,
        at: NDArray[np.int32],
        payloads: Sequence[bytes],
        poison: list[Poison],
        erased: int,
    ) -> tuple[Events, list[Poison]]:
        if self._people is not None:
            frame, places = self._people.apply(frame)
            if places is not None:
                erased += len(at) - len(places)
                at = at[places]
        label = frame[self._label]
        one = ((label == "1") | (label == "true")).fill_null(False)
        bad = ~(one | (label == "0") | (label == "false")).fill_null(False)
        if self._id is not None:
            bad |= frame[self._id].is_null()
        if bad.any():
            rows = bad.arg_true().to_numpy()
            poison += [self._nameless(frame, int(i), int(at[i])) for i in rows]
            poison.sort(key=lambda each: each.index)
            frame, one, at = frame.filter(~bad), one.filter(~bad), at[~bad.to_numpy()]
        if self._id is not None:
            ids = hashes(frame[self._id])
        else:
            ids = byte_hashes([payloads[i] for i in at.tolist()])
        shown = frame.select(self._shown)
        return Events(shown, one.to_numpy().astype(np.float32), ids, at, erased), poison

    def _nameless(self, frame: pl.DataFrame, row: int, index: int) -> Poison:
        if self._id is not None and frame[self._id][row] is None:
            return Poison(index, "id", f"no id {self._id!r}")
        if frame[self._label][row] is None:
            return Poison(index, "label", f"no label {self._label!r}")
        return Poison(index, "label", f"label {self._label!r} is neither 0 nor 1")

    def _gone(self, users: Sequence[str | float | None]) -> list[bool]:
        """Tell which users were erased: what they left is kept nowhere, not even as poison."""
        if self._people is None:
            return [False] * len(users)
        return self._people.gone(pl.Series([valid(text(u)) for u in users], dtype=pl.String))


class _Everybody:
    """What becomes of users, in bounded memory."""

    def __init__(self, user: str, erased: Erased, pseudonyms: Pseudonymiser | None) -> None:
        self._given = user, pseudonyms, erased
        self.idle = not len(erased) and pseudonyms is None
        self._people, self._seen = People(*self._given), 0

    def apply(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, NDArray[np.intp] | None]:
        """See :meth:`recprune.data.people.People.apply`."""
        if self.idle:
            return frame, None
        self._seen += len(frame)
        if self._seen > RENEWED:
            self._people, self._seen = People(*self._given), len(frame)
        return self._people.apply(frame, count=False)

    def gone(self, users: pl.Series) -> list[bool]:
        """Tell who was erased."""
        if self.idle:
            return [False] * len(users)
        gone: list[bool] = self._people.gone(id_texts_of(users), count=False).to_list()
        return gone
