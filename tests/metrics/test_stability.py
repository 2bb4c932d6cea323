"""The population stability index against SciPy's relative entropies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from recprune.errors import ParameterError
from recprune.metrics import population_stability

COUNTS = st.lists(st.integers(1, 1000), min_size=5, max_size=5)


@given(COUNTS, COUNTS)
def test_it_is_the_relative_entropy_both_ways(late: list[int], usual: list[int]) -> None:
    expected = entropy(late, usual) + entropy(usual, late)
    assert population_stability(late, usual) == pytest.approx(expected, abs=1e-12)


def test_an_empty_part_counts_as_a_small_one() -> None:
    p = np.array([1.0, 1e-4])
    expected = ((p - 0.5) * np.log(p / 0.5)).sum()
    assert population_stability([8, 0], [5, 5]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("late", "usual", "message"),
    [
        ([1, 2], [1, 2, 3], r"of shape \(2,\)"),
        ([0, 0], [1, 2], "'counts' .* above 0"),
        ([1, 2], [0, 0], "'reference' .* above 0"),
    ],
)
def test_what_it_refuses(late: list[int], usual: list[int], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        population_stability(late, usual)
