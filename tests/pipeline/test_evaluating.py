"""``rp.evaluate``: rows and lists of a model as it ships, user by user and group by group."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recprune as rp
from recprune.data import Dataset
from recprune.errors import DataError, ParameterError
from recprune.evaluation import Evaluation
from recprune.metrics import map_at_k, ndcg_at_k
from recprune.models import DeepFM, Ranker, Training
from recprune.pipeline import save_model
from tests.pipeline.test_run import shop
from tests.planted import small_data

LISTS = ("ndcg@5", "recall@5", "map@3", "mrr@5", "hit_rate@5", "precision@5")
BEYOND = (
    "coverage@5",
    "user_coverage@5",
    "gini@5",
    "novelty@5",
    "diversity@5",
    "personalisation@5",
    "popularity_lift@5",
)


@pytest.fixture(scope="module")
def made() -> tuple[Ranker, Dataset]:
    frame = shop()
    # Some users have no positive row at all, so that there is somebody to skip.
    frame = frame.with_columns(
        bought=pl.when(pl.col("user_id").is_in(["u1", "u2", "u3"])).then(0).otherwise("bought"),
        brand=pl.format("brand {}", pl.col("item_id").str.slice(1).cast(int) % 4),
    )
    data = Dataset.from_frame(frame, label="bought", user="user_id", item="item_id")
    data = data.split(by="random", seed=0)
    return DeepFM(4, (8,), Training(epochs=2)).fit(data.train, data.tune), data


@pytest.fixture(scope="module")
def found(made: tuple[Ranker, Dataset]) -> Evaluation:
    model, data = made
    return rp.evaluate(model, data, ["auc", "gauc", "logloss", *LISTS, *BEYOND], by=["age", "kind"])


def plain_lists(model: Ranker, data: Dataset, folder: Path) -> dict[str, tuple[list, set]]:
    """Return each tested user's list of a loaded artefact, and what was to be found."""
    save_model(model, data, folder)
    scorer, out = rp.load(folder), {}
    rows = data.test.columns.with_columns(pl.Series("y", data.test.label))
    for user, theirs in rows.filter(pl.col("y") == 1).group_by("user_id"):
        best = scorer.recommend_user(data.users, user[0], 5, exclude_seen=data.exclude_seen)
        out[user[0]] = list(best.items), set(theirs["item_id"])
    return out


def test_lists_are_those_of_the_saved_model(
    made: tuple[Ranker, Dataset], found: Evaluation, tmp_path: Path
) -> None:
    lists = plain_lists(*made, tmp_path / "m")
    table = found.per_user
    assert table is not None
    ranked = table.filter(pl.col("ndcg@5").is_not_null())
    assert set(ranked["user_id"]) == set(lists)
    for row in ranked.iter_rows(named=True):
        shown, relevant = lists[row["user_id"]]
        hits, n = np.array([[item in relevant for item in shown]]), [len(relevant)]
        assert row["recall@5"] == pytest.approx(hits.sum() / n[0])
        assert row["ndcg@5"] == pytest.approx(ndcg_at_k(hits, n, 5)[0])
        assert row["map@3"] == pytest.approx(map_at_k(hits, n, 3)[0])
    for name in LISTS:
        assert found[name] == pytest.approx(ranked[name].mean())
    shown = {item for one, _ in lists.values() for item in one}
    assert found["coverage@5"] == len(shown) / made[1].items.height


def test_users_are_counted_whether_ranked_or_skipped(
    made: tuple[Ranker, Dataset], found: Evaluation
) -> None:
    _, data = made
    test = data.test
    everyone, willing = np.unique(test.users), np.unique(test.users[test.label == 1])
    assert found.counts["users"] == len(everyone)
    assert found.counts["users_ranked"] == len(willing)
    assert found.counts["users_skipped"] == len(everyone) - len(willing) > 0
    estimate = found.estimates["ndcg@5"]
    assert (estimate.count, estimate.skipped) == (len(willing), len(everyone) - len(willing))
    assert found.per_user is not None
    assert found.per_user.height == len(everyone)
    assert found.per_user["rows"].sum() == len(test)
    assert found.per_user["positives"].sum() == test.label.sum()
    # An AUC needs both classes: who has one alone has none, and is counted.
    assert found.per_user["gauc"].null_count() == found.estimates["gauc"].skipped > 0


