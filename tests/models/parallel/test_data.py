"""Several processes share every batch: their weights are one process's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recprune.errors import ParameterError, RunError, TrainingError
from recprune.layout import state_hash
from recprune.models import TwoTower
from recprune.models.batches import batches_of
from recprune.models.layers import Hidden
from recprune.models.parallel import DataParallel, Group, joined
from recprune.scratch import copied
from tests.models.parallel.world import BATCH, EPOCHS, difference, in_processes, ranker, table

NAMES = ("LR", "DeepFM", "DCNv2")


def train_all(shared: Any, rank: int, draws: object) -> dict[str, Any]:
    """What one process sees of several trainings, one after the other."""
    size, where, folder = shared
    data, out = table(), {}
    with joined(rank, size, where) as group:
        together = DataParallel(group)
        for name in NAMES:
            model = ranker(name).fit(data.train, together=together)
            out[name] = model.state, model.history
        model = ranker("DeepFM", patience=1).fit(data.train, data.tune, together=together)
        out["stopped"] = model.state, model.history
        # Fewer rows in the last batch than processes: some have none of it.
        few = data.train.take(np.arange(2 * BATCH + 1))
        out["few"] = ranker("DeepFM", epochs=2).fit(few, together=together).state
        # Stopped after an epoch, and gone on with; only the first process has the file.
        path = Path(folder) / f"of-{rank}" / "checkpoint"
        with pytest.raises(InterruptedError):
            ranker("DeepFM", epochs=4).fit(
                data.train, data.tune, together=together, checkpoint=path, watch=stopping
            )
        again = ranker("DeepFM", epochs=4)
        model = again.fit(data.train, data.tune, together=together, checkpoint=path)
        out["resumed"], out["written"] = model.state, path.exists()
        whole = ranker("DeepFM", epochs=4).fit(data.train, data.tune, together=together)
        out["whole"] = whole.state
        # One label is no number: whoever has the row, all stop, and name it.
        broken = data.train.take(np.arange(1000))
        broken.label[700] = np.nan
        with pytest.raises(TrainingError) as caught:
            ranker("LR").fit(broken, together=together)
        out["broken"] = caught.value.rows
        other = data.train.take(np.arange(900 + rank))
        with pytest.raises(
            RunError, match="not about the same training: their rows, objective differ"
        ):
            ranker("LR").fit(other, together=together)
        normed = ranker("DeepFM").like(hidden=Hidden((8,), batch_norm=True))
        with pytest.raises(ParameterError, match="batch_norm"):
            normed.fit(data.train, together=together)
        with pytest.raises(ParameterError, match="cross-entropy of each row alone"):
            TwoTower(4).fit(data.train, together=together)
    return out


def stopping(epoch: Any) -> None:
    if epoch.epoch == 2:
        raise InterruptedError


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("together")
    return in_processes(train_all, 3, folder, str(folder))


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    data, out = table(), {}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name in NAMES:
            model = ranker(name).fit(data.train)
            out[name] = model.state, model.history
        model = ranker("DeepFM", patience=1).fit(data.train, data.tune)
        out["stopped"] = model.state, model.history
        few = data.train.take(np.arange(2 * BATCH + 1))
        out["few"] = ranker("DeepFM", epochs=2).fit(few).state
    finally:
        torch.set_num_threads(before)
    return out


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_one_processs(done: list[Any], alone: dict[str, Any], name: str) -> None:
    state, history = alone[name]
    assert len(history) * math.ceil(len(table().train) / BATCH) > 100
    first, told = done[0][name]
    assert difference(first, state) < 1e-6
    assert [e.loss for e in told] == pytest.approx([e.loss for e in history], abs=1e-6)
    assert difference(first, ranker(name).begin(table().train).state) > 1e-2


def test_training_stops_by_the_first_processs_score(done: list[Any], alone: dict[str, Any]) -> None:
    (state, history), (first, told) = alone["stopped"], done[0]["stopped"]
    assert len(told) == len(history) < EPOCHS
    assert [e.score for e in told] == pytest.approx([e.score for e in history], abs=1e-4)
    assert difference(first, state) < 1e-6


def test_all_processes_end_with_the_same_bits(done: list[Any]) -> None:
    for name in (*NAMES, "stopped"):
        states = {state_hash(each[name][0]) for each in done}
        assert len(states) == 1, name
        assert all(each[name][1][1:] == done[0][name][1][1:] for each in done), name


def test_a_batch_of_fewer_rows_than_processes(done: list[Any], alone: dict[str, Any]) -> None:
    assert difference(done[0]["few"], alone["few"]) < 1e-6


def test_training_goes_on_from_the_first_processs_checkpoint(done: list[Any]) -> None:
    for each in done:
        assert state_hash(each["resumed"]) == state_hash(each["whole"])
    assert [each["written"] for each in done] == [True] + [False] * (len(done) - 1)


def test_a_loss_that_is_no_number_is_named_by_all(done: list[Any]) -> None:
    assert [each["broken"] for each in done] == [(700,)] * len(done)


@pytest.mark.parametrize("disk", [False, True])
def test_each_reads_its_part_of_every_batch(disk: bool) -> None:
    rows = table().train.rows
    if disk:
        rows = type(rows)(copied(rows.codes), copied(rows.shares))
    order = [np.random.default_rng(0).permutation(300)]
    groups = [Group(rank, 3) for rank in range(3)]
    parts = [list(batches_of(rows, order, 64, 1, group.part)) for group in groups]
    for batch, (chosen, whole) in enumerate(batches_of(rows, order, 64, 1)):
        assert all(torch.equal(part[batch][0], chosen) for part in parts)
        read = [part[batch][1] for part in parts]
        np.testing.assert_array_equal(np.concatenate([r.codes for r in read]), whole.codes)
        np.testing.assert_array_equal(np.concatenate([r.shares for r in read]), whole.shares)


def test_no_such_rank() -> None:
    with (
        pytest.raises(ParameterError, match=r"'rank' parameter of joined must be an int in \[0, 2"),
        joined(2, 2),
    ):
        pass
