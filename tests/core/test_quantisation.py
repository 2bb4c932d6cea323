"""Stored bits: against slow plain code, exact in bytes, the same bytes again, refused if damaged."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from recprune.artifact import as_stored, encoded
from recprune.errors import ArtifactError, PlanError
from recprune.quantisation import (
    ENCODINGS,
    checked,
    packed,
    pieces,
    restored,
    stored_bytes,
    unpacked,
)

ROWS = ("int8_row", "int4_row")
VALUES = st.floats(-1e3, 1e3, width=32)
TABLES = arrays(np.float32, array_shapes(min_dims=1, max_dims=2, max_side=7), elements=VALUES)
SMALL = arrays(
    np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=VALUES
) | arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    elements=st.floats(-(2**-20), 2**-20, width=32),
)


def slow_row(row: list[float], encoding: str) -> tuple[bytes, list[float]]:
    """One row's bytes and values, from the format's page alone."""
    most = 127.4 if encoding == "int8_row" else 7.4
    peak = max(abs(v) for v in row)
    scales = [0.0] + [float(np.float32(2 ** ((c - 192) / 8))) for c in range(1, 256)]
    code = next(c for c in range(1, 256) if peak <= np.float32(most) * np.float32(scales[c]))
    head = row[:1] if encoding == "int4_row" and len(row) % 2 else []
    body = row[len(head) :]
    first = [round(float(np.float32(v) / np.float32(scales[code]) * 16)) for v in head]
    steps = [round(float(np.float32(v) / np.float32(scales[code]))) for v in body]
    values = [s / 16 * scales[code] for s in first] + [s * scales[code] for s in steps]
    if not any(first + steps):
        code = 0
    data = [code, *(s % 256 for s in first)]
    if encoding == "int8_row":
        data += [s % 256 for s in steps]
    else:
        data += [a % 16 + 16 * (b % 16) for a, b in zip(steps[::2], steps[1::2], strict=True)]
    return bytes(data), values


@pytest.mark.parametrize("encoding", ROWS)
@given(table=SMALL)
def test_packed_rows_are_those_of_slow_plain_code(encoding: Any, table: np.ndarray) -> None:
    (stored,) = pieces(table, encoding, "t")
    for row, data, back in zip(
        table.tolist(), stored, restored([stored], table.shape, encoding), strict=True
    ):
        wanted, values = slow_row(row, encoding)
        assert data.tobytes() == wanted
        np.testing.assert_allclose(back, values, rtol=1e-6)


@pytest.mark.parametrize("encoding", ROWS)
@given(table=TABLES)
def test_no_value_is_off_by_more_than_half_a_step(encoding: Any, table: np.ndarray) -> None:
    back = as_stored({"t": table}, {"t": encoding})["t"]
    rows, off = (a.reshape(len(a) if a.ndim > 1 else 1, -1) for a in (table, abs(back - table)))
    peak = np.abs(rows).max(axis=1, keepdims=True)
    # A step is at most 9 % above what the largest value needs; the least step is 2 ** -23.875.
    step = np.maximum(peak / (116.8 if encoding == "int8_row" else 6.78), 2**-23.8)
    assert (off <= 0.5001 * step).all()
    if encoding == "int4_row" and rows.shape[1] % 2:
        assert (off[:, :1] <= 0.5001 * step / 16).all()


@pytest.mark.parametrize("encoding", ROWS)
def test_many_rows_are_stored_as_each_alone(encoding: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("recprune.quantisation.BLOCK", 4)
    table = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    (stored,) = pieces(table, encoding, "t")
    alone = [pieces(table[i : i + 1], encoding, "t")[0] for i in range(11)]
    np.testing.assert_array_equal(stored, np.concatenate(alone))
    each = [restored([row], (1, 3), encoding) for row in alone]
    np.testing.assert_array_equal(restored([stored], (11, 3), encoding), np.concatenate(each))


def test_bytes_that_we_never_write_read_as_the_page_says() -> None:
    zero = restored([np.array([[0, 5, 128]], np.uint8)], (1, 2), "int8_row")
    np.testing.assert_array_equal(zero, [[0, 0]])
    eight = restored([np.array([[192, 128, 255]], np.uint8)], (1, 2), "int8_row")
    np.testing.assert_array_equal(eight, [[-128, -1]])
    four = restored([np.array([[200, 128, 0x8F]], np.uint8)], (1, 3), "int4_row")
    np.testing.assert_array_equal(four, [[-16, -2, -16]])


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(table=TABLES)
def test_what_was_read_gives_the_same_bytes_as_many_as_predicted(
    encoding: Any, table: np.ndarray
) -> None:
    once = pieces(table, encoding, "t")
    again = pieces(restored(once, table.shape, encoding), encoding, "t")
    assert [p.tobytes() for p in once] == [p.tobytes() for p in again]
    assert sum(p.nbytes for p in once) == stored_bytes(table.shape, encoding)


@st.composite
def runs(draw: st.DrawFn, rows: int) -> Any:
    starts = sorted(draw(st.sets(st.integers(1, rows + 2), max_size=3)))
    return tuple((start, draw(st.sampled_from(ENCODINGS))) for start in [0, *starts])


@given(data=st.data(), table=SMALL)
def test_runs_are_stored_as_tables_of_their_own(data: st.DataObject, table: np.ndarray) -> None:
    mixed = data.draw(runs(len(table)))
    stored = pieces(table, mixed, "t")
    ends = [start for start, _ in mixed[1:]] + [len(table)]
    apart = [(table[s:e], how) for (s, how), e in zip(mixed, ends, strict=True)]
    alone = [p.tobytes() for part, how in apart for p in pieces(part, how, "t")]
    assert [p.tobytes() for p in stored] == alone
    assert sum(p.nbytes for p in stored) == stored_bytes(table.shape, mixed)
    back = restored(stored, table.shape, mixed)
    each = [as_stored({"t": part}, {"t": how})["t"] for part, how in apart]
    np.testing.assert_array_equal(back, np.concatenate(each))


@given(data=st.data(), tables=st.dictionaries(st.sampled_from("abcd"), SMALL))
def test_all_tensors_come_back_from_their_vectors(data: st.DataObject, tables: Any) -> None:
    how = {n: data.draw(st.sampled_from(ENCODINGS) | runs(len(t)), n) for n, t in tables.items()}
    vectors = packed(p for some in encoded(tables, how).values() for p in some)
    state = unpacked(vectors, {n: t.shape for n, t in tables.items()}, how)
    wanted = as_stored(tables, how)
    assert sorted(state) == sorted(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(state[name], array)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(table=SMALL, data=st.data())
def test_rows_that_stay_lose_nothing_by_those_that_go(
    encoding: Any, table: np.ndarray, data: st.DataObject
) -> None:
    """Also where the row that set a column's scale is gone."""
    read = as_stored({"t": table}, {"t": encoding})["t"]
    left = read[data.draw(st.lists(st.integers(0, len(read) - 1), min_size=1))]
    np.testing.assert_array_equal(as_stored({"t": left}, {"t": encoding})["t"], left)


