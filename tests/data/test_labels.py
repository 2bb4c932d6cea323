"""The label: ratings with a threshold, positives alone, exposures, and the ways out of each error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data import Dataset, Negatives, ingest
from recprune.data.disk_frame import DiskFrame
from recprune.data.labels import LabelRule, read_label
from recprune.errors import DataError, InputError, ParameterError

N = 60


def frame(**columns: Any) -> pl.DataFrame:
    n = np.arange(N)
    return pl.DataFrame({"user": n % 12, "item": n % 10, "x": n % 7, **columns})


def ratings(kind: Any = pl.Int64) -> pl.DataFrame:
    return frame(stars=pl.Series(np.arange(N) % 5 + 1).cast(kind))


@given(
    st.lists(st.one_of(st.none(), st.floats(-9, 9), st.just(float("nan"))), min_size=1),
    st.floats(-9, 9),
)
def test_a_threshold_against_a_plain_loop(values: list[float | None], threshold: float) -> None:
    expected = [None if v is None or v != v else float(v >= threshold) for v in values]
    try:
        label, found = read_label(
            pl.Series("stars", values, pl.Float64), LabelRule("stars", threshold)
        )
    except DataError as error:
        assert len(set(expected) - {None}) < 2
        assert any(w in str(error) for w in ("one class only", "no value at all"))  # noqa: PT017
        return
    assert [None if np.isnan(v) else v for v in label.tolist()] == expected
    (note,) = [f for f in found if f.kind == "label"]
    ones, zeros = expected.count(1.0), expected.count(0.0)
    assert note.rows == ones + zeros
    assert f"({ones} row" in note.action
    assert f"({zeros} row" in note.action
    assert sum(f.rows for f in found if f.kind == "missing label") == expected.count(None)


@pytest.mark.parametrize("kind", [pl.Int8, pl.UInt32, pl.Float32, pl.Float64, pl.String])
def test_ratings_of_any_type_become_a_label(kind: Any, tmp_path: Path) -> None:
    table = ratings(kind)
    data = Dataset.from_frame(table, label="stars", threshold=4, user="user", item="item")
    expected = table["stars"].cast(pl.Float64).to_numpy() >= 4
    assert np.array_equal(data.whole_table.label, expected)
    assert "stars" not in data.schema.names
    assert data.labels == LabelRule("stars", 4)
    table.write_csv(tmp_path / "r.csv")
    stated = tmp_path / "schema.toml"
    stated.write_text('label = "stars"\nlabel_threshold = 4\n')
    for read in (
        Dataset.read(tmp_path / "r.csv", label="stars", threshold=4),
        Dataset.read(tmp_path / "r.csv", schema=stated),
    ):
        assert np.array_equal(read.whole_table.label, expected)


@pytest.mark.parametrize(
    "values, threshold, message",
    [
        (["good", "bad"], 4, "'y' must be a number in every row.*threshold 4. Got 'good'"),
        (["5", "3", "n/a"], 4, "Got 'n/a'"),
        ([True, False], 1, "Got 'a Boolean'"),
        ([1, 2, 3], 9, "one class only: 60 rows, all 0.*a lower threshold"),
        ([1, 2, 3], 0, "one class only: 60 rows, all 1"),
        ([None], 1, "no value at all"),
    ],
)
def test_thresholds_that_give_no_label(values: list[Any], threshold: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Dataset.from_frame(
            frame(y=[values[i % len(values)] for i in range(N)]), label="y", threshold=threshold
        )


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), "4", True])
def test_a_threshold_is_a_finite_number(threshold: Any) -> None:
    with pytest.raises(ParameterError, match="'threshold' parameter of Dataset must be a finite"):
        Dataset.from_frame(ratings(), label="stars", threshold=threshold)


def test_ratings_without_a_threshold_name_it() -> None:
    with pytest.raises(DataError, match="threshold=3, or --label-threshold 3 at the command"):
        Dataset.from_frame(ratings(), label="stars")
    with pytest.raises(DataError, match=r"A threshold needs the label's column.*--label"):
        Dataset.from_frame(ratings(), threshold=4, user="user", item="item", negatives=Negatives())


@pytest.mark.parametrize("label", [None, "event"])
def test_positives_alone_without_negatives_name_both_ways_out(label: str | None) -> None:
    with pytest.raises(DataError) as caught:
        Dataset.from_frame(frame(event=1), label=label, user="user", item="item")
    for way in ("label", "negatives=Negatives()", "--negatives popularity"):
        assert way in str(caught.value)


@pytest.mark.parametrize("value", [1, 1.0, True, "yes", "1", "T"])
def test_a_label_of_ones_is_no_field_and_keeps_its_name(value: Any) -> None:
    roles: dict[str, Any] = {"user": "user", "item": "item", "negatives": Negatives()}
    data = Dataset.from_frame(frame(event=value), label="event", **roles)
    assert data.schema.label == data.labels.column == "event"
    assert "event" not in data.schema.names
    assert (data.whole_table.label == 1).all()


def test_a_made_label_takes_a_free_name() -> None:
    roles: dict[str, Any] = {"user": "user", "item": "item", "negatives": Negatives()}
    data = Dataset.from_frame(frame(), **roles)
    assert (data.schema.label, data.labels.column) == ("taken", None)
    taken = frame(taken=np.arange(N) % 3, taken_=np.arange(N) % 4)
    data = Dataset.from_frame(taken, **roles)
    assert data.schema.label == "taken__"
    assert {"taken", "taken_"} <= set(data.schema.names)


@pytest.mark.parametrize(
    "event, message",
    [
        ([0, 1], r"'event' has both classes \(30 rows of 1, 30 of 0\): a log of what was shown"),
        (["no", "yes"], "is used as it is.*Leave out negatives=… \\(--negatives\\)"),
        ([0], "one class only: 60 rows, all 0"),
        (["view"], "1 values: 'view'. If every row is a positive, leave the label out"),
    ],
)
def test_labels_that_negatives_do_not_go_with(event: list[Any], message: str) -> None:
    table = frame(event=[event[i % len(event)] for i in range(N)])
    with pytest.raises(DataError, match=message):
        Dataset.from_frame(table, label="event", user="user", item="item", negatives=Negatives())


@pytest.mark.parametrize("role", ["user", "item"])
def test_negatives_need_users_and_items(role: str) -> None:
    roles = {"user": "user", "item": "item"}
    del roles[role]
    with pytest.raises(DataError, match=rf"no column of {role}s is named.*--{role}"):
        Dataset.from_frame(frame(), negatives=Negatives(), **roles)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"per_positive": 0}, r"'per_positive'.*an int in \[1, 1000\]. Got 0"),
        ({"per_positive": 2.0}, "Got 2.0"),
        ({"per_positive": True}, "Got True"),
        ({"by": "random"}, "'by' parameter of Negatives must be 'popularity' or 'uniform'"),
        ({"alpha": -1}, r"'alpha'.*a number in \[0, 10\]. Got -1"),
        ({"alpha": float("nan")}, "Got nan"),
    ],
)
def test_negatives_check_their_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Negatives(**options)


@given(
    st.builds(
        LabelRule,
        st.none() | st.text(),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.builds(Negatives, st.integers(1, 9), st.sampled_from(["uniform"])),
        st.none() | st.floats(0, 1, exclude_min=True),
    )
)
def test_a_rule_is_read_back_as_written(rule: LabelRule) -> None:
    assert LabelRule.from_json(rule.to_json()) == rule
    with pytest.raises(InputError, match="cannot be read"):
        LabelRule.from_json({**rule.to_json(), "more": 1})


def test_a_log_of_positives_is_ingested_and_read_back(tmp_path: Path) -> None:
    table = pl.concat([frame(y=i) for i in range(5)]).with_columns(
        item=pl.col("item") + pl.col("y")
    )
    table.write_csv(tmp_path / "log.csv")
    folder = ingest(tmp_path / "log.csv", tmp_path / "data.rp", user="user", item="item")
    read = [Dataset.read(p, user="user", item="item", negatives=Negatives(1)) for p in
            (folder, tmp_path / "log.csv")]  # fmt: skip
    first, second = (data.split("random") for data in read)
    for part in ("train", "valid", "test"):
        a, b = getattr(first, part), getattr(second, part)
        assert isinstance(a.columns, DiskFrame)
        assert a.columns.select(*a.columns.columns).equals(b.columns)
        assert np.array_equal(a.rows[:].codes, b.rows.codes)
        assert np.array_equal(a.label, b.label)
    assert first.labels == second.labels


@pytest.mark.parametrize("form", ["u.data", "ratings.dat", "x.inter"])
def test_ratings_of_the_usual_releases(form: str, tmp_path: Path) -> None:
    rows = [(i % 9, i % 14, i % 5 + 1, 900 + i) for i in range(120)]
    separator = "::" if form == "ratings.dat" else "\t"
    lines = [separator.join(map(str, row)) for row in rows]
    if form == "x.inter":
        lines.insert(0, "user_id:token\titem_id:token\trating:float\ttimestamp:float")
    (tmp_path / form).write_text("\n".join(lines) + "\n")
    roles: dict[str, Any] = {"user": "user_id", "item": "item_id", "time": "timestamp"}
    data = Dataset.read(tmp_path / form, label="rating", threshold=4, **roles)
    assert data.whole_table.label.tolist() == [float(stars >= 4) for _, _, stars, _ in rows]
    assert len(data.split("last-n").test) == 9


def test_real_ratings_and_purchases(shared_data: Path) -> None:
    data = Dataset.read(
        shared_data / "book_crossing_subset/book_ratings.tsv.gz",
        label="rating",
        threshold=8,
        user="user",
        item="item",
    )
    raw = pl.read_csv(shared_data / "book_crossing_subset/book_ratings.tsv.gz", separator="\t")
    assert len(data.whole_table.label) == len(raw) == 62_656
    assert data.whole_table.label.sum() == (raw["rating"] >= 8).sum()
    bought = Dataset.read(
        shared_data / "retailrocket_subset/purchase_ecommerce.tsv.gz",
        label="event",
        user="visitorid",
        item="itemid",
        negatives=Negatives(2, "uniform"),
    ).split("last-n")
    rows = len(bought.train) + len(bought.valid) + len(bought.test)
    assert sum(int(p.label.sum()) for p in (bought.train, bought.valid, bought.test)) == 5_088
    assert rows == 3 * 5_088
    assert bought.exclude_seen


def test_exposures_are_used_as_they_are(shared_data: Path) -> None:
    file = shared_data / "open_bandit/bts_all.parquet"
    roles: dict[str, Any] = {"label": "click", "item": "item_id", "time": "timestamp"}
    data = Dataset.read(file, **roles)
    split = data.split()
    assert sum(map(len, (split.train, split.valid, split.test))) == len(data.whole_table.label)
    assert split.labels == LabelRule("click")
    with pytest.raises(DataError, match=r"both classes.*used as it is"):
        Dataset.read(file, **roles, user="user_feature_0", negatives=Negatives())
