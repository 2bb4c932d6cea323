"""Direct identifiers are refused by content; what only looks like one is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.data import Dataset, ingest
from recprune.data.columns import ColumnStore
from recprune.data.identifiers import identifier_of
from recprune.data.personal import guess_sensitive
from recprune.errors import DataError
from recprune.schema import Field, Schema

N = 400
DRAWS = np.random.default_rng(3)
MAILS = [f"First.Last+{i}@mail{i % 3}.example.co" for i in range(N)]
PHONES = [f"+49 171 {1000000 + 37 * i}" for i in range(N)]


def with_check_digit(prefix: str, off: int = 0) -> str:
    """Complete a number by Luhn's rule, written the other way round than in the code."""
    total = 0
    for place, digit in enumerate(prefix[::-1]):
        twice = int(digit) * 2 if place % 2 == 0 else int(digit)
        total += sum(map(int, str(twice)))
    return prefix + str((-total + off) % 10)


PREFIXES = [f"4{v:014d}" for v in DRAWS.integers(0, 10**14, N)]
CARDS = [with_check_digit(p) for p in PREFIXES]
WRONG = [with_check_digit(p, off=1 + i % 9) for i, p in enumerate(PREFIXES)]


def read(**columns: Any) -> pl.DataFrame:
    rest = {"size": DRAWS.normal(0, 1, N), "y": DRAWS.integers(0, 2, N)}
    return pl.DataFrame({**columns, **rest})


def test_the_check_digit_is_luhns() -> None:
    assert with_check_digit("7992739871") == "79927398713"  # the example in every textbook
    assert with_check_digit("411111111111111") == "4111111111111111"


@pytest.mark.parametrize(
    "values, what",
    [
        (MAILS, "e-mail addresses"),
        ([f" {m} " for m in MAILS], "e-mail addresses"),
        (PHONES, "phone numbers"),
        ([f"({200 + i}) 555-{1000 + i}" for i in range(N)], "phone numbers"),
        ([f"{200 + i}-555-{1000 + i}" for i in range(N)], "phone numbers"),
        ([f"0171 {1000000 + i}" for i in range(N)], "phone numbers"),
        (CARDS, "card numbers"),
        ([int(c) for c in CARDS], "card numbers"),
        ([float(c) for c in CARDS], "card numbers"),
        ([f"{c[:4]} {c[4:8]} {c[8:12]} {c[12:]}" for c in CARDS], "card numbers"),
    ],
)
def test_identifiers_are_refused(values: list[Any], what: str) -> None:
    with pytest.raises(DataError) as caught:
        Dataset.from_frame(read(contact=values), label="y")
    said = str(caught.value)
    assert "'contact'" in said
    assert what in said
    assert "drop=" in said
    assert "[fields.contact]" in said
    assert str(values[0]).strip() not in said, "the error is logged: it must not leak a value"


def test_holes_and_slips_do_not_hide_them() -> None:
    values: list[str | None] = [*MAILS[:300], *([None] * 90), *(["unknown"] * 10)]
    assert identifier_of(pl.Series(values)) == "e-mail addresses"


