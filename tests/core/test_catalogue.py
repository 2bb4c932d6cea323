"""Two catalogues side by side are the catalogue of all their items."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.catalogue import Catalogue
from recprune.errors import DataError
from tests.runtime.factory import SHOP, random_encoder

ENCODER = random_encoder(SHOP, 0, rows=9)
ITEMS = st.lists(
    st.tuples(
        st.sampled_from([None, *"01234x"]), st.none() | st.floats(-3, 3), st.sampled_from("ab")
    ),
    min_size=1,
    max_size=12,
)


def catalogue(items: list[Any], ids: range) -> Catalogue:
    columns: dict[str, list[Any]] = {
        "category": [c for c, _, _ in items],
        "price": [p for _, p, _ in items],
        "maker": [m for _, _, m in items],
    }
    return Catalogue.build(ENCODER, columns, [str(i) for i in ids], {"times_item": 1.5})


@given(ITEMS, ITEMS)
def test_joined_they_are_all_items(one: list[Any], other: list[Any]) -> None:
    n, m = len(one), len(other)
    joined = catalogue(one, range(n)).joined(catalogue(other, range(n, n + m)))
    whole = catalogue(one + other, range(n + m))
    back = Catalogue.from_tensors(ENCODER, joined.tensors())
    for found in (joined, back):
        assert (found.ids, found.key_values, found.defaults) == (
            whole.ids,
            whole.key_values,
            whole.defaults,
        )
        for part in ("codes", "shares", "keys", "numbers"):
            ours, theirs = getattr(found, part), getattr(whole, part)
            assert ours.keys() == theirs.keys()
            for name in ours:
                np.testing.assert_array_equal(ours[name], theirs[name])
        for name, (places, values) in whole.texts.items():
            np.testing.assert_array_equal(found.texts[name][0], places)
            assert found.texts[name][1] == values


def test_an_item_in_both_is_refused() -> None:
    one = catalogue([("1", 2.0, "a")], range(1))
    with pytest.raises(DataError, match="hold one item id"):
        one.joined(one)


def test_a_column_of_one_alone_is_missing_for_the_others() -> None:
    one = catalogue([("1", 2.0, "a")], range(1))
    columns: dict[str, list[Any]] = {"category": ["1"], "price": [1.0], "stock": [7]}
    joined = one.joined(Catalogue.build(ENCODER, columns, ["9"]))
    places, values = joined.texts["maker"]
    assert (places.tolist(), values) == ([0, -1], ("a",))
    np.testing.assert_array_equal(joined.numbers["stock"], [np.nan, 7])


def test_texts_and_numbers_do_not_mix_but_all_missing_tell_no_kind() -> None:
    one = catalogue([("1", 2.0, "a")], range(1))
    columns: dict[str, list[Any]] = {"category": ["1"], "price": [1.0], "maker": [None]}
    places, _ = one.joined(Catalogue.build(ENCODER, columns, ["9"])).texts["maker"]
    assert places.tolist() == [0, -1]
    with pytest.raises(DataError, match="'maker' holds texts and numbers"):
        one.joined(Catalogue.build(ENCODER, {**columns, "maker": [3]}, ["9"]))


def test_times_are_texts_to_filter_by_whoever_made_them() -> None:
    columns = {"category": ["0", "1"], "price": [1.0, 2.0]}
    times = np.array(["2024-01-31T12", "NaT"], "datetime64[ns]")
    for times_given in (times, [datetime(2024, 1, 31, 12), None]):
        found = Catalogue.build(ENCODER, {**columns, "since": times_given}, ["a", "b"])
        places, values = found.texts["since"]
        assert (places.tolist(), values) == ([0, -1], ("2024-01-31 12:00:00",))


def test_an_item_without_an_id_is_refused() -> None:
    with pytest.raises(DataError, match="1 items of the catalogue have no id"):
        Catalogue.build(ENCODER, {"category": ["0", "1"], "price": [1.0, 2.0]}, ["a", None])
