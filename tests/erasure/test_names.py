"""What one user may be called, and where that is looked for."""

from __future__ import annotations

import polars as pl
import pytest

from recprune.erasure import Names


@pytest.mark.parametrize(
    "text", ["ann@example.org", "?u=ann%40example.org&x=1", "<ann@example.org>."]
)
def test_a_telling_name_is_found_in_columns_as_in_texts(text: str) -> None:
    names = Names.of("ann@example.org")
    assert names.mentioned_in(text) == 1
    assert names.mentions(pl.Series([text, "bob@example.org", None])).to_list() == [
        True,
        False,
        False,
    ]


def test_in_columns_of_users_an_id_is_a_whole_value() -> None:
    names = Names.of("ann@example.org")
    ids = pl.Series(["ann@example.org", " ann@example.org", "mary.ann@example.org", None])
    assert names.stand_in(ids, of_users=True).to_list() == [True, True, False, False]
    assert names.stand_in(ids, of_users=False).to_list() == [True, True, True, False]


@pytest.mark.parametrize(
    ("user", "number"),
    [
        ("7.0", 7),
        ("-3", -3),
        ("9223372036854775807", 9223372036854775807),
        ("9223372036854775808", None),
        ("07", None),
        ("\u0663", None),
        ("ann7", None),
    ],
)
def test_an_id_that_is_a_whole_number(user: str, number: int | None) -> None:
    assert Names.of(user).numbers == (set() if number is None else {number})
