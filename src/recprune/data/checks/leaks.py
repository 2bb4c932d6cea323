"""Columns that know the label too well to be known before it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data.checks.scores import additive, log_odds, value_codes
from recprune.data.checks.sheet import Sheet
from recprune.data.personal import words_of
from recprune.data.quality import Finding
from recprune.metrics import auc

__all__ = ["leak_suspects", "single_column_auc"]

#: Alone as good as this, a column all but states the label.
STATES = 0.9
#: A column below this AUC says too little by itself to be a suspect.
STRONG = 0.75
#: Standard errors by which a column's AUC must be above that level.
ERRORS = 1.645
#: Columns whose scores correlate so much are one column twice, and do not stand in for each other.
SAME = 0.95
#: Rows of each class that an AUC needs to say anything.
LEAST = 30
#: The best columns, which stand for all others together: more would cost time and add little.
OTHERS = 60
#: From this rate on, at the lower end of its interval, a value settles the label, unless most rows
#: are positive anyway.
CERTAIN, ANYWAY = 0.9, 0.75
#: Words for what a user does in answer to a recommendation, thus after it or with it.
LATER = frozenset(
    {
        "bought",
        "buy",
        "buys",
        "canceled",
        "cancelled",
        "checkout",
        "click",
        "clicked",
        "clicks",
        "conversion",
        "conversions",
        "converted",
        "delivered",
        "order",
        "ordered",
        "orders",
        "paid",
        "payment",
        "purchase",
        "purchased",
        "purchases",
        "refund",
        "refunded",
        "returned",
        "revenue",
        "sale",
        "sales",
        "shipped",
        "sold",
        "spend",
        "spent",
        "transaction",
        "transactions",
        "visit",
        "visited",
    }
)


@dataclass(frozen=True, eq=False)
class _Halves:
    """Every field as a score learned on one half of the rows, for each of the two halves.

    Args:
        names: the fields.
        label: 0 or 1, shape ``(n,)``.
        half: 0 or 1, shape ``(n,)``.
        scores: of all rows, learned on half 0 and on half 1, each of shape ``(n, n_fields)``.
    """

    names: list[str]
    label: NDArray[np.float64]
    half: NDArray[np.int64]
    scores: tuple[NDArray[np.float32], NDArray[np.float32]]

    def alone(self) -> dict[str, float]:
        """Return field → AUC on the rows that did not teach its score."""
        return {n: self._mean([x[:, i] for x in self.scores]) for i, n in enumerate(self.names)}

    def together(self, names: list[str]) -> float:
        """Return the same of an additive model of several fields; 0.5 of none."""
        if not names:
            return 0.5
        at = [self.names.index(n) for n in names]
        return self._mean(
            [additive(x[:, at], self.label, self.half == h) for h, x in enumerate(self.scores)]
        )

    def alike(self, name: str) -> set[str]:
        """Return the fields whose scores are nearly those of ``name``, itself among them."""
        centred = self.scores[0] - self.scores[0].mean(axis=0)
        own = centred[:, self.names.index(name)]
        size = np.sqrt((centred**2).sum(axis=0) * (own**2).sum())
        close = centred.T @ own > SAME * np.where(size > 0, size, np.inf)
        return {n for n, c in zip(self.names, close, strict=True) if c} | {name}

    def error(self, area: float) -> float:
        """Return the standard error of an AUC (Hanley and McNeil 1982, eq. 1 and 2)."""
        ones = self.label.sum()
        zeros = len(self.label) - ones
        q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
        spread = (ones - 1) * (q1 - area**2) + (zeros - 1) * (q2 - area**2)
        return float(np.sqrt((area * (1 - area) + spread) / (ones * zeros)))

    def _mean(self, by_half: Iterable[NDArray[np.floating]]) -> float:
        label = self.label.astype(np.float32)
        held = [self.half != h for h in (0, 1)]
        return float(np.mean([auc(label[m], s[m]) for m, s in zip(held, by_half, strict=True)]))


def single_column_auc(sheet: Sheet) -> dict[str, float]:
    """Return how well each field alone predicts the label: field → AUC on held-out rows.

    A value's score is its smoothed log-odds on one half of the rows (numbers in 32 bins), its AUC
    that on the other half; the mean of both ways round. Rows that test are left out, and 50,000
    others are enough (fewer of tables with more than 400 columns). Empty where the label has fewer than 30 rows of a class.
    """
    halves = _halves(sheet)
    return {} if halves is None else halves.alone()


def leak_suspects(sheet: Sheet) -> tuple[Finding, ...]:
    """Report fields that look as if they were known only after the label; ``value`` = their AUC.

    A field is suspect if, on held-out rows,

    1. its AUC alone is above 0.9; or
    2. its AUC is above 0.75, and it alone ranks the rows at least as well as *all other fields
       together* do in an additive model (the 60 best of them): honest tables spread what they know
       over many columns. The rule is applied again without the suspects found, so that one leak
       does not hide another, and copies count as one; or
    3. its name is that of an event after a recommendation (*click*, *spend*, *order*) and one of
       its values settles the label: at least 90 % positive at the lower end of Wilson's interval,
       and at most 75 % of all rows are.

    Above means: by 1.6 standard errors (Hanley and McNeil 1982). Only a person can tell whether it
    is a leak, so a suspect is a warning and is used.
    """
    halves = _halves(sheet)
    if halves is None:
        return ()
    alone = halves.alone()
    sure = {name: area - ERRORS * halves.error(area) for name, area in alone.items()}
    found = {
        name: f"alone it has AUC {alone[name]:.3f}" for name in halves.names if sure[name] > STATES
    }
    rest = sorted((n for n in halves.names if n not in found), key=lambda n: -alone[n])
    while rest and sure[rest[0]] > STRONG:
        alike = halves.alike(rest[0]) & set(rest)
        others = [n for n in rest if n not in alike]
        together = halves.together(others[:OTHERS])
        if not others or alone[rest[0]] < together:
            break
        for twin in alike:
            found[twin] = f"alone it has AUC {alone[twin]:.3f}, all others together {together:.3f}"
        rest = others
    for name in (n for n in rest if LATER & words_of(n)):
        if (settled := _settles(sheet, name)) > 0:
            found[name] = f"it is named as a later event, and in {settled:,} rows settles the label"
    return tuple(_suspect(name, why, alone[name], len(sheet.frame)) for name, why in found.items())


def _suspect(name: str, why: str, value: float, rows: int) -> Finding:
    action = f"used as it is; leave it out with --drop {name!r} if it is known only after the label"
    message = f"{name!r} may be known only after the label: {why}."
    return Finding("leak_suspect", name, "warning", rows, action, message, value)


def _halves(sheet: Sheet) -> _Halves | None:
    names = sheet.fields
    if sheet.label is None or not names:
        return None
    frame, label = sheet.taught
    if not len(label) or min(label.sum(), len(label) - label.sum()) < LEAST:
        return None
    draw = stream(0, "check", "halves")
    half = np.empty(len(label), np.int64)
    for value in (0, 1):  # as many positives in either half
        at = draw.permutation(np.flatnonzero(label == value))
        half[at] = np.arange(len(at)) % 2
    scores = [np.empty((len(label), len(names)), np.float32) for _ in (0, 1)]
    for i, name in enumerate(names):
        codes = value_codes(frame[name], sheet.kinds[name] == "numeric")
        for h in (0, 1):
            scores[h][:, i] = log_odds(codes, label, half == h)
    return _Halves(names, label, half, (scores[0], scores[1]))


def _settles(sheet: Sheet, name: str) -> int:
    """Return the rows of values (of numbers: above 0 or not) that are positive almost surely."""
    frame, label = sheet.taught
    series = frame[name]
    if sheet.kinds[name] == "numeric" and sheet.distinct[name] > 2:
        series = series > 0
    table = pl.DataFrame({"value": series, "label": label}).drop_nulls("value")
    rate = table.group_by("value").agg(n=pl.len(), ones=pl.col("label").sum())
    n, p = rate["n"].to_numpy().astype(float), rate["ones"].to_numpy() / rate["n"].to_numpy()
    z = 1.96
    low = (p + z**2 / (2 * n) - z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))) / (1 + z**2 / n)
    return int(n[low >= CERTAIN].sum()) if label.mean() <= ANYWAY else 0
