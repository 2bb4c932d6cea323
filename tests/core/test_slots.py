"""Few slots for many codes, against a plain slow bookkeeper."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import ParameterError
from recprune.slots import SlotMap

#: What happens to a map, one after the other: codes are used, time passes, slots are renewed.
EVENTS = st.lists(
    st.one_of(
        st.lists(st.integers(0, 11), min_size=1, max_size=8),
        st.sampled_from([0.5, 1.0, 3.0, 40.0, 900.0]),
        st.just("renew"),
    ),
    max_size=30,
)


class Bookkeeper:
    """Every use with its time; slots by sorting all codes."""

    def __init__(self, codes: int, slots: int, half_life: float) -> None:
        self.codes, self.slots, self.half_life = codes, slots, half_life
        self.log: list[tuple[float, int]] = []
        self.now = 0.0
        self.held: set[int] = set()

    def uses(self, code: int) -> float:
        return math.fsum(
            2.0 ** ((then - self.now) / self.half_life) for then, c in self.log if c == code
        )

    def renew(self) -> None:
        able = [c for c in range(self.codes) if c in self.held or any(x == c for _, x in self.log)]
        ranked = sorted(able, key=lambda c: (-round(self.uses(c), 12), c not in self.held, c))
        self.held = set(ranked[: self.slots])


@given(EVENTS, st.integers(0, 6), st.sampled_from([1.0, 4.0, math.inf]))
def test_the_codes_used_most_have_the_slots(events: list, slots: int, half_life: float) -> None:
    few, slow = SlotMap(12, slots, half_life), Bookkeeper(12, slots, half_life)
    twin = SlotMap(12, slots, half_life)
    for event in events:
        before = few.slot_of.copy()
        if event == "renew":
            changed = few.renew()
            slow.renew()
            np.testing.assert_array_equal(twin.renew(), changed)
        elif isinstance(event, float):
            few.advance(event)
            twin.advance(event)
            slow.now += event
        else:
            few.count(event)
            twin.count(event)
            slow.log += [(slow.now, c) for c in event]
        # Never more than there is room for, each at most once, and both directions agree.
        full = few.code_of[few.code_of >= 0]
        assert len(few.code_of) == slots
        assert len(np.unique(full)) == len(full) == (few.slot_of >= 0).sum()
        np.testing.assert_array_equal(few.code_of[few.slot_of[full]], full)
        np.testing.assert_allclose(few.uses, [slow.uses(c) for c in range(12)], rtol=1e-9)
        np.testing.assert_array_equal(twin.slot_of, few.slot_of)
        if event != "renew":
            np.testing.assert_array_equal(few.slot_of, before)
            continue
        stay = (before >= 0) & (few.slot_of >= 0)
        np.testing.assert_array_equal(few.slot_of[stay], before[stay])
        new = np.flatnonzero((few.slot_of >= 0) & (before < 0))
        assert sorted(few.slot_of[new].tolist()) == changed.tolist()
        # Counts that round alike may go either way: then only how much is held is the same.
        held, wanted = few.held.tolist(), sorted(slow.held)
        if held != wanted:
            np.testing.assert_allclose(
                sorted(slow.uses(c) for c in held), sorted(slow.uses(c) for c in wanted), atol=1e-11
            )
            slow.held = set(held)


def test_a_use_halves_in_a_half_life_exactly() -> None:
    few = SlotMap(2, 1, half_life=8)
    few.count([0])
    for halvings in range(1, 400):
        few.advance(8)
        assert few.uses[0] == 2.0**-halvings
    few.count([1])
    assert few.uses[1] == 1.0


def test_an_evicted_code_comes_back() -> None:
    few = SlotMap(3, 1, half_life=1)
    held = []
    for code in (0, 2, 0):
        few.count([code] * 3)
        few.renew()
        held.append(few.held.tolist())
        few.advance(5)
    assert held == [[0], [2], [0]]


def test_of_codes_used_alike_who_has_a_slot_keeps_it_then_the_lower_gets_one() -> None:
    few = SlotMap(5, 2)
    few.count([3])
    few.renew()
    few.count([0, 1, 2, 4])
    few.renew()
    assert few.held.tolist() == [0, 3]


def test_times_of_any_size_pass() -> None:
    few = SlotMap(2, 1, half_life=1e-300)
    few.count([0])
    few.advance(1e300)
    few.count([1, 1])
    assert few.renew().tolist() == [0]
    assert few.held.tolist() == [1]
    np.testing.assert_allclose(few.uses, [0, 2])


def test_no_codes_no_slots() -> None:
    for codes, slots in ((0, 0), (0, 3), (3, 0)):
        few = SlotMap(codes, slots)
        few.count(np.arange(codes))
        assert not len(few.renew())
        assert not len(few.held)


@pytest.mark.parametrize(
    "options, name",
    [
        ({"codes": -1, "slots": 1}, "codes"),
        ({"codes": 3, "slots": 1.5}, "slots"),
        ({"codes": 3, "slots": 1, "half_life": 0}, "half_life"),
        ({"codes": 3, "slots": 1, "half_life": math.nan}, "half_life"),
    ],
)
def test_bad_options_are_refused(options: dict, name: str) -> None:
    with pytest.raises(ParameterError, match=name):
        SlotMap(**options)


def test_bad_calls_are_refused() -> None:
    few = SlotMap(3, 1)
    for time in (-1, math.inf, math.nan):
        with pytest.raises(ParameterError, match="time"):
            few.advance(time)