@pytest.mark.parametrize("values", [MAILS, PHONES, CARDS])
def test_both_ways_out_that_the_error_names(values: list[str]) -> None:
    frame = read(contact=[*values[: N // 2]] * 2)
    dropped = Dataset.from_frame(frame, label="y", drop=["contact"])
    assert dropped.schema.names == ("size",)
    stated = {"fields": {"contact": {"kind": "categorical"}}}
    named = Dataset.from_frame(frame, label="y", schema=stated)
    assert "contact" in named.schema.names


def test_an_id_may_be_an_address() -> None:
    frame = read(contact=[*MAILS[: N // 2]] * 2)
    assert Dataset.from_frame(frame, label="y", user="contact").schema.user == "contact"


def test_a_file_is_read_alike(tmp_path: Path) -> None:
    read(card=CARDS).write_csv(tmp_path / "t.csv")
    with pytest.raises(DataError, match="'card' holds card numbers"):
        Dataset.read(tmp_path / "t.csv", label="y")


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize("values, what", [(MAILS, "e-mail"), (PHONES, "phone"), (CARDS, "card")])
def test_ingest_refuses_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, values: list[str], what: str
) -> None:
    """Also where the first batches have holes only: what counts are the first values."""
    monkeypatch.setattr("recprune.data.stream.BATCH", 50)
    frame = read(contact=[*[None] * (N // 2), *values[: N // 2]])
    path = tmp_path / f"t.{form}"
    writers = {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}
    writers[form](path)
    with pytest.raises(DataError, match=f"'contact' holds {what}") as caught:
        ingest(path, tmp_path / "t.rp", label="y")
    assert values[0] not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    out = ingest(path, tmp_path / "t.rp", label="y", drop=["contact"])
    assert "contact" not in ColumnStore(out).columns
    assert all(values[0].encode() not in file.read_bytes() for file in out.iterdir())
    stated = {"fields": {"contact": {"kind": "categorical"}}}
    out = ingest(path, tmp_path / "t.rp", label="y", schema=stated)
    assert ColumnStore(out).columns["contact"].missing == N // 2
    with pytest.raises(DataError, match=f"'contact' holds {what}"):
        Dataset.read(out)
    assert "contact" in Dataset.read(out, schema=stated).schema.names
    out = ingest(path, tmp_path / "t.rp", label="y", user="contact")
    assert ColumnStore(out).roles["user"] == "contact"


def test_parts_that_come_split_are_looked_at_too() -> None:
    frame = read(contact=MAILS, shop=[i % 7 for i in range(N)])
    items = pl.DataFrame({"shop": range(7), "floor": [1, 2] * 3 + [1]})
    schema = Schema((Field("size", "numeric"),), "y", item="shop")
    with pytest.raises(DataError, match="'contact' holds e-mail addresses"):
        Dataset.from_splits(*[frame] * 3, schema=schema, items=items)
    rest = frame.drop("contact")
    phones = pl.DataFrame({"shop": range(60), "phone": PHONES[:60]})
    with pytest.raises(DataError, match="'phone' holds phone numbers"):
        Dataset.from_splits(*[rest] * 3, schema=schema, items=phones)
    assert Dataset.from_splits(*[rest] * 3, schema=schema, items=items).schema.names == ("size",)
    named = Schema((Field("size", "numeric"), Field("contact", "categorical")), "y", item="shop")
    data = Dataset.from_splits(*[frame] * 3, schema=named, items=items)
    assert "contact" in data.schema.names


def test_a_name_with_spaces_is_quoted_as_toml_wants_it() -> None:
    with pytest.raises(DataError, match=r'\[fields\."e mail"\]'):
        Dataset.from_frame(read(**{"e mail": MAILS}), label="y")


FRIENDS: dict[str, list[Any]] = {
    "numbers that fail Luhn": WRONG,
    "the same as integers": [int(c) for c in WRONG],
    "any 16 digits": DRAWS.integers(10**15, 10**16, N).tolist(),
    "seconds": (1_600_000_000 + DRAWS.integers(0, 10**8, N)).tolist(),
    "milliseconds": (1_600_000_000_000 + DRAWS.integers(0, 10**10, N)).tolist(),
    "nanoseconds": (1_600_000_000 * 10**9 + DRAWS.integers(0, 10**17, N)).tolist(),
    "ten digits": [f"{v}" for v in DRAWS.integers(10**9, 10**10, N)],
    "dates": [f"20{10 + i % 14}-0{1 + i % 9}-{10 + i % 18}" for i in range(N)],
    "days first": [f"0{1 + i % 9}/0{1 + i % 7}/20{10 + i % 14}" for i in range(N)],
    "times": [f"2024-01-{10 + i % 18} 10:{10 + i % 49}" for i in range(N)],
    "network addresses": [f"192.168.{i % 7}.{i % 250}" for i in range(N)],
    "versions": [f"1.{i % 9}.{i}" for i in range(N)],
    "ranges": [f"{i}-{i + 10}" for i in range(N)],
    "prices": [f"+{i}.99" for i in range(N)],
    "handles": [f"@shop{i}" for i in range(N)],
    "books": [f"978-3-16-{100000 + i}-0" for i in range(N)],
    "the shop's own addresses": [f"team{i % 5}@example.org" for i in range(N)],
    "zeros": [0] * (N - 1) + [1],
}


@pytest.mark.parametrize("name", FRIENDS)
def test_false_friends_are_none(name: str) -> None:
    assert identifier_of(pl.Series(FRIENDS[name])) is None


@pytest.mark.parametrize("name", ["page", "percentage", "email", "phone_model", "card_type"])
def test_a_name_alone_is_no_reason(name: str) -> None:
    data = Dataset.from_frame(read(**{name: DRAWS.integers(0, 40, N)}), label="y")
    assert name in data.schema.names
    assert not guess_sensitive(name)
