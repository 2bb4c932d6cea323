"""Blocks of payloads are read as the plain reader reads each: nothing guessed, nothing lost."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.crypto import ErasureKey, Pseudonymiser
from recprune.data.erased import Erased
from recprune.errors import DataError, ParameterError
from recprune.streaming.events import ANY, EventReader, Events
from recprune.streaming.hashes import byte_hashes, hashes
from recprune.streaming.one_event import Poison

from .plain import COLUMNS, Refused, plain_event

READER = EventReader(COLUMNS, "clicked", id="event")
#: Without lists, events go a shorter way.
FLAT = {name: kind for name, kind in COLUMNS.items() if not kind.is_nested()}
FLAT_READER = EventReader(FLAT, "clicked", id="event")

floats = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=6) | st.sampled_from(
    ["", "[", "{x", "-0", "0.00001", "10" * 9, "7.0", "\x00"]
)
numbers = (
    st.integers() | st.integers(-(10**40), 10**40) | floats | st.sampled_from([-0.0, 1e22, 2.0**55])
)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(texts, v, max_size=2), max_leaves=6
)
sound = st.fixed_dictionaries(
    {
        "event": st.integers(0, 99) | texts,
        "clicked": st.sampled_from([0, 1, 1.0, True, False, "1"]),
    },
    optional={
        "city": scalars,
        "price": st.none() | numbers,
        "seen": st.none() | st.lists(scalars, max_size=3),
        "vec": st.none() | st.lists(st.none() | numbers, max_size=3),
        "other": values,
    },
)
unsound = st.dictionaries(
    st.sampled_from([*COLUMNS, "event", "clicked", "other"]), values, min_size=3
)


@st.composite
def spelt(draw: st.DrawFn, events: st.SearchStrategy[Any]) -> bytes:
    """JSON of an event: spread over lines or not, in ASCII or not, with a key twice or not."""
    event = draw(events)
    text = json.dumps(
        event,
        indent=draw(st.sampled_from([None, None, None, 1])),
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " : ")])),
    )
    if draw(st.integers(0, 9)) == 0 and event:
        text = (
            "{"
            + json.dumps({draw(st.sampled_from(sorted(event))): draw(scalars)})[1:-1]
            + ","
            + text[1:]
        )
    return text.encode("utf-8", "surrogatepass")


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """Bytes that were an event once."""
    payload = bytearray(draw(spelt(sound)))
    place = draw(st.integers(0, len(payload) - 1))
    how = draw(st.integers(0, 2))
    if how == 0:
        del payload[place:]
    elif how == 1:
        payload[place] = draw(st.integers(0, 255))
    else:
        payload[place:place] = draw(st.binary(max_size=3))
    return bytes(payload)


def check(
    payloads: list[bytes], reader: EventReader = READER, columns: dict[str, Any] = COLUMNS
) -> tuple[Events, list[Poison]]:
    """Read payloads both ways and compare all that comes out."""
    if reader is READER:
        check(payloads, FLAT_READER, FLAT)
    events, poison = reader.read(payloads)
    wanted, refused = {}, {}
    for i, payload in enumerate(payloads):
        try:
            wanted[i] = plain_event(payload, columns)
        except Refused as error:
            refused[i] = str(error)
    assert {p.index: p.fault for p in poison} == refused
    assert [p.index for p in poison] == sorted(refused)
    assert events.at.tolist() == list(wanted)
    assert events.label.tolist() == [e.label for e in wanted.values()]
    ids = pl.Series([e.id for e in wanted.values()], dtype=pl.String)
    assert events.ids.tolist() == hashes(ids).tolist()
    assert events.frame.columns == list(columns)
    assert events.frame.to_dicts() == [e.row for e in wanted.values()]
    return events, poison


@settings(max_examples=60)
@given(st.lists(st.one_of(spelt(sound), spelt(sound), spelt(unsound), broken()), max_size=40))
def test_a_block_is_read_as_each_of_its_events(payloads: list[bytes]) -> None:
    check(payloads)


@given(st.lists(floats, min_size=1, max_size=30))
def test_numbers_are_read_to_the_last_bit(numbers: list[float]) -> None:
    payloads = [
        json.dumps({"event": 1, "clicked": 1, "price": x, "city": x}).encode() for x in numbers
    ]
    events, _ = check(payloads)
    assert [math.copysign(1, x) for x in events.frame["price"]] == [
        math.copysign(1, x) for x in numbers
    ]


GOOD = b'{"event": "a", "clicked": 1, "city": "x", "price": 1.5}'
BAD = {
    b"": "json",
    b"  ": "json",
    b"\xef\xbb\xbf" + GOOD: "json",
    b'{"event": "\xff", "clicked": 1}': "utf8",
    b'{"event": "\xed\xa0\x80", "clicked": 1}': "utf8",
    b'{"event": "\\ud800", "clicked": 1}': "utf8",
    b'{"event": 1, "clicked": 1, "price": NaN}': "json",
    b'{"event": 1, "clicked": 1, "other": -Infinity}': "json",
    b'{"event": 1, "clicked": 1, "other": 1e999}': "json",
    b'{"event": 1, "clicked": 1, "price": 1' + b"0" * 400 + b"}": "type",
    b'{"event": 1, "clicked": 1, "price": "1.5"}': "type",
    b'{"event": 1, "clicked": 1, "price": true}': "type",
    b'{"event": 1, "clicked": 1, "city": ["x"]}': "type",
    b'{"event": 1, "clicked": 1, "city": {"x": 1}}': "type",
    b'{"event": 1, "clicked": 1, "seen": "x"}': "type",
    b'{"event": 1, "clicked": 1, "seen": [["x"]]}': "type",
    b'{"event": 1, "clicked": 2}': "label",
    b'{"event": 1}': "label",
    b'{"clicked": 1}': "id",
    b'{"event": "", "clicked": 1}': "id",
    b'{"event": null, "clicked": 1}': "id",
    b"[1]": "object",
    b'"text"': "object",
    b"null": "object",
    GOOD[:-1]: "json",
    GOOD + GOOD: "json",
    GOOD + b"\n" + GOOD: "json",
    GOOD.replace(b'"', b"'"): "json",
    b'{"event": 1, "clicked": 1, "other": ' + b"[" * 33 + b"]" * 33 + b"}": "depth",
    b'{"event": 1, "clicked": 1, "other": ' + b"[" * 100_000: "depth",
    b'{"event": 1, "clicked": 1, "city": "' + b"x" * 2_000_000 + b'"}': "size",
}


@pytest.mark.parametrize("around", [0, 1, 100])
def test_what_is_no_event_is_told_with_the_reason(around: int) -> None:
    payloads = [p for bad in BAD for p in (*[GOOD] * around, bad)]
    events, poison = check(payloads)
    assert [p.fault for p in poison] == list(BAD.values())
    assert len(events) == around * len(BAD)
    assert all(secret not in p.reason for p in poison for secret in ("1.5", "\\ud800", "xxx"))


def test_one_event_is_the_same_beside_any_others() -> None:
    """Deeply nested, wide and twice-keyed events do not depend on what else is in the block."""
    wide = ",".join(f'"k{i}": {i}' for i in range(70))
    odd = [
        b'{"event": 1, "clicked": 1, "other": ' + b"[" * 30 + b"]" * 30 + b"}",
        f'{{"event": 1, "clicked": 1, "city": "first", {wide}, "city": "second"}}'.encode(),
        b'{"event": 1, "clicked": 1, "\\u0063ity": "escaped", "city": "second"}',
        b'{"event": 1, "clicked": 1, "other": 1' + b"0" * 300 + b', "city": 1' + b"0" * 60 + b"}",
        b'{"event": 1, "clicked": 1, "city": "\\ud83d\\ude00", "other": "\\udc00"}',
    ]
    alone = [check([each])[0].frame.to_dicts()[0] for each in odd]
    assert [row["city"] for row in alone[1:]] == ["first", "escaped", "1" + "0" * 60, "😀"]
    for beside in (GOOD, b"?"):
        events, _ = check([p for each in odd for p in (beside, each)])
        assert [r for r in events.frame.to_dicts() if r["city"] != "x"] == alone


def test_without_an_id_the_bytes_tell_events_apart() -> None:
    reader = EventReader({}, "clicked")
    payloads = [b'{"clicked": 1}', b"?", b'{"clicked":1}']
    events, _ = reader.read(payloads)
    assert events.ids.tolist() == byte_hashes([payloads[0], payloads[2]]).tolist()
    assert events.ids[0] != events.ids[1]


def test_no_payloads_are_no_events() -> None:
    events, poison = READER.read([])
    assert len(events) == 0
    assert not poison
    assert events.frame.schema == pl.Schema(COLUMNS)


def people(*users: object) -> list[bytes]:
    return [json.dumps({"clicked": 1, "user": u}).encode() for u in users]


def test_erased_users_leave_nothing_behind() -> None:
    key = ErasureKey(bytes(32))
    erased = Erased(["7"], [key.hash("bob")], key)
    reader = EventReader({}, "clicked", user="user", erased=erased)
    payloads = people("ann", "bob", 7, 7.0, "7", None, "eve")
    payloads += [b'{"user": "bob"}', b'{"user": "bob", "clicked": [1]}', b'{"user": "eve"}']
    events, poison = reader.read(payloads)
    assert events.frame["user"].to_list() == ["ann", None, "eve"]
    assert events.erased == 6
    assert [p.index for p in poison] == [9]
    assert events.at.tolist() == [0, 5, 6]


def test_users_are_renamed_as_on_ingest_and_erased_under_both_names() -> None:
    names = Pseudonymiser(bytes(range(32)))
    erased = Erased(["bob", names.pseudonym("eve")])
    reader = EventReader({"user": pl.String()}, "clicked", None, "user", erased, names)
    events, _ = reader.read(people("ann", "bob", "eve", 7.0))
    assert events.frame["user"].to_list() == [names.pseudonym("ann"), names.pseudonym("7")]
    assert events.erased == 2


def test_who_left_no_event_is_known_by_the_pseudonym_too() -> None:
    """The first that comes of a user may be one that cannot be read."""
    names = Pseudonymiser(bytes(range(32)))
    erased = Erased([names.pseudonym("eve")])
    reader = EventReader({"price": pl.Float64()}, "clicked", None, "user", erased, names)
    wrong = [json.dumps({"clicked": 1, "user": u, "price": "x"}).encode() for u in ("ann", "eve")]
    events, poison = reader.read(wrong)
    assert (len(events), events.erased, [p.index for p in poison]) == (0, 1, [0])


@pytest.mark.parametrize("erased", [None, Erased(["bob"])])
def test_half_a_surrogate_pair_is_nobody(erased: Erased | None) -> None:
    reader = EventReader({}, "clicked", user="user", erased=erased)
    events, poison = reader.read([rb'{"clicked": 1, "user": "\ud800"}', *people("ann")])
    assert events.frame["user"].to_list() == ["ann"]
    assert [(p.index, p.fault) for p in poison] == [(0, "utf8")]


def test_pseudonyms_on_the_list_and_plain_users_are_refused() -> None:
    erased = Erased([Pseudonymiser(bytes(32)).pseudonym("ann")])
    reader = EventReader({}, "clicked", user="user", erased=erased)
    with pytest.raises(DataError, match="Give the key"):
        reader.read(people("ann"))


def test_users_met_are_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recprune.streaming.events.RENEWED", 10)
    reader = EventReader({}, "clicked", user="user", erased=Erased(["u3"]))
    total = 0
    for start in range(0, 100, 5):
        events, _ = reader.read(people(*(f"u{i % 7}" for i in range(start, start + 5))))
        total += events.erased
        assert len(reader._people._people._judged) <= 10  # type: ignore[union-attr]
    assert total == sum(i % 7 == 3 for i in range(100))


@pytest.mark.parametrize(
    "given, wrong",
    [
        ({"columns": {"a": pl.Int64()}, "label": "y"}, "columns"),
        ({"columns": {"y": pl.String()}, "label": "y"}, "label"),
        ({"columns": {}, "label": "y", "id": "y"}, "label"),
        ({"columns": {"a": pl.Float64()}, "label": "y", "user": "a"}, "user"),
        ({"columns": {}, "label": "y", "erased": Erased(["ann"])}, "user"),
        ({"columns": {}, "label": "y", "pseudonyms": Pseudonymiser(bytes(32))}, "user"),
    ],
)
def test_a_reader_that_makes_no_sense_is_refused(given: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ParameterError, match=f"'{wrong}' parameter of EventReader"):
        EventReader(**given)


def test_many_poison_events_cost_no_more_than_their_number() -> None:
    payloads = [GOOD, b"?"] * 5_000
    events, poison = READER.read(payloads)
    assert len(events) == len(poison) == 5_000
    assert np.array_equal(events.at, np.arange(0, 10_000, 2))


def test_a_column_of_any_kind_takes_lists_as_their_json() -> None:
    """What a pruned list or vector is watched by; in a column of texts it would be no event."""
    values: list[Any] = [
        ["a", "é"],
        [1.5, None],
        {"k": [1]},
        "[",
        "x",
        7.0,
        True,
        None,
        "",
        [],
        '["a"]',
    ]
    payloads = [json.dumps({"clicked": 1, "any": v, "n": i}).encode() for i, v in enumerate(values)]
    reader = EventReader({"any": ANY, "n": pl.Float64()}, "clicked")
    whole, poison = reader.read(payloads)
    assert not poison
    assert whole.frame["any"].to_list() == [
        *(json.dumps(v) for v in values[:3]), "[", "x", "7", "true", None, None, "[]", '["a"]'
    ]  # fmt: skip
    for i, payload in enumerate(payloads):
        alone, _ = reader.read([payload])
        assert alone.frame.equals(whole.frame[i : i + 1])
