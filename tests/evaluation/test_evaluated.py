"""Metrics of rows and of lists together: all of them, by group, and user by user."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset
from recprune.evaluation import Evaluation, evaluate_scores
from recprune.evaluation.estimates import Estimate
from recprune.evaluation.evaluated import GroupMetrics
from recprune.evaluation.lists import Shown
from recprune.evaluation.row_metrics import ScoredRows
from recprune.metrics import metric

from .test_lists import ITEMS, data, shown

__all__ = ["data", "shown"]  # fixtures


@pytest.fixture(scope="module")
def scored(data: Dataset) -> ScoredRows:
    logits = np.random.default_rng(0).normal(size=len(data.test))
    return ScoredRows(np.asarray(data.test.label), logits, data.test.users, 0.4)


METRICS = [metric(name) for name in ("auc", "accuracy", "recall@3", "coverage@3")]


@pytest.fixture(scope="module")
def found(data: Dataset, scored: ScoredRows, shown: Shown) -> Evaluation:
    return evaluate_scores(data.test, scored, shown, METRICS, ["half", "kind"], ":own")


def test_metrics_stand_under_their_names(
    found: Evaluation, scored: ScoredRows, shown: Shown
) -> None:
    assert list(found.estimates) == ["auc", "accuracy", "recall@3:own", "coverage@3:own"]
    for one, name in zip(METRICS, found.estimates, strict=True):
        source: Any = scored if "@" not in name else shown
        assert found.estimates[name] == source.estimate(one)
        assert found[name] == found.estimates[name].value
    assert found["ROC-AUC"] == found["auc"]
    with pytest.raises(KeyError):
        found["recall@3"]
    label = scored.label
    assert found.counts == {
        "rows": len(label),
        "positives": int(label.sum()),
        "users": len(np.unique(scored.users)),
        "users_ranked": len(shown.lists),
        "users_skipped": shown.task.skipped,
        "users_not_drawn": 0,
        "items": ITEMS,
    }
    assert found.threshold == 0.4
    assert found.majority_accuracy == max(label.mean(), 1 - label.mean())


def test_groups_have_their_own_rows_users_and_lists(
    found: Evaluation, data: Dataset, scored: ScoredRows, shown: Shown
) -> None:
    assert [(g.column, g.value) for g in found.groups] == [
        ("half", "old"),
        ("half", "young"),
        ("kind", "a"),
        ("kind", "b"),
        ("kind", "not known"),
    ]
    columns = data.test.columns
    for group in found.groups:
        own = columns[group.column].fill_null("not known").to_numpy() == group.value
        assert (group.rows, group.users) == (own.sum(), len(np.unique(scored.users[own])))  # type: ignore[index]
        part = scored.take(np.flatnonzero(own))
        if 0 < part.label.mean() < 1:
            assert group.estimates["auc"] == part.estimate(metric("auc"))
        assert group.estimates["accuracy"] == part.estimate(metric("accuracy"))
        if group.column == "kind":
            assert set(group.estimates) <= {"auc", "accuracy"}
            continue
        mine = np.isin(shown.task.users, scored.users[own])  # type: ignore[index]
        lists = shown.take(np.flatnonzero(mine))
        assert group.estimates["recall@3:own"] == lists.estimate(metric("recall@3"))
        assert group.estimates["coverage@3:own"] == lists.estimate(metric("coverage@3"))


def test_users_stand_one_by_one(
    found: Evaluation, data: Dataset, scored: ScoredRows, shown: Shown
) -> None:
    table = found.per_user
    assert table is not None
    assert table.columns == ["user", "rows", "positives", "auc", "accuracy", "recall@3:own"]
    users = np.unique(scored.users)
    recall = dict(zip(shown.task.users, shown.by_user(metric("recall@3")), strict=True))  # type: ignore[arg-type]
    for user, row in zip(users, table.iter_rows(named=True), strict=True):
        own = scored.users == user
        assert row["user"] == data.test.columns["user"].filter(pl.Series(own))[0]
        assert (row["rows"], row["positives"]) == (own.sum(), scored.label[own].sum())
        assert row["recall@3:own"] == recall.get(user)
        assert row["accuracy"] == pytest.approx(scored.take(own).estimate(metric("accuracy")).value)
        assert (row["auc"] is None) == (len(set(scored.label[own])) < 2)
    assert table["recall@3:own"].null_count() == shown.task.skipped > 0


def test_a_group_of_one_class_has_no_auc_and_one_without_lists_has_none(
    data: Dataset, scored: ScoredRows, shown: Shown
) -> None:
    label = np.where(data.test.columns["half"].to_numpy() == "old", 0, scored.label)
    one = ScoredRows(label, scored.logits, scored.users, 0.5)
    young = np.unique(data.test.users[data.test.columns["half"].to_numpy() == "young"])  # type: ignore[index]
    few = shown.take(np.flatnonzero(np.isin(shown.task.users, young)))
    old, new = evaluate_scores(data.test, one, few, METRICS, ["half"]).groups
    assert set(old.estimates) == {"accuracy"}
    assert set(new.estimates) == {"auc", "accuracy", "recall@3", "coverage@3"}


def test_without_users_there_is_no_table_of_them(data: Dataset, scored: ScoredRows) -> None:
    alone = ScoredRows(scored.label, scored.logits, None, 0.5)
    told = evaluate_scores(data.test, alone, None, METRICS[:2], ["half"])
    assert told.per_user is None
    assert told.counts == {"rows": len(scored.label), "positives": int(scored.label.sum())}
    assert [g.users for g in told.groups] == [None, None]
    assert evaluate_scores(data.test, alone, None, METRICS[:2]).groups == ()


def test_what_is_printed_and_written_holds_all() -> None:
    estimates = {
        "auc": Estimate(0.75, (0.7, 0.8), "rows", 1200),
        "novelty@10": Estimate(np.nan, None, "users", 0, 31),
    }
    group = GroupMetrics("age", "18 to 25", 1000, 20, {"auc": Estimate(0.5, None, "rows", 1000)})
    nobody = GroupMetrics("age", "not known", 3, None, {})
    counts = {"rows": 1200, "positives": 300, "users_not_drawn": 7}
    told = Evaluation(estimates, counts, 0.3, None, (group, nobody))
    assert str(told).splitlines() == [
        "rows 1,200, positives 300, users not drawn 7",
        "auc           0.7500  0.7000 to 0.8000    1,200 rows",
        "novelty@10      none                      0 users, 31 skipped",
        "",
        "age = 18 to 25: 1,000 rows, 20 users",
        "auc    0.5000                      1,000 rows",
        "",
        "age = not known: 3 rows",
    ]
    assert told.majority_accuracy == 0.75
    assert told.to_json() == {
        **counts,
        "threshold": 0.3,
        "majority_accuracy": 0.75,
        "metrics": {"auc": 0.75, "novelty@10": None},
        "intervals": {"auc": [0.7, 0.8], "novelty@10": None},
        "of": {
            "auc": {"what": "rows", "count": 1200, "skipped": 0},
            "novelty@10": {"what": "users", "count": 0, "skipped": 31},
        },
        "groups": [
            {
                "column": "age",
                "value": "18 to 25",
                "rows": 1000,
                "users": 20,
                "metrics": {"auc": 0.5},
                "intervals": {"auc": None},
                "of": {"auc": {"what": "rows", "count": 1000, "skipped": 0}},
            },
            {
                "column": "age",
                "value": "not known",
                "rows": 3,
                "users": None,
                "metrics": {},
                "intervals": {},
                "of": {},
            },
        ],
    }
