"""One list under several libraries' definitions: the table of docs/metrics.md, recomputed.

The others' columns come from plain re-implementations of their published formulas, so that the
table holds without installing them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from recprune import metrics

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
Hits = Sequence[int]
Definition = Callable[[Hits, int, int], float]


def discounted(places: Sequence[int], weight: Callable[[int], float]) -> float:
    return sum(weight(place) for place in places)


def found(hits: Hits) -> list[int]:
    return [i + 1 for i, hit in enumerate(hits) if hit]


def standard(place: int) -> float:
    return 1 / math.log2(place + 1)


def lenskit(place: int) -> float:
    # The original discount: the first two places count in full.
    return 1 / max(1.0, math.log2(place))


def average(hits: Hits, divisor: float) -> float:
    return sum(sum(hits[:place]) / place for place in found(hits)) / divisor


def ours(name: str) -> Definition:
    return lambda hits, n, k: float(metrics.metric(f"{name}@{k}")([hits], [n])[0])


DEFINITIONS: dict[tuple[str, str], Definition] = {
    **{(name, "recprune"): ours(name) for name in ("ndcg", "recall", "precision", "map")},
    ("ndcg", "LensKit-style"): lambda hits, n, k: (
        discounted(found(hits), lenskit) / discounted(range(1, min(n, k) + 1), lenskit)
    ),
    ("ndcg", "RecTools-style"): lambda hits, n, k: (
        discounted(found(hits), standard) / discounted(range(1, k + 1), standard)
    ),
    ("ndcg", "RecBole-style"): lambda hits, n, k: (
        discounted(found(hits), standard) / discounted(range(1, min(n, k) + 1), standard)
    ),
    ("recall", "LensKit-style"): lambda hits, n, k: sum(hits) / min(n, k),
    ("recall", "RecTools-style"): lambda hits, n, k: sum(hits) / n,
    ("recall", "RecBole-style"): lambda hits, n, k: sum(hits) / n,
    ("precision", "LensKit-style"): lambda hits, n, k: sum(hits) / len(hits),
    ("precision", "RecTools-style"): lambda hits, n, k: sum(hits) / k,
    ("precision", "RecBole-style"): lambda hits, n, k: sum(hits) / k,
    ("map", "LensKit-style"): lambda hits, n, k: average(hits, min(n, len(hits))),
    ("map", "RecTools-style"): lambda hits, n, k: average(hits, n),
    ("map", "RecBole-style"): lambda hits, n, k: average(hits, min(n, k)),
}


def table() -> list[dict[str, str]]:
    """Return the page's rows with a list in their first column, as column → cell."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith("|")
    ]
    heads = next(row for row in rows if "LensKit-style" in row)
    return [
        dict(zip(heads, row, strict=True))
        for row in rows
        if len(row) == len(heads) and re.fullmatch(r"[✓·\s]+", row[0])
    ]


def test_the_page_has_the_table() -> None:
    rows = table()
    assert {row["metric"] for row in rows} == {"NDCG@5", "recall@5", "precision@5", "MAP@5"}
    # The one that the page is about: three numbers for one list.
    first = rows[0]
    assert [first[c] for c in ("LensKit-style", "recprune", "RecTools-style")] == [
        "0.62",
        "0.70",
        "0.51",
    ]


@pytest.mark.parametrize("row", table(), ids=lambda row: f"{row['list']} {row['metric']}")
def test_each_cell_is_what_its_definition_gives(row: dict[str, str]) -> None:
    hits = [int(mark == "✓") for mark in row["list"].split()]
    name, k = row["metric"].lower().split("@")
    for column in ("recprune", "LensKit-style", "RecTools-style", "RecBole-style"):
        if row[column] == "–":
            assert (name, column) not in DEFINITIONS
            continue
        value = DEFINITIONS[name, column](hits, int(row["relevant"]), int(k))
        assert f"{value:.2f}" == row[column], column


def test_the_page_says_what_one_hit_at_the_top_is_worth() -> None:
    value = DEFINITIONS["ndcg", "RecTools-style"]([1, 0, 0, 0, 0], 1, 5)
    assert f"one relevant item at the top is worth {value:.2f}" in PAGE.read_text("utf-8")
    assert DEFINITIONS["ndcg", "recprune"]([1, 0, 0, 0, 0], 1, 5) == 1
