"""Dates, lists and vectors of events: read as the service reads each, whatever stands beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recprune as rp
from recprune.artifact import read_artifact
from recprune.catalogue import Catalogue
from recprune.dates import DAY, date_part
from recprune.errors import DataError
from recprune.pipeline.saving import save_model
from recprune.pruning import cut
from recprune.streaming import (
    Learning,
    Pace,
    Publishing,
    Running,
    StreamSettings,
    Watching,
    open_stream,
)
from recprune.streaming.forms import moments

from .world import frame_of

SETTINGS = StreamSettings(
    "event_id",
    (),
    Learning(bytes=2_000_000),
    Pace(chunk=500, remember=5_000, commit=2_000),
    Publishing(every=1_500, judged=1_000, tolerance=0.2),
)


def frame_with_dates(n: int, seed: int, first: int = 0) -> pl.DataFrame:
    """Return events whose label is told by the hour of a date; items have a date and a text list."""
    draws = np.random.default_rng(seed)
    hour, day = draws.integers(0, 24, n), draws.integers(1, 29, n)
    frame = frame_of(n, seed, first)
    number = frame["item"].str.slice(1).cast(pl.Int64)
    return frame.with_columns(
        pl.Series("when", [f"2025-03-{d:02} {h:02}:30:00" for d, h in zip(day, hour, strict=True)]),
        pl.Series("released", [f"20{10 + i % 9}-0{1 + i % 7}-01" for i in number]),
        pl.Series("kinds", [f"k{i % 5}|k{i % 7}" for i in number]),
        pl.Series("y", ((hour >= 12) ^ (draws.random(n) < 0.1)).astype(np.int8)),
    )


def lines(frame: pl.DataFrame) -> list[bytes]:
    ids = pl.Series("event_id", range(len(frame)))
    plain = frame.with_columns(ids, pl.col("vector").arr.to_list())
    return plain.write_ndjson().encode().splitlines()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = rp.Dataset.from_frame(
        frame_with_dates(3_000, 1),
        label="y",
        user="user",
        item="item",
        schema={"fields": {"kinds": {"kind": "sequence", "separator": "|"}}},
    )
    data = data.split(by="random")
    ranker = rp.LR(training=rp.Training(epochs=3)).fit(data.train, data.valid)
    folder = tmp_path_factory.mktemp("model") / "m"
    save_model(ranker, data, folder)
    return folder


def opened(
    model: Path, place: Path, payloads: list[bytes], settings: StreamSettings = SETTINGS
) -> Running:
    (place / "e").mkdir()
    (place / "e" / "1.jsonl").write_bytes(b"\n".join(payloads) + b"\n")
    return open_stream(
        str(place / "e"), model, place / "state", place / "served", settings, until_end=True
    )


def test_candidates_are_judged_by_dates_lists_and_vectors_too(model: Path, tmp_path: Path) -> None:
    frame = frame_with_dates(3_000, 2, first=40)
    with opened(model, tmp_path, lines(frame)) as running:
        assert running.publisher.reference.encoder.schema["released.month"].source == "item"
        judged: list[dict[str, Any]] = []
        verdict = running.publisher._verdict

        def kept(rows: Any, other: str) -> Any:
            judged.append(rows)
            return verdict(rows, other)

        running.publisher._verdict = kept  # type: ignore[method-assign]
        summary = running.run()
    assert summary.counts["counted"] == 3_000
    (first,) = summary.publications
    assert first.published
    # The reference, of the events that judged: as the service scores their raw columns.
    events = frame[1_500:2_500].with_columns(pl.col("vector").arr.to_list())
    served = rp.load(model)
    columns = {name: events[name].to_list() for name in events.columns}
    np.testing.assert_allclose(
        1 / (1 + np.exp(-judged[0]["reference"])), served.score(columns), atol=1e-5
    )
    assert rp.metrics.auc(judged[0]["label"], judged[0]["reference"]) > 0.8
    # Items that the stream brought have their date's parts and their lists.
    published = read_artifact(tmp_path / "served")
    catalogue = Catalogue.from_tensors(published.encoder, published.catalogue)
    by_item = {row["item"]: row for row in frame[:1_500].iter_rows(named=True)}
    old = read_artifact(model)
    new = catalogue.ids[len(Catalogue.from_tensors(old.encoder, old.catalogue).ids) :]
    assert len(new) > 10
    part = published.encoder.parts["released.month"]
    for item in new:
        month = int(by_item[item]["released"][5:7])
        code = part.lookup([month])[0]  # type: ignore[union-attr]
        assert catalogue.codes["released.month"][catalogue.index[item], 0] == code


def test_time_that_goes_on_is_no_drift_of_inputs(model: Path, tmp_path: Path) -> None:
    """Every hour of March, then one of May: the labels' hours are learned, and nobody is woken."""
    watching = Watching(window=4_096)
    later = frame_with_dates(9_000, 4).with_columns(
        pl.when(pl.int_range(9_000) < 4_096)
        .then("when")
        .otherwise(pl.lit("2026-05-02 13:30:00"))
        .alias("when")
    )
    with opened(model, tmp_path, lines(later), replace(SETTINGS, watching=watching)) as running:
        summary = running.run()
        assert "when.hour" in running.watch.importance.fields
    assert "psi.colour" in summary.figures
    assert [a for a in summary.alarms if a.kind == "input"] == []


