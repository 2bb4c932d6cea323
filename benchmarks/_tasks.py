"""The tables that rankers are compared on, as data sets that are split already."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks._common import ROOT
from recprune._support import stream
from recprune.data import Dataset
from recprune.data.history import History, cross_fields
from recprune.data.negatives import Negatives, popularity_of, sample_negatives
from recprune.schema import Field, Schema

__all__ = [
    "DATA",
    "PAIRS",
    "TABULAR",
    "look_for",
    "ml_100k",
    "pairs_task",
    "published",
    "read_tabular",
    "tabular_task",
]

DATA = ROOT.parent / "shared" / "data"
ML_100K = ".venv-recbole/lib/python3*/site-packages/recbole/dataset_example/ml-100k"
PAIRS = ("ml100k", "online_retail")
#: Set → its file, label, and columns to leave out: outcomes, and what is known only afterwards.
TABULAR = {
    "online_shoppers": ("online_shoppers_intention.csv.gz", "Revenue", ()),
    "vehicle_coupon": ("in-vehicle-coupon-recommendation.csv.gz", "Y", ()),
    "bank_marketing": ("bank-full.csv.gz", "y", ("duration",)),
    "hillstrom_email": ("hillstrom.csv.gz", "visit", ("conversion", "spend")),
    "adult_income": ("income_evaluation.csv.gz", "income", ()),
}
#: Set → a file of it as it was published, below :data:`DATA`.
FILES = {
    "online_retail": "online_retail/online_retail.parquet",
    "book_crossing": "book_crossing_subset/book_ratings.tsv.gz",
    **{name: f"{name}/{file}" for name, (file, _, _) in TABULAR.items()},
}

USER, ITEM, LABEL = "CustomerID", "StockCode", "bought"
BY = (ITEM, "noun")
#: The last days of each window of labels: train, valid, test.
ENDS = (datetime(2011, 9, 30), datetime(2011, 11, 4), datetime(2011, 12, 10))
DAYS = 35
SCHEMA = Schema(
    (
        Field(USER, "categorical", "user"),
        Field("Country", "categorical", "user"),
        Field("invoices", "numeric", "user"),
        Field("spend", "numeric", "user"),
        Field("recency", "numeric", "user"),
        Field(ITEM, "categorical", "item"),
        Field("noun", "categorical", "item"),
        Field("price", "numeric", "item"),
        Field("popularity", "numeric", "item"),
        *(field for by in BY for field in cross_fields(by)),
    ),
    label=LABEL,
    user=USER,
    item=ITEM,
)


def published(name: str) -> Path:
    """Return the file of a set that is read from :data:`DATA`.

    Raises:
        SystemExit: it is not there.
    """
    file = DATA / FILES[name]
    if not file.is_file():
        raise SystemExit(
            f"The public data set {name!r} is missing: put its files, {file.name} among them, into the "
            f"folder {file.parent}, or run a benchmark that draws its own rows."
        )
    return file


def look_for(names: Iterable[str]) -> None:
    """Look for sets before anything is measured; others than published ones are there.

    Raises:
        SystemExit: one is missing.
    """
    for name in names:
        if name in FILES:
            published(name)
        elif name == "ml100k":
            _ml_100k_folder()


@cache
def pairs_task(name: str) -> Dataset:
    """Return ``"ml100k"`` or ``"online_retail"``: users and items, split by time."""
    return ml_100k().split(by="time") if name == "ml100k" else _online_retail()


def tabular_task(name: str, seed: int = 0) -> Dataset:
    """Return one of the tabular sets, split at random with equal label rates."""
    frame, label, drop = read_tabular(name)
    data = Dataset.from_frame(frame, label=label, drop=drop)
    return data.split(by="stratified", valid=0.15, test=0.2, seed=seed)


def read_tabular(name: str) -> tuple[pl.DataFrame, str, tuple[str, ...]]:
    """Return a tabular set as it was published, its label, and the columns to leave out."""
    _, label, drop = TABULAR[name]
    frame = pl.read_csv(published(name), infer_schema_length=None)
    frame = frame.rename({c: c.strip() for c in frame.columns})
    frame = frame.with_columns(pl.col(pl.String).str.strip_chars())
    if name == "adult_income":
        frame = frame.with_columns((pl.col(label) == ">50K").cast(pl.Int8))
    return frame, label, drop


def ml_100k() -> Dataset:
    """Ratings of MovieLens 100k, not split: is it at least 4?"""
    schema = {
        "fields": {
            "class": {"kind": "sequence", "separator": " ", "source": "item"},
            "age": {"kind": "numeric", "source": "user"},
            "release_year": {"kind": "numeric", "source": "item"},
        }
    }
    return Dataset.read(
        _ml_100k_folder(),
        label="rating",
        threshold=4,
        user="user_id",
        item="item_id",
        time="timestamp",
        schema=schema,
        drop=["movie_title"],
    )


def _ml_100k_folder() -> Path:
    folder = next(iter(sorted(ROOT.glob(ML_100K))), None)
    if folder is None:
        raise SystemExit(".venv-recbole is missing; make it with: make bench-peers")
    return folder


def _online_retail() -> Dataset:
    """Will a known customer buy this product in the next five weeks?

    Positives are the products that a customer buys in the window; for each, two others are drawn
    by popularity. All columns tell of the time before the window.
    """
    lines = pl.read_parquet(published("online_retail"))
    events = (
        lines.drop_nulls([USER, "Description"])
        .filter(
            pl.col("Quantity") > 0, pl.col("UnitPrice") > 0, pl.col(ITEM).str.contains(r"^\d{5}")
        )
        .select(
            USER,
            ITEM,
            "Country",
            "InvoiceNo",
            "UnitPrice",
            (pl.col("Quantity") * pl.col("UnitPrice")).alias("spend"),
            pl.col("Description").str.strip_chars().str.extract(r"(\S+)$").alias("noun"),
            (pl.col("InvoiceDate").dt.epoch("s") / 86_400).alias("time"),
        )
        .sort(USER, ITEM, "time", "InvoiceNo", "spend")
    )
    # One noun a product, whatever its lines say.
    nouns = events.group_by(ITEM).agg(pl.col("noun").mode().sort().first())
    events = events.drop("noun").join(nouns, on=ITEM).sort(USER, ITEM, "time", "spend")
    history = History(events, USER, "time", BY)
    parts = [_window(events, history, end, seed) for seed, end in enumerate(ENDS)]
    return Dataset.from_splits(*parts, schema=SCHEMA, name="Online Retail")


def _window(events: pl.DataFrame, history: History, end: datetime, seed: int) -> pl.DataFrame:
    """Return one window's pairs with all columns, sorted by customer and product."""
    last = (end - datetime(1970, 1, 1)).days
    first = last - DAYS
    past = events.filter(pl.col("time") < first)
    users = past.group_by(USER).agg(
        pl.col("Country").first(),
        pl.col("InvoiceNo").n_unique().cast(pl.Float64).alias("invoices"),
        (pl.col("spend").sum() / pl.col("InvoiceNo").n_unique()).round(2).alias("spend"),
        (first - pl.col("time").max()).alias("recency"),
    )
    users = users.sort(USER)
    sold = events.filter(pl.col("time") < last).group_by(ITEM, "noun").len().sort(ITEM).drop("len")
    measures = past.group_by(ITEM).agg(
        pl.col("UnitPrice").median().alias("price"),
        pl.col(USER).n_unique().log1p().alias("popularity"),
    )
    items = sold.join(measures, on=ITEM, how="left", maintain_order="left")
    items = items.with_columns(pl.col("popularity").fill_null(0.0))
    bought = events.filter(pl.col("time").is_between(first, last, closed="left"))
    bought = bought.select(USER, ITEM).unique()
    bought = bought.join(users.select(USER).with_row_index("u"), on=USER)
    bought = bought.join(items.select(ITEM).with_row_index("i"), on=ITEM).sort("u", "i")
    u, i = (bought[c].to_numpy().astype(np.int64) for c in ("u", "i"))
    demand = popularity_of(u, i, len(items))
    other = sample_negatives(u, i, demand, Negatives(2), stream(seed, "negatives"))
    u, i = np.concatenate([u, other.users]), np.concatenate([i, other.items])
    label = np.repeat([1, 0], [len(bought), len(other.users)])
    order = np.lexsort((i, u))
    pairs = pl.concat([users[u[order]], items[i[order]]], how="horizontal")
    pairs = pairs.with_columns(pl.Series(LABEL, label[order]))
    return pl.concat([pairs, history.columns(pairs, float(first))], how="horizontal")
