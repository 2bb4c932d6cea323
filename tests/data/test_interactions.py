"""Logs of positives: what is drawn, for whom, with which columns; and no window knows a later one."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data import Dataset, Negatives
from recprune.errors import DataError, SchemaError

PARTS = ("train", "valid", "test")
ROLES = {"user": "user", "item": "item", "time": "time"}
#: Context is told by the row's number; the shade is the item's, and a price that changes with time.
SCHEMA = {
    "fields": {
        "number": {"source": "context"},
        "price": {"source": "item"},
        "user": {"kind": "categorical"},
        "item": {"kind": "categorical"},
    }
}


def log(
    n: int = 1200, users: int = 40, items: int = 60, again: bool = False, seed: int = 0
) -> pl.DataFrame:
    """Rows of different times; ``again``: users take items more than once."""
    draws = np.random.default_rng(seed)
    user, item = draws.integers(0, users, n), draws.integers(0, items, n)
    time = draws.permutation(n)
    frame = pl.DataFrame(
        {
            "user": user,
            "item": item,
            "time": time,
            "age": 20 + user % 7,
            "shade": [f"s{i % 5}" for i in item.tolist()],
            "price": item * 100.0 + time / n,
            "number": np.arange(n) + 0.5,
        }
    )
    return frame if again else frame.unique(["user", "item"], keep="first", maintain_order=True)


def read(frame: pl.DataFrame, how: Negatives | None = None, **options: Any) -> Dataset:
    given: dict[str, Any] = {**ROLES, "schema": SCHEMA, "negatives": how or Negatives(3), **options}
    return Dataset.from_frame(frame, **given)


def pairs(split: Any, label: int) -> list[tuple[int, int]]:
    rows = split.columns.filter(pl.Series(split.label == label))
    return list(zip(rows["user"].to_list(), rows["item"].to_list(), strict=True))


@st.composite
def logs(draw: st.DrawFn) -> tuple[pl.DataFrame, Negatives, bool]:
    again = draw(st.booleans())
    size = draw(st.sampled_from([(200, 5, 15), (300, 30, 12), (400, 8, 80), (250, 60, 40)]))
    by: Any = draw(st.sampled_from(["popularity", "uniform"]))
    how = Negatives(draw(st.integers(1, 5)), by, draw(st.sampled_from([0, 0.75, 1.5])))
    return log(*size, again=again, seed=draw(st.integers(0, 10**6))), how, again


@given(logs(), st.sampled_from(["time", "last-2", "user", "random"]), st.integers(0, 3))
def test_what_holds_of_every_window(
    case: tuple[pl.DataFrame, Negatives, bool], by: str, seed: int
) -> None:
    frame, how, _ = case
    try:
        data = read(frame, how).split(by, seed=seed)
    except DataError as error:
        # All of its users took all items, or no user has rows enough.
        assert any(w in str(error) for w in ("both classes", "No user has"))  # noqa: PT017
        return
    before: set[tuple[int, int]] = set()
    items: set[int] = set()
    again = not data.exclude_seen
    at = []
    for part in PARTS:
        split = getattr(data, part)
        taken, refused = pairs(split, 1), pairs(split, 0)
        items |= {i for _, i in taken}
        known = set(taken) if again else set(taken) | before
        assert len(set(refused)) == len(refused)
        assert not set(refused) & known
        assert {i for _, i in refused} <= items
        for user in {u for u, _ in taken}:
            wanted = how.per_positive * len({i for u, i in taken if u == user})
            left = len(items - {i for u, i in known if u == user})
            assert sum(u == user for u, _ in refused) == min(wanted, left)
        before |= set(taken)
        at += (split.columns.filter(pl.Series(split.label == 1))["number"] - 0.5).to_list()
    numbers = (frame["number"] - 0.5).to_list()
    assert sorted(at) == sorted(numbers)


@given(logs(), st.sampled_from(["time", "last-2", "random"]))
def test_columns_are_those_of_the_event_and_of_the_item_at_that_time(
    case: tuple[pl.DataFrame, Negatives, bool], by: str
) -> None:
    frame, how, _ = case
    try:
        data = read(frame, how).split(by)
    except DataError:
        return
    rows = {r["number"]: r for r in frame.iter_rows(named=True)}
    so_far: list[dict[str, Any]] = []
    for part in PARTS:
        split = getattr(data, part)
        own = split.columns.with_columns(pl.Series("y", split.label))
        taken = {r["number"] for r in own.filter(y=1).iter_rows(named=True)}
        so_far += [rows[n] for n in sorted(taken)]
        dealt: dict[float, int] = {}
        for row in own.filter(y=0).iter_rows(named=True):
            event = rows[row["number"]]
            assert row["number"] in taken
            assert (row["user"], row["age"]) == (event["user"], event["age"])
            of_item = [r for r in so_far if r["item"] == row["item"]]
            earlier = [r for r in of_item if r["time"] <= event["time"]]
            donor = max(earlier, key=lambda r: r["time"]) if earlier else None
            donor = donor or min(of_item, key=lambda r: r["time"])
            assert (row["shade"], row["price"]) == (donor["shade"], donor["price"])
            dealt[row["number"]] = dealt.get(row["number"], 0) + 1
        for user in {rows[n]["user"] for n in taken}:
            each = [dealt.get(n, 0) for n in taken if rows[n]["user"] == user]
            assert max(each) - min(each) <= 1


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from(["time", "last-1", "user"]))
def test_one_seed_draws_one_set_whatever_the_order_of_rows(seed: int, again: bool, by: str) -> None:
    frame = log(600, 30, 40, again=again, seed=seed)
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=seed)
    first, second = (read(f).split(by, seed=1) for f in (frame, mixed))
    other = read(frame).split(by, seed=2)
    for part in PARTS:
        a, b, c = (
            getattr(d, part)
            .columns.with_columns(pl.Series("y", getattr(d, part).label))
            .sort("user", "item", "number", "y")
            for d in (first, second, other)
        )
        assert a.equals(b)
        assert not a.equals(c)


def test_later_windows_change_nothing_drawn_before() -> None:
    frame = log(2000, 40, 80)
    late = pl.col("time") >= frame["time"].sort()[int(0.86 * len(frame))]
    changed = frame.with_columns(
        item=pl.when(late).then(900 + pl.col("item") % 7).otherwise("item"),
        price=pl.when(late).then(-1.0).otherwise("price"),
    )
    first, second = read(frame).split("time"), read(changed).split("time")
    for part in ("train", "valid"):
        a, b = getattr(first, part), getattr(second, part)
        assert a.columns.drop("shade").equals(b.columns.drop("shade"))
        assert np.array_equal(a.label, b.label)
    assert first.labels.negative_rate == second.labels.negative_rate


@pytest.mark.parametrize("by", ["time", "last-1", "user", "random"])
def test_what_is_taken_later_is_drawn_as_often_as_what_never_is(by: str) -> None:
    # Without any taste, a pair of the test window is one of those that training may draw: a model
    # that learns which pairs were left out would know the test rows.
    frame = log(4000, 50, 200, seed=5)
    data = read(frame, Negatives(1, "uniform")).split(by)
    train, later = set(pairs(data.train, 1)), set(pairs(data.test, 1)) | set(pairs(data.valid, 1))
    users, drawn = {u for u, _ in train}, set(pairs(data.train, 0))
    known = {i for _, i in train}
    free = {(u, i) for u in users for i in known} - train
    later &= free
    if by == "user":
        assert not later
        return
    rate = len(drawn) / len(free)
    error = (rate * (1 - rate) / len(later)) ** 0.5
    assert abs(len(drawn & later) / len(later) - rate) < 4 * error


def test_items_of_earlier_windows_are_drawn_where_users_take_them_again() -> None:
    once, again = read(log(1500, 20, 60)).split("time"), read(log(1500, 20, 60, True)).split("time")
    assert once.exclude_seen
    assert not set(pairs(once.test, 0)) & set(pairs(once.train, 1))
    assert not again.exclude_seen
    assert set(pairs(again.test, 0)) & (set(pairs(again.train, 1)) - set(pairs(again.test, 1)))


def test_users_who_took_every_item_have_none_and_are_counted() -> None:
    frame = log(1200, 40, 60).filter(pl.col("user") > 0)
    every = pl.DataFrame({"item": frame["item"].unique().sort()}).with_columns(
        user=pl.lit(0, pl.Int64),
        time=-pl.col("item") - 1,
        age=pl.lit(20, pl.Int64),
        number=pl.col("item") + 5000.5,
    )
    every = every.join(frame.unique("item").select("item", "shade", "price"), on="item")
    data = read(pl.concat([frame, every.select(frame.columns)])).split("time")
    assert not [u for u, _ in pairs(data.train, 0) if u == 0]
    (note,) = [f for f in data.findings if f.kind == "few items left"]
    assert note.severity == "warning"
    assert "1 of them took all and have none" in note.action
    (all_drawn,) = [f for f in data.findings if f.kind == "negatives"]
    assert all_drawn.rows == sum(len(pairs(getattr(data, p), 0)) for p in PARTS)


@pytest.mark.parametrize("by", ["popularity", "uniform"])
def test_negatives_follow_the_popularity_of_the_window(by: Any) -> None:
    # One user takes item 0; the others take each other item as often as its number says.
    user = [u for i in range(1, 31) for u in range(i)] + [*range(400, 3400)]
    item = [i for i in range(1, 31) for _ in range(i)] + [0] * 3000
    frame = pl.DataFrame({"user": user, "item": item}).with_columns(time=pl.int_range(pl.len()))
    frame = frame.with_columns(group=pl.col("time") % 5)
    data = Dataset.from_frame(frame, **ROLES, negatives=Negatives(1, by, 1.0)).split("random")
    train = data.train.columns.with_columns(pl.Series("y", data.train.label))
    lone = train.filter(pl.col("y") == 0, pl.col("user") >= 400)
    taken = train.filter(pl.col("y") == 1, pl.col("item") > 0).group_by("item").len()
    weight = dict(taken.iter_rows()) if by == "popularity" else dict.fromkeys(taken["item"], 1)
    share = {i: w / sum(weight.values()) for i, w in weight.items()}
    drawn = dict(lone.group_by("item").len().iter_rows())
    for i, expected in share.items():
        error = (expected * (1 - expected) / len(lone)) ** 0.5
        assert abs(drawn.get(i, 0) / len(lone) - expected) < 5 * error


def test_a_column_that_follows_the_item_gives_no_negative_away() -> None:
    # Prices differ by item and wobble from row to row, which tells nothing of who takes what.
    draws = np.random.default_rng(1)
    frame = log(3000, 60, 50, again=True).drop("price", "number")
    price = frame["item"].to_numpy() * 10 + draws.random(len(frame))
    noise = draws.normal(size=len(frame))
    frame = frame.with_columns(price=pl.Series(price), noise=pl.Series(noise))

    def off(data: Dataset, label: int) -> float:
        rows = data.test.columns.filter(pl.Series(data.test.label == label))
        return float((rows["price"] // 10 != rows["item"]).mean())  # type: ignore[arg-type]

    data = Dataset.from_frame(frame, **ROLES, negatives=Negatives()).split()
    assert data.schema["price"].source == "item"
    assert data.schema["noise"].source == "context"
    assert off(data, 0) == off(data, 1) == 0
    (note,) = [f for f in data.findings if f.kind == "follows the item"]
    assert (note.column, note.severity) == ("price", "warning")
    assert "read as the item's" in note.action
    stated = {"fields": {"price": {"source": "context"}}}
    data = Dataset.from_frame(frame, **ROLES, negatives=Negatives(), schema=stated).split()
    assert off(data, 0) > 0.9
    assert any("a negative, which has it from the event" in f.action for f in data.findings)


def test_lists_and_users_are_those_of_the_positives() -> None:
    frame = log(1500, 20, 60).drop("time")
    data = read(frame, time=None).split("user")
    latest = frame.group_by("user").agg(pl.col("age", "number").last()).sort("user")
    test = set(data.test.columns["user"].unique().to_list())
    assert data.users is not None
    assert data.items is not None
    assert data.items["item"].to_list() == frame["item"].unique().sort().to_list()
    for place, row in enumerate(latest.iter_rows(named=True)):
        assert data.users.ids[place] == str(row["user"])
        if row["user"] not in test:  # those have the columns of their first row
            assert data.users.columns["number"][place] == row["number"]


def test_all_rows_have_negatives_too() -> None:
    frame = log(600, 60, 60)
    rows = read(frame, Negatives(2)).all_rows()
    taken, refused = pairs(rows, 1), pairs(rows, 0)
    assert sorted(taken) == sorted(frame.select("user", "item").rows())
    assert len(refused) == 2 * len(taken)
    assert not set(taken) & set(refused)


def test_weights_are_the_events_and_other_outcomes_are_none() -> None:
    frame = log(600, 60, 60).with_columns(
        weight=1 + pl.col("number").floor() % 3, bought=pl.col("number").floor() % 2
    )
    stated = {**SCHEMA, "weight": "weight", "other_labels": ["bought"]}
    data = read(frame, schema=stated).split("time")
    train = data.train
    assert train.extras.weight is not None
    number = train.columns["number"].to_numpy()
    ratio = train.extras.weight / (1 + (number - 0.5) % 3)
    assert ratio == pytest.approx(ratio[0])
    assert train.extras.labels["bought"][train.label == 0].max() == 0
    own = (number[train.label == 1] - 0.5) % 2
    assert np.array_equal(train.extras.labels["bought"][train.label == 1], own)


def test_cross_fields_are_refused() -> None:
    frame = log().with_columns(times=pl.col("number") % 3)
    with pytest.raises(DataError, match=r"Cross field 'times' has no value.*from_splits"):
        read(frame, schema={"fields": {"times": {"by": "item"}}}).split()


@pytest.mark.parametrize(
    "schema, message",
    [
        ({"negatives": {"by": "popular"}}, "'by'.*'popularity' or 'uniform'. Got 'popular'"),
        ({"negatives": {"pro": 1}}, "unknown key 'pro' in 'negatives'.*'per_positive'"),
        ({"negatives": 4}, "'negatives' must be a table.*Got 4"),
        ({"negative_rate": 0}, r"'negative_rate'.*\(0, 1\]. Got 0"),
        ({"label_threshold": "4"}, "'threshold'.*finite number. Got '4'"),
    ],
)
def test_what_a_schema_states_is_checked(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        Dataset.from_frame(log(), **ROLES, schema=schema)


def test_a_schema_may_state_how_to_draw() -> None:
    stated = {"negatives": {"per_positive": 2, "by": "uniform"}}
    data = Dataset.from_frame(log(), **ROLES, schema=stated)
    assert data.labels.negatives == Negatives(2, "uniform")
    assert Dataset.from_frame(log(), **ROLES, schema=stated, negatives=Negatives(1)).labels == (
        Dataset.from_frame(log(), **ROLES, negatives=Negatives(1)).labels
    )
    both = {**stated, "negative_rate": 0.5}
    with pytest.raises(DataError, match="not both"):
        Dataset.from_frame(log(), **ROLES, schema=both)
