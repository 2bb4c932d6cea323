"""Every class of model, trained, whole and cut: torch, scorer and ONNX give the same logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recprune as rp
from recprune.data import Dataset
from recprune.models import Training
from recprune.models.step import tensors
from recprune.runtime import Scorer
from tests.runtime.test_torch import CLASSES, OPTIONS, data, halved, randomised

from .test_onnx import answers

__all__ = ["data"]  # a fixture


@pytest.mark.parametrize("name, options", OPTIONS, ids=str)
def test_every_class_is_exported_as_trained(
    name: str, options: dict[str, Any], data: Dataset, tmp_path: Path
) -> None:
    fitted = CLASSES[name](training=Training(epochs=0), **options).fit(data.train)
    whole = randomised(fitted, 0)
    for model in (whole, whole.apply(halved(whole, 0))):
        path = rp.export_onnx(model, tmp_path / "model.onnx").path
        rows, scorer = model.aligned(data.test).rows, Scorer(model.artifact())
        torch = model.net(*tensors(rows)).detach().numpy().reshape(len(rows), -1)
        ours = np.stack([scorer.logits(rows, label=t) for t in scorer.labels], axis=1)
        _, logit = answers(path, rows)
        assert np.ptp(logit) > 0
        most = 1e-5 * max(1, np.abs(torch).max())
        np.testing.assert_allclose(logit, torch, atol=most, rtol=0)
        np.testing.assert_allclose(ours, torch, atol=most, rtol=0)