def test_means_over_users_have_intervals_and_totals_have_none(found: Evaluation) -> None:
    for name in (*LISTS, "novelty@5", "diversity@5", "popularity_lift@5", "auc", "gauc"):
        low, high = found.estimates[name].interval or (1, 0)
        assert low < found[name] < high, name
    for name in ("coverage@5", "gini@5", "personalisation@5", "user_coverage@5"):
        assert found.estimates[name].interval is None


def test_beyond_accuracy_against_plain_versions(
    made: tuple[Ranker, Dataset], found: Evaluation, tmp_path: Path
) -> None:
    model, data = made
    lists = plain_lists(model, data, tmp_path / "m")
    rows = data.train.columns.with_columns(pl.Series("y", data.train.label))
    taken = rows.filter(pl.col("y") == 1)
    users = taken["user_id"].n_unique()
    share = dict(taken.group_by("item_id").agg(pl.col("user_id").n_unique() / users).iter_rows())
    popularity = {item: share.get(item, 1 / users) for item in data.items["item_id"]}
    bits = [-np.log2(popularity[i]) for shown, _ in lists.values() for i in shown]
    assert found["novelty@5"] == pytest.approx(np.mean(bits))
    profile = dict(
        taken.group_by("user_id")
        .agg(pl.col("item_id").unique().replace_strict(popularity).mean())
        .iter_rows()
    )
    both = [
        (np.mean([popularity[i] for i in shown]), profile[u])
        for u, (shown, _) in lists.items()
        if u in profile
    ]
    shown, took = np.mean(both, axis=0)
    assert found["popularity_lift@5"] == pytest.approx(shown / took - 1)
    of = {item: both for item, *both in data.items.select("item_id", "kind", "brand").iter_rows()}
    apart = [
        np.mean([np.not_equal(of[a], of[b]) for i, a in enumerate(one) for b in one[:i]])
        for one, _ in lists.values()
    ]
    assert found["diversity@5"] == pytest.approx(np.mean(apart))


def test_groups_split_rows_and_users(made: tuple[Ranker, Dataset], found: Evaluation) -> None:
    ages = [g for g in found.groups if g.column == "age"]
    assert len(ages) > 1
    assert sum(g.rows for g in ages) == found.counts["rows"]
    # A user has one age: the groups' lists are all lists, each once.
    ranked = [g.estimates["ndcg@5"] for g in ages if "ndcg@5" in g.estimates]
    assert sum(e.count for e in ranked) == found.counts["users_ranked"]
    mean = sum(e.value * e.count for e in ranked) / found.counts["users_ranked"]
    assert mean == pytest.approx(found["ndcg@5"])
    # Users meet items of several kinds: their lists belong to none.
    kinds = [g for g in found.groups if g.column == "kind"]
    assert {g.value for g in kinds} == {"fruit", "tool"}
    assert all("auc" in g.estimates and "ndcg@5" not in g.estimates for g in kinds)


