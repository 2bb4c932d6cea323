"""The automatic choice of fields against a planted truth."""

from __future__ import annotations

import numpy as np
import pytest

from recprune.data import Dataset
from recprune.evaluation import choose_fields
from recprune.importance import rank_fields
from recprune.models import DeepFM, Training
from recprune.pipeline import RunConfig
from recprune.pipeline.searching import fit_reference
from tests.planted import COPIES, PAIRS, STRONG, WEAK, planted_frame


def chosen_fields(seed: int, shuffled: bool) -> set[str]:
    frame = planted_frame(60_000, seed=seed)
    if shuffled:
        names = [n for n in frame.columns if n != "y"]
        order = np.random.default_rng(seed + 100).permutation(len(names))
        frame = frame.select([*(names[i] for i in order), "y"])
    data = Dataset.from_frame(frame, label="y").split(seed=seed)
    config = RunConfig.of(seed=seed)
    full = DeepFM(config.dim, config.hidden, seed=seed, training=config.training())
    reference, _ = fit_reference(full.fit(data.train, data.tune), data, config)
    ranking = rank_fields(reference, data.tune, config.importance, seed)
    return set(
        choose_fields(reference, ranking, data.train, data.tune, data.gate, config.tolerance)
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed, shuffled", [(0, False), (1, True), (2, True)])
def test_it_keeps_what_matters_and_no_noise(seed: int, shuffled: bool) -> None:
    kept = chosen_fields(seed, shuffled)
    assert not {f for f in kept if f.startswith("noise")}
    assert {*STRONG[1:], *WEAK, *PAIRS} <= kept
    assert kept & {STRONG[0], *COPIES}


def test_protected_fields_stay_and_forced_ones_go() -> None:
    data = Dataset.from_frame(planted_frame(6000, noise=4), label="y").split()
    model = DeepFM(4, (8,), training=Training(epochs=3, batch_size=512)).fit(data.train, data.tune)
    ranking = rank_fields(model, data.tune)
    kept = choose_fields(
        model,
        ranking,
        data.train,
        data.tune,
        data.gate,
        0.05,
        protect=("noise1",),
        force=("strong0",),
    )
    assert "noise1" in kept
    assert "strong0" not in kept
    assert len(kept) < 16
