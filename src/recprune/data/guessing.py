"""Which column is the label, the user, the item and the time: a guess, each with its reason.

A guess is made where name and content agree and no other column fits as well. Otherwise there is
none, and the columns that may be meant are listed: a wrong role spoils a model in silence, a missing
one is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from recprune.data.disk_frame import Frame
from recprune.data.frames import comparable
from recprune.data.infer import dates_of, numbers_of, typed
from recprune.data.labels import read_label
from recprune.data.roles import guess_sources
from recprune.data.spec import Spec
from recprune.errors import DataError

__all__ = ["Guess", "Role", "guess_roles"]

Role = Literal["label", "user", "item", "time"]

LABELS = frozenset(
    [
        "label",
        "target",
        "y",
        "click",
        "clicked",
        "purchase",
        "purchased",
        "bought",
        "buy",
        "conversion",
        "converted",
        "convert",
        "response",
        "responded",
        "subscribed",
        "installed",
        "accepted",
        "liked",
        "revenue",
        "outcome",
        "churn",
        "churned",
        "visit",
        "visited",
    ]
)
RATINGS = frozenset({"rating", "ratings", "stars", "star rating", "overall", "user rating"})
#: Owners of ids, whatever else the name says of the id; and those that need a word that says "id".
USERS = frozenset({"user", "customer", "visitor", "household", "shopper", "member", "client"})
USER_IDS = frozenset({"u", "account", "person", "reviewer", "subscriber", "session", "buyer"})
ITEMS = frozenset({"item", "product", "article", "sku", "asin", "isbn"})
ITEM_IDS = frozenset(
    [
        "i",
        "stock",
        "movie",
        "book",
        "song",
        "track",
        "artist",
        "album",
        "video",
        "news",
        "ad",
        "offer",
        "coupon",
        "listing",
        "business",
        "recipe",
        "hotel",
        "restaurant",
        "game",
        "app",
        "parent",
    ]
)
ID_WORDS = frozenset({"id", "ids", "no", "nr", "num", "number", "code", "key", "hash", "idx"})
#: Words that a lower-case name may run together with "id".
OWNERS = USERS | USER_IDS | ITEMS | ITEM_IDS
TIMES = frozenset({"timestamp", "time", "datetime", "date", "ts", "at", "when"})
STEPS = frozenset({"week", "day", "month", "step", "period", "hour", "year", "quarter"})
#: Dates of someone's life, and not of a row.
LIVES = frozenset({"birth", "birthday", "dob", "born", "joined", "signup", "registered", "release"})

#: Rows that rule a column out before all are read.
SAMPLE = 10_000
#: Share of missing values, and of different ones, from which on ids are none of users or items.
MISSING, DISTINCT = 0.5, 0.95
#: Fewest values of a rating, and most; and the share of its range from which on it is a 1.
FEWEST, MOST, HIGH = 4, 21, 0.75
#: Seconds since 1970 from 1989 to 2039; also in thousandths and millionths.
EPOCH = (6e8, 2.2e9)


@dataclass(frozen=True)
class Guess:
    """What was guessed for a role.

    Args:
        column: the column; None = none is sure.
        reason: why it is taken, or why none is.
        candidates: further columns that may be meant, each with what speaks for or against it.
        threshold: of ratings, from which value up the label is 1; None = it has two values.
        negatives: whether the rows look like a log of what users took, without a label.
        stated: it was said, not guessed.
    """

    column: str | None
    reason: str
    candidates: tuple[tuple[str, str], ...] = ()
    threshold: float | None = None
    negatives: bool = False
    stated: bool = False


def guess_roles(frame: Frame, spec: Spec, from_text: bool = False) -> dict[Role, Guess]:
    """Guess the roles of a table's columns that were not stated.

    Args:
        frame: its columns.
        spec: what was stated: these roles stay, and dropped columns have none.
        from_text: all columns are text from a file, whose types are still to be read.

    Raises:
        DataError: a stated column does not exist.

    >>> rows = {"uid": [1, 2, 3] * 20, "at": ["2024-01-02", "2024-01-03"] * 30, "clicked": [0, 1] * 30}
    >>> found = guess_roles(pl.DataFrame(rows), Spec())
    >>> [found[role].column for role in ("label", "user", "item", "time")]
    ['clicked', 'uid', None, 'at']
    """
    spec.check(frame.columns, needs_label=False)
    taken = {c for c in (spec.label, spec.user, spec.item, spec.time, spec.weight) if c}
    free = [c for c in spec.used(frame.columns) if c not in taken | set(spec.other_labels)]
    look = _Look(frame, free, from_text)
    found: dict[Role, Guess] = {}
    for role, strong, weak in (("user", USERS, USER_IDS), ("item", ITEMS, ITEM_IDS)):
        stated = getattr(spec, role)
        found[role] = _said(stated) if stated else _id(look, strong, weak)  # type: ignore[index]
    user, item = found["user"].column, found["item"].column
    look = _Look(frame, [c for c in free if c not in (user, item)], from_text)
    found["time"] = _said(spec.time) if spec.time else _time(look, user, item)
    if spec.label or spec.labels.negatives is not None:
        found["label"] = _said(spec.label)
    else:
        look.names = [c for c in look.names if c != found["time"].column]
        found["label"] = _label(look, user, item)
    return found


class _Look:
    """Columns, read when they are looked at: a few rows first."""

    def __init__(self, frame: Frame, names: Sequence[str], from_text: bool) -> None:
        self.frame, self.names, self.from_text = frame, list(names), from_text

    def some(self, name: str) -> pl.Series:
        return self._read(self.frame[name].head(SAMPLE))

    def whole(self, name: str) -> pl.Series:
        return self._read(self.frame[name])

    def _read(self, series: pl.Series) -> pl.Series:
        """Return values as reading a table takes them: NaN and "" are missing."""
        series = comparable(series)
        if series.dtype.is_float():
            return series.fill_nan(None)
        if series.dtype != pl.String:
            return series
        series = series.set(series == "", None)
        return typed(series) if self.from_text else series


def _said(column: str | None) -> Guess:
    if column is None:
        return Guess(None, "stated: negatives are drawn, and every row is a 1", stated=True)
    return Guess(column, "stated", stated=True)


def _id(look: _Look, strong: frozenset[str], weak: frozenset[str]) -> Guess:
    """Choose ids by their names; the values may rule them out."""
    graded: dict[int, list[str]] = {2: [], 1: []}
    for name in look.names:
        base, has_id = _owner(name)
        if base in strong or (base in weak and has_id):
            graded[2 if has_id else 1].append(name)
    # A column called product_id is the id, and one called product beside it the product's name.
    named, others = (graded[2], graded[1]) if graded[2] else (graded[1], [])
    told = [(name, _not_an_id(look.whole(name))) for name in named]
    fit = [name for name, against in told if against is None]
    rest = tuple((n, against) for n, against in told if against is not None)
    rest += tuple((n, "its name fits less well") for n in others)
    if len(fit) == 1:
        return Guess(fit[0], f"its name; {_counts(look.whole(fit[0]))}", rest)
    if fit:
        many = tuple((n, f"its name; {_counts(look.whole(n))}") for n in fit)
        return Guess(None, "several columns fit as well", (*many, *rest))
    return Guess(None, "no column has such a name and such values", rest)


def _not_an_id(series: pl.Series) -> str | None:
    """Return what speaks against ids that come again; None = nothing."""
    n, distinct = len(series) - series.null_count(), series.drop_nulls().n_unique()
    if n < (1 - MISSING) * len(series) or not n:
        return f"{series.null_count():,} of {len(series):,} rows have no value"
    if distinct <= 2:
        return f"it has {_values(distinct)} only"
    if series.dtype.is_float() and not (series.drop_nulls() % 1 == 0).all():
        return "its values are numbers with fractions"
    if series.dtype.is_temporal() or series.dtype == pl.Boolean:
        return f"its values are {series.dtype}"
    if distinct > DISTINCT * n:
        return "nearly every row has a value of its own, so that none comes again"
    return None


def _counts(series: pl.Series) -> str:
    distinct, missing = series.drop_nulls().n_unique(), series.null_count()
    told = f"{_values(distinct)} in {len(series):,} rows"
    return f"{told}, {missing:,} of them without one: run leaves those out" if missing else told


def _values(n: int) -> str:
    return f"{n:,} value{'s' * (n != 1)}"


def _time(look: _Look, user: str | None, item: str | None) -> Guess:
    """Choose the dates, or seconds since 1970, of rows."""
    dates = [(n, what) for n in look.names if (what := _dated(n, look.some(n)))]
    dates = [(n, what) for n, what in dates if _dated(n, look.whole(n))]
    sources = guess_sources(look.frame, [n for n, _ in dates], user, item)
    own, others = [], []
    for name, what in dates:
        if set(_words(name)) & LIVES:
            others.append((name, f"{what}, but by its name not of the row"))
        elif sources[name] != "context":
            others.append((name, f"{what}, but each {sources[name]} has one alone"))
        else:
            own.append((name, what))
    named = [each for each in own if set(_words(each[0])) & TIMES]
    exact = [each for each in named if _plain(each[0]) in TIMES]
    for best in (exact, named, own):
        if len(best) == 1:
            beside = tuple(each for each in own if each != best[0])
            return Guess(best[0][0], best[0][1], (*beside, *others))
        if best:
            break
    if own:
        return Guess(None, "several columns fit as well", (*own, *others))
    numbers = [n for n in look.names if set(_words(n)) & STEPS and _counting(look.some(n))]
    others += [(n, "numbers that may count on, or begin again each month") for n in numbers]
    return Guess(None, "no column holds the dates of rows", tuple(others))


def _dated(name: str, series: pl.Series) -> str | None:
    """Return which times a column holds; None = none."""
    known = series.drop_nulls()
    if not len(known) or known.n_unique() < 2:
        return None
    if known.dtype in (pl.Date, pl.Datetime):
        return "dates"
    if known.dtype == pl.String:
        return "dates" if dates_of(known) is not None else None
    if known.dtype.is_numeric() and set(_words(name)) & TIMES:
        for unit, scale in (("seconds", 1.0), ("milliseconds", 1e3), ("microseconds", 1e6)):
            low, high = (bound * scale for bound in EPOCH)
            if bool(known.is_between(low, high).all()):
                return f"{unit} since 1970, by its name and size"
    return None


def _counting(series: pl.Series) -> bool:
    return series.dtype.is_integer() and series.drop_nulls().n_unique() > 2


def _label(look: _Look, user: str | None, item: str | None) -> Guess:
    """Choose what has two values, or ratings, by its name; or say that every row is a 1."""
    named: list[tuple[str, str]] = []
    unnamed: list[tuple[str, str]] = []
    ratings: list[str] = []
    for name in look.names:
        if _rated(name, look):
            ratings.append(name)
        elif (told := _two(look, name)) is not None:
            (named if _plain(name) in LABELS else unnamed).append((name, told))
    ready = [each for each in named if each[1].startswith("0 and 1")]
    if len(ready) == 1 and not ratings:
        beside = tuple(each for each in named if each != ready[0])
        return Guess(ready[0][0], f"its name; {ready[0][1]}", beside)
    if len(ratings) == 1 and not named:
        return _rating(ratings[0], look.whole(ratings[0]))
    rated = tuple((n, "a rating, by its name and values; needs label_threshold") for n in ratings)
    if named or ratings:
        several = len(named) + len(ratings) > 1
        why = "several columns may be" if several else "its values are not 0 and 1"
        return Guess(None, why, (*named, *rated))
    if unnamed:
        return Guess(None, "columns of two values, none of them named as a label", tuple(unnamed))
    if user and item:
        return Guess(None, "no column has two values: rows of what users took", negatives=True)
    return Guess(None, "no column has two values")


def _two(look: _Look, name: str) -> str | None:
    """Return what a column's two values are; None = it has more, or one."""
    if look.some(name).drop_nulls().n_unique() > 2:
        return None
    series = look.whole(name)
    if series.drop_nulls().n_unique() != 2 or series.dtype.is_nested():
        return None
    try:
        label, _ = read_label(series)
    except DataError:
        return "two values other than 0 and 1: map them first"
    ones, known = int((label == 1).sum()), int((label >= 0).sum())
    return f"0 and 1 (or a pair such as no/yes), {ones / known:.2%} are 1"


