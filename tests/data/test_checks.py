"""What ``recprune check`` finds, and what it must not find."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset, read_spec
from recprune.data.check import check_frame
from recprune.data.checks import Sheet, check_dataset
from recprune.data.checks.leaks import single_column_auc

N = 4000


def plain(seed: int = 0, n: int = N) -> pl.DataFrame:
    """A table with nothing to find: a useful category, a useful number, and noise."""
    draws = np.random.default_rng(seed)
    colour, size = draws.integers(0, 5, n), draws.normal(0, 1, n)
    logit = 0.5 * (colour - 2) + 0.5 * size
    return pl.DataFrame(
        {
            "colour": [f"c{v}" for v in colour],
            "size": size,
            "weight": draws.gamma(2.0, 1.0, n),
            "y": (draws.random(n) < 1 / (1 + np.exp(-logit))).astype(int),
        }
    )


def kinds(frame: pl.DataFrame, by: str = "random", **roles: Any) -> set[tuple[str, str]]:
    data = Dataset.from_frame(frame, label="y", **roles)
    return {(f.kind, f.column) for f in check_dataset(data.split(by))}


def test_a_plain_table_has_no_finding() -> None:
    for seed in range(5):
        assert kinds(plain(seed)) == set()


CODE = pl.int_range(N)
FAULTS: dict[str, tuple[pl.Expr, set[tuple[str, str]]]] = {
    "missing": (
        pl.when(CODE % 10 > 0).then("colour").alias("colour"),
        {("missing_values", "colour")},
    ),
    "spaces": (
        pl.when(CODE % 10 > 0).then("colour").otherwise(" " + pl.col("colour")).alias("colour"),
        {("spaces", "colour"), ("near_duplicate_values", "colour")},
    ),
    "letter case": (
        pl.when(CODE % 9 > 0)
        .then("colour")
        .otherwise("C" + pl.col("colour").str.slice(1))
        .alias("colour"),
        {("near_duplicate_values", "colour")},
    ),
    "renamed values": (
        ("x" + pl.col("colour")).alias("again"),
        {("near_duplicate_column", "again")},
    ),
    "rescaled numbers": (
        (pl.col("size").exp() + 3).alias("again"),
        {("near_duplicate_column", "again")},
    ),
    "an id": (
        pl.int_range(10**6, 10**6 + N).shuffle(seed=1).alias("row"),
        {("id_like", "row")},
    ),
    "a far value": (
        pl.when(CODE == 7).then(10_000.0).otherwise("weight").alias("weight"),
        {("heavy_tail", "weight")},
    ),
    "the label with slips": (
        pl.when(CODE % 50 > 0).then(pl.col("y") * 3 + CODE % 3).otherwise(2).alias("after"),
        {("leak_suspect", "after")},
    ),
    "a later event by name": (
        ((pl.col("y") == 1) & (CODE % 20 == 0)).cast(pl.Int8).alias("refundPaid"),
        {("leak_suspect", "refundPaid")},
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found_and_nothing_else(fault: str) -> None:
    change, expected = FAULTS[fault]
    assert kinds(plain().with_columns(change)) == expected


def test_a_harmless_event_is_no_leak() -> None:
    event = (CODE % 20 == 0).cast(pl.Int8).alias("refund")
    assert kinds(plain().with_columns(event)) == set()


def test_rows() -> None:
    frame = plain()
    assert ("duplicate_rows", "") in kinds(pl.concat([frame, frame[:50]]))
    flipped = frame[:40].with_columns((1 - pl.col("y")).alias("y"))
    data = Dataset.from_frame(pl.concat([frame, flipped]), label="y")
    found = {f.kind: f.rows for f in check_dataset(data.split("random"))}
    assert found == {"conflicting_labels": 80}


def test_users_with_one_row() -> None:
    frame = plain().with_columns(pl.Series("user", [f"u{i // 4}" for i in range(N)]))
    frame = frame.with_columns(
        pl.when(CODE < 3).then("one" + CODE.cast(pl.String)).otherwise("user").alias("user")
    )
    data = Dataset.from_frame(frame, label="y", user="user")
    assert {f.kind: f.rows for f in check_dataset(data.split())} == {"single_users": 4}


def test_what_changes_with_time() -> None:
    day = pl.int_range(N).alias("day")
    steady = plain().with_columns(day)
    assert kinds(steady, "time", time="day") == set()
    moved = steady.with_columns(
        pl.when(pl.col("day") > 0.9 * N).then(0).otherwise("y").alias("y"),
    )
    assert ("label_over_time", "day") in kinds(moved, time="day")
    drifting = steady.with_columns(
        pl.when(pl.col("day") > 0.7 * N).then(pl.lit("new")).otherwise("colour").alias("colour")
    )
    data = Dataset.from_frame(drifting, label="y", time="day")
    assert ("drift", "colour") in {(f.kind, f.column) for f in check_dataset(data.split("time"))}


def test_drift_is_the_stability_index_with_half_a_row_in_each_bin() -> None:
    day = pl.int_range(N).alias("day")
    moved = pl.when(day > 0.7 * N).then(pl.lit("c0")).otherwise("colour").alias("colour")
    frame = plain().with_columns(day).with_columns(moved)
    data = Dataset.from_frame(frame, label="y", time="day").split("time")
    finding = next(f for f in check_dataset(data) if f.column == "colour")
    values = [part.columns["colour"].to_list() for part in (data.train, data.test)]
    train, test = (np.array([v.count(f"c{i}") for i in range(5)]) + 0.5 for v in values)
    p, q = train / train.sum(), test / test.sum()
    assert (finding.kind, finding.value) == ("drift", pytest.approx((q - p) @ np.log(q / p)))


def test_chance_alone_is_no_drift() -> None:
    # 20 categories in 40 test rows: the index of equal distributions is above 0.25 by chance.
    draws = np.random.default_rng(1)
    frame = plain(n=260).with_columns(pl.Series("many", draws.integers(0, 20, 260)).cast(pl.String))
    for seed in range(5):
        split = Dataset.from_frame(frame, label="y").split("random", seed=seed)
        assert "drift" not in {f.kind for f in check_dataset(split)}


def test_noise_with_many_values_predicts_nothing() -> None:
    draws = np.random.default_rng(99)
    noise = pl.Series("noise", [f"n{v}" for v in draws.integers(0, 1500, N)])
    data = Dataset.from_frame(plain().with_columns(noise), label="y")
    assert abs(single_column_auc(Sheet.of_dataset(data.split()))["noise"] - 0.5) < 0.03


@pytest.mark.parametrize("by", ["random", "time"])
def test_check_finds_what_a_run_reports(by: str) -> None:
    frame = plain().with_columns(
        after=pl.col("y") * 7,
        day=CODE,
        sex=pl.when(CODE % 3 == 0).then(pl.lit("male")).otherwise(pl.lit(" Female")),
        born=pl.date(1950 + CODE % 50, 1, 1 + CODE % 28),
    )
    roles: dict[str, str] = {"label": "y", "time": "day"}
    split = Dataset.from_frame(frame, **roles).split(by, seed=3)  # type: ignore[arg-type]
    checked = check_frame(frame, read_spec(roles), split=(by, 3))
    assert checked.findings == check_dataset(split)
    assert {"leak_suspect", "sensitive_guess", "spaces", "date"} <= {
        f.kind for f in checked.findings
    }
    unlabelled = check_frame(frame.drop("y"), read_spec({"time": "day"}))
    about = {"sensitive_guess", "spaces", "date"}
    assert about <= {f.kind for f in unlabelled.findings}
    assert unlabelled.label_rate is None


@pytest.mark.parametrize("n", [0, 1, 2, 29])
def test_small_tables_are_checked_and_refused(n: int) -> None:
    frame = plain(n=40).head(n)
    kinds = {f.kind for f in check_frame(frame, read_spec({"label": "y"})).findings}
    assert "refused" in kinds
    check_frame(frame.drop("y"), read_spec(None))


def test_what_the_schema_leaves_out_is_not_checked() -> None:
    frame = plain().with_columns(mail=pl.format("a{}@example.org", CODE), sex=pl.lit("male"))
    schema = Dataset.from_frame(plain(), label="y").schema
    checked = check_frame(frame, read_spec(schema))
    assert checked.findings == ()
    roles = {c["name"]: c["role"] for c in checked.columns}
    assert (roles["colour"], roles["mail"], roles["y"]) == ("field", "left out", "label")


def test_a_name_with_a_point_makes_no_date_of_another_column() -> None:
    frame = plain().with_columns(price=pl.lit(1)).rename({"size": "price.usd"})
    days = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2026, 1, 1), "1h", eager=True)
    frame = frame.with_columns(when=days[:N])
    for spec in (read_spec({"label": "y"}), read_spec({"drop": ["y"]})):
        kinds_of = {c["name"]: c["kind"] for c in check_frame(frame, spec).columns}
        assert kinds_of["price"] is None
        assert (kinds_of["price.usd"], kinds_of["when"]) == ("numeric", "date")
