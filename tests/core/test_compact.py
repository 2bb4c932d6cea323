"""Kept units and texts in few bytes: nothing is lost, and nothing but what was written is read."""

from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import save as format_tensors

from recprune.bags import Sequence
from recprune.compact import (
    TIMES,
    UNFOLDED,
    condensed,
    deflated,
    expanded,
    inflated,
    packed_units,
    skipped,
    units_after,
    unpacked_units,
)
from recprune.encoding import Encoder
from recprune.errors import ArtifactError
from recprune.lookups import Buckets, Knots, Vocabulary
from recprune.schema import Field, Schema

NUMBERS = st.integers(0, 10**20).map(str)
ODD = st.sampled_from(
    ["", "0", "00", "07", "-1", "+1", "1_0", "٣", "²", " 7", "7\n", "\0", "9" * 18]
)
WORDS = st.text(st.characters(), max_size=300)  # lone surrogates included
VALUES = st.none() | NUMBERS | NUMBERS | ODD | WORDS
UNITS = st.sets(st.integers(0, 400)).map(sorted) | st.sets(st.integers(0, 2**31 - 1)).map(sorted)


# ---- texts


@given(st.lists(VALUES, unique=True) | st.lists(NUMBERS, unique=True))
def test_any_texts_read_back(values: list[str | None]) -> None:
    assert expanded(condensed(values)) == values


@pytest.mark.parametrize(
    "values", [[], [None], [""], ["\ud800", "a"], ["é" * 100_000], ["0"], ["9" * 19, "9" * 18, "1"]]
)
def test_odd_vocabularies_read_back(values: list[str | None]) -> None:
    assert expanded(condensed(values)) == values


def test_a_byte_tells_255_numbers_apart() -> None:
    values = [str(n) for n in range(255)]
    assert condensed(values)["numbers"].shape == (1, 255)
    assert expanded(condensed(values)) == values


def test_numbers_take_the_bytes_of_numbers() -> None:
    values = [str(n) for n in range(1_000_000, 1_005_000)]
    (stored,) = condensed(values).values()
    assert stored.shape == (4, 5000)
    assert stored.dtype == np.uint8
    assert set(condensed(["seven", "8"])) == {"texts"}  # not more than half


@pytest.mark.parametrize(
    "changes",
    [
        {"texts": np.array([97, 255, 254], np.uint8)},  # the last has no end
        {"texts": np.array([255], np.uint8)},  # fewer than the numbers leave out
        {"texts": None},
        {"texts": np.array([195, 255, 254, 255], np.uint8)},
        {"texts": np.array([254, 97, 255, 254, 255], np.uint8)},
        {"texts": np.array([97, 255, 254, 255], np.int16)},
        {"texts": np.array([[97, 255, 254, 255]], np.uint8)},
        {"numbers": np.array([1, 2, 3, 0, 0], np.uint8)},
        {"numbers": np.array([[1, 2, 3, 4, 5]], np.uint8)},
        {"numbers": np.array([[1, 2, 3, 0, 0]], np.uint16)},
        {"numbers": np.zeros((3, 2), np.uint8)},
        {"numbers": np.append(np.ones((1, 256), np.uint8), [[0, 0]], axis=1)},
        {"numbers": np.zeros((0, 2), np.uint8)},
    ],
)
def test_texts_that_contradict_themselves_are_refused(
    changes: dict[str, np.ndarray | None],
) -> None:
    whole = {**condensed(["0", "1", "2", "a", None]), **changes}
    with pytest.raises(ArtifactError):
        expanded({name: array for name, array in whole.items() if array is not None})


# ---- kept units


@given(UNITS)
def test_units_are_told_by_what_is_skipped(units: list[int]) -> None:
    kept = np.array(units, np.int32)
    np.testing.assert_array_equal(units_after(skipped(kept)), kept)


@given(st.dictionaries(st.sampled_from("abcdef"), UNITS))
def test_any_plan_reads_back(keep: dict[str, list[int]]) -> None:
    given_ = {name: np.array(units, np.int32) for name, units in keep.items()}
    sizes = [(name, len(given_.get(name, ()))) for name in "fabecd"]
    back = unpacked_units(packed_units(given_, "fabecd"), sizes)
    assert {n: (u.dtype, u.tolist()) for n, u in back.items()} == {
        n: (np.int32, u.tolist()) for n, u in given_.items()
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"axes": np.array([0, 2], np.uint8)},
        {"axes": np.array([[0, 1]], np.uint8)},
        {"axes": np.array([[2, 0]], np.uint8)},
        {"axes": np.array([[0, 0, 2]], np.uint8)},
        {"skipped": np.array([[0, 0, 0]], np.uint8)},
        {"skipped": np.array([0, 0, 0, 0], np.uint8)},
        {"skipped": np.array([[0, 0, 0, 0]], np.int32)},
        {"skipped": np.full((4, 4), 127, np.uint8)},
        {"skipped": np.full((4, 4), 255, np.uint8)},
        {"skipped": np.full((8, 4), 255, np.uint8)},
    ],
)
def test_a_plan_of_other_units_is_refused(changes: dict[str, np.ndarray]) -> None:
    sizes = [("a", 3), ("b", 2), ("c", 1)]
    keep = {"a": np.array([0, 2, 5], np.int32), "c": np.array([3], np.int32)}
    with pytest.raises(ArtifactError):
        unpacked_units({**packed_units(keep, "abc"), **changes}, sizes)


