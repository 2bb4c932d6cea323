"""Which events go the short way, and that they come out the same as on the long one."""

from __future__ import annotations

import json

import polars as pl
import pytest

from recprune.streaming.events import EventReader
from recprune.streaming.flat import Flat
from recprune.streaming.screen import joined

COLUMNS = {"city": pl.String(), "price": pl.Float64(), "clicked": pl.String()}

PLAIN = [
    b'{"city":"x","price":1.5,"clicked":1}',
    b'{ "clicked" : true , "price" : -0.25 , "city" : "S\xc3\xa3o Paulo" } \r',
    b'{"other":12.5,"clicked":0,"more":"text","price":null}',
    b'{"city":7.0,"price":7,"clicked":0}',
    b'{"city":12.50,"price":0.00,"clicked":false}',
    b'{"city":12345678901234567890,"price":123456789012345,"clicked":1.0}',
    b'{"city":"first","city":"second","clicked":1}',
    b'{"city":" [1] , {2} : ","price":0.1,"clicked":1}',
]
OTHERS = [
    b"{}",
    b'{"city":"a\\nb","clicked":1}',
    b'{"city":1e5,"clicked":1}',
    b'{"city":-0.0,"clicked":1}',
    b'{"city":0.00001,"clicked":1}',
    b'{"city":["x"],"clicked":1}',
    b'{"other":{"x":1},"clicked":1}',
    b'{"price":"1.5","clicked":1}',
    b'{"price":true,"clicked":1}',
    b'{"price":01,"clicked":1}',
    b'{"price":1.,"clicked":1}',
    b'{"price":-,"clicked":1}',
    b'{"price":1,"clicked":nul}',
    b'{"price":1,"clicked":tru1}',
    b'{"clicked":1,}',
    b'{"clicked":1}}',
    b'{"clicked":1',
    b'{"clicked" 1}',
    b'{,"clicked":1}',
    b'{"clicked":1}\x0c',
    b'{"city":"\x1f","clicked":1}',
    b'{\n"clicked":1}',
]


def test_plain_events_are_told_from_others() -> None:
    frame, plain = Flat(COLUMNS).read(*joined([*PLAIN, *OTHERS, *PLAIN]))
    assert plain.tolist() == [True] * len(PLAIN) + [False] * len(OTHERS) + [True] * len(PLAIN)
    assert frame["city"].to_list()[: len(PLAIN)] == [
        *("x", "São Paulo", None, "7", "12.5", "12345678901234567890", "first", " [1] , {2} : ")
    ]


def test_bytes_that_are_no_utf8_go_the_long_way() -> None:
    _, plain = Flat(COLUMNS).read(*joined([*PLAIN, b'{"city":"\xff","clicked":1}']))
    assert not plain.any()


def test_columns_that_a_line_cannot_hold_go_the_long_way() -> None:
    assert Flat(COLUMNS).able
    assert not Flat({"clicked": pl.String()}).able
    assert not Flat({**COLUMNS, "seen": pl.List(pl.String())}).able
    assert not Flat({**COLUMNS, 'a"b': pl.String()}).able
    events, poison = EventReader({'a"b': pl.String()}, "clicked").read(
        [b'{"a\\"b":"x","clicked":1}']
    )
    assert events.frame['a"b'].to_list() == ["x"]
    assert not poison


@pytest.mark.parametrize("keys", [("a", "b", "c"), ("c", "a", "b"), ("b", "z", "c", "a")])
def test_keys_may_change_their_order(keys: tuple[str, ...]) -> None:
    """From one event to the next, and beyond as many keys as are remembered."""
    columns = {k: pl.String() for k in ("a", "b", "c")}
    many = {f"k{i}": i for i in range(70)}
    events = [{k: f"{k}{i}" for k in keys} for i in range(5)]
    events += [dict(reversed(e.items())) for e in events] + [{**many, **e} for e in events]
    frame, plain = Flat(columns).read(*joined([json.dumps(e).encode() for e in events]))
    assert plain.all()
    assert frame.to_dicts() == [{k: e[k] for k in columns} for e in events]
