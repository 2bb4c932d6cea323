"""The planted stream: the same whatever the chunk, and what is planted is there."""

from __future__ import annotations

import polars as pl
import pytest
from benchmarks._planted_stream import DROPPED, FIELDS, LABEL, events

N, DRIFT_AT = 150_000, 70_000


def whole(seed: int, drift_at: int | None = None, chunk: int = 65_536) -> pl.DataFrame:
    return pl.concat(list(events(N, seed, drift_at, drifting="coupon", strength=1.0, chunk=chunk)))


def test_it_depends_on_seed_and_drift_alone() -> None:
    plain, drifting = whole(1), whole(1, DRIFT_AT)
    assert whole(1, chunk=999).equals(plain)
    assert whole(2)["event_id"].is_in(plain["event_id"].implode()).sum() == 0
    assert drifting[:DRIFT_AT].equals(plain[:DRIFT_AT])
    assert drifting.drop(LABEL).equals(plain.drop(LABEL))
    assert plain.columns == ["event_id", *FIELDS, *DROPPED, LABEL]
    assert plain["event_id"].n_unique() == len(plain) == N
    assert [len(frame) for frame in events(2_500, 0, chunk=1_000)] == [1_000, 1_000, 500]


@pytest.mark.parametrize("drift_at", [None, DRIFT_AT])
def test_a_dropped_column_matters_from_the_drift_on(drift_at: int | None) -> None:
    frame = whole(3, drift_at)
    for part, matters in ((frame[:DRIFT_AT], False), (frame[DRIFT_AT:], drift_at is not None)):
        rates = part.group_by("coupon").agg(pl.col(LABEL).mean(), pl.len())
        # 40 values of some 2,000 events each: by chance the rates spread by 0.01.
        assert (rates[LABEL].std() > 0.05) == matters


def test_ids_have_a_tail_and_newcomers() -> None:
    frame = whole(4)
    for field in ("user_id", "item_id"):
        counts = frame[field].value_counts(sort=True)["count"]
        assert counts[0] > 1_000
        assert (counts == 1).sum() > 1_000
    first, last = frame[:50_000], frame[-50_000:]
    assert 0.1 < 1 - last["item_id"].is_in(first["item_id"].implode()).mean() < 0.5
