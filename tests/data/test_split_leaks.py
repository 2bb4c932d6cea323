"""The leak test on every split: none in a sound one, and each planted fault is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset, ingest
from recprune.data.split_leaks import future_trains, shared_users
from tests.data.test_split import interactions

ROLES = {"label": "bought", "user": "user", "item": "item", "time": "day"}
KINDS = {"shared_users", "future_trains", "shared_rows"}


def found(frame: pl.DataFrame, by: str, seed: int = 0, **roles: str) -> dict[str, tuple[str, int]]:
    data = Dataset.from_frame(frame, **(roles or ROLES)).split(by, seed=seed)  # type: ignore[arg-type]
    return {f.kind: (f.severity, f.rows) for f in data.findings if f.kind in KINDS}


@pytest.mark.parametrize("by", ["time", "user"])
def test_sound_splits_have_none(by: str) -> None:
    for seed in range(3):
        assert found(interactions(), by, seed) == {}


def test_a_random_split_trains_on_what_users_do_later() -> None:
    frame = interactions().with_columns(row=pl.int_range(3000) + 0.5)
    data = Dataset.from_frame(frame, **ROLES).split("random")  # type: ignore[arg-type]
    day = dict(frame.select("row", "day").iter_rows())
    first: dict[int, int] = {}
    for user, row in data.test.columns.select("user", "row").iter_rows():
        first[user] = min(first.get(user, 10**9), day[row])
    train = data.train.columns.select("user", "row").iter_rows()
    late = sum(day[row] > first.get(user, 10**9) for user, row in train)
    assert late > 0
    assert found(frame, "random") == {"future_trains": ("warning", late)}


def test_without_users_any_later_row_counts() -> None:
    roles = {"label": "bought", "time": "day"}
    assert found(interactions(), "time", **roles) == {}
    assert found(interactions(), "stratified", **roles)["future_trains"][0] == "warning"


def test_test_rows_with_a_twin_in_training_are_counted() -> None:
    frame = interactions().drop("row", "day")
    doubled = pl.concat([frame, frame])
    roles = {"label": "bought"}
    data = Dataset.from_frame(doubled, **roles).split("random")  # type: ignore[arg-type]
    columns = [n for n in frame.columns if n != "bought"]
    train = set(data.train.columns.select(columns).with_columns(y=data.train.label).iter_rows())
    test = data.test.columns.select(columns).with_columns(y=data.test.label).iter_rows()
    twins = sum(row in train for row in test)
    assert twins > len(data.test) / 2
    assert found(doubled, "random", **roles) == {"shared_rows": ("warning", twins)}


def test_injected_faults_of_a_split_are_errors() -> None:
    users, day = np.repeat(np.arange(30), 10), np.tile(np.arange(10), 30)
    parts = [np.flatnonzero(users < 20), np.flatnonzero(users == 20), np.flatnonzero(users > 20)]
    assert shared_users(users, parts, "user") == []
    torn = [parts[0], parts[1], np.append(parts[2], 5)]
    (fault,) = shared_users(users, torn, "user")
    assert (fault.severity, fault.rows) == ("error", 1)
    assert shared_users(users, torn, "random") == []
    early = [np.flatnonzero(day < 7), np.flatnonzero(day == 7), np.flatnonzero(day > 7)]
    assert future_trains(day, users, early, "time") == []
    (fault,) = future_trains(day, users, early[::-1], "time")
    assert (fault.severity, fault.rows) == ("error", len(early[2]))


def test_rows_that_differ_in_the_label_or_time_alone_are_no_twins() -> None:
    frame = interactions().drop("row", "day").with_columns(number=pl.int_range(3000) + 0.5)
    roles = {"label": "bought"}
    flipped = frame.with_columns(bought=1 - pl.col("bought"))
    assert found(pl.concat([frame, flipped]), "random", **roles) == {}
    both = [frame.with_columns(at=pl.int_range(3000) + i * 10_000) for i in (0, 1)]
    assert "shared_rows" not in found(pl.concat(both), "random", **roles, time="at")
    assert "shared_rows" in found(pl.concat(both).drop("at"), "random", **roles)


def test_rows_that_come_split_are_tested_too() -> None:
    frame = interactions().drop("row").sort("day", maintain_order=True)
    late, cuts = frame.tail(40), (frame[:2000], frame[2000:2500], frame[2500:])
    schema = Dataset.from_frame(frame, **ROLES).schema  # type: ignore[arg-type]

    def kinds(train: pl.DataFrame) -> dict[str, int]:
        data = Dataset.from_splits(train, *cuts[1:], schema=schema)
        return {f.kind: f.rows for f in data.findings if f.kind in KINDS}

    assert kinds(cuts[0]) == {}
    leaking = kinds(pl.concat([cuts[0], late]))
    assert leaking["shared_rows"] == len(late)
    assert leaking["future_trains"] > 0


def test_another_split_forgets_what_was_found_in_the_first() -> None:
    data = Dataset.from_frame(interactions(), **ROLES)  # type: ignore[arg-type]
    assert data.split("random").split("time").findings == data.split("time").findings


def test_rows_on_disk_are_compared_alike(tmp_path: Path) -> None:
    frame = pl.concat([interactions().drop("row", "day"), interactions().drop("row", "day")])
    frame.write_csv(tmp_path / "log.csv")
    folder = ingest(tmp_path / "log.csv", tmp_path / "log.rp", label="bought")
    stored, read = (Dataset.read(p, label="bought") for p in (folder, tmp_path / "log.csv"))
    twins = [
        [(f.kind, f.rows) for f in d.split("random").findings if f.kind in KINDS]
        for d in (stored, read)
    ]
    assert twins[0] == twins[1]
    assert twins[0][0][1] > 0


def test_a_test_row_without_a_time_hides_no_later_training_row() -> None:
    index = [np.array([0, 1]), np.array([0]), np.array([2, 3])]
    (finding,) = future_trains(np.array([1.0, 9.0, 5.0, np.nan]), None, index, "given")
    assert finding.rows == 1
