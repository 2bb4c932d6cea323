"""Requests' columns: what is let in is what the document says, and mistakes cost next to nothing."""

from __future__ import annotations

import contextlib
import json
import math
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from recprune.serving.cells import LARGEST, Filter, Filtered, Name, Record, Value

from .inprocess import Worker, inprocess
from .living import Place

JSON = {"content-type": "application/json"}
MB = 1_000_000
SCALARS = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, LARGEST, -LARGEST, LARGEST + 1, 10**400, -(10**400), 1.0, math.inf])
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "a", "1", "true", "x" * 10_000, "x" * 10_001])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "k" * 10_001]), inner, max_size=3)
    ),
    max_leaves=6,
)
RECORDS = (
    st.dictionaries(st.sampled_from(["a", "b", "n" * 1000, "n" * 1001]), VALUES, max_size=3)
    | VALUES
)


def taken(form: Any, given: Any) -> Any:
    """Return what a form makes of a value, in words that tell 1 from 1.0; None = it is refused."""
    try:
        return repr(TypeAdapter(form).validate_python(json.loads(json.dumps(given))))
    except ValidationError:
        return None


@given(RECORDS)
def test_columns_are_checked_as_they_are_described(record: Any) -> None:
    assert taken(Record, record) == taken(dict[Name, Value], record)


@given(RECORDS)
def test_filters_are_checked_as_they_are_described(columns: Any) -> None:
    assert taken(Filter, columns) == taken(dict[Name, Filtered], columns)


@pytest.mark.parametrize("form", [Record, Filter])
def test_lengths_are_bounded(form: Any) -> None:
    assert taken(form, dict.fromkeys(map(str, range(10_000)))) is not None
    assert taken(form, dict.fromkeys(map(str, range(10_001)))) is None
    most = 1_000 if form is Filter else 10_000
    assert taken(form, {"a": [0] * most}) is not None
    assert taken(form, {"a": [0] * (most + 1)}) is None


@pytest.fixture(scope="module")
def worker(place: Place) -> Iterator[Worker]:
    with inprocess(place) as running:
        for route in ("recommend", "score"):  # what is only loaded for a refusal is there
            assert running.post(f"/v1/{route}", json={}).status_code == 422
        yield running


@pytest.mark.parametrize(
    "body",
    [
        '{"user": 1',
        '{"user": NaN}',
        '{"user": -Infinity}',
        f'{{"user": {"9" * 5000}}}',
        "[" * 10**5,
    ],
)
def test_what_is_no_json_is_told_as_such(worker: Worker, body: str) -> None:
    answer = worker.post("/v1/recommend", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_json")


@contextlib.contextmanager
def most_memory() -> Iterator[Callable[[], int]]:
    """Yield what tells how many bytes of Python's memory were in use at most, beyond those before."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


MANY = [str(i) for i in range(9_000)]


@pytest.mark.parametrize(
    ("route", "asked"),
    [
        ("recommend", {"user": "1", "context": {i: [[1]] * 9 for i in MANY}}),
        ("recommend", {"user": "1", "filter": {i: [[1]] * 9 for i in MANY}}),
        ("recommend", {"user": "1", "deny": [[]] * 10_000}),
        ("recommend", {"user": "1", **{f"m{i}": 1 for i in range(80_000)}}),
        ("score", {"rows": [{i: [{}] for i in MANY[:100]}] * 800}),
        ("score", {"rows": [[]] * 1_000, "items": [[]] * 1_000}),
    ],
)
def test_a_megabyte_of_mistakes_is_refused_at_the_first(
    worker: Worker, route: str, asked: dict[str, Any]
) -> None:
    body = json.dumps(asked, separators=(",", ":")).encode()
    with most_memory() as most:
        answer = worker.post(f"/v1/{route}", content=body, headers=JSON)
        assert most() < 60 * MB, "a list of 720,000 mistakes took 6 s and 1.1 GB"
    assert answer.status_code == 422
    assert len(answer.text) < 1_000


def test_columns_that_nobody_reads_cost_nothing(worker: Worker, place: Place) -> None:
    row = dict.fromkeys(place.shop.artifact.encoder.schema.names)
    rows = [{**row, **{f"{i}.{j}": 1 for j in range(60)}} for i in range(1_000)]
    body = json.dumps({"rows": rows}).encode()
    with most_memory() as most:
        found = worker.post("/v1/score", content=body, headers=JSON).json()["scores"]
        assert most() < 60 * MB, "a table of 60,000 columns took 4.6 s and 0.5 GB"
    assert found == worker.post("/v1/score", json={"rows": [row] * 1_000}).json()["scores"]
