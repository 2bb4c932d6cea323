"""The label as 0 and 1: accepted pairs, thresholds, positives alone, and what to do otherwise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.infer import numbers_of
from recprune.data.negatives import Negatives
from recprune.data.quality import Finding
from recprune.errors import DataError, ParameterError, SchemaError, nearest
from recprune.texts import text

__all__ = ["LabelRule", "check_label", "read_label"]

PLAIN = ("0", "1"), ("false", "true")
PAIRS = (*PLAIN, ("no", "yes"), ("f", "t"), ("n", "y"), ("negative", "positive"))
SHOWN = 5
DRAW = "negatives=Negatives(), or --negatives popularity at the command line"


@dataclass(frozen=True)
class LabelRule:
    """How rows come by their 0 and 1.

    Args:
        column: the source's column; None = there is none, every row is a 1.
        threshold: values of the column from here up are 1, those below 0; None = it has two values.
        negatives: how rows of 0 are drawn, for a log of rows of 1; None = they are in the table.
        negative_rate: share of all rows of 0 that are in the table, in (0, 1]: stated where others
            were dropped upstream, measured on the training rows where they are drawn; None = all.

    Raises:
        ParameterError: ``threshold`` or ``negative_rate`` is out of range.
    """

    column: str | None = None
    threshold: float | None = None
    negatives: Negatives | None = None
    negative_rate: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not (
            _number(self.threshold) and math.isfinite(self.threshold)
        ):
            raise ParameterError.of("threshold", "Dataset", "a finite number", self.threshold)
        if self.negative_rate is not None and not (
            _number(self.negative_rate) and 0 < self.negative_rate <= 1
        ):
            constraint = "a number in (0, 1]"
            raise ParameterError.of("negative_rate", "Dataset", constraint, self.negative_rate)

    @classmethod
    def stated(cls, data: Mapping[str, Any]) -> LabelRule:
        """Read ``label_threshold``, ``negative_rate`` and ``negatives`` of a schema.

        Raises:
            SchemaError: ``negatives`` is no table, or has an unknown key (the nearest is named).
            ParameterError: a value is out of range.
        """
        given, known = data.get("negatives"), Negatives.__dataclass_fields__
        if given is None:
            return cls(None, data.get("label_threshold"), None, data.get("negative_rate"))
        if not isinstance(given, Mapping):
            raise SchemaError(f"'negatives' must be a table of its settings. Got {given!r}.")
        for key in given:
            if key not in known:
                raise SchemaError(f"unknown key {key!r} in 'negatives'.{nearest(key, known)}")
        rate = data.get("negative_rate")
        return cls(None, data.get("label_threshold"), Negatives(**given), rate)

    def check(self, label: str | None, user: str | None, item: str | None) -> None:
        """Refuse roles that leave no way to a label, or no users and items to draw from.

        Args:
            label, user, item: names of the columns; None = not named.

        Raises:
            DataError: says which to name.
        """
        if label is None and self.negatives is None:
            raise DataError(
                "No label column is named. Name it with label=…, with --label at the command line, "
                "or in schema.toml. If every row is an item that the user took, have the others "
                f"drawn: {DRAW}."
            )
        if label is None and self.threshold is not None:
            raise DataError("A threshold needs the label's column: name it with label=… (--label).")
        if self.negatives is None:
            return
        for role, name in (("user", user), ("item", item)):
            if name is None:
                raise DataError(
                    "Negatives are items that a user did not take, and no column of "
                    f"{role}s is named. Name it with {role}=… (--{role})."
                )
        if self.negative_rate is not None:
            raise DataError(
                "Negatives are drawn (negatives=…), or others were dropped before (negative_rate=…),"
                " not both. Leave one out."
            )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary; ``from_json`` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LabelRule:
        """Build a rule from ``to_json``'s dictionary.

        Raises:
            SchemaError: it holds something else.

        >>> rule = LabelRule("stars", threshold=4)
        >>> LabelRule.from_json(rule.to_json()) == rule
        True
        """
        try:
            negatives = data.get("negatives")
            return cls(**{**data, "negatives": Negatives(**negatives) if negatives else None})
        except (AttributeError, TypeError) as error:
            raise SchemaError(f"The rule of the labels cannot be read: {error}.") from error


def read_label(
    column: pl.Series, rule: LabelRule | None = None
) -> tuple[NDArray[np.float32], list[Finding]]:
    """Return the label as 0, 1 or NaN (missing), shape ``(n,)``, and what was done.

    0/1 and true/false are taken as they are; yes/no, t/f, y/n and positive/negative are mapped
    and reported. Letter case does not matter. With a threshold, numbers from it up are 1.

    Raises:
        DataError: other values (the error says how to map them); text where there is a threshold;
            one class only, or two where negatives are to be drawn.

    >>> label, found = read_label(pl.Series("y", ["no", "Yes", None, "no"]))
    >>> label.tolist(), found[0].action
    ([0.0, 1.0, nan, 0.0], "mapped 'no' to 0 and 'Yes' to 1")
    >>> label, found = read_label(pl.Series("stars", [5, 3, 4]), LabelRule(threshold=4))
    >>> label.tolist(), found[0].action
    ([1.0, 0.0, 1.0], 'read as 1 from 4 up (2 rows), as 0 below (1 row)')
    """
    rule = rule or LabelRule()
    if rule.threshold is None:
        label, found = _from_pair(column)
    else:
        label, found = _from_numbers(column, float(rule.threshold))
    check_label(column.name, label, rule)
    missing = int(np.isnan(label).sum())
    if missing:
        found.append(Finding("missing label", column.name, "warning", missing, "dropped the rows"))
    return label, found


def check_label(name: str, label: NDArray[np.float32], rule: LabelRule) -> None:
    """Refuse a label of one class, or of two where negatives are to be drawn.

    Args:
        name: of the label.
        label: 0, 1 or NaN (missing), shape ``(n,)``.
        rule: how rows come by their label.

    Raises:
        DataError: says the ways out.
    """
    ones, zeros = int((label == 1).sum()), int((label == 0).sum())
    if ones and zeros and rule.negatives is not None:
        raise DataError(
            f"Label {name!r} has both classes ({_rows(ones)} of 1, {zeros} of 0): a log of what was "
            "shown is used as it is, and no negatives are drawn for it. Leave out negatives=… "
            "(--negatives), or keep the rows of 1 alone."
        )
    if not zeros and ones and rule.negatives is None:
        raise DataError(
            f"Label {name!r} has one class only: {_rows(ones)}, all 1. Ranking needs rows of both "
            "classes. Name another column as the label; or, if every row is an item that the user "
            f"took, have the others drawn: {DRAW}."
        )
    if not ones:
        raise DataError(
            f"Label {name!r} has one class only: {_rows(zeros)}, all 0. Ranking needs rows of both "
            "classes. Name another column as the label, or a lower threshold."
        )


def _from_pair(column: pl.Series) -> tuple[NDArray[np.float32], list[Finding]]:
    name = column.name
    distinct = column.drop_nulls().unique(maintain_order=True).head(10_000)
    words = {raw: (text(raw) or "").strip().casefold() for raw in distinct.to_list()}
    words = {raw: _whole(word) for raw, word in words.items() if word}
    if not words:
        raise _no_value(name)
    pair = next((p for p in PAIRS if set(words.values()) <= set(p)), None)
    if pair is None:
        shown = ", ".join(repr(text(raw)) for raw in sorted(words, key=str)[:SHOWN])
        more = ", …" if len(words) > SHOWN else ""
        raise DataError(
            f"Label {name!r} must be 0 or 1 (or a pair such as no/yes); it has "
            f"{len(words)} values: {shown}{more}. {_recipe(name, distinct)}"
        )
    found = []
    if pair not in PLAIN and len(set(words.values())) == 2:
        spelt = [next(str(r) for r, w in words.items() if w == p) for p in pair]
        action = f"mapped {spelt[0]!r} to 0 and {spelt[1]!r} to 1"
        found.append(Finding("label", name, "info", len(column) - column.null_count(), action))
    keys = pl.Series(list(words), dtype=column.dtype)
    values = pl.Series([float(w == pair[1]) for w in words.values()], dtype=pl.Float32)
    mapped = column.replace_strict(keys, values, default=None, return_dtype=pl.Float32)
    return mapped.to_numpy().astype(np.float32), found


def _from_numbers(column: pl.Series, threshold: float) -> tuple[NDArray[np.float32], list[Finding]]:
    name = column.name
    if column.null_count() == len(column):
        raise _no_value(name)
    numbers = numbers_of(column) if column.dtype == pl.String else column
    stray = numbers.is_null() & column.is_not_null()
    if not numbers.dtype.is_numeric() or stray.any():
        got = column.filter(stray)[0] if stray.any() else f"a {column.dtype}"
        raise DataError(
            f"Label {name!r} must be a number in every row to be compared with the threshold "
            f"{threshold:g}. Got {got!r}. Leave out the threshold, or name a column of numbers."
        )
    values = numbers.cast(pl.Float64).to_numpy()
    if np.isnan(values).all():
        raise _no_value(name)
    label = np.where(np.isnan(values), np.nan, values >= threshold).astype(np.float32)
    ones, zeros = int((label == 1).sum()), int((label == 0).sum())
    action = f"read as 1 from {threshold:g} up ({_rows(ones)}), as 0 below ({_rows(zeros)})"
    return label, [Finding("label", name, "info", ones + zeros, action)]


def _whole(word: str) -> str:
    """Read "1.0" as "1": one file's spelling of the same label."""
    return {"0.0": "0", "1.0": "1"}.get(word, word)


def _recipe(name: str, distinct: pl.Series) -> str:
    """Say how other values become a label."""
    numbers = distinct.dtype.is_numeric() or distinct.dtype == pl.String
    if numbers and distinct.cast(pl.Float64, strict=False).is_not_null().all():
        middle = f"{np.median(distinct.cast(pl.Float64).to_numpy()):g}"
        return (
            f"For ratings, state from which value on a row is a 1: threshold={middle}, or "
            f"--label-threshold {middle} at the command line. Otherwise map it to a column of 0 and "
            f'1 first, for example df["label"] = df[{name!r}] >= {middle}.'
        )
    if len(distinct) == 1:
        return f"If every row is a positive, leave the label out and have the others drawn: {DRAW}."
    rows = f'df["label"] = df[{name!r}] == {str(distinct.sort()[-1])!r}'
    return (
        f"Map it to a column of 0 and 1 first, for example {rows}, and name that column as the "
        "label."
    )


def _no_value(name: str) -> DataError:
    return DataError(f"Label {name!r} has no value at all. Name another column as the label.")


def _number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _rows(n: int) -> str:
    return f"{n} row{'s' * (n != 1)}"
