"""The last verdict on real models: a reference that is not worth beating, and alarms by slice."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from recprune.data import Dataset
from recprune.errors import RecpruneWarning
from recprune.models import DeepFM, Training
from recprune.pipeline import RunConfig
from recprune.pipeline.judgement import final_verdict
from recprune.pipeline.yardsticks import yardsticks

from .test_run import shop

CONFIG = RunConfig(tolerance=0.01)
TRAINING = Training(epochs=3, learning_rate=1e-2, batch_size=512)


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="module")
def data() -> Dataset:
    read = Dataset.from_frame(shop(), label="bought", user="user_id", item="item_id")
    return read.split(by="random", seed=0)


@pytest.fixture(scope="module")
def references(data: Dataset) -> list[dict]:
    return yardsticks(data, CONFIG)


def trained(data: Dataset, training: Training) -> np.ndarray:
    return DeepFM(8, (16,), training).fit(data.train).logits(data.test.rows)


def test_an_undertrained_reference_makes_no_verdict(data: Dataset, references: list[dict]) -> None:
    good = trained(data, TRAINING)
    found = final_verdict(data, good, good, CONFIG, references, b"good")
    assert (found.outcome, found.reasons) == ("PASS", ())
    # One step of a rate that moves nothing: the model and its copy are alike, and prove nothing.
    poor = trained(data, Training(epochs=1, learning_rate=1e-6, batch_size=4096))
    with pytest.warns(RecpruneWarning, match="judged 2 models"):
        found = final_verdict(data, poor, poor, CONFIG, references, b"poor")
    assert found.difference == 0
    assert found.outcome == "INCONCLUSIVE"
    assert found.reasons
    assert all(reason.startswith("weak reference") for reason in found.reasons)
    assert found.rows_needed is None


def test_harm_to_one_age_is_an_alarm_and_fails(data: Dataset) -> None:
    good = trained(data, TRAINING)
    young = data.test.columns["age"].to_numpy() < 35
    noise = 2 * good.std() * np.random.default_rng(0).normal(size=len(good))
    harmed = np.where(young, good + noise, good).astype(np.float32)
    weak = [{"name": name, "auc": 0.0} for name in ("popularity", "LR")]
    lenient = CONFIG.model_copy(update={"tolerance": 0.14})
    found = final_verdict(data, good, harmed, lenient, weak, b"harmed")
    assert found.ci[0] > -0.14  # all rows together would pass
    assert found.outcome == "FAIL"
    ages = {s.slice: s.outcome for s in found.slices if s.slice.startswith("age=")}
    alarms = {name for name, outcome in ages.items() if outcome == "alarm"}
    assert alarms
    assert alarms <= {"age=under 18", "age=18 to 25", "age=25 to 35"}
    assert all(name in found.reasons[0] for name in alarms)
    assert {"activity", "popularity", "sensitive"} <= {s.kind for s in found.slices}


def test_a_broken_lightgbm_is_left_out_with_a_warning(
    data: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "lightgbm.py").write_text("raise OSError('libgomp.so.1: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lightgbm", raising=False)
    assert [each["name"] for each in yardsticks(data, CONFIG)] == ["popularity", "LR"]
    assert "without LightGBM: 'lightgbm' is needed here and cannot be imported" in caplog.text
