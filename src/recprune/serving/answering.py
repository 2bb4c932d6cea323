"""From a request to its answer: what a service adds to the scorer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from recprune.crypto import Pseudonyms
from recprune.encoding import raw_column
from recprune.errors import DataError
from recprune.runtime import Places, Recommendation
from recprune.schema import Field
from recprune.serving.loading import Loaded
from recprune.texts import text

__all__ = ["Answering"]

Answer = dict[str, Any]


class Answering:
    """Answers requests with one model.

    Args:
        loaded: the model and its users.
        pseudonyms: keys of the ids that users are stored under; None = they are stored as they are.
    """

    def __init__(self, loaded: Loaded, pseudonyms: Pseudonyms | None = None) -> None:
        self.loaded, self._pseudonyms = loaded, pseudonyms
        self._scorer, self._users = loaded.scorer, loaded.users
        self._version = loaded.about.version
        schema = self._scorer.encoder.schema
        self._schema = schema
        self._own = [f for f in schema.fields if f.source == "user" and f.name != schema.user]
        #: Columns that a row is asked for; rows may name a hundred thousand others.
        named = [n for f in schema.fields for n in (f.name, f.of)]
        self._read = {n for n in (*named, schema.time) if n is not None}
        self._hidden: tuple[frozenset[str], Places | None] = (frozenset(), None)

    def recommend(self, asked: Any, hidden: frozenset[str]) -> Answer:
        """Return the best items for the user or users of a ``RecommendRequest``.

        Args:
            asked: the request.
            hidden: items that no answer may hold.

        Raises:
            InputError: a column that is lacking or not fit, or a model that ranks rows.
        """
        among: dict[str, Any] = {
            "candidates": asked.candidates,
            "filter": asked.filter,
            "strict": False,
            "deny": [*asked.deny, *asked.seen],
            "hidden": self._places(hidden),
        }
        if asked.record is not None:
            self._complete(asked.record, self._own, "record")
            record = {**asked.record, **asked.context}
            best = self._scorer.recommend(record, asked.k, label=asked.label, **among)
            return {"model": self._version, **_list(best, fallback=False)}
        many = asked.users is not None
        ids = [self._stored_id(user) for user in (asked.users if many else [asked.user])]
        if self._users is None:
            found = [
                self._scorer.recommend(asked.context or None, asked.k, label=asked.label, **among)
                for _ in ids
            ]
        else:
            found = self._scorer.recommend_users(
                self._users,
                ids,
                asked.k,
                exclude_seen=asked.exclude_seen,
                context=asked.context,
                label=asked.label,
                **among,
            )
        lists = [_list(best, fallback=i is None) for best, i in zip(found, ids, strict=True)]
        if many:
            return {"model": self._version, "answers": lists}
        return {"model": self._version, **lists[0]}

    def is_main(self, label: str | None) -> bool:
        """Tell whether a label is the main one; scores of others have a spread of their own."""
        return label in (None, self._scorer.labels[0])

    def names_user(self, asked: Any) -> bool:
        """Tell whether a ``ScoreRequest`` names a user who is looked up."""
        if asked.rows is None:
            return True
        user = self._schema.user
        return self._users is not None and any(row.get(user) is not None for row in asked.rows)

    def score(self, asked: Any) -> Answer:
        """Return the probabilities of a ``ScoreRequest``.

        Raises:
            InputError: as :meth:`recommend`.
        """
        label = asked.label or self._scorer.labels[0]
        if asked.rows is not None:
            scores, fallback = self._rows(asked.rows, asked.label, asked.calibrated)
        else:
            scores, fallback = self._items(asked)
        return {
            "model": self._version,
            "label": label,
            "scores": scores,
            "fallback": fallback,
        }

    def _rows(
        self, rows: Sequence[Mapping[str, Any]], label: str | None, calibrated: bool
    ) -> tuple[list[float | None], bool]:
        fallback, filled = False, []
        for number, row in enumerate(rows):
            row, known = self._filled(row)
            fallback = fallback or not known
            self._complete(row, self._schema.fields, f"rows.{number}")
            filled.append(row)
        columns = {
            n: [row.get(n) for row in filled] for n in self._read if any(n in r for r in filled)
        }
        self._derive(columns, filled)
        scores = self._scorer.score(columns, label=label, calibrated=calibrated)
        return list(_numbers(scores)), fallback

    def _derive(self, columns: dict[str, list[Any]], rows: Sequence[Mapping[str, Any]]) -> None:
        """Take parts of dates from the dates of those rows that do not name the part itself.

        The encoder takes a part from one column for all rows, its own or the date's.
        """
        time = self._schema.time
        for field in self._schema.fields:
            if field.name not in columns or field.of is None or field.of not in columns:
                continue
            given = {} if time is None or time not in columns else {time: columns[time]}
            given[field.of] = [None if field.name in row else row.get(field.of) for row in rows]
            derived = raw_column(field, given, time)
            columns[field.name] = [
                row.get(field.name, part) for row, part in zip(rows, derived, strict=True)
            ]

    def _filled(self, row: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Return a row with its user's stored columns, and whether the user is known, if named."""
        user = self._schema.user
        if self._users is None or user is None or row.get(user) is None:
            return dict(row), True
        index = self._users.find(row[user], self._pseudonyms)
        if index is None:
            # Nothing is known of the user: as a recommendation without attributes.
            unknown = dict.fromkeys(self._users.columns)
            return {**unknown, **row, user: None}, False
        return {**self._users.record_at(index), **row, user: self._users.ids[index]}, True

    def _items(self, asked: Any) -> tuple[list[float | None], bool]:
        """Score some items for a user: ranked among themselves, then put in the order asked for."""
        user = self._stored_id(asked.user)
        options: dict[str, Any] = {
            "candidates": asked.items,
            "strict": False,
            "label": asked.label,
        }
        k = len(asked.items)
        if self._users is None:
            best = self._scorer.recommend(asked.context or None, k, **options)
        else:
            best = self._scorer.recommend_user(
                self._users, user, k, exclude_seen=False, context=asked.context, **options
            )
        scores = dict(zip(best.items, _numbers(best.scores), strict=True))
        return [scores.get(text(item) or "") for item in asked.items], user is None

    def _stored_id(self, raw: Any) -> str | None:
        """Return the id that a user is stored under; None for one who is not."""
        if self._users is None:
            return None
        index = self._users.find(raw, self._pseudonyms)
        return None if index is None else self._users.ids[index]

    def _complete(self, given: Mapping[str, Any], fields: Iterable[Field], place: str) -> None:
        lacking = [f.name for f in fields if f.name not in given and f.of not in given]
        if lacking:
            raise DataError(
                f"{place} lacks {', '.join(map(repr, lacking[:10]))}, which the model reads. "
                "Send null where a value is not known."
            )

    def _places(self, hidden: frozenset[str]) -> Places | None:
        """Return the hidden items' places, looked up once for each set of them."""
        if hidden is not self._hidden[0] and hidden != self._hidden[0]:
            self._hidden = (hidden, self._scorer.places(hidden))
        return self._hidden[1]


def _list(best: Recommendation, fallback: bool) -> Answer:
    scores = _numbers(best.scores)
    items = [{"item": i, "score": s} for i, s in zip(best.items, scores, strict=True)]
    return {"fallback": fallback, "items": items}


def _numbers(scores: np.ndarray[Any, np.dtype[np.float32]]) -> list[float]:
    numbers: list[float] = scores.tolist()
    return numbers