def _rated(name: str, look: _Look) -> bool:
    if _plain(name) not in RATINGS:
        return False
    series = look.whole(name)
    numbers = numbers_of(series) if series.dtype == pl.String else series
    return numbers.dtype.is_numeric() and FEWEST <= numbers.drop_nulls().n_unique() <= MOST


def _rating(name: str, series: pl.Series) -> Guess:
    values = series.drop_nulls().cast(pl.Float64)
    threshold = _threshold(values)
    share = float((values >= threshold).mean())  # type: ignore[arg-type]
    if not 0 < share < 1:
        return Guess(None, "a rating of which no upper part can be told", ((name, "a rating"),))
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
    reason = (
        f"a rating, by its name and values ({low:g} to {high:g}); from "
        f"{threshold:g} up it counts as 1, {share:.1%} of the rows: set the threshold that you mean"
    )
    return Guess(name, reason, threshold=threshold)


def _threshold(values: pl.Series) -> float:
    """Return the first value in the upper quarter of the range.

    >>> _threshold(pl.Series([1.0, 2, 3, 4, 5])), _threshold(pl.Series(range(1, 11)))
    (4.0, 8.0)
    """
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
    return float(values.filter(values >= low + HIGH * (high - low)).min())  # type: ignore[arg-type]


def _words(name: str) -> list[str]:
    """Return a name's words in lower case.

    >>> _words("CustomerID"), _words("user-item_affinity 3"), _words("itemid")
    (['customer', 'id'], ['user', 'item', 'affinity', '3'], ['item', 'id'])
    """
    words = [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]
    out = []
    for word in words:
        stem = word.removesuffix("id")
        out += [stem, "id"] if stem != word and stem in OWNERS else [word]
    return out


def _owner(name: str) -> tuple[str, bool]:
    """Return whose id a column is by its name, and whether the name says that it is an id.

    >>> [_owner(n) for n in ("CustomerID", "StockCode", "product", "user_feature_0")]
    [('customer', True), ('stock', True), ('product', False), ('user feature 0', False)]
    """
    words = _words(name)
    base = " ".join(w for w in words if w not in ID_WORDS)
    return base, len(words) > len(base.split())


def _plain(name: str) -> str:
    """Return a name as a label or a time may be called: without what only says what it is of.

    >>> [_plain(n) for n in ("is_click", "Y", "event_time", " income")]
    ['click', 'y', 'time', 'income']
    """
    return " ".join(w for w in _words(name) if w not in ("is", "has", "was", "event"))
