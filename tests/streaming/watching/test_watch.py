"""The whole watch: the same wherever chunks end and whenever it is stopped."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.errors import ParameterError
from recprune.streaming.watching import Alarm, Watch, Watching
from recprune.streaming.watching.alarms import BLOCK

from .test_importance import FIELDS, Rows
from .world import Events, world

N = 6 * BLOCK
OPTIONS = Watching(run_length=1e4, window=2 * BLOCK, memory=BLOCK, every=2 * BLOCK)


def drifting() -> Events:
    """All kinds of drift at once, and numbers and lists among the columns."""
    events = world(N, 0, drift_at=3 * BLOCK, strength=1.5, shift=0.5)
    draws = np.random.default_rng(99)
    late = np.arange(N) >= 3 * BLOCK
    events.frame = events.frame.with_columns(
        number=draws.normal(0, 1, N) + 2 * late,
        list=pl.Series([[str(i % 3), "x"] for i in range(N)]),
    )
    return events


EVENTS = drifting()
COLUMNS = (["used", "number", "list"], ["d0", "d1"])


def feed(watch: Watch, events: Events, ends: list[int]) -> list[Alarm]:
    found = []
    for start, end in zip([0, *ends], [*ends, len(events)], strict=True):
        part = events[start:end]
        found += watch.add(part.frame, part.label, part.logits)
    return found


def stored(watch: Watch) -> dict[str, bytes]:
    return {
        name: array.tobytes() + str(array.dtype).encode() for name, array in watch.state().items()
    }


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, N), max_size=5).map(sorted), st.integers(0, N))
def test_neither_chunks_nor_stops_matter(ends: list[int], stop: int) -> None:
    whole = Watch(*COLUMNS, OPTIONS)
    expected = feed(whole, EVENTS, [])
    assert {a.kind for a in expected} == {"shadow", "calibration", "input"}
    first = Watch(*COLUMNS, OPTIONS)
    found = feed(first, EVENTS[:stop], [e for e in ends if e <= stop])
    # Stored and read as the state's home does: arrays without pickle.
    file = io.BytesIO()
    np.savez(file, **first.state())
    file.seek(0)
    second = Watch(*COLUMNS, OPTIONS)
    second.restore(dict(np.load(file, allow_pickle=False)))
    found += feed(second, EVENTS[stop:], [e - stop for e in ends if e > stop])
    assert found == expected
    assert stored(second) == stored(whole)
    assert second.figures() == whole.figures()


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([0.0, 1.0, 0.5, 0.001]),
    st.sampled_from([0.0, -1e30, 1e30, 40.0]),
    st.sampled_from([0.0, 1.0, 1e30]),
    st.integers(0, 9),
)
def test_no_events_break_it(rate: float, middle: float, spread: float, seed: int) -> None:
    draws = np.random.default_rng(seed)
    n = 4 * BLOCK
    logits = np.float32(middle) + np.float32(spread) * draws.normal(0, 1, n).astype(np.float32)
    label = (draws.random(n) < rate).astype(np.float32)
    frame = pl.DataFrame({"used": [None] * n, "d0": label.astype(str), "d1": ["one"] * n})
    watch = Watch(["used"], ["d0", "d1"], OPTIONS)
    alarms = watch.add(frame, label, logits)
    assert np.isfinite(list(watch.figures().values())).all()
    assert all(np.isfinite(array).all() for array in watch.state().values())
    assert {a.field for a in alarms if a.kind == "shadow"} <= {"d0"}


def test_importances_and_users_go_on_where_they_stopped() -> None:
    draws = np.random.default_rng(5)
    values = draws.normal(0, 1, (N, 3))
    label = (draws.random(N) < 1 / (1 + np.exp(1 - values[:, 0]))).astype(np.float32)
    users = pl.Series(draws.integers(0, 50, N)).cast(pl.String)
    frame = pl.DataFrame(values, schema=FIELDS)

    def run(watch: Watch, start: int, end: int) -> None:
        for at in range(start, end, BLOCK):
            part = slice(at, at + BLOCK)
            rows = Rows(values[part])
            score = lambda r: r.values[:, 0].astype(np.float32)  # noqa: E731
            watch.add(frame[part], label[part], score(rows), rows, score, users[part])

    whole, first, second = (Watch(FIELDS, [], OPTIONS) for _ in range(3))
    run(whole, 0, N)
    run(first, 0, 3 * BLOCK)
    second.restore(first.state())
    before = stored(first)
    run(second, 3 * BLOCK, N)
    assert stored(second) == stored(whole)
    assert stored(first) == before
    figures = whole.figures()
    assert {"ndcg@10", "importance.strong", "psi.weak", "auc"} <= figures.keys()
    assert figures["importance.strong"] > 0.1 > figures["importance.idle"]


def test_an_alarm_reads_as_a_sentence() -> None:
    alarm = Alarm("shadow", "coupon", 512_345, {"gain_nats": 0.0123456})
    assert str(alarm) == "shadow drift of 'coupon' at event 512,345: gain_nats 0.01235"
    assert alarm.to_json() == {
        "kind": "shadow",
        "field": "coupon",
        "event": 512_345,
        "detail": {"gain_nats": 0.012346},
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": np.array([0, 2], np.float32)}, "'label' .* 0 and 1"),
        ({"label": np.zeros(3, np.float32)}, r"'label' .* of shape \(2,\)"),
        ({"logits": np.array([0, np.nan], np.float32)}, "'logits' .* finite"),
        ({"logits": np.zeros((2, 1), np.float32)}, r"'logits' .* of shape \(2,\)"),
    ],
)
def test_what_it_refuses(change: dict[str, np.ndarray], message: str) -> None:
    watch = Watch(["used"], ["d0"])
    given = {"label": np.array([0, 1], np.float32), "logits": np.zeros(2, np.float32)} | change
    with pytest.raises(ParameterError, match=message):
        watch.add(pl.DataFrame({"used": ["a", "b"], "d0": ["x", "y"]}), **given)
    assert watch.figures() == {"events": 0}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"run_length": 1}, "run_length"),
        ({"run_length": float("inf")}, "run_length"),
        ({"auc": 0}, "auc"),
        ({"memory": 100}, "memory"),
        ({"window": 1e5}, "window"),
        ({"every": True}, "every"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_are_checked(options: dict[str, float], name: str) -> None:
    with pytest.raises(ParameterError, match=f"'{name}' parameter of Watching"):
        Watching(**options)


def test_a_column_is_read_or_dropped() -> None:
    with pytest.raises(ParameterError, match=r"'dropped' .* Got \['a'\]"):
        Watch(["a", "b"], ["a"])
