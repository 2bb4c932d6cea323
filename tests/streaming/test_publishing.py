"""What is published is no worse than the reference, however often; and a restart decides alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recprune as rp
from recprune.artifact import Artifact, read_artifact
from recprune.errors import InputError, ParameterError
from recprune.streaming.labelled import Labelled
from recprune.streaming.publishing import Publication, Publisher, Publishing, files_of

N = 40_000
HOW = Publishing(every=100_000, judged=N, tolerance=0.002)


@pytest.fixture(scope="module")
def events() -> Labelled:
    draws = np.random.default_rng(0)
    codes = draws.integers(0, 30, (N, 3))
    effects = draws.normal(0, 0.8, (3, 30))
    logit = sum(effects[i][codes[:, i]] for i in range(3))
    label = (draws.random(N) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    frame = pl.DataFrame({f"f{i}": [f"v{c}" for c in codes[:, i]] for i in range(3)})
    users = draws.integers(0, 5_000, N).astype(np.uint64)
    return Labelled(frame, label, users)


@pytest.fixture(scope="module")
def reference(events: Labelled) -> Artifact:
    frame = events.frame.with_columns(pl.Series("y", events.label.astype(int)))
    data = rp.Dataset.from_frame(frame, label="y").split(by="random")
    return rp.LR().fit(data.train, data.valid).artifact()


def worse(artifact: Artifact, noise: float, seed: int = 0) -> Artifact:
    """Return the model with noise on its weights."""
    draws = np.random.default_rng(seed)
    state = {
        name: (array + draws.normal(0, noise, array.shape)).astype(np.float32)
        for name, array in artifact.state.items()
    }
    return replace(artifact, state=state)


def judged(publisher: Publisher, candidate: Artifact, events: Labelled) -> Publication:
    publisher.freeze(candidate, 100_000)
    made = publisher.add(events, 200_000)
    assert made is not None
    return made


def test_an_equal_model_is_published_and_a_worse_one_is_not(
    events: Labelled, reference: Artifact, tmp_path: Path
) -> None:
    publisher = Publisher(files_of(reference), HOW, tmp_path / "served")
    first = (tmp_path / "served" / "model.safetensors").read_bytes()
    bad = judged(publisher, worse(reference, 0.3), events)
    assert (bad.published, bad.outcome) == (False, "FAIL")
    assert (tmp_path / "served" / "model.safetensors").read_bytes() == first
    near = worse(reference, 0.01)
    good = judged(publisher, near, events)
    assert (good.published, good.against_served) == (True, None)
    stored = read_artifact(tmp_path / "served")
    for name, array in near.state.items():
        np.testing.assert_array_equal(stored.state[name], array)


def test_many_small_steps_down_stop_at_the_tolerance(
    events: Labelled, reference: Artifact, tmp_path: Path
) -> None:
    """Each step is far smaller than the tolerance; against the model before, all would pass."""
    publisher = Publisher(files_of(reference), HOW, tmp_path / "served")
    made = [judged(publisher, worse(reference, 0.02 * step), events) for step in range(1, 9)]
    assert made[0].published
    assert not made[-1].published
    for each in made:
        assert each.against_reference is not None
        assert each.published <= (each.against_reference.ci[0] > -HOW.tolerance)


def test_a_model_worse_than_the_served_one_is_held_back(
    events: Labelled, reference: Artifact
) -> None:
    """The reference is bad; both candidates are better than it, the second less than the first."""
    publisher = Publisher(files_of(worse(reference, 0.5)), HOW)
    assert judged(publisher, reference, events).published
    second = judged(publisher, worse(reference, 0.2), events)
    assert second.outcome == "PASS"
    assert second.against_served is not None
    assert (second.against_served.outcome, second.published) == ("FAIL", False)


def test_restored_anywhere_it_decides_the_same(events: Labelled, reference: Artifact) -> None:
    parts = [
        Labelled(
            events.frame[a : a + 7_000], events.label[a : a + 7_000], events.users[a : a + 7_000]
        )
        for a in range(0, N, 7_000)
        if events.users is not None
    ]
    whole = Publisher(files_of(reference), HOW)
    judged(whole, reference, events)
    publisher = Publisher(files_of(reference), HOW)
    publisher.restore(whole.state())
    publisher.freeze(worse(reference, 0.02), 300_000)
    whole.freeze(worse(reference, 0.02), 300_000)
    expected = whole.add(events, 400_000)
    made = None
    for number, part in enumerate(parts):
        fresh = Publisher(files_of(reference), HOW)
        fresh.restore({name: array.copy() for name, array in publisher.state().items()})
        publisher = fresh
        made = publisher.add(part, 400_000)
        assert (made is None) == (number < len(parts) - 1)
    assert made == expected
    assert publisher.state().keys() == whole.state().keys()
    for name, array in publisher.state().items():
        np.testing.assert_array_equal(array, whole.state()[name])


def test_events_of_one_class_decide_nothing_and_publish_nothing(
    events: Labelled, reference: Artifact
) -> None:
    publisher = Publisher(files_of(reference), HOW)
    made = judged(publisher, reference, replace(events, label=np.zeros(N, np.float32)))
    assert (made.published, made.outcome) == (False, "INCONCLUSIVE")
    assert publisher.add(events, 300_000) is None


@pytest.mark.parametrize(
    "wrong",
    [{"every": 0}, {"judged": 0}, {"every": 10, "judged": 10}, {"tolerance": 0}, {"tolerance": 1}],
)
def test_bad_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match="Publishing"):
        Publishing(**wrong)  # type: ignore[arg-type]


def test_another_reference_is_refused(events: Labelled, reference: Artifact) -> None:
    publisher = Publisher(files_of(reference), HOW)
    other = Publisher(files_of(worse(reference, 0.1)), HOW)
    with pytest.raises(InputError, match="begun with another model"):
        other.restore(publisher.state())
