"""Streams whose events are sound one by one, and odd together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recprune as rp
from recprune.crypto import Pseudonymiser
from recprune.errors import InputError
from recprune.streaming import People

from .shop import DROPPED, LABEL, some_events, trained
from .test_running import N, lines, opened, ran, write


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("model") / "m", rp.LR, 6_000)


def test_events_without_a_user_stand_for_themselves(model: Path, tmp_path: Path) -> None:
    """Were they one user's, a verdict would have one cluster, and nothing would be published."""
    frame = some_events(N).with_columns(pl.lit(None, pl.String).alias("user_id"))
    summary = ran(write(tmp_path / "e", lines(frame)), model, tmp_path)
    for each in summary.publications:
        assert each.against_reference is not None
        assert each.against_reference.reasons == ()


def test_what_is_told_is_json_though_a_bound_is_infinite(model: Path, tmp_path: Path) -> None:
    frame = some_events(N).with_columns(pl.lit("ann").alias("user_id"))
    with opened(write(tmp_path / "e", lines(frame)), model, tmp_path) as running:
        summary = running.run()
        kept = running.state.rows("publications")
    assert any(np.isinf(p.against_reference.ci).any() for p in summary.publications)  # type: ignore[union-attr]
    json.dumps(summary.to_json(), allow_nan=False)
    for row in kept:
        json.loads(row["detail"], parse_constant=pytest.fail)


def test_what_goes_wrong_silently_is_said(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = some_events(3_000)
    renamed = frame.rename({"age": "Age"})
    ran(write(tmp_path / "e", lines(renamed)), model, tmp_path / "1")
    assert "none of the first 700 events has 'age', which the model reads" in caplog.text
    caplog.clear()
    ran(write(tmp_path / "f", lines(frame.drop(LABEL))), model, tmp_path / "2")
    assert f"events are none and lie with the dead letters: no label '{LABEL}'" in caplog.text
    caplog.clear()
    ran(write(tmp_path / "g", lines(frame)), model, tmp_path / "3")
    assert caplog.text == ""


def test_plain_users_do_not_reach_a_model_of_pseudonyms(tmp_path: Path) -> None:
    key, frame = Pseudonymiser(bytes(range(32))), some_events(2_000)
    users = pl.Series("user_id", [key.pseudonym(user) for user in frame["user_id"]])
    hidden = frame.with_columns(users).drop("event_id", *DROPPED)
    ids = {name: {"kind": "categorical"} for name in ("user_id", "item_id")}
    data = rp.Dataset.from_frame(
        hidden, label=LABEL, user="user_id", item="item_id", schema={"fields": ids}
    ).split(by="random")
    rp.LR(training=rp.Training(epochs=1)).fit(data.train, data.valid).save(tmp_path / "m")
    events = write(tmp_path / "e", lines(frame))
    with pytest.raises(InputError, match="--pseudonym-key-file"):
        ran(events, tmp_path / "m", tmp_path)
    some = frame["user_id"][0].encode()
    assert not any(some in f.read_bytes() for f in (tmp_path / "state").iterdir())
    people = People(pseudonyms=key)
    assert ran(events, tmp_path / "m", tmp_path, people=people).counts["counted"] == 2_000
