"""Tensors without their zeros: nothing is lost, and the smallest form is taken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save
from scipy.sparse import csr_array

from recprune.sparse import without_zeros

SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=40)


def restored(form: dict[str, np.ndarray], like: np.ndarray) -> np.ndarray:
    """Return the tensor that a form stands for."""
    if "w" in form:
        return form["w"]
    out = np.zeros(like.size, like.dtype)
    if "bits.w" in form:
        out[np.unpackbits(form["bits.w"], count=like.size).astype(bool)] = form["values.w"]
        return out.reshape(like.shape)
    rows = len(like) if like.ndim > 1 else 1
    starts = np.concatenate([[0], np.cumsum(form["counts.w"].astype(np.int64))])
    parts = (form["values.w"].astype(np.float32), form["columns.w"].astype(np.int64), starts)
    sparse = csr_array(parts, shape=(rows, like.size // rows))
    return sparse.toarray().astype(like.dtype).reshape(like.shape)


@given(st.data(), SHAPES, st.floats(0, 1), st.sampled_from([np.int8, np.float16, np.float32]))
def test_every_form_gives_the_tensor_back(data, shape, share, dtype) -> None:
    draws = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    array = (draws.integers(-100, 101, shape) * (draws.random(shape) < share)).astype(dtype)
    form = without_zeros({"w": array})
    np.testing.assert_array_equal(restored(form, array), array)
    assert len(save(form)) <= len(save({"w": array}))


@pytest.mark.parametrize(
    "share, names",
    [
        (0.97, {"w"}),
        (0.3, {"values.w", "bits.w"}),
        (0.003, {"values.w", "columns.w", "counts.w"}),
    ],
)
def test_the_smallest_form_is_taken(share: float, names: set[str]) -> None:
    draws = np.random.default_rng(0)
    array = (draws.random((500, 200)) < share).astype(np.float16)
    assert set(without_zeros({"w": array})) == names


def test_positions_are_counted_in_the_fewest_bytes() -> None:
    wide = np.zeros((1, 70_000), np.float32)
    wide[0, [0, 69_999]] = 1
    form = without_zeros({"w": wide})
    assert {n: a.dtype.itemsize for n, a in form.items()} == {
        "values.w": 4, "columns.w": 4, "counts.w": 1
    }  # fmt: skip