def test_blocks_of_users_change_nothing(
    made: tuple[Ranker, Dataset], found: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recprune.topk.BLOCK", 7 * 60)
    model, data = made
    assert rp.evaluate(model, data, "ndcg@5")["ndcg@5"] == found["ndcg@5"]


def test_sampled_metrics_say_so(made: tuple[Ranker, Dataset], found: Evaluation) -> None:
    model, data = made
    sampled = rp.evaluate(model, data, ["NDCG@5", "auc"], negatives=10)
    assert list(sampled.estimates) == ["ndcg@5:sampled10", "auc"]
    # A user's relevant items among ten others are easier to find than in the catalogue.
    assert sampled["ndcg@5:sampled10"] > found["ndcg@5"]
    again = rp.evaluate(model, data, ["ndcg@5"], negatives=10)
    assert again["ndcg@5:sampled10"] == sampled["ndcg@5:sampled10"]
    # All others together are the catalogue.
    everything = rp.evaluate(model, data, ["ndcg@5"], negatives=10_000)
    assert everything["ndcg@5:sampled10000"] == pytest.approx(found["ndcg@5"])


def test_fewer_users_are_drawn_and_the_others_counted(made: tuple[Ranker, Dataset]) -> None:
    model, data = made
    few = rp.evaluate(model, data, ["recall@5"], most_users=30)
    assert few.counts["users_ranked"] == few.estimates["recall@5"].count == 30
    willing = len(np.unique(data.test.users[data.test.label == 1]))
    assert few.counts["users_not_drawn"] == willing - 30


def test_a_saved_model_gives_the_same(
    made: tuple[Ranker, Dataset], found: Evaluation, tmp_path: Path
) -> None:
    model, data = made
    save_model(model, data, tmp_path / "m")
    again = rp.evaluate(rp.load(tmp_path / "m"), data, ["auc", "precision", "ndcg@5"], by="age")
    assert again["auc"] == pytest.approx(found["auc"], abs=1e-6)
    assert again["ndcg@5"] == found["ndcg@5"]
    assert {g.column for g in again.groups} == {"age"}
    assert again.threshold == rp.evaluate(model, data, ["precision"]).threshold != 0.5


def test_items_that_the_catalogue_lacks_are_relevant_and_never_found(
    made: tuple[Ranker, Dataset], tmp_path: Path
) -> None:
    _, data = made
    few = shop().filter(pl.col("item_id").str.slice(1).cast(int) < 25)
    old = Dataset.from_frame(few, label="bought", user="user_id", item="item_id").split("random")
    model = DeepFM(2, (4,), Training(epochs=1)).fit(old.train, old.tune)
    save_model(model, old, tmp_path / "m")
    scorer = rp.load(tmp_path / "m")
    found = rp.evaluate(scorer, data, ["recall@5", "coverage@5", "novelty@5"])
    assert found.counts["items"] == len(old.items) < len(data.items)
    taken = data.test.columns.filter(pl.Series(data.test.label == 1))
    shares, shown = [], set()
    for (user,), theirs in taken.group_by("user_id"):
        best = scorer.recommend_user(data.users, user, 5, exclude_seen=data.exclude_seen).items
        shares.append(len(set(best) & set(theirs["item_id"])) / theirs["item_id"].n_unique())
        shown |= set(best)
    assert found["recall@5"] == pytest.approx(np.mean(shares))
    assert found["coverage@5"] == len(shown) / len(old.items)


def test_what_is_printed_and_written(found: Evaluation) -> None:
    text = str(found)
    assert "ndcg@5" in text
    assert "skipped" in text
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["metrics"]["auc"] == found["ROC-AUC"]
    assert told["intervals"]["coverage@5"] is None
    assert told["of"]["ndcg@5"]["what"] == "users"


def test_rows_without_users_or_items_have_their_metrics() -> None:
    data = small_data(1500)
    model = DeepFM(2, (4,), Training(epochs=1)).fit(data.train, data.tune)
    of_rows = rp.evaluate(model, data.test, by=["colour"])
    assert of_rows.per_user is None
    assert of_rows.threshold == 0.5
    assert {g.value for g in of_rows.groups} >= {"red", "blue"}
    assert of_rows["auc"] == rp.evaluate(model, data)["auc"]
    for rows, metrics, options, words in (
        (data, ["ndcg@5"], {}, "need users"),
        (data.test, ["ndcg@5"], {}, "Pass the data set"),
        (data.test, ["gauc"], {}, "no column of users"),
        (data, ["auc"], {"negatives": 5}, "goes with metrics of lists"),
        (data, ["aucc"], {}, "Did you mean 'auc'"),
        (data, ["auc"], {"by": ["color"]}, "Did you mean 'colour'"),
    ):
        with pytest.raises((DataError, ParameterError), match=words):
            rp.evaluate(model, rows, metrics, **options)


def test_bad_negatives_are_named(made: tuple[Ranker, Dataset]) -> None:
    model, data = made
    with pytest.raises(ParameterError, match="'negatives' parameter of evaluate"):
        rp.evaluate(model, data, ["ndcg@5"], negatives=0)
    with pytest.raises(DataError, match="'coverage@5' is of what is shown"):
        rp.evaluate(model, data, ["coverage@5"], negatives=5)
