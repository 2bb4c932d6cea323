"""The path of candidates: where it starts, where it ends, and what the reference gets."""

from __future__ import annotations

import itertools

import pytest

from recprune.artifact import stored_size
from recprune.data import Dataset
from recprune.models import Ranker
from recprune.pipeline import RunConfig, Search
from recprune.pipeline import searching as module
from recprune.pipeline.searching import find_small, fit_reference
from recprune.pruning import fine_tune
from tests.planted import STRONG, planted_frame

CONFIG = RunConfig(epochs=3, tuning_epochs=1, dim=8, hidden=(16, 8), tolerance=0.02)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.from_frame(planted_frame(8000, noise=6), label="y").split(by="random")


@pytest.fixture(scope="module")
def full(data: Dataset) -> Ranker:
    return CONFIG.ranker().fit(data.train, data.tune)


def passed(found: Search) -> list[bool]:
    return [candidate.passed for candidate in found.candidates]


def test_ever_smaller_until_one_does_not_pass(full: Ranker, data: Dataset) -> None:
    found = find_small(full, data, CONFIG)
    sizes = [candidate.bytes for candidate in found.candidates]
    assert all(b < a for a, b in itertools.pairwise(sizes))
    # All of them passed, or all but the last.
    assert passed(found)[:-1] == [True] * (len(sizes) - 1)
    assert found.chosen == len(sizes) - (1 if found.candidates[-1].passed else 2)
    assert sizes[found.chosen] < 0.1 * sizes[0]
    assert set(STRONG) <= set(found.small.model.encoder.schema.names)
    for candidate in found.candidates:
        assert candidate.bytes == stored_size(candidate.model.artifact())


@pytest.mark.parametrize("asked", [False, True])
def test_a_choice_of_fields_that_fails_ends_it_only_if_it_was_asked_for(
    asked: bool, full: Ranker, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module._Work, "_first_fields", lambda *_: ("noise0",))
    config = CONFIG.model_copy(update={"keep_fields": 1 if asked else None})
    found = find_small(full, data, config)
    assert found.candidates[1].label == "1 fields"
    assert not found.candidates[1].passed
    if asked:
        assert (len(found.candidates), found.chosen, found.met) == (2, 1, False)
    else:
        assert found.chosen > 1
        assert set(STRONG) <= set(found.small.model.encoder.schema.names)


def test_as_many_fields_as_asked_for_stay(full: Ranker, data: Dataset) -> None:
    found = find_small(full, data, CONFIG.model_copy(update={"keep_fields": 9}))
    assert {len(c.model.encoder.schema.names) for c in found.candidates[1:]} == {9}


def test_the_reference_is_tuned_until_that_brings_nothing(full: Ranker, data: Dataset) -> None:
    reference, tuning = fit_reference(full, data, CONFIG)

    def score(model: Ranker) -> float:
        return model.held_out(model.aligned(data.tune))()

    assert score(reference) >= score(full)
    if score(fine_tune(full, tuning)) > score(full):
        assert score(reference) > score(full)
