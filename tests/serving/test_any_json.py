"""Any JSON, and what only looks like it: an answer or a refusal that names the reason, at once."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .inprocess import Worker, inprocess
from .living import Place
from .openapi_checks import INTERNALS

PATHS = ("/v1/recommend", "/v1/score", "/v1/admin/hide", "/v1/admin/show")
NAMES = (
    "user", "users", "record", "k", "context", "candidates", "filter", "deny", "seen", "exclude_seen",
    "label", "rows", "items", "calibrated", "age", "hour", "times_category", "favourite", "item_id",
    "category", "price", "user_id", "", "__proto__", "\ud800", "\0", "a" * 1001,
)  # fmt: skip
#: A value as it is written; some of them no JSON has.
WRITTEN = (
    "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e308", "5e-324", "-0", "0.1", "1.0", "10.0",
    "9" * 5000, "-" + "9" * 4000, str(2**63), str(-(2**63) - 1), "1e3", "01", "+1", ".5", "0x10", "1_000",
    '"\\ud800"', '"\\udc00x"', '"\\u0000"', '"' + "x" * 20_000 + '"', '"\\x"', "'x'", "true", "null",
    "[" * 50_000, '{"a":' * 20_000, "[" * 900 + "]" * 900, "[null,[1,[2]]]", '{"1":1,"1":2}', '"2"', "3", "[]", "{}",
)  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(WRITTEN) | st.integers().map(str) | st.floats().map(json.dumps)
    | st.text(max_size=20).map(json.dumps),
    lambda inner: st.lists(inner, max_size=4).map(lambda v: f"[{','.join(v)}]")
    | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4).map(
        lambda v: "{" + ",".join(f"{json.dumps(n)}:{x}" for n, x in v.items()) + "}"
    ),
    max_leaves=12,
)  # fmt: skip
BODIES = st.one_of(
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6).map(
        lambda v: ("{" + ",".join(f"{json.dumps(n)}:{x}" for n, x in v) + "}").encode()
    ),
    VALUES.map(str.encode),
    VALUES.map(lambda v: v.encode("utf-16")),
    VALUES.map(lambda v: b"\xef\xbb\xbf" + v.encode()),
    st.binary(max_size=200),
)
TYPES = st.sampled_from(
    ["application/json"] * 8
    + ["text/plain", "application/xml", "", "application/x-www-form-urlencoded", "multipart/form-data",
       "application/json; charset=utf-16", "application/json;charset=\xe9", "APPLICATION/JSON", "x/+json"]
)  # fmt: skip


@pytest.fixture(scope="module")
def worker(place: Place) -> Iterator[Worker]:
    with inprocess(place) as worker:
        yield worker
    (place.state / "hidden.json").unlink(missing_ok=True)


def told(worker: Worker, path: str, body: bytes, kind: str = "application/json") -> Any:
    before = time.monotonic()
    answer = worker.post(path, content=body, headers={"content-type": kind.encode("latin-1")})
    assert time.monotonic() - before < 20, "it takes long"
    assert answer.status_code in (200, 400, 413, 415, 422), answer.text
    content = json.loads(answer.content.decode())  # sound JSON in UTF-8, always
    if answer.status_code != 200:
        assert set(content) == {"error"}
        assert content["error"]["code"]
        assert len(answer.content) < 10_000, "it repeats what was sent"
        assert not [word for word in INTERNALS if word in answer.text], answer.text
    return answer.status_code


@given(st.sampled_from(PATHS), BODIES, TYPES)
@settings(
    max_examples=120,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_any_body_is_answered_or_refused(
    worker: Worker, caplog: pytest.LogCaptureFixture, path: str, body: bytes, kind: str
) -> None:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        told(worker, path, body, kind)
    assert not caplog.records, "nothing that a stranger sends is worth a line of the log"


@given(st.sampled_from(["user", "k", "context", "filter", "deny", "label", "record"]), VALUES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_in_its_place(worker: Worker, name: str, value: str) -> None:
    rest = "" if name in ("user", "record") else ',"user":"2"'
    told(worker, "/v1/recommend", (f'{{"{name}":{value}{rest}}}').encode())


@given(st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_any_row(worker: Worker, place: Place, data: st.DataObject) -> None:
    names = place.shop.artifact.encoder.schema.names
    cells = [f'"{name}":{data.draw(VALUES)}' for name in names]
    told(worker, "/v1/score", ('{"rows":[{' + ",".join(cells) + "}]}").encode())


MANY = {
    "columns": {"rows": [{f"c{i}": 1 for i in range(10_000)}, *[{}] * 999]},
    "columns of a record": {"record": {f"c{i}": i for i in range(10_001)}},
    "rows of nothing": {"rows": [{}] * 1000},
    "rows": {"rows": [{"a": 1}] * 100_000},
    "items": {"user": 1, "items": list(range(100_000))},
    "denied": {"user": 1, "deny": ["x" * 80] * 10_000},
    "mistakes": {"user": 1, "deny": [[]] * 10_000},
    "filters": {"user": 1, "filter": {f"c{i}": 1 for i in range(10_000)}},
    "choices": {"user": 1, "filter": {"category": [str(i) for i in range(1000)]}},
    "ranges": {"user": 1, "filter": {"price": ["0..1"] * 1000}},
    "history": {"record": {"user_id": None, "age": 1, "times_item": dict.fromkeys(map(str, range(9_000)), 1)}},
    "users": {"users": ["2"] * 33},
    "a list": {"user": 1, "context": {"hour": [1] * 10_000}},
    "a name": {"user": "x" * 900_000},
}  # fmt: skip


@pytest.mark.parametrize("what", MANY)
def test_very_many(worker: Worker, what: str) -> None:
    body = json.dumps(MANY[what]).encode()
    for path in PATHS[:2]:
        told(worker, path, body)


def test_stored_columns_of_many_rows(worker: Worker, place: Place) -> None:
    """As many rows as there may be, each with columns that nobody reads."""
    row: dict[str, Any] = dict.fromkeys(place.shop.artifact.encoder.schema.names)
    rows = [{**row, f"c{i}": 1} for i in range(1000)]
    assert told(worker, "/v1/score", json.dumps({"rows": rows}).encode()) == 200
