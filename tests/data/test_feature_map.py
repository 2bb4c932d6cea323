"""FuxiCTR's feature_map.json as a schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recprune.data import Dataset
from recprune.data.spec import read_spec
from recprune.errors import DataError, SchemaError

MAP: dict[str, Any] = {
    "dataset_id": "tiny_x1",
    "num_fields": 2,
    "total_features": 9,
    "input_length": 3,
    "labels": ["click"],
    "features": [
        {"session": {"type": "meta"}},
        {"code": {"source": "item", "type": "categorical", "padding_idx": 0, "vocab_size": 41}},
        {"age": {"source": "", "type": "numeric"}},
    ],
}
TABLE = pl.DataFrame(
    {
        "session": [i // 4 for i in range(80)],
        "code": [i % 40 for i in range(80)],
        "age": [i % 30 for i in range(80)],
        "more": [i % 7 for i in range(80)],
        "click": [i % 2 for i in range(80)],
        "buy": [i % 3 % 2 for i in range(80)],
    }
)


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "feature_map.json"
    path.write_text(json.dumps({**MAP, **changes}))
    return path


def test_exactly_its_fields_are_read(tmp_path: Path) -> None:
    data = Dataset.from_frame(TABLE, schema=written(tmp_path))
    assert data.schema.label == "click"
    assert data.schema.names == ("code", "age")
    assert [f.kind for f in data.schema.fields] == ["categorical", "numeric"]


def test_arguments_win_and_of_several_labels_one_is_to_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, labels=["click", "buy"])
    with pytest.raises(DataError, match="No label column is named"):
        Dataset.from_frame(TABLE, schema=str(path))
    data = Dataset.from_frame(TABLE, schema=str(path), label="buy", user="session")
    assert (data.schema.label, data.schema.user) == ("buy", "session")
    assert data.schema.names == ("code", "age")


def test_a_feature_that_the_table_lacks(tmp_path: Path) -> None:
    path = written(tmp_path, features=[{"agee": {"type": "numeric"}}])
    with pytest.raises(DataError, match=r"no column 'agee' as the schema's field.*'age'"):
        Dataset.from_frame(TABLE, schema=path)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"features": [{"h": {"type": "sequence"}}]}, "'h' must have.*Got 'sequence'\\. Remove it"),
        ({"features": [{"h": "numeric"}]}, "'h' must have the type.*Got None"),
        ({"features": {"h": {}}}, "no feature_map.json of FuxiCTR.*as a .toml"),
        ({"features": None}, "no feature_map.json of FuxiCTR"),
        ({"labels": "click"}, "'labels' must be a list.*Got 'click'"),
        ({"labels": [3]}, "'label' must be a column name. Got 3"),
    ],
)
def test_maps_that_are_none(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message) as caught:
        read_spec(written(tmp_path, **changes))
    assert "feature_map.json" in str(caught.value)


@pytest.mark.parametrize("text", ["{", "\xff", "[" * 100_000], ids=["cut", "latin", "deep"])
def test_files_that_are_no_json(tmp_path: Path, text: str) -> None:
    path = tmp_path / "feature_map.json"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(SchemaError, match=r"feature_map\.json' is no valid JSON.*again"):
        read_spec(path)
    with pytest.raises(SchemaError, match=r"none\.json' cannot be read"):
        read_spec(tmp_path / "none.json")
