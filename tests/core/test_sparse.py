"""Tensors without their zeros: nothing is lost, and the smallest form is taken."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recprune.compact import from_planes, units_after
from recprune.sparse import without_zeros

SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=40)
Arrays = dict[str, np.ndarray]


def restored(values: Arrays, positions: Arrays, like: np.ndarray) -> np.ndarray:
    """Return the tensor that values and positions stand for."""
    if not positions:
        return values["w"]
    out = np.zeros(like.size, like.dtype)
    if "bits.w" in positions:
        out[np.unpackbits(positions["bits.w"], count=like.size).astype(bool)] = values["w"]
    else:
        out[units_after(positions["skipped.w"])] = values["w"]
    return out.reshape(like.shape)


def counted(values: Arrays, positions: Arrays) -> int:
    parts = [zlib.compress(p.tobytes(), 6) for p in positions.values()]
    return values["w"].nbytes + sum(map(len, parts))


@given(st.data(), SHAPES, st.floats(0, 1), st.sampled_from([np.int8, np.float16, np.float32]))
def test_every_form_gives_the_tensor_back(data, shape, share, dtype) -> None:
    draws = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    array = (draws.integers(-100, 101, shape) * (draws.random(shape) < share)).astype(dtype)
    form = without_zeros({"w": array})
    np.testing.assert_array_equal(restored(*form, array), array)
    assert counted(*form) <= array.nbytes


@pytest.mark.parametrize(
    "share, names", [(1, set()), (0.5, {"bits.w"}), (0.1, {"skipped.w"}), (0.003, {"skipped.w"})]
)
def test_the_smallest_form_is_taken(share: float, names: set[str]) -> None:
    draws = np.random.default_rng(0)
    array = (draws.random((500, 200)) < share).astype(np.float16)
    values, positions = without_zeros({"w": array})
    assert set(positions) == names
    # No code takes less than the entropy of independent zeros; these take little more.
    if names:
        entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) * array.size / 8
        taken = counted(values, positions) - values["w"].nbytes
        assert 0.97 * entropy < taken < 1.25 * entropy


def test_positions_far_apart_are_counted_too() -> None:
    wide = np.zeros((1, 70_000), np.float32)
    wide[0, [0, 69_999]] = 1
    values, positions = without_zeros({"w": wide})
    assert values["w"].tolist() == [1, 1]
    assert from_planes(positions["skipped.w"]).tolist() == [0, 69_998]
