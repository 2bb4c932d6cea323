"""What the caller states: schemas, roles, parts that are split already; and copies of columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset, read_spec
from recprune.errors import DataError, SchemaError
from recprune.schema import Field, Schema
from recprune.users import Users
from tests.data.test_split import interactions

ROLES = {"label": "bought", "user": "user", "item": "item", "time": "day"}
SCHEMA = Schema(
    (Field("age", "numeric", "user"), Field("kind", "categorical", "item")),
    label="bought",
    user="user",
    item="item",
)


def given(**changes: Any) -> Dataset:
    """Three parts of the table, some of them changed."""
    table = interactions()
    parts = {"train": table[:2000], "valid": table[2000:2500], "test": table[2500:]}
    options = {k: changes.pop(k) for k in ("items", "users", "schema") if k in changes}
    parts |= {name: change(parts[name]) for name, change in changes.items()}
    return Dataset.from_splits(**parts, **{"schema": SCHEMA, **options})  # type: ignore[arg-type]


def test_arguments_win_over_the_file_and_drops_add_up(tmp_path: Path) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(
        'label = "hour"\nuser = "user"\ndrop = ["row"]\nmin_count = 30\n'
        "[fields.hour]\nkind = 'categorical'\nsource = 'context'\n"
        "[fields.price]\ncost = 2.5\nsensitive = true\n"
    )
    data = Dataset.from_frame(interactions(), label="bought", schema=path, drop=("day",))
    assert data.schema.label == "bought"
    assert data.schema.user == "user"
    assert set(data.schema.names) == {"user", "item", "age", "kind", "price", "hour"}
    assert data.schema["hour"].kind == "categorical"
    assert (data.schema["price"].cost, data.schema["price"].sensitive) == (2.5, True)
    train = data.split("random").train
    values = train.encoder.parts["item"].values  # type: ignore[union-attr]
    counts = dict(train.columns["item"].value_counts().iter_rows())
    assert set(values) == {v for v, c in counts.items() if c >= 30}


@pytest.mark.parametrize(
    "text, message",
    [
        ("lable = 'y'", "unknown key 'lable'. Did you mean 'label'"),
        ("[fields.age]\nsensitiv = true", "field 'age'.*'sensitiv'. Did you mean 'sensitive'"),
        ("[field.age]\nkind = 'numeric'", "unknown key 'field'. Did you mean 'fields'"),
        ("[fields.age]\nsource = 'users'", "'age': source must be one of user, item, context"),
        ("[fields.age]\ncost = inf", "'cost' must be a finite number"),
        ("[fields.age]\ncost = nan", "'cost' must be a finite number"),
        ("drop = 3", "'drop' must be a list of column names. Got 3"),
        ("drop = [3]", "'drop' must be a list of column names"),
        ("label = 'y'\nlabel = 'z'", "no valid TOML"),
    ],
)
def test_a_schema_file_with_a_slip(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(text)
    with pytest.raises(SchemaError, match=message) as caught:
        Dataset.from_frame(interactions(), label="bought", schema=path)
    if "must be one of" not in message:
        assert "schema.toml" in str(caught.value)


def test_a_source_that_needs_an_item_column() -> None:
    schema = {"fields": {"price": {"source": "item"}}}
    with pytest.raises(SchemaError, match=r"no item column\. Name it with item="):
        Dataset.from_frame(interactions(), label="bought", user="user", schema=schema)
    data = Dataset.from_frame(interactions(), schema=schema, **ROLES)  # type: ignore[arg-type]
    assert data.schema["price"].source == "item"


def test_a_noisy_attribute_is_context_and_may_be_stated() -> None:
    table = interactions()
    noisy = table.with_columns(age=pl.when(pl.col("row") == 0).then(99).otherwise("age"))
    data = Dataset.from_frame(noisy, **ROLES)  # type: ignore[arg-type]
    assert data.schema["age"].source == "context"
    schema = {"fields": {"age": {"source": "user"}}}
    data = Dataset.from_frame(noisy, schema=schema, **ROLES)  # type: ignore[arg-type]
    assert data.schema["age"].source == "user"


@pytest.mark.parametrize("type_", [pl.Int8, pl.Int64, pl.Float32, pl.Float64, pl.Boolean])
def test_a_copy_of_the_label_is_reported_whatever_its_type(type_: Any) -> None:
    table = interactions().with_columns(copy=pl.col("bought").cast(type_))
    data = Dataset.from_frame(table, **ROLES)  # type: ignore[arg-type]
    (found,) = (f for f in data.findings if f.kind == "duplicate")
    assert (found.column, found.severity) == ("copy", "warning")
    assert "'bought'" in found.action


def test_given_parts_may_be_of_any_frame_type() -> None:
    plain = given()
    assert plain.users is None
    other = given(train=lambda f: f.to_pandas(), valid=lambda f: f.to_arrow())
    assert other.encoder.hash() == plain.encoder.hash()
    for part in ("train", "tune", "gate", "test"):
        a, b = getattr(plain, part), getattr(other, part)
        assert np.array_equal(a.rows.codes, b.rows.codes)
        assert np.array_equal(a.users, b.users)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"test": lambda f: f.drop("kind")}, "test rows have no column 'kind'"),
        ({"valid": lambda f: f.drop("bought")}, "valid rows have no column 'bought'"),
        ({"test": lambda f: f.drop("user")}, "test rows have no column 'user'"),
        (
            {"test": lambda f: f.with_columns(bought=pl.when(pl.col("row") > 9).then("bought"))},
            r"test rows have \d+ without a label \('bought'\)\. Drop them",
        ),
        ({"valid": lambda f: f.with_columns(bought=pl.lit(1))}, "one class only"),
        ({"train": lambda f: f.with_columns(bought=pl.col("hour"))}, "must be 0 or 1"),
        ({"train": lambda f: f.with_columns(age=pl.lit("x"))}, "'age' is numeric"),
        ({"test": lambda f: f.with_columns(age=pl.lit("x"))}, "'age' is numeric"),
        ({"items": pl.DataFrame({"itm": ["i01"]})}, "items have no column 'item'.*'itm'"),
        ({"items": pl.DataFrame({"item": ["i01"]})}, "train rows hold item .* not listed"),
        ({"users": Users(("0", "1"), {})}, "train rows hold user .* not listed"),
    ],
)
def test_given_parts_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        given(**changes)


def test_given_parts_teach_from_train_alone() -> None:
    plain = given()
    odd = {"age": pl.lit(1000), "kind": pl.lit("new")}
    other = given(valid=lambda f: f.with_columns(**odd), test=lambda f: f.with_columns(**odd))
    assert other.encoder.hash() == plain.encoder.hash()
    assert (other.test.rows.codes[:, 1] == 1).all()
    assert set(plain.tune.users.tolist()).isdisjoint(plain.gate.users.tolist())  # type: ignore[union-attr]


def test_lists_leave_seen_items_out_when_the_training_rows_never_repeat_one() -> None:
    table = interactions()
    once = table.unique(["user", "item"], keep="first", maintain_order=True)
    split = Dataset.from_frame(once, **ROLES).split()  # type: ignore[arg-type]
    assert split.exclude_seen
    assert split.users is not None
    assert split.users.seen is not None
    assert split.items is not None
    assert split.test.users is not None
    assert split.test.items is not None
    seen = [set(split.users.seen.of_user(u).tolist()) for u in range(len(split.users))]
    pairs = zip(split.test.users.tolist(), split.test.items.tolist(), strict=True)
    assert not any(item in seen[user] for user, item in pairs)
    positives = once.filter(pl.col("bought") == 1)
    test = split.test.label.sum()
    assert sum(map(len, seen)) == len(positives) - test
    twice = pl.concat([table, positives.head(1), positives.head(1)])
    assert not Dataset.from_frame(twice, **ROLES).split().exclude_seen  # type: ignore[arg-type]
    assert not Dataset.from_frame(once, label="bought", user="user").split().exclude_seen


@pytest.mark.parametrize("kind", [pl.Int32, pl.String])
def test_ids_of_parts_may_differ_in_type(kind: type[pl.DataType]) -> None:
    plain = given(valid=lambda part: part)
    other = given(valid=lambda part: part.with_columns(pl.col("user").cast(kind)))
    users = [[split.users for split in (d.train, d.valid, d.test)] for d in (plain, other)]
    names = [np.array(sorted(set(map(str, interactions()["user"])), key=key)) for key in (int, str)]
    order = names[0], names[1] if kind == pl.String else names[0]
    for own, theirs in zip(*users, strict=True):
        np.testing.assert_array_equal(order[0][own], order[1][theirs])


@pytest.mark.parametrize(
    "field, message",
    [
        ({"kind": "date", "parts": 5}, "'parts' must list some of hour"),
        ({"of": 5, "part": "hour"}, "'of' must be a column name. Got 5"),
        ({"by": ["item"]}, "'by' must be a column name"),
    ],
)
def test_properties_of_another_type_are_named(field: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        read_spec({"fields": {"hour": field}})