def test_a_date_or_vector_that_cannot_be_read_is_a_dead_letter(model: Path, tmp_path: Path) -> None:
    payloads = lines(frame_with_dates(1_200, 3))
    wrong = {7: {"when": "soon"}, 9: {"vector": [1.0]}, 600: {"released": "31/12/2024"}}
    for at, what in wrong.items():
        payloads[at] = json.dumps({**json.loads(payloads[at]), **what}).encode()
    with opened(model, tmp_path, payloads) as running:
        assert running.run().counts["counted"] == 1_197
        dead = running.state.rows("dead_letters")
    assert [row["payload"] for row in dead] == [payloads[at] for at in sorted(wrong)]
    for row, name in zip(dead, ("'when'", "'vector'", "'released'"), strict=True):
        assert name in row["reason"]


def test_a_time_that_is_a_number_of_the_model_too(tmp_path: Path) -> None:
    """It is read as the model reads it, and is what ages are taken to."""
    day = pl.Series("day", np.arange(1_200) * 86_400.0 + 1.7e9)
    frame = frame_with_dates(1_200, 1).with_columns(day)
    data = rp.Dataset.from_frame(
        frame,
        label="y",
        user="user",
        item="item",
        time="day",
        schema={"fields": {"day": {"kind": "numeric"}}},
    ).split(by="random")
    ranker = rp.LR(training=rp.Training(epochs=1)).fit(data.train, data.valid)
    save_model(ranker, data, tmp_path / "m")
    payloads = lines(frame)
    payloads[7] = json.dumps({**json.loads(payloads[7]), "day": "soon"}).encode()
    with opened(tmp_path / "m", tmp_path, payloads) as running:
        schema = running.publisher.reference.encoder.schema
        assert {"day", "released.age"} <= set(schema.names)
        taken = next(iter(running.reading))
        assert [letter.reason for letter in taken.dead] == [
            "'day' holds text where a number belongs"
        ]
        assert taken.events is not None
        columns = frame[:500].filter(pl.int_range(500) != 7).with_columns(pl.col("vector").arr.to_list())  # fmt: skip
        scores = rp.load(tmp_path / "m").score({n: columns[n].to_list() for n in columns.columns})
        logits = running.publisher._reference(taken.events.frame)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), scores, atol=1e-5)


def test_a_time_that_no_field_needs_may_be_any_text(tmp_path: Path) -> None:
    """It is what ages are taken to, and the ages were pruned."""
    frame = frame_with_dates(1_200, 1).with_columns(at="when")
    data = rp.Dataset.from_frame(frame, label="y", user="user", item="item", time="at")
    data = data.split(by="random")
    full = rp.LR(training=rp.Training(epochs=1)).fit(data.train, data.valid)
    save_model(cut(full, data.train, {"fields": ["item", "when.hour"]}), data, tmp_path / "m")
    payloads = lines(frame)
    payloads[7] = json.dumps({**json.loads(payloads[7]), "at": "soon"}).encode()
    with opened(tmp_path / "m", tmp_path, payloads) as running:
        assert running.run().counts["counted"] == 1_200


def test_pruned_columns_are_watched_whatever_their_kind(tmp_path: Path) -> None:
    """Lists, vectors, a part of a date, and an item's number that the catalogue keeps to filter by."""
    price = pl.col("item").str.slice(1).cast(pl.Float64) / 4
    frame = frame_with_dates(3_000, 1).with_columns(price=price).drop("released", "kinds")
    data = rp.Dataset.from_frame(frame, label="y", user="user", item="item").split(by="random")
    full = rp.LR(training=rp.Training(epochs=1)).fit(data.train, data.valid)
    small = cut(full, data.train, {"fields": ["item", "colour", "when.weekday"]})
    save_model(small, data, tmp_path / "m")
    saved = read_artifact(tmp_path / "m")
    assert "price" in Catalogue.from_tensors(saved.encoder, saved.catalogue).numbers
    events = frame_with_dates(5_000, 2, first=40).with_columns(price=price)
    with opened(
        tmp_path / "m", tmp_path, lines(events), replace(SETTINGS, shadows=None)
    ) as running:
        summary = running.run()
        listed = running.newcomers.frame()
    assert summary.counts["counted"] == 5_000, "a list where the model reads none is no poison"
    assert {"tags", "vector", "when.hour"} < set(running.watch.shadows.columns)
    gain = {name: summary.figures[f"shadow.{name}"] for name in running.watch.shadows.columns}
    assert gain["when.hour"] == max(gain.values()) > summary.figures["shadow_tolerance"]
    assert listed["price"].to_list() == [float(i[1:]) / 4 for i in listed["item"]]


dates = st.datetimes().map(str) | st.dates().map(str) | st.floats().map(str)
texts = dates | st.sampled_from(["", "soon", "2024-02-30", "1e300", "2024-01-01T00:00:00+05:30"])


@settings(max_examples=200)
@given(st.lists(st.none() | texts, max_size=6))
def test_each_moment_is_read_by_itself_as_the_service_reads_it(given: list[str | None]) -> None:
    found = moments(pl.Series("t", given, dtype=pl.String)).to_list()
    for text, moment in zip(given, found, strict=True):
        assert moments(pl.Series("t", [text], dtype=pl.String)).to_list() == [moment]
        for raw in (text, _number(text)):
            try:
                (days,) = date_part("age", [raw])
            except DataError:
                continue
            if days is not None and abs(days) < 50_000:
                assert moment == pytest.approx(days * DAY, abs=16)


def _number(text: str | None) -> Any:
    try:
        return float(text or "soon")
    except ValueError:
        return "soon"
