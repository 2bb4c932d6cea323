"""The table of keys against a dictionary, and the sketch against true counts."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.streaming.hashes import byte_hashes
from recprune.streaming.keys import find, insert, remove
from recprune.streaming.sketch import add, estimate, halve, new_sketch

ROOM = 16
#: Few keys that all want one of few places, the last ones too, so that probing goes round.
KEYS = [np.uint64(home << 60 | n) for home in (0, 1, 14, 15) for n in range(1, 7)]


@given(st.lists(st.integers(0, len(KEYS) - 1), max_size=80))
@settings(max_examples=60)
def test_keys_come_and_go_as_in_a_dictionary(turns: list[int]) -> None:
    keys, table = np.zeros(ROOM, np.uint64), np.full(ROOM + 2, -1, np.int32)
    rows: dict[int, int] = {}
    for turn in turns:
        key = KEYS[turn]
        if turn in rows:
            remove(key, keys, table)
            keys[rows.pop(turn)] = 0
        elif len(rows) < ROOM:
            row = min(set(range(ROOM)) - set(rows.values()))
            keys[row] = key
            insert((row, row + 1), keys, table)
            rows[turn] = row
        for other, known in enumerate(KEYS):
            assert table[find(known, keys, table)] == rows.get(other, -1)


def counted(keys: np.ndarray, counters: int) -> np.ndarray:
    sketch = new_sketch(counters)
    for key in keys:
        add(key, sketch)
    return sketch


@given(st.lists(st.integers(1, 60), max_size=300), st.integers(32, 256))
@settings(max_examples=50)
def test_estimates_are_never_too_low(drawn: list[int], counters: int) -> None:
    keys = byte_hashes([bytes([n]) for n in drawn], 9)
    sketch = counted(keys, counters)
    for key, count in zip(*np.unique(keys, return_counts=True), strict=True):
        assert estimate(key, sketch) >= count


def test_estimates_are_near_where_there_is_room() -> None:
    draws = np.random.default_rng(0)
    values = np.minimum(draws.zipf(1.3, 20_000), 10_000)
    keys = byte_hashes([b"%d" % v for v in values.tolist()])
    sketch = counted(keys, 16_384)
    own, counts = np.unique(keys, return_counts=True)
    over = np.array([estimate(key, sketch) for key in own]) - counts
    assert over.mean() < 0.1
    before = np.array([estimate(key, sketch) for key in own])
    halve(sketch)
    assert (np.array([estimate(key, sketch) for key in own]) == before // 2).all()