@pytest.mark.parametrize("encoding", [*ENCODINGS, ((0, "int8_row"), (1, "int4_row"))])
def test_tensors_without_elements_take_nothing(encoding: Any) -> None:
    for shape in ((0, 3), (3, 0), (0,)):
        empty = np.zeros(shape, np.float32)
        assert stored_bytes(shape, encoding) == 0
        assert as_stored({"t": empty}, {"t": encoding})["t"].shape == shape


@pytest.mark.parametrize("encoding", ["fp16", "int8", *ROWS])
@pytest.mark.parametrize("weight", [-3.402e38, np.inf, np.nan])
def test_a_weight_that_no_scale_holds_is_an_error(encoding: Any, weight: float) -> None:
    with pytest.raises(PlanError, match=rf"'t' has a weight of .*; {encoding} holds at most \d"):
        pieces(np.array([[1.0, 2.0], [weight, 3.0]], np.float32), encoding, "t")


def test_huge_weights_go_as_far_as_an_error_says_they_do() -> None:
    with pytest.raises(PlanError, match=r"a weight of 30000; int8_row .* as fp32 or int8"):
        pieces(np.array([3e4], np.float32), "int8_row", "t")
    with pytest.raises(PlanError, match=r"a weight of inf; int8_row .* as fp32\."):
        pieces(np.array([np.inf], np.float32), "int8_row", "t")
    huge = np.array([[-3.4e38, 1.0]], np.float32)
    np.testing.assert_allclose(as_stored({"t": huge}, {"t": "int8"})["t"], huge, rtol=2e-5)


