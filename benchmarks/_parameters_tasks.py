"""The sets that parameters are pruned on, with the full model's settings to choose from."""

from __future__ import annotations

import gzip
from functools import cache

import polars as pl

from benchmarks._tasks import ml_100k, pairs_task, published
from recprune.data import Dataset
from recprune.data.datasets import load_demo

__all__ = ["QUICK_SETS", "SETS", "parameters_task"]

SETS = ("ml100k", "online_retail", "book_crossing", "demo")
QUICK_SETS = ("book_crossing",)
#: Of the demo: about 100,000 training rows, with one drawn product for each bought one.
HOUSEHOLDS = 880
#: One in so many ratings of books in a quick run.
THINNED = 12
#: A book that readers gave so many of ten points is liked.
LIKED = 8
#: Columns of a book from the left and, since tabs lie in titles, from the right.
BOOK, AUTHOR, YEAR, PUBLISHER = 0, -7, -6, -5


@cache
def parameters_task(name: str, quick: bool = False) -> Dataset:
    """Return a set that is split; a part of the rows of :data:`QUICK_SETS` in a quick run.

    ``online_retail`` and ``demo`` are split by time. ``ml100k`` and ``book_crossing`` are split at
    random, as where their pruning is published: the latter has no times, and of the former's last
    15,000 ratings hardly any is by a user of the others, so that nothing below .007 could be told.
    """
    if name == "online_retail":
        return pairs_task(name)
    if name == "demo":
        return load_demo(HOUSEHOLDS, seed=0, negatives=1)
    data = ml_100k() if name == "ml100k" else _book_crossing(THINNED if quick else 1)
    return data.split(by="random", valid=0.15, test=0.2, seed=0)


def _book_crossing(every: int) -> Dataset:
    """Ratings of books, one in so many: did the reader like it?"""
    folder = published("book_crossing").parent
    ratings, users = (
        pl.read_csv(folder / f"{name}.tsv.gz", separator="\t")
        for name in ("book_ratings", "users_info")
    )
    with gzip.open(folder / "items_info.tsv.gz", "rt", encoding="utf-8", errors="replace") as file:
        next(file)
        lines = [line.rstrip("\n").split("\t") for line in file]
    # Most lines end in a tab; the others have one column less to the right.
    books = [line if not line[-1] else [*line, ""] for line in lines]
    items = pl.DataFrame(
        {
            "item": [int(book[BOOK]) for book in books],
            "author": [book[AUTHOR] or None for book in books],
            "year": pl.Series([book[YEAR] for book in books]).cast(pl.Int32, strict=False),
            "publisher": [book[PUBLISHER] or None for book in books],
        }
    )
    users = users.select(
        pl.col("User-ID").alias("user"), pl.col("Age").cast(pl.Float64, strict=False).alias("age")
    )
    frame = (
        ratings.select("user", "item", (pl.col("rating") >= LIKED).cast(pl.Int8).alias("liked"))
        .join(users, on="user", how="left", maintain_order="left")
        .join(items, on="item", how="left", maintain_order="left")
        # No year is written as 0.
        .with_columns(pl.when(pl.col("year") > 0).then(pl.col("year")).alias("year"))
    )
    return Dataset.from_frame(frame.gather_every(every), label="liked", user="user", item="item")
