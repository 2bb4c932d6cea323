"""Users and items: sources, catalogue order, what is known before the test, and no more."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from recprune.catalogue import Catalogue
from recprune.data import Dataset
from recprune.data.personal import guess_sensitive
from recprune.errors import DataError
from recprune.schema import Field, Schema
from recprune.texts import text
from tests.data.test_split import interactions

ROLES = {"label": "bought", "user": "user", "item": "item", "time": "day"}


def test_sources_are_read_from_the_rows() -> None:
    data = Dataset.from_frame(interactions(), **ROLES)  # type: ignore[arg-type]
    sources = {f.name: (f.source, f.sensitive) for f in data.schema.fields}
    assert sources == {
        "user": ("user", False),
        "item": ("item", False),
        "age": ("user", True),
        "kind": ("item", False),
        "price": ("item", False),
        "hour": ("context", False),
        "row": ("context", False),
    }
    assert data.sensitive == ("age",)
    assert data.schema["item"].kind == data.schema["user"].kind == "categorical"


def test_a_table_with_one_row_a_user_has_user_attributes_and_no_id_field() -> None:
    table = interactions().drop("item").with_columns(user=pl.Series(np.arange(3000)))
    data = Dataset.from_frame(table, label="bought", user="user")
    assert {f.source for f in data.schema.fields} == {"user"}
    assert "user" not in data.schema.names
    assert [f.kind for f in data.findings] == ["rare ids", "sensitive_guess"]
    split = data.split()
    assert split.items is None
    assert split.users is not None
    assert split.test.users is not None
    assert split.test.items is None


def test_item_columns_are_told_even_where_users_come_once() -> None:
    table = interactions().with_columns(user=pl.Series(np.arange(3000)))
    data = Dataset.from_frame(table, label="bought", user="user", item="item")
    assert data.schema["kind"].source == "item"
    assert data.schema["hour"].source == "user"


def test_the_catalogue_is_sorted_by_id_with_first_values() -> None:
    table = interactions()
    split = Dataset.from_frame(table, **ROLES).split()  # type: ignore[arg-type]
    assert split.items is not None
    assert split.items["item"].to_list() == sorted(set(table["item"]))
    assert set(split.items.columns) == {"item", "kind", "price"}
    for part in (split.train, split.gate, split.test):
        assert part.items is not None
        assert split.items["item"][part.items].to_list() == part.columns["item"].to_list()
        assert split.items["price"][part.items].to_list() == part.columns["price"].to_list()
    ids = [text(i) for i in split.items["item"]]
    columns = {n: split.items[n].to_list() for n in split.items.columns}
    assert len(Catalogue.build(split.encoder, columns, ids)) == len(split.items)


def test_users_are_as_of_the_test() -> None:
    table = interactions()
    split = Dataset.from_frame(table, **ROLES).split()  # type: ignore[arg-type]
    users = split.users
    assert users is not None
    assert users.seen is not None
    assert split.test.users is not None
    assert [users.ids[u] for u in split.test.users] == [str(u) for u in split.test.columns["user"]]
    first = table.filter(pl.col("row").is_in(split.test.columns["row"].implode()))["day"].min()
    assert first is not None
    cut = int(pl.concat([split.valid.columns, split.train.columns]).height)
    known = table.sort("day", maintain_order=True).head(cut)
    for user in (0, 3, 77):
        own = known.filter(pl.col("user") == user)
        record = users.record(user)
        assert record is not None
        assert record["hour"] == own["hour"][-1]
        assert record["age"] == own["age"][-1]
        positives = own.filter(pl.col("bought") == 1)["item"].unique().sort().to_list()
        seen = users.seen.of_user(users.index(user) or 0)
        assert [users.seen.items[i] for i in seen] == positives
    changed = table.with_columns(hour=pl.when(pl.col("day") > 90).then(99).otherwise("hour"))
    other = Dataset.from_frame(changed, **ROLES).split().users  # type: ignore[arg-type]
    assert other is not None
    assert np.array_equal(other.columns["hour"], users.columns["hour"])


def test_a_user_of_the_test_alone_has_attributes_and_no_past() -> None:
    table = interactions()
    new = (
        table.sort("day")
        .tail(3)
        .with_columns(user=pl.lit(9999, pl.Int64), age=pl.lit(33, pl.Int64))
    )
    split = Dataset.from_frame(pl.concat([table, new]), **ROLES).split()  # type: ignore[arg-type]
    assert split.users is not None
    assert split.users.seen is not None
    record = split.users.record(9999)
    assert record is not None
    assert record["age"] == 33
    assert len(split.users.seen.of_user(split.users.index(9999) or 0)) == 0


def test_seen_items_are_left_out_only_where_nobody_comes_back() -> None:
    table = interactions()
    assert not Dataset.from_frame(table, **ROLES).split().exclude_seen  # type: ignore[arg-type]
    once = table.unique(["user", "item"], keep="first", maintain_order=True)
    assert Dataset.from_frame(once, **ROLES).split().exclude_seen  # type: ignore[arg-type]


def test_cross_fields_of_a_table() -> None:
    table = interactions().with_columns(
        times=(pl.col("user") * 7 + pl.col("kind").str.slice(1).cast(pl.Int64)) % 11
    )
    schema = {"fields": {"times": {"by": "kind"}}}
    split = Dataset.from_frame(table, schema=schema, **ROLES).split()  # type: ignore[arg-type]
    assert split.schema["times"] == Field("times", "numeric", "cross", by="kind")
    assert split.users is not None
    cross = split.users.cross["kind"]
    assert cross.values == tuple(f"k{i}" for i in range(7))
    for user in (0, 5):
        keys, numbers = cross.of_user(split.users.index(user) or 0)
        assert numbers["times"].tolist() == [(user * 7 + k) % 11 for k in keys.tolist()]
    schema = {"fields": {"times": {"by": "brand"}}}
    with pytest.raises(DataError, match="indexed by 'brand'"):
        Dataset.from_frame(table, schema=schema, **ROLES)  # type: ignore[arg-type]


def test_float_ids_of_pandas_read_as_whole_numbers() -> None:
    table = interactions().to_pandas()
    table["user"] = table["user"].astype(float)
    table.loc[0, "user"] = None
    split = Dataset.from_frame(table, **ROLES).split()  # type: ignore[arg-type]
    assert split.users is not None
    assert split.users.ids[:2] == ("0", "1")


@pytest.mark.parametrize(
    "name", ["age", "Gender", "maritalStatus", "birth_date", "annual-income", "SEX"]
)
def test_personal_attributes_are_guessed(name: str) -> None:
    assert guess_sensitive(name)


@pytest.mark.parametrize("name", ["page", "Essex", "package_size", "education", "usage", "image"])
def test_other_names_are_not(name: str) -> None:
    assert not guess_sensitive(name)


def test_given_splits_are_checked() -> None:
    schema = Schema((Field("x", "numeric"),), label="y", user="u", item="i")
    rows = pl.DataFrame(
        {"x": range(20), "y": [0, 1] * 10, "u": [i // 2 for i in range(20)], "i": [1] * 20}
    )
    items = pl.DataFrame({"i": [1, 2]})
    data = Dataset.from_splits(rows, rows, rows, schema=schema, items=items)
    assert data.test.items is not None
    assert data.test.items.tolist() == [0] * 20
    assert data.split_by == "given"
    with pytest.raises(DataError, match="needs the whole table"):
        data.split()
    with pytest.raises(DataError, match="valid rows have no column 'x'"):
        Dataset.from_splits(rows, rows.drop("x"), rows, schema=schema)
    with pytest.raises(DataError, match="test rows hold i 3, which is not listed"):
        Dataset.from_splits(rows, rows, rows.with_columns(i=pl.lit(3)), schema=schema, items=items)