def test_many_runs_take_no_longer_for_each() -> None:
    def seconds(n: int) -> float:
        runs: Any = tuple((row, ("fp16", "fp32")[row % 2]) for row in range(n))
        stored = pieces(np.ones((n, 1), np.float32), runs, "t")
        start = time.perf_counter()
        restored(stored, (n, 1), runs)
        return time.perf_counter() - start

    # Twenty-five times as many: copying what is left for each run would take hundreds of times.
    long, short = (min(seconds(n) for _ in range(3)) for n in (50_000, 2_000))
    assert long < 200 * short


SHAPES = {"a": (3, 3), "b": (2, 2), "c": (2,)}
HOW: Any = {"a": "int4_row", "b": "int8"}


def sound() -> dict[str, np.ndarray]:
    state = {n: np.ones(s, np.float32) for n, s in SHAPES.items()}
    return packed(p for some in encoded(state, HOW).values() for p in some)


@pytest.mark.parametrize("kind", sorted(sound()))
@pytest.mark.parametrize("change", ["shorter", "longer", "type", "dims", "gone", "unknown"])
def test_vectors_that_do_not_fit_are_refused(kind: str, change: str) -> None:
    vectors = sound()
    vector = vectors.pop(kind)
    if change != "gone":
        changed = {
            "shorter": vector[:-1],
            "longer": np.append(vector, vector[:1]),
            "type": vector.astype(np.float64),
            "dims": vector[:, None],
            "unknown": vector,
        }
        vectors["weights" if change == "unknown" else kind] = changed[change]
    with pytest.raises(ArtifactError, match="other weights than"):
        unpacked(vectors, SHAPES, HOW)


@pytest.mark.parametrize("shape", [(10**12, 9), (10**30, 10**30), (2**62, 4), (-1, -9), (3, -3)])
def test_shapes_that_are_merely_said_allocate_nothing(shape: tuple[int, ...]) -> None:
    for encoding in ENCODINGS:
        with pytest.raises(ArtifactError):
            unpacked(sound(), {**SHAPES, "a": shape}, {**HOW, "a": encoding})


@pytest.mark.parametrize(
    "encoding",
    [
        "int4", None, 3, [], [[1, "fp16"]], [[0, "int3"]], [[0, "fp16"], [0, "int8"]], [[0, []]],
        [[0, "fp16"], [5, "int8"], [4, "fp16"]], [[False, "fp16"]], [[0.0, "fp16"]], [0, "fp16"],
        {"0": "fp16"}, [[0, "fp16"], [1e3, "int8"]],
    ],
)  # fmt: skip
def test_what_is_no_encoding_is_refused_with_those_that_are(encoding: Any) -> None:
    with pytest.raises(PlanError, match="'t' must be one of fp32, fp16, int8, int8_row, int4_row"):
        checked(encoding, "t")


def test_a_wrong_name_gets_the_nearest_one() -> None:
    with pytest.raises(PlanError, match="Did you mean 'int4_row'"):
        checked("int4row", "t")
