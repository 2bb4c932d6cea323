"""Ids of events: what came lately is known, what never came is new, and memory is bounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import ParameterError
from recprune.streaming.remembered import RememberedIds

BLOCKS = st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=12)


@given(st.integers(1, 9), BLOCKS)
def test_as_a_plain_list_of_generations(least: int, blocks: list[list[int]]) -> None:
    ids = RememberedIds(least)
    older: set[int] = set()
    younger: list[int] = []
    for block in blocks:
        expected = []
        for one in block:
            one = one or 1  # 0 is stored as 1
            expected.append(one not in older and one not in younger)
            if expected[-1]:
                younger.append(one)
            if len(younger) == least:
                older, younger = set(younger), []
        assert ids.add(np.array(block, np.uint64)).tolist() == expected
        assert len(ids) == len(older) + len(younger) <= 2 * least


@given(st.integers(1, 9), BLOCKS, BLOCKS)
def test_restored_it_goes_on_the_same(
    least: int, before: list[list[int]], after: list[list[int]]
) -> None:
    one = RememberedIds(least)
    for block in before:
        one.add(np.array(block, np.uint64))
    other = RememberedIds(least)
    other.add(np.arange(5, 9, dtype=np.uint64))  # what it knew is forgotten
    other.restore({name: array.copy() for name, array in one.state().items()})
    for block in after:
        ids = np.array(block, np.uint64)
        assert one.add(ids).tolist() == other.add(ids).tolist()
    for name, array in one.state().items():
        np.testing.assert_array_equal(array, other.state()[name])


def test_ids_that_want_the_same_place() -> None:
    ids, same = RememberedIds(100), np.arange(1, 51, dtype=np.uint64) << np.uint64(32)
    assert ids.add(same).all()
    assert not ids.add(same[::-1].copy()).any()


@pytest.mark.parametrize("least", [0, -1, 1.5, True])
def test_a_bad_number_is_refused(least: object) -> None:
    with pytest.raises(ParameterError, match="least"):
        RememberedIds(least)  # type: ignore[arg-type]