def test_an_axis_of_less_than_no_units_is_refused() -> None:
    stored = packed_units({"a": np.arange(4, dtype=np.int32), "b": np.empty(0, np.int32)}, "ab")
    with pytest.raises(ArtifactError):
        unpacked_units(stored, [("a", 5), ("b", -1)])


# ---- deflated


def test_equal_tensors_give_equal_bytes_and_others_are_refused() -> None:
    tensors = {"a": np.arange(300, dtype=np.uint8), "b": np.zeros((2, 3))}
    data = deflated(tensors)
    assert data == deflated(dict(reversed(tensors.items())))
    back = inflated(data, 0)
    assert {n: a.tolist() for n, a in back.items()} == {n: a.tolist() for n, a in tensors.items()}
    for end in range(len(data)):
        with pytest.raises(ArtifactError):
            inflated(data[:end], 0)
    for more in (b"x", data):
        with pytest.raises(ArtifactError, match="something follows it"):
            inflated(data + more, 0)
    with pytest.raises(SafetensorError):
        inflated(zlib.compress(b"something else"), 0)


@pytest.mark.parametrize("beside", [0, 1000])
def test_what_unfolds_beyond_its_bound_is_refused_unseen(beside: int) -> None:
    def bomb(length: int) -> bytes:
        return zlib.compress(format_tensors({"a": np.zeros(length, np.uint8)}), 9)

    head = len(format_tensors({"a": np.zeros(10**7, np.uint8)})) - 10**7
    # Its own length changes with the zeros, if little: look for the longest that may be.
    most = UNFOLDED + TIMES * (len(bomb(UNFOLDED)) + beside) - head
    while head + most < UNFOLDED + TIMES * (len(bomb(most)) + beside):
        most = UNFOLDED + TIMES * (len(bomb(most)) + beside) - head
    assert len(inflated(bomb(most), beside)["a"]) == most
    with pytest.raises(ArtifactError, match=r"it unfolds to more than [89],\d{3},\d{3} bytes"):
        inflated(bomb(most + 100), beside)


def test_what_is_beyond_the_bound_is_never_unfolded() -> None:
    stream = zlib.compressobj()
    data = b"".join(stream.compress(bytes(10**6)) for _ in range(200)) + stream.flush()
    tracemalloc.start()
    try:
        with pytest.raises(ArtifactError, match="it unfolds to more than"):
            inflated(data, 0)
        assert tracemalloc.get_traced_memory()[1] < 50e6  # of 200 MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [UNFOLDED - 200, UNFOLDED + 2_000_000])
def test_whatever_is_written_may_be_read(length: int) -> None:
    data = deflated({"a": np.zeros(length, np.uint8)})
    assert len(inflated(data, 0)["a"]) == length
    assert len(data) < 10_000 if length < UNFOLDED else len(data) > length / 9
    # Where so many weights are beside it, it may shrink as it does.
    assert len(deflated({"a": np.zeros(length, np.uint8)}, 10**6)) < 12_000


# ---- whole encoders


@given(
    st.lists(VALUES, unique=True),
    st.lists(VALUES, unique=True),
    st.sets(st.integers(0, 999)).map(sorted),
)
def test_any_encoder_reads_back_and_keeps_its_hash(
    values: list[str | None], elements: list[str | None], kept: list[int]
) -> None:
    kinds = {"v": "categorical", "v.texts": "sequence", "numbers": "categorical", "n": "numeric"}
    schema = Schema(tuple(Field(n, k) for n, k in kinds.items()), label="y")  # type: ignore[arg-type]
    parts = {
        "v": Vocabulary(tuple(values)),
        "v.texts": Sequence(Vocabulary(tuple(elements)), 3, separator="|"),
        "numbers": Buckets(1000, np.array(kept, np.int32)),
        "n": Knots(np.array([0.1, 2.0])),
    }
    made = Encoder(schema, parts)
    back = Encoder.from_tensors(schema, inflated(made.stored, 0))
    assert back.hash() == made.hash()
    assert back.sizes == made.sizes
    assert back.stored == made.stored


@pytest.mark.parametrize(
    "changes",
    [
        {"f.numbers": np.array([[8, 8]], np.uint8), "f.texts": None},
        {"f.texts": np.array([255, 255, 255, 255], np.uint8)},
        {"f.skipped": np.array([[6]], np.uint8), "f.buckets": np.array([5], np.int64)},
    ],
)
def test_a_damaged_vocabulary_names_its_field(changes: dict[str, np.ndarray | None]) -> None:
    schema = Schema((Field("f", "categorical"),), label="y")
    made = Encoder(schema, {"f": Vocabulary(("1", "2", "a"))})
    tensors = {**inflated(made.stored, 0), **changes}
    with pytest.raises(ArtifactError, match=r"Vocabulary of 'f' cannot be read: .*[^.]\.$"):
        Encoder.from_tensors(schema, {n: a for n, a in tensors.items() if a is not None})
