"""Bad tables: each is a clear error, or a repair that is counted and reported."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from recprune.data import Dataset, Finding, read_spec
from recprune.data.frames import to_polars
from recprune.errors import DataError, ParameterError, SchemaError
from recprune.schema import Field, Schema

N = 200


def frame(**columns: Any) -> pl.DataFrame:
    base: dict[str, Any] = {
        "user_id": [i // 4 for i in range(N)],
        "item_id": [i * 7 % 10 for i in range(N)],
        "size": [i * 37 % 101 / 4 for i in range(N)],
        "purchased": [i % 2 for i in range(N)],
    }
    return pl.DataFrame({**base, **columns}, strict=False)


def findings(table: pl.DataFrame, **options: Any) -> dict[str, Finding]:
    data = Dataset.from_frame(table, label="purchased", **options)
    return {f.column: f for f in data.findings}


@pytest.mark.parametrize("role", ["label", "user", "item", "time"])
def test_a_role_that_is_no_column_names_the_nearest(role: str) -> None:
    with pytest.raises(DataError, match=f"no {role} column 'user_idd'.*Did you mean 'user_id'"):
        Dataset.from_frame(frame(), **{"label": "purchased", role: "user_idd"})


def test_a_dropped_column_must_exist() -> None:
    with pytest.raises(DataError, match=r"no column 'sise' to drop\. Did you mean 'size'"):
        Dataset.from_frame(frame(), label="purchased", drop=("sise",))
    data = Dataset.from_frame(frame(), label="purchased", drop="size")
    assert "size" not in data.schema.names


def test_one_column_has_one_role() -> None:
    with pytest.raises(DataError, match="two roles"):
        Dataset.from_frame(frame(), label="purchased", user="user_id", item="user_id")
    with pytest.raises(DataError, match="No label"):
        Dataset.from_frame(frame())
    with pytest.raises(DataError, match="both to drop and as a role"):
        Dataset.from_frame(frame(), label="purchased", drop=("purchased",))


@pytest.mark.parametrize(
    "values, positive",
    [
        ((0, 1), 1),
        ((0.0, 1.0), 1.0),
        ((False, True), True),
        (("0", "1"), "1"),
        (("FALSE", "True"), "True"),
        (("no", "Yes"), "Yes"),
        (("n", "y"), "y"),
        (("f", "t"), "t"),
        (("negative", "positive"), "positive"),
    ],
)
def test_pairs_that_are_labels(values: tuple[Any, Any], positive: Any) -> None:
    raw = [values[i % 3 == 0] for i in range(N)]
    data = Dataset.from_frame(frame(purchased=raw), label="purchased")
    assert data.table is not None
    assert data.table.label.tolist() == [float(v == positive) for v in raw]
    reported = [f for f in data.findings if f.kind == "label"]
    plain = str(values[0]).lower() in ("0", "0.0", "false")
    assert bool(reported) != plain


@pytest.mark.parametrize(
    "values, reason",
    [
        ([1, 2, 3, 4, 5], r"5 values: '1', '2'.*>= 3"),
        (["a", "b"], r"2 values: 'a', 'b'.*== 'b'"),
        ([-1, 1], "2 values"),
        ([1], "one class only"),
        (["no"], "one class only"),
        ([None], "no value at all"),
    ],
)
def test_other_labels_are_refused_with_a_recipe(values: list[Any], reason: str) -> None:
    raw = [values[i % len(values)] for i in range(N)]
    with pytest.raises(DataError, match=reason):
        Dataset.from_frame(frame(purchased=raw), label="purchased")


def test_rows_without_label_user_or_time_are_dropped_and_counted() -> None:
    table = frame(
        purchased=[None if i < 10 else i % 2 for i in range(N)],
        user_id=[None if 5 <= i < 30 else i // 4 for i in range(N)],
        day=[None if i == 199 else i for i in range(N)],
    )
    found = findings(table, user="user_id", time="day")
    assert (found["purchased"].kind, found["purchased"].rows) == ("missing label", 10)
    assert (found["user_id"].kind, found["user_id"].rows) == ("missing user", 20)
    assert (found["day"].kind, found["day"].rows) == ("missing time", 1)


@pytest.mark.parametrize("rows", [1, 29])
def test_too_few_rows_state_the_minimum(rows: int) -> None:
    with pytest.raises(DataError, match=rf"{rows} usable rows?; at least 30"):
        Dataset.from_frame(frame().head(rows), label="purchased")


@pytest.mark.parametrize(
    "column, kind",
    [
        ([None] * N, "missing"),
        ([float("nan")] * N, "missing"),
        ([""] * N, "missing"),
        ([3] * N, "constant"),
        (["x"] * N, "constant"),
        ([True] * N, "constant"),
        ([f"name {i}" for i in range(N)], "all different"),
        ([["a"]] * N, "constant"),
        ([[]] * N, "missing"),
    ],
)
def test_useless_columns_are_dropped_and_reported(column: list[Any], kind: str) -> None:
    table = frame(extra=column)
    data = Dataset.from_frame(table, label="purchased")
    found = {f.column: f for f in data.findings}["extra"]
    assert (found.kind, found.rows, found.action) == (kind, N, "dropped")
    assert "extra" not in data.schema.names
    data.split()


def test_no_column_left_says_what_happened_to_each() -> None:
    table = pl.DataFrame({"x": [1] * N, "y": [0, 1] * (N // 2)})
    with pytest.raises(DataError, match=r"No usable field.*'x': dropped"):
        Dataset.from_frame(table, label="y")


def test_a_constant_with_holes_is_kept_as_a_category() -> None:
    data = Dataset.from_frame(
        frame(extra=[5 if i % 3 else None for i in range(N)]), label="purchased"
    )
    assert data.schema["extra"].kind == "categorical"
    assert set(data.split().encoder.parts["extra"].values) == {"5", None}  # type: ignore[union-attr]


def test_infinities_are_counted_and_read_as_the_ends() -> None:
    values = [float(i % 40) for i in range(N)]
    values[0], values[1] = float("inf"), float("-inf")
    table = frame(extra=values)
    assert findings(table)["extra"].rows == 2
    data = Dataset.from_frame(table, label="purchased").split()
    points = data.encoder.parts["extra"].points  # type: ignore[union-attr]
    assert np.isfinite(points).all()
    for split in (data.train, data.valid, data.test):
        assert np.isfinite(split.rows.shares).all()


def test_infinities_beside_one_number_do_not_crash() -> None:
    table = frame(extra=[float("inf") if i % 2 else 1.0 for i in range(N)])
    assert len(Dataset.from_frame(table, label="purchased").split().train)


def test_stray_text_among_numbers_is_missing_and_reported() -> None:
    values = [str(i % 50) for i in range(N)]
    values[7] = "oops"
    found = findings(frame(extra=values))["extra"]
    assert (found.kind, found.rows) == ("mixed", 1)
    assert "oops" in found.action
    data = Dataset.from_frame(frame(extra=values), label="purchased")
    assert data.schema["extra"].kind == "numeric"


def test_much_text_among_numbers_stays_categories() -> None:
    table = frame(extra=[str(i % 50) if i % 4 else "old" for i in range(N)])
    found = findings(table)["extra"]
    assert (found.kind, found.rows) == ("mixed", N // 4)
    assert Dataset.from_frame(table, label="purchased").schema["extra"].kind == "categorical"


@pytest.mark.parametrize(
    "values, kind",
    [
        ([str(i % 21) for i in range(N)], "numeric"),
        ([str(i % 20) for i in range(N)], "categorical"),
        ([f"{i % 50:05d}" for i in range(N)], "categorical"),
        ([i % 2 for i in range(N)], "numeric"),
        ([i % 2 == 0 for i in range(N)], "categorical"),
    ],
)
def test_kinds(values: list[Any], kind: str) -> None:
    assert Dataset.from_frame(frame(extra=values), label="purchased").schema["extra"].kind == kind


def test_mixed_python_objects_become_text() -> None:
    table = frame().to_pandas()
    table["extra"] = [1 if i % 2 else "two" for i in range(N)]
    data = Dataset.from_frame(table, label="purchased")
    assert data.schema["extra"].kind == "categorical"
    assert set(data.split().encoder.parts["extra"].values) == {"1", "two"}  # type: ignore[union-attr]


def test_duplicate_columns_are_reported_and_kept() -> None:
    found = findings(frame(copy=frame()["size"]))["copy"]
    assert (found.kind, found.severity) == ("duplicate", "warning")
    assert "'size'" in found.action


def test_duplicate_names_are_refused() -> None:
    table = frame().to_pandas()
    with pytest.raises(DataError, match="two columns named 'size'"):
        Dataset.from_frame(pd.concat([table, table[["size"]]], axis=1), label="purchased")
    arrow = pa.table([[1], [2]], names=["a", "a"])
    with pytest.raises(DataError, match="two columns named 'a'"):
        Dataset.from_frame(arrow, label="a")


@pytest.mark.parametrize("table", [{"a": [1]}, [[1, 2]], np.zeros((3, 3)), None])
def test_what_is_no_table_is_refused(table: Any) -> None:
    with pytest.raises(DataError, match="not a table"):
        Dataset.from_frame(table, label="y")


@pytest.mark.parametrize("value", [[["a"]], {"a": 1}, b"bytes"])
def test_values_of_no_kind_are_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"'extra' holds (List|Struct|Binary)"):
        Dataset.from_frame(frame(extra=[value] * N), label="purchased")


def test_every_frame_type_gives_the_same_data_set() -> None:
    table = frame(colour=pl.Series([["red", "blue", None][i % 3] for i in range(N)]))
    pandas = table.to_pandas()
    pandas["colour"] = pandas["colour"].astype("category")
    tables = [table, table.lazy(), pandas, table.to_arrow()]
    codes = []
    for each in tables:
        data = Dataset.from_frame(each, label="purchased").split(seed=1)
        codes.append((data.encoder.hash(), data.test.rows.codes.tobytes()))
    assert len(set(codes)) == 1
    assert to_polars(pd.DataFrame({0: [1], "b": [2]})).columns == ["0", "b"]


def test_schema_file(tmp_path: Path) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(
        'label = "purchased"\nuser = "user_id"\ndrop = ["item_id"]\n'
        '[fields.size]\nkind = "categorical"\nsensitive = true\ncost = 3\nmin_count = 5\n'
    )
    data = Dataset.from_frame(frame(), schema=path)
    assert data.schema.names == ("user_id", "size")
    assert data.schema["size"] == Field("size", "categorical", "context", True, 3)
    vocabulary = data.split("random").encoder.parts["size"].values  # type: ignore[union-attr]
    assert vocabulary == ()


@pytest.mark.parametrize(
    "schema, reason",
    [
        ({"lable": "y"}, "unknown key 'lable'. Did you mean 'label'"),
        ({"fields": {"size": {"knd": "numeric"}}}, "field 'size': unknown key 'knd'.*'kind'"),
        (
            {"fields": {"size": {"kind": "number"}}},
            "kind must be one of categorical, numeric, sequence, dense",
        ),
        ({"fields": {"size": {"source": "cross"}}}, "'by' names the item column"),
        ({"fields": {"size": {"sensitive": "yes"}}}, "true or false"),
        ({"fields": {"size": {"cost": -1}}}, "'cost' must be"),
        ({"fields": {"size": {"min_count": 0}}}, "'min_count' must be"),
        ({"fields": {"size": {"max_size": 0}}}, "'size': 'max_size' must be"),
        ({"max_size": True}, "'max_size' must be"),
        ({"fields": {"size": 3}}, "must be a table"),
        ({"fields": []}, "must be a table"),
        ({"label": 3}, "must be a column name"),
        ({"drop": "size"}, "list of column names"),
    ],
)
def test_a_bad_schema_is_refused(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        read_spec(schema)


def test_a_bad_schema_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "schema.toml"
    with pytest.raises(SchemaError, match="cannot be read"):
        read_spec(path)
    path.write_text("label = ")
    with pytest.raises(SchemaError, match=r"schema.toml.*no valid TOML"):
        read_spec(path)


def test_a_schema_object_names_all_fields() -> None:
    schema = Schema((Field("size", "numeric"),), label="purchased")
    data = Dataset.from_frame(frame(), schema=schema)
    assert data.schema == schema
    with pytest.raises(DataError, match="no column 'sized' as the schema's field"):
        Dataset.from_frame(frame(), schema=Schema((Field("sized", "numeric"),), label="purchased"))


def test_a_schema_that_wants_numbers_of_words_is_refused() -> None:
    schema = {"fields": {"extra": {"kind": "numeric"}}}
    with pytest.raises(DataError, match="none of its values is a number"):
        Dataset.from_frame(frame(extra=["a", "b"] * (N // 2)), label="purchased", schema=schema)


def test_the_schema_can_keep_dates_and_booleans_as_numbers() -> None:
    schema = {"fields": {"day": {"kind": "numeric"}, "flag": {"kind": "numeric"}}}
    table = frame(
        day=[str(date(2024, 1, 1) + timedelta(i % 50)) for i in range(N)],
        flag=[i % 3 == 0 for i in range(N)],
    )
    data = Dataset.from_frame(table, label="purchased", schema=schema)
    assert [data.schema[n].kind for n in ("day", "flag")] == ["numeric", "numeric"]
    data.split()


def test_split_refuses_bad_arguments() -> None:
    data = Dataset.from_frame(frame(), label="purchased")
    for options in ({"by": "month"}, {"valid": 0.0}, {"test": 1.5}, {"valid": 0.6, "test": 0.5}):
        with pytest.raises(ParameterError, match=r"Dataset\.split"):
            data.split(**options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no time column"):
        data.split("time")
    with pytest.raises(DataError, match="no user column"):
        data.split("user")
    with pytest.raises(DataError, match="not split yet"):
        _ = data.train


def test_a_part_without_both_classes_is_refused() -> None:
    table = frame(purchased=[int(i < 3) for i in range(N)])
    with pytest.raises(DataError, match="every part needs both classes"):
        Dataset.from_frame(table, label="purchased").split("random")
