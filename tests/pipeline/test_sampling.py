"""Planted base rates: lost by sampling negatives, and recovered by the rate that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recprune.artifact import read_artifact
from recprune.data import Dataset, Negatives
from recprune.data.labels import LabelRule
from recprune.errors import InputError
from recprune.metrics import calibration_error, undo_sampling
from recprune.models import FM, LR, Training, ranker_of
from recprune.pipeline import save_model
from recprune.runtime import load

RATE = 0.1
# AUC stops rising, and with it training, before small steps have found the level.
TRAINING = Training(epochs=12, learning_rate=0.02)


def clicks(n: int, seed: int) -> pl.DataFrame:
    """Rows with a click rate of a few in a hundred that two columns tell."""
    draws = np.random.default_rng(seed)
    place, hour = draws.integers(0, 6, n), draws.integers(0, 4, n)
    logit = -3.6 + 0.5 * place - 0.4 * hour
    click = draws.random(n) < 1 / (1 + np.exp(-logit))
    frame = {"place": [f"p{p}" for p in place], "hour": [f"h{h}" for h in hour]}
    return pl.DataFrame({**frame, "click": click.astype(int)})


@pytest.fixture(scope="module")
def downsampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of all clicks and a tenth of the other rows."""
    rows = clicks(120_000, 0)
    kept = np.random.default_rng(1).random(len(rows)) < RATE
    rows = rows.filter(pl.Series(kept) | (pl.col("click") == 1))
    data = Dataset.from_frame(rows, label="click", schema={"negative_rate": RATE}).split("random")
    folder = tmp_path_factory.mktemp("models") / "clicks"
    save_model(LR(TRAINING).fit(data.train, data.tune), data, folder)
    return folder


def test_the_rate_of_a_downsampled_log_is_recovered(downsampled: Path) -> None:
    scorer, rows = load(downsampled), clicks(120_000, 2)
    label, columns = rows["click"].to_numpy(), rows.select("place", "hour")
    raw, calibrated = scorer.score(columns), scorer.score(columns, calibrated=True)
    assert raw.mean() > 4 * label.mean()
    assert calibrated.mean() == pytest.approx(label.mean(), rel=0.05)
    assert calibration_error(label, calibrated) < 0.006 < 0.1 < calibration_error(label, raw)
    for place in rows["place"].unique():
        at = (rows["place"] == place).to_numpy()
        assert calibrated[at].mean() == pytest.approx(label[at].mean(), rel=0.2)
    assert np.allclose(calibrated, undo_sampling(raw, RATE), atol=1e-6)
    assert np.array_equal(np.argsort(raw, kind="stable"), np.argsort(calibrated, kind="stable"))
    ranker = ranker_of(read_artifact(downsampled))
    given = Dataset.from_frame(rows, label="click").all_rows()
    mine = ranker.predict(ranker.aligned(given).rows, calibrated=True)
    assert np.allclose(mine, calibrated, atol=1e-6)


def test_the_artefact_keeps_how_rows_came_by_their_label(downsampled: Path) -> None:
    labels = read_artifact(downsampled).meta["labels"]
    assert LabelRule.from_json(labels) == LabelRule("click", negative_rate=RATE)


def takes(users: int = 1500, items: int = 120, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All pairs of users and items, and those that were taken: six in a hundred, by taste."""
    draws = np.random.default_rng(seed)
    taste, kind = np.arange(users) % 2, draws.integers(0, 3, items)
    user, item = (a.ravel() for a in np.divmod(np.arange(users * items), items))
    chance = np.array([[0.02, 0.06, 0.14], [0.14, 0.06, 0.02]])[taste[user], kind[item]]
    pairs = pl.DataFrame(
        {
            "user": user,
            "item": item,
            "taste": [f"t{t}" for t in taste[user]],
            "kind": [f"k{k}" for k in kind[item]],
        }
    )
    return pairs, pairs.filter(pl.Series(draws.random(len(pairs)) < chance))


def trained(log: pl.DataFrame, how: Negatives, folder: Path) -> Dataset:
    options: dict[str, Any] = {"user": "user", "item": "item", "negatives": how}
    data = Dataset.from_frame(log, **options).split("random").only(("taste", "kind"))
    model = FM(4, TRAINING).fit(data.train, data.tune)
    raw = model.predict(data.test.rows)
    if how.by == "uniform":
        rate = data.labels.negative_rate
        expected = undo_sampling(raw, rate)
        assert np.allclose(model.predict(data.test.rows, calibrated=True), expected, atol=1e-6)
    else:
        with pytest.raises(InputError, match=r"drawn by popularity"):
            model.predict(data.test.rows, calibrated=True)
    save_model(model, data, folder)
    return data


def test_the_rate_of_a_log_of_positives_is_recovered(tmp_path: Path) -> None:
    pairs, log = takes()
    data = trained(log, Negatives(3, "uniform"), tmp_path / "m")
    train = data.train.columns.filter(pl.Series(data.train.label == 1)).select("user", "item")
    drawn = len(data.train) - len(train)
    whole = train["user"].n_unique() * train["item"].n_unique()
    assert data.labels.negative_rate == pytest.approx(drawn / (whole - len(train)))
    taken = pairs.join(train.with_columns(y=1), on=["user", "item"], how="left")["y"]
    label = taken.fill_null(0).to_numpy()
    scorer = load(tmp_path / "m")
    raw, calibrated = scorer.score(pairs), scorer.score(pairs, calibrated=True)
    assert raw.mean() > 3 * label.mean()
    assert calibrated.mean() == pytest.approx(label.mean(), rel=0.05)
    groups = pairs.select("taste", "kind", pl.Series("y", label), pl.Series("p", calibrated))
    for _, _, y, p in groups.group_by("taste", "kind").mean().iter_rows():
        assert p == pytest.approx(y, rel=0.2)


def test_negatives_by_popularity_are_not_calibrated_by_one_rate(tmp_path: Path) -> None:
    pairs, log = takes(100, 60)
    trained(log, Negatives(2), tmp_path / "m")
    scorer = load(tmp_path / "m")
    assert np.isfinite(scorer.score(pairs)).all()
    with pytest.raises(InputError, match=r"drawn by popularity.*--negatives uniform"):
        scorer.score(pairs, calibrated=True)


def test_a_table_of_all_rows_is_calibrated_as_it_is(tmp_path: Path) -> None:
    rows = clicks(3000, 4)
    data = Dataset.from_frame(rows, label="click").split("random")
    save_model(LR(Training(epochs=2)).fit(data.train, data.tune), data, tmp_path / "m")
    scorer = load(tmp_path / "m")
    assert np.array_equal(scorer.score(rows), scorer.score(rows, calibrated=True))
