"""A schema that contradicts itself says where."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recprune.errors import SchemaError
from recprune.schema import Field, Schema

SHOP = Schema(
    (
        Field("age", "categorical", "user", sensitive=True, cost=2.5),
        Field("price", "numeric", "item"),
        Field("times", "numeric", "cross", by="category"),
    ),
    label="bought",
    user="user_id",
    item="item_id",
    time="week",
)


def test_json_gives_the_schema_back() -> None:
    assert Schema.from_json(json.loads(json.dumps(SHOP.to_json()))) == SHOP


def test_some_fields_alone_keep_the_schemas_order() -> None:
    assert SHOP.only(("times", "age")).names == ("age", "times")
    assert SHOP.only(("times", "age")).label == "bought"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"kind": "number"},
            "Field 'x': kind must be one of categorical, numeric, sequence, dense. Got 'number'",
        ),
        ({"source": "shop"}, "source must be one of user, item, context, cross"),
        ({"source": "cross"}, "exactly when source is 'cross'"),
        ({"by": "category"}, "exactly when source is 'cross'"),
    ],
)
def test_a_field_that_contradicts_itself_is_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(SchemaError) as caught:
        Field(**{"name": "x", "kind": "numeric", **arguments})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"fields": (Field("a", "numeric"),) * 2}, "names these fields twice: 'a'"),
        ({"label": "a"}, "The label column 'a' cannot be a field too"),
        ({"label": "u", "user": "u"}, "The label column 'u' cannot be the user too"),
        ({"label": "t", "time": "t"}, "cannot be the time too"),
        ({"user": "u", "item": "u"}, "The user column 'u' cannot be the item too"),
        ({"user": "u", "time": "u"}, "The user column 'u' cannot be the time too"),
        ({"item": "i", "time": "i"}, "The item column 'i' cannot be the time too"),
        ({"label": "y", "weight": "y"}, "Column 'y' is a weight or another label"),
        ({"time": "t", "weight": "t"}, "Column 't' is a weight or another label"),
        ({"weight": "w", "other_labels": ("w",)}, "Column 'w' is a weight or another label"),
        ({"fields": (Field("a", "numeric", "item"),)}, "the schema names no item column"),
        ({"fields": (Field("a", "numeric", "cross", by="b"),)}, "the schema names no item column"),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(SchemaError) as caught:
        Schema(**{"fields": (Field("a", "numeric"),), "label": "y", **arguments})
    assert message in str(caught.value)


def test_an_unknown_field_names_the_nearest() -> None:
    with pytest.raises(SchemaError, match=r"no field 'prize'.*Did you mean 'price'"):
        SHOP["prize"]
    with pytest.raises(SchemaError, match="'ages'"):
        SHOP.only(("ages",))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"lable": "y"}, "Unknown key 'lable' in the schema. Did you mean 'label'?"),
        ({"fields": [{"name": "a", "kind": "numeric", "cots": 1}]}, "cannot be read"),
        ({"fields": 3}, "cannot be read"),
        ({"fields": [{"kind": "numeric"}]}, "cannot be read"),
    ],
)
def test_json_that_is_no_schema_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        Schema.from_json({**SHOP.to_json(), **change})
    assert message in str(caught.value)
