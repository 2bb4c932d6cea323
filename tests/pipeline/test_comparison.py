"""Models side by side: each against the first, on the rows given, and as they ship."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import recprune as rp
from recprune.artifact import stored_size
from recprune.data import Dataset
from recprune.errors import ArtifactError, DataError, ParameterError, RecpruneWarning
from recprune.evaluation import verdict
from recprune.metrics import auc
from recprune.models import LR, DeepFM, Training
from recprune.pipeline import Comparison, compare
from tests.pipeline.test_run import own_state, shop

__all__ = ["own_state"]


@pytest.fixture(scope="module")
def data() -> Dataset:
    frame = shop(400)
    data = Dataset.from_frame(frame, label="bought", user="user_id", item="item_id")
    return data.split(by="random", seed=0)


@pytest.fixture(scope="module")
def full(data: Dataset) -> DeepFM:
    return DeepFM(8, (16,), Training(epochs=4)).fit(data.train, data.tune)


@pytest.fixture(scope="module")
def small(full: DeepFM, data: Dataset) -> DeepFM:
    return rp.prune(full, data, {"neurons": 0.5})


@pytest.fixture(scope="module")
def blind(data: Dataset) -> LR:
    """A model that has not learned anything."""
    return LR(seed=3).begin(data.train)


@pytest.fixture
def found(full, small, blind, data, monkeypatch, tmp_path) -> Comparison:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.warns(RecpruneWarning, match="judged 2 models"):
        return compare(full, {"small": small, "blind": blind}, data, by=("kind",))


def test_each_is_judged_against_the_first(found, full, small, blind, data) -> None:
    assert [c.name for c in found.pruned] == ["small", "blind"]
    label, test = data.test.label, data.test
    logits = {m: m.logits(m.aligned(test).rows) for m in (full, small, blind)}
    assert found.full.metrics["auc"] == pytest.approx(auc(label, logits[full]), abs=1e-6)
    assert found.full.bytes == stored_size(full.artifact())
    for model, contender in zip((small, blind), found.pruned, strict=True):
        alone = verdict(label, logits[full], logits[model], users=test.users, items=test.items)
        assert contender.verdict.difference == pytest.approx(alone.difference, abs=1e-5)
        assert contender.verdict.ci == pytest.approx(alone.ci, abs=1e-3)
        assert contender.bytes == stored_size(model.artifact())
    assert found.pruned[1].verdict.outcome == "FAIL"
    assert found.verdict is found.pruned[0].verdict
    assert not found.passed
    assert [v.test_uses for v in found.verdicts] == [1, 2]


def test_slices_are_those_named_and_those_that_train_knows(found, full, blind, data) -> None:
    kinds = {s.kind for s in found.verdict.slices}
    assert {"activity", "popularity", "attribute", "sensitive"} <= kinds
    assert {"kind=fruit", "kind=tool", "user=heavy"} <= {s.slice for s in found.verdict.slices}
    failed = found.pruned[1].verdict
    assert any(s.outcome == "alarm" for s in failed.slices)
    assert any("worse by more than the slice tolerance on: " in r for r in failed.reasons)


def test_two_models_read_as_the_readme_says(full, small, data) -> None:
    found = compare(full, small, data.test)
    assert found.passed == (found.verdict.outcome == "PASS")
    lines = str(found).splitlines()
    head = ("model", "bytes", "AUC", "difference", "90", "%", "interval", "verdict")
    assert lines[0].split() == list(head)
    assert [line.split()[0] for line in lines[1:3]] == ["full", "pruned"]
    assert lines[2].endswith(found.verdict.outcome)
    assert f"{len(data.test):,} rows, tolerance 0.002" in lines[3]
    assert lines[4].startswith("latency of 1 / 1,000 rows: full ")


def test_the_same_model_twice_passes_and_is_one_use(full, data) -> None:
    found = compare(full, [full, full], data.test)
    assert found.passed
    assert [c.name for c in found.pruned] == ["pruned 1", "pruned 2"]
    assert [v.difference for v in found.verdicts] == [0, 0]
    assert [v.test_uses for v in found.verdicts] == [1, 1]


def test_folders_and_artefacts_stand_for_models(full, small, data, tmp_path: Path) -> None:
    full.save(tmp_path / "full")
    small.save(tmp_path / "small")
    by_folder = compare(tmp_path / "full", str(tmp_path / "small"), data.test)
    by_model = compare(full.artifact(), small, data.test)
    assert by_folder.full.name == str(tmp_path / "full")
    assert by_folder.pruned[0].name == str(tmp_path / "small")
    assert by_folder.verdict.difference == by_model.verdict.difference
    assert by_folder.verdict.test_uses == by_model.verdict.test_uses == 1
    named = compare(full, {"tiny": tmp_path / "small"}, data.test)
    assert named.pruned[0].name == "tiny"


@pytest.mark.parametrize("metric", ["auc", "logloss", "accuracy"])
def test_the_metric_is_the_one_asked_for(full, blind, data, metric) -> None:
    found = compare(full, blind, data.test, metric=metric, tolerance=0.01)
    assert found.verdict.metric == metric
    sign = -1 if metric == "logloss" else 1
    change = found.pruned[0].metrics[metric] - found.full.metrics[metric]
    assert found.verdict.difference == pytest.approx(sign * change, abs=1e-6)
    assert found.verdict.difference < 0


def test_the_record_is_json(found) -> None:
    told = json.loads(json.dumps(found.to_json()))
    assert set(told) == {"passed", "full", "pruned"}
    assert set(told["pruned"][0]) == {
        "name", "bytes", "metrics", "latency_us", "verdict", "compression"
    }  # fmt: skip
    assert told["pruned"][0]["compression"] > 1
    assert set(told["full"]["latency_us"]) == {"1", "1000"}


def test_rows_in_another_encoding_are_encoded_again(full, small, data) -> None:
    whole = Dataset.from_frame(shop(400), label="bought", user="user_id", item="item_id").all_rows()
    found = compare(full, small, whole)
    assert found.verdict.n_rows == len(whole)
    np.testing.assert_allclose(
        found.full.metrics["auc"],
        auc(whole.label, full.logits(full.aligned(whole).rows)),
        atol=1e-6,
    )


def test_what_cannot_be_compared_is_named(full, small, data, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="'pruned' parameter of compare must be a model"):
        compare(full, [], data.test)
    with pytest.raises(ParameterError, match="Did you mean 'kind'"):
        compare(full, small, data.test, by=("kidn",))
    with pytest.raises(ParameterError, match="no verdict by 'acu'"):
        compare(full, small, data.test, metric="acu")
    with pytest.raises(ArtifactError, match="no recprune artefact"):
        compare(full, tmp_path, data.test)
    with pytest.raises(DataError, match="not split yet"):
        compare(full, small, Dataset.from_frame(shop(), label="bought"))
