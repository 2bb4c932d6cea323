"""Raw values and rows: every value has one row, whatever the file made of it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.dates import DATE_PARTS, DatePart, date_part
from recprune.encoding import Encoder
from recprune.errors import ArtifactError, DataError
from recprune.lookups import UNKNOWN, Knots, Vocabulary
from recprune.schema import Field, Schema
from recprune.texts import pack_texts, text, unpack_texts

from .samples import COLOURS, encoder

TEXTS = st.lists(st.one_of(st.none(), st.text(), st.text(min_size=250, max_size=260)))


# ---- text


@pytest.mark.parametrize(
    "value, expected",
    [
        (3, "3"),
        (3.0, "3"),
        (-0.0, "0"),
        (np.int16(3), "3"),
        (np.float32(3), "3"),
        (0.1, "0.1"),
        (np.float32(0.1), "0.1"),
        (np.float64(0.1), "0.1"),
        (1e-7, "1e-07"),
        (True, "true"),
        (np.False_, "false"),
        ("3.0", "3.0"),
        (" x", " x"),
        ("", ""),
        (np.str_("x"), "x"),
        (float("inf"), "inf"),
        (dt.date(2020, 1, 2), "2020-01-02"),
        (np.datetime64("2020-01-02"), "2020-01-02"),
        (np.datetime64("2020-01-02T03:04:05", "ns"), "2020-01-02 03:04:05"),
        (np.datetime64("2020-01-02T03:04:05.000678", "us"), "2020-01-02 03:04:05.000678"),
        (dt.datetime(2020, 1, 2, 3, 4, 5), "2020-01-02 03:04:05"),
        (Decimal("3.00"), "3"),
        (Decimal("2.50"), "2.5"),
    ],
)
def test_a_value_has_one_text(value: object, expected: str) -> None:
    assert text(value) == expected
    assert type(text(value)) is str


@pytest.mark.parametrize(
    "value",
    [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), Decimal("NaN")],
    ids=["None", "nan", "nan32", "NA", "NaT", "NaT64", "decimal"],
)
def test_every_kind_of_missing_has_no_text(value: object) -> None:
    assert text(value) is None


@given(st.floats(-(2.0**24), 2.0**24, width=32))
def test_32_and_64_bits_of_a_written_number_read_alike(number: float) -> None:
    written = str(np.float32(number))
    assert text(np.float32(written)) == text(float(written))


# ---- vocabularies


@given(st.lists(st.one_of(st.none(), st.text()), unique=True), st.lists(st.text()))
def test_known_values_have_their_row_and_others_the_unknown_one(
    values: list[str | None], others: list[str]
) -> None:
    vocabulary = Vocabulary(tuple(values))
    assert vocabulary.lookup(values).tolist() == list(range(2, vocabulary.rows))
    unseen = [v for v in others if v not in values]
    assert set(vocabulary.lookup(unseen).tolist()) <= {UNKNOWN}


def test_kept_rows_are_numbered_anew_and_cut_values_read_as_unknown() -> None:
    cut = Vocabulary(("a", "b", "c", None)).take(np.array([0, 1, 3, 5], np.int32))
    assert cut.lookup(["a", "b", "c", None]).tolist() == [UNKNOWN, 2, UNKNOWN, 3]


def test_a_missing_value_that_training_never_saw_is_unknown() -> None:
    assert Vocabulary(("a",)).lookup([None, float("nan")]).tolist() == [UNKNOWN, UNKNOWN]


# ---- knots

POINTS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=33, unique=True).map(
    lambda p: np.array(sorted(p), np.float64)
)


@given(POINTS, st.lists(st.floats(allow_nan=False, allow_infinity=True)))
def test_a_number_lies_between_its_two_knots(points: np.ndarray, values: list[float]) -> None:
    code, share = Knots(points).locate(np.array(values))
    low = code - 2
    assert ((low >= 0) & (low < len(points) - 1) & (share >= 0) & (share <= 1)).all()
    met = points[low] + share * (points[low + 1] - points[low])
    expected = np.clip(values, points[0], points[-1])
    np.testing.assert_allclose(met, expected, atol=1e-6 * np.ptp(points))


@given(POINTS)
def test_every_knot_is_its_own_row(points: np.ndarray) -> None:
    code, share = Knots(points).locate(points)
    assert (code - 2 + share).tolist() == list(range(len(points)))


def test_infinities_take_the_ends_and_nan_the_unknown_row() -> None:
    code, share = Knots(np.array([0.0, 1.0])).locate(np.array([-np.inf, np.inf, np.nan]))
    assert code.tolist() == [2, 2, UNKNOWN]
    assert share.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "points",
    [
        [],
        [1.0],
        [1.0, 1.0],
        [2.0, 1.0],
        [0.0, np.nan],
        [-np.inf, 0.0],
        [-1.7e308, 1.7e308],
        [[0.0, 1.0]],
    ],
)
def test_knots_that_do_not_increase_are_refused(points: list[float]) -> None:
    with pytest.raises(DataError, match="two increasing, finite knots"):
        Knots(np.array(points, np.float64))


# ---- whole rows


def test_an_absent_column_counts_as_missing() -> None:
    rows = encoder().encode({"price": [0.0, 9.0]})
    missing = COLOURS.index(None) + 2
    assert rows.codes.tolist() == [[missing, 2], [missing, 3]]
    assert rows.shares.tolist() == [[0], [1]]


def test_numbers_may_come_as_text_and_missing_ones_as_anything() -> None:
    prices = ["1.5", "", None, pd.NA, float("nan"), "inf", True]
    rows = encoder().encode({"price": prices})
    assert rows.codes[:, 1].tolist() == [3, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, 3, 2]
    assert rows.shares[:, 0].tolist() == pytest.approx([0, 0, 0, 0, 0, 1, 1 / 1.5])


@pytest.mark.parametrize("price", ["cheap", "1,5", object()])
def test_a_word_in_a_numeric_column_is_an_error_that_names_it(price: object) -> None:
    with pytest.raises(DataError, match="Field 'price' is numeric"):
        encoder().encode({"price": [price]})


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="differ in length"):
        encoder().encode({"price": [1.0], "colour": ["red", "blue"]})


def test_an_encoder_of_fewer_fields_encodes_them_alike() -> None:
    whole, columns = encoder(), {"price": [0.3, 7.0], "colour": ["blue", "none"]}
    price = whole.take(("price",), {})
    assert price.encode(columns).codes[:, 0].tolist() == whole.encode(columns).codes[:, 1].tolist()
    assert price.numeric == (0,)


# ---- on disk


def test_an_encoder_reads_back_and_keeps_its_hash() -> None:
    made = encoder()
    back = Encoder.from_tensors(made.schema, made.tensors())
    assert back.hash() == made.hash()
    assert back.sizes == made.sizes
    part = back.parts["colour"]
    assert isinstance(part, Vocabulary)
    assert part.values == COLOURS


def test_the_hash_sees_every_value_and_knot() -> None:
    made = encoder()
    others = [
        {**made.parts, "colour": Vocabulary((*COLOURS[:-1], "x"))},
        {**made.parts, "colour": Vocabulary(COLOURS[::-1])},
        {**made.parts, "colour": Vocabulary(tuple(v or "" for v in COLOURS if v != ""))},
        {**made.parts, "price": Knots(np.array([0.0, 1.5, 9.5]))},
    ]
    assert len({made.hash(), *(Encoder(made.schema, parts).hash() for parts in others)}) == 5


@given(TEXTS)
def test_any_texts_pack_and_unpack(values: list[str | None]) -> None:
    assert unpack_texts(pack_texts(values)) == values


def test_broken_unicode_survives() -> None:
    assert unpack_texts(pack_texts(["\ud800", "a"])) == ["\ud800", "a"]


def packed(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    arrays = {**pack_texts(["é", None, "b"]), **changes}
    return {name: array for name, array in arrays.items() if array is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {"lengths": np.array([2, 0, 2], np.uint8)},
        {"lengths": np.array([1, 1, 1], np.uint8)},
        {"lengths": np.array([2, 0], np.uint8)},
        {"lengths": np.array([2, 0, 1], np.int64)},
        {"lengths": np.array([[2, 0, 1]], np.uint8)},
        {"lengths": np.array([4294967295, 0, 4], np.uint32)},
        {"lengths": None},
        {"bytes": None},
        {"bytes": np.array([195, 169, 98], np.int16)},
        {"bytes": np.array([195, 195, 98], np.uint8)},
        {"missing": np.array([3], np.uint32)},
        {"missing": np.array([-1], np.int64)},
    ],
)
def test_texts_that_contradict_themselves_are_refused(changes: dict[str, np.ndarray]) -> None:
    with pytest.raises(ArtifactError):
        unpack_texts(packed(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"colour.lengths": np.array([1], np.uint8)},
        {"colour.missing": np.array([1], np.uint32)},
        {"colour.missing": np.array([2, 4], np.uint32)},
        {"price.knots": np.array([1.0, 0.0])},
        {"price.knots": np.array([1.0, np.nan])},
    ],
)
def test_a_damaged_vocabulary_names_its_field(changes: dict[str, np.ndarray]) -> None:
    made = encoder()
    field = next(iter(changes)).split(".")[0]
    with pytest.raises(ArtifactError, match=f"Vocabulary of '{field}' cannot be read: .*[^.]\\.$"):
        Encoder.from_tensors(made.schema, {**made.tensors(), **changes})


def test_fields_may_be_called_like_each_others_arrays() -> None:
    names = ("a", "a.bytes", "a.knots", "bytes")
    schema = Schema(tuple(Field(n, "categorical") for n in names), label="y")
    made = Encoder(schema, {n: Vocabulary((n, None)) for n in names})
    back = Encoder.from_tensors(schema, made.tensors())
    assert {n: p.values for n, p in back.parts.items() if isinstance(p, Vocabulary)} == {
        n: (n, None) for n in names
    }


@pytest.mark.parametrize("part", DATE_PARTS)
@pytest.mark.parametrize("moment", [1e30, -1e13, float("inf")])
def test_moments_that_64_bits_do_not_hold_are_no_dates(part: DatePart, moment: float) -> None:
    with pytest.raises(DataError, match="Column 'at' holds dates"):
        date_part(part, [moment], name="at")
