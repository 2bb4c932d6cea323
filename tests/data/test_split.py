"""Splits: disjoint, complete, in time, by user; and nothing learned from later rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset
from recprune.data.fit import fit_knots
from recprune.errors import DataError, ParameterError
from recprune.lookups import Knots, Vocabulary


def interactions(n: int = 3000, seed: int = 0) -> pl.DataFrame:
    draws = np.random.default_rng(seed)
    users, items = draws.integers(0, 150, n), draws.integers(0, 60, n)
    return pl.DataFrame(
        {
            "user": users,
            "item": [f"i{i:02d}" for i in items],
            "age": 20 + users % 50,
            "kind": [f"k{i % 7}" for i in items],
            "price": items / 4,
            "hour": draws.integers(0, 24, n),
            "day": draws.integers(0, 100, n),
            "row": np.arange(n) % 997,
            "bought": (draws.random(n) < 0.3).astype(int),
        }
    )


def data(by: str = "auto", seed: int = 0, frame: pl.DataFrame | None = None, n: int = 1) -> Dataset:
    table = interactions() if frame is None else frame
    whole = Dataset.from_frame(table, label="bought", user="user", item="item", time="day")
    return whole.split(by, seed=seed, n=n)


def split_rows(table: pl.DataFrame, by: str, seed: int = 0) -> dict[str, set[int]]:
    """The rows of each part, told by a column that numbers them."""
    numbered = table.with_columns(pl.Series("number", np.arange(len(table)) + 0.5))
    split = data(by, seed, numbered)
    return {
        part: set((getattr(split, part).columns["number"] - 0.5).cast(int).to_list())
        for part in ("train", "valid", "test", "tune", "gate")
    }


@pytest.mark.parametrize("by", ["time", "user", "random", "stratified"])
def test_parts_are_disjoint_and_complete(by: str) -> None:
    table = interactions()
    rows = split_rows(table, by)
    assert sum(len(rows[p]) for p in ("train", "valid", "test")) == len(table)
    assert rows["train"] | rows["valid"] | rows["test"] == set(range(len(table)))
    assert rows["tune"] | rows["gate"] == rows["valid"]
    assert not rows["tune"] & rows["gate"]
    for part, share in (("train", 0.7), ("valid", 0.15), ("test", 0.15)):
        assert len(rows[part]) / len(table) == pytest.approx(share, abs=0.02)
    users = table["user"].to_numpy()
    assert not set(users[list(rows["tune"])]) & set(users[list(rows["gate"])])


def test_time_runs_forward_and_equal_times_stay_together() -> None:
    table = interactions()
    rows = split_rows(table, "time")
    day = table["day"].to_numpy()
    train, valid, test = (day[list(rows[p])] for p in ("train", "valid", "test"))
    assert train.max() < valid.min()
    assert valid.max() < test.min()


def test_users_stay_together() -> None:
    table = interactions()
    rows = split_rows(table, "user")
    owners = [set(table["user"].to_numpy()[list(rows[p])]) for p in ("train", "valid", "test")]
    assert not owners[0] & owners[1]
    assert not owners[1] & owners[2]
    assert not owners[0] & owners[2]


def test_the_last_rows_of_every_user_and_who_has_too_few() -> None:
    table = interactions()
    lone = table.head(4).with_columns(user=pl.Series([900, 900, 901, 902]))
    split = data("last-n", frame=pl.concat([table, lone]))
    assert split.split_by == "last-1"
    assert len(split.test) == len(split.valid) == table["user"].n_unique()
    (note,) = [f for f in split.findings if f.kind == "few rows"]
    assert (note.column, note.severity, note.rows) == ("user", "info", 4)
    assert "3 users have fewer than 3 rows" in note.action
    three = data("last-n", frame=table, n=3)
    assert three.test.columns.equals(data("last-3", frame=table).test.columns)
    assert len(three.test) == 3 * table["user"].n_unique()


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"by": "last-n", "n": 0}, ParameterError, "'n'.*an int ≥ 1. Got 0"),
        ({"by": "last-n", "n": 2.0}, ParameterError, "'n'.*Got 2.0"),
        ({"by": "last-0"}, ParameterError, "'by'.*'last-n'.*Got 'last-0'"),
        ({"by": "last"}, ParameterError, "'by'.*or 'last-3'. Got 'last'"),
        ({"by": 3}, ParameterError, "'by'.*or 'last-3'. Got 3"),
        ({"by": "last-n", "n": 9999}, DataError, "No user has 19999 rows.*a smaller n"),
    ],
)
def test_last_n_refuses(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Dataset.from_frame(interactions(), label="bought", user="user").split(**options)
    with pytest.raises(DataError, match="no user column"):
        Dataset.from_frame(interactions(), label="bought").split("last-n")


def test_strata_have_equal_rates() -> None:
    split = data("stratified")
    rates = [s.label.mean() for s in (split.train, split.valid, split.test)]
    assert max(rates) - min(rates) < 0.002


def test_a_seed_gives_one_split() -> None:
    table = interactions()
    for by in ("user", "random", "stratified"):
        assert split_rows(table, by, 3) == split_rows(table, by, 3)
        assert split_rows(table, by, 3) != split_rows(table, by, 4)


def test_auto_takes_time_then_users_then_strata() -> None:
    table = interactions()
    assert Dataset.from_frame(table, label="bought", time="day").split().split_by == "time"
    assert Dataset.from_frame(table, label="bought", user="user").split().split_by == "user"
    once = table.with_columns(pl.Series("user", np.arange(len(table))))
    assert Dataset.from_frame(once, label="bought", user="user").split().split_by == "stratified"


def test_few_heavy_times_still_leave_three_parts() -> None:
    table = interactions().with_columns(day=pl.Series(np.repeat([1, 2, 3], [2900, 50, 50])))
    split = data("time", frame=table)
    assert (len(split.train), len(split.valid), len(split.test)) == (2900, 50, 50)


@pytest.mark.parametrize("by", ["time", "user", "last-n", "random"])
def test_vocabularies_and_knots_come_from_training_rows_alone(by: str) -> None:
    table = interactions()
    rows = split_rows(table, by)
    train = table[sorted(rows["train"])]
    encoder = data(by).encoder
    for field in encoder.schema.fields:
        part, column = encoder.parts[field.name], train[field.name]
        if isinstance(part, Vocabulary):
            assert set(part.values) == set(column.cast(pl.String).to_list())
        else:
            expected = fit_knots(column.cast(pl.Float64).to_numpy())
            assert expected is not None
            assert np.array_equal(part.points, expected.points)


def test_later_rows_change_no_code_of_training_rows() -> None:
    table = interactions()
    late = pl.col("day") > 69
    first = data("time", frame=table)
    changed = table.with_columns(
        item=pl.when(late).then(pl.lit("new")).otherwise("item"),
        price=pl.when(late).then(1e6).otherwise("price"),
        kind=pl.when(late).then(pl.lit("other")).otherwise("kind"),
    )
    second = data("time", frame=changed)
    assert second.encoder.hash() == first.encoder.hash()
    assert np.array_equal(second.train.rows.codes, first.train.rows.codes)
    assert (second.test.rows.codes[:, second.schema.names.index("kind")] == 1).all()


def test_knots_are_the_quantiles_of_the_training_rows() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    knots = fit_knots(values)
    assert knots is not None
    assert np.array_equal(knots.points, np.quantile(values, np.linspace(0, 1, 32)))


def test_a_heavy_value_takes_one_knot_of_many() -> None:
    values = np.where(np.arange(5000) % 10 < 9, 0.0, np.random.default_rng(0).random(5000) + 1)
    knots = fit_knots(values)
    assert knots is not None
    assert len(knots.points) == 32
    assert (knots.points == 0).sum() == 1


def test_few_values_are_a_knot_each() -> None:
    knots = fit_knots(np.array([3.0, np.nan, 1.5, 3.0, np.inf]))
    assert knots is not None
    assert knots.points.tolist() == [1.5, 3.0]
    assert fit_knots(np.array([1.0, 1.0, np.nan])) is None
    extreme = fit_knots(np.array([-1.7e308, 1.7e308]))
    assert isinstance(extreme, Knots)


def test_fields_keep_fewer_columns_and_the_same_codes() -> None:
    split = data()
    small = split.only(("price", "kind"))
    assert small.schema.names == ("kind", "price")
    for part in ("train", "valid", "test", "tune", "gate"):
        a, b = getattr(split, part), getattr(small, part)
        at = [split.schema.names.index(n) for n in small.schema.names]
        assert np.array_equal(b.rows.codes, a.rows.codes[:, at])
        assert b.encoder is small.encoder
    n = split.schema.names.index("price")
    assert np.array_equal(
        small.test.rows.shares[:, 0], split.test.rows.shares[:, split.encoder.numeric.index(n)]
    )
    assert split.drop_fields(["user"]).schema.names == split.schema.names[1:]
    again = small.split("time")
    assert np.array_equal(again.test.rows.codes, small.test.rows.codes)


def test_take_and_all_rows() -> None:
    whole = Dataset.from_frame(interactions(), label="bought", user="user", item="item")
    rows = whole.all_rows()
    assert len(rows) == len(rows.rows) == len(rows.columns) == 3000
    some = rows.take(rows.label == 1)
    assert some.label.all()
    assert len(some.users) == len(some.items) == len(some.columns) == int(rows.label.sum())  # type: ignore[arg-type]
