"""Checks of two columns at a time: the same values, or the same information in other words.

Columns are compared by fingerprints, so that the work grows with their number, not its square.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data.checks.sheet import Sheet
from recprune.data.quality import Finding

__all__ = ["duplicates", "near_duplicates"]

#: From this rank correlation on, two numbers order the rows alike.
SAME_ORDER = 0.999
#: Rows that tell.
SAMPLE = 20_000
#: Codes are compared where they repeat: of two columns of ids, each names the other trivially.
MOST_DISTINCT = 0.5
#: Bits of a fingerprint, and independent fingerprints. Of two columns whose ranks correlate by
#: 0.999, all bits of one agree in four of five; all ten disagree once in ten million pairs.
BITS, PRINTS = 16, 10
#: Columns of one fingerprint that a column is compared with at most.
RIVALS = 20

Ranks = NDArray[np.float32]


def duplicates(sheet: Sheet) -> tuple[Finding, ...]:
    """Report fields that equal an earlier one in every row."""
    return sheet.twins


def near_duplicates(sheet: Sheet) -> tuple[Finding, ...]:
    """Report fields that say the same as an earlier one in other words.

    Two columns are alike if their values map one to one (codes and their names, a flag and its
    opposite), or if both are numbers and Spearman's rank correlation is above 0.999 in size, in at
    most 20,000 rows; ``value`` is that correlation, 1 for a mapping. Equal columns are duplicates
    and not repeated.
    """
    equal = {f.column for f in sheet.twins}
    names = [n for n in sheet.fields if n not in equal]
    found: dict[str, Finding] = {}
    rows = len(sheet.frame)

    def report(name: str, twin: str, how: str, value: float) -> None:
        action = f"kept, though it says the same as {twin!r}; leave one out with --drop"
        message = f"{name!r} and {twin!r} {how}."
        finding = Finding("near_duplicate_column", name, "warning", rows, action, message, value)
        found.setdefault(name, finding)

    for name, twin in _one_to_one(sheet, names):
        report(name, twin, "map one to one: each value of one goes with one of the other", 1.0)
    for name, twin, value in _same_order(sheet, [n for n in names if sheet.kinds[n] == "numeric"]):
        report(name, twin, f"order the rows alike (rank correlation {value:.4f})", value)
    return tuple(found.values())


def _one_to_one(sheet: Sheet, names: list[str]) -> Iterator[tuple[str, str]]:
    """Yield (column, earlier one): both have their values in the same order of first appearance."""
    alike: dict[bytes, list[str]] = defaultdict(list)
    for name in names:
        print_ = _appearance(sheet.some(sheet.frame[name], SAMPLE))
        if print_ is not None:
            alike[print_].append(name)
    for group in alike.values():
        if len(group) < 2:
            continue
        first: dict[bytes, str] = {}
        for name in group:  # some rows agree; now all
            print_ = _appearance(sheet.frame[name])
            if print_ is not None and (twin := first.setdefault(print_, name)) != name:
                yield name, twin


def _appearance(series: pl.Series) -> bytes | None:
    """Return a hash of the values numbered as they first appear; None of one value, or of many."""
    codes = series.rank("dense").fill_null(0).to_numpy().astype(np.int64)
    first = np.full(int(codes.max(initial=0)) + 1, len(codes))
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    if not 2 <= (first < len(codes)).sum() <= MOST_DISTINCT * len(codes):
        return None
    place = np.empty(len(first), np.int32)
    place[np.argsort(first, kind="stable")] = np.arange(len(first))
    return hashlib.sha256(place[codes].tobytes()).digest()


def _same_order(sheet: Sheet, names: list[str]) -> Iterator[tuple[str, str, float]]:
    """Yield (column, earlier one, correlation), by random hyperplanes (Charikar 2002, section 3)."""
    if len(names) < 2 or len(sheet.frame) < 3:
        return
    x = np.stack([_ranks(sheet.some(sheet.frame[n], SAMPLE)) for n in names])
    planes = stream(0, "check", "planes").standard_normal((x.shape[1], BITS * PRINTS), np.float32)
    bits = (x @ planes > 0).reshape(len(names), PRINTS, BITS)
    bits ^= bits[:, :, :1]  # a column and its negative have one fingerprint
    prints = bits @ (1 << np.arange(BITS))
    known: dict[tuple[int, int], list[int]] = defaultdict(list)
    for j, name in enumerate(names):
        keys = [(p, int(value)) for p, value in enumerate(prints[j])]
        rivals = sorted({i for key in keys for i in known[key][-RIVALS:]})
        r = x[rivals] @ x[j]
        best = int(np.argmax(np.abs(r))) if len(r) else 0
        if len(r) and abs(r[best]) > SAME_ORDER:
            yield name, names[rivals[best]], float(r[best])
            continue
        for key in keys:
            known[key].append(j)


def _ranks(series: pl.Series) -> Ranks:
    """Return ranks with mean 0 and length 1; all 0 for a constant."""
    places = series.cast(pl.Float64).rank("average").fill_null(0.0).to_numpy()
    centred = places - places.mean()
    length = np.sqrt((centred**2).sum())
    ranks: Ranks = (centred / (length or 1.0)).astype(np.float32)
    return ranks
