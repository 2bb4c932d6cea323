"""The scorer and the network that was trained give the same logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from recprune.models.state import network_from_state
from recprune.models.step import tensors
from recprune.runtime import Scorer

from .drafts import MODELS, random_model
from .factory import MIXED, random_encoder, random_rows
from .test_parts import CUTS

TRAINED = {name: model for name, model in MODELS.items() if "towers" not in model["parts"]}


@pytest.mark.parametrize("model", TRAINED.values(), ids=TRAINED)
@pytest.mark.parametrize("cut", CUTS, ids="-".join)
def test_equals_the_network(model: Mapping[str, Any], cut: tuple[str, ...]) -> None:
    for seed in range(3):
        artifact = random_model(random_encoder(MIXED, seed), model, seed, cut=cut)
        rows, scorer = random_rows(artifact.encoder, 40, seed), Scorer(artifact)
        parts = [p for p in model["parts"] if p == "fm" or _left(artifact.state, p)]
        net = network_from_state(artifact.state, artifact.layout, artifact.encoder, parts, 0.0)
        expected = net(*tensors(rows)).detach().numpy().reshape(40, -1)
        for number, label in enumerate(scorer.labels):
            got = scorer.logits(rows, label=label)
            np.testing.assert_allclose(got, expected[:, number], atol=1e-4, rtol=1e-4)


def _left(state: Mapping[str, Any], part: str) -> bool:
    return any(name.startswith(f"{part}.") for name in state)
