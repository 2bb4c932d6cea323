"""Rows that change hands while a model is trained: who keeps what."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.lookups import FIRST, UNKNOWN
from recprune.models import CrossEntropy, DeepFM, Penalty, Ranker, Target, Training, train
from recprune.models.admission import Admission
from recprune.models.averaging import RowMean
from recprune.models.frequency import FrequencyPrior
from recprune.models.step import Step, Updates
from recprune.models.table import PlainTable
from recprune.slots import SlotMap
from tests.planted import small_data

#: Rows of colour, shape, size, noise.
ROOM = (2, 12, 100, 100)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(2_000)


def begun(data: Dataset) -> tuple[Ranker, Admission]:
    kept = {
        name: np.arange(FIRST + n, dtype=np.int32)
        for name, n in zip(data.encoder.schema.names, ROOM, strict=True)
        if name in ("colour", "shape")
    }
    model = DeepFM(4, (8,), Training(device="cpu")).begin(data.train, kept_rows=kept)
    return model, Admission(data.train.encoder, ROOM, half_life=500.0, interval=4)


def step_of(model: Ranker, admission: Admission, data: Dataset) -> Step:
    rows, sizes = data.train.rows, admission.sizes
    prior = FrequencyPrior(model.net, rows, 50.0, 5, sizes=sizes)
    prior.hold(*admission.held())
    objective = admission.reading(CrossEntropy(Target(data.train.label)))
    step = Step(model.net, prior, objective, Updates(1e-2, Penalty(), horizon=10))
    prior.unfold(model.net)
    return step


def take(step: Step, admission: Admission, data: Dataset, first: int, last: int) -> None:
    for number in range(first, last):
        chosen = np.arange(number * 32, (number + 1) * 32) % len(data.train)
        draws = torch.Generator().manual_seed(number)
        step.take(data.train.rows[chosen], torch.from_numpy(chosen), draws)
        admission.after(step)


def by_row(step: Step) -> dict[str, Tensor]:
    """Return all that is kept of each table row."""
    assert step.mean.rows is not None
    mean = step.mean.rows
    found = {"table": step.net.table.detach(), "first": step.lazy.first, "mean": mean.mean}
    found |= {"second": step.lazy.second, "last": mean.last[:, None], "void": mean.void[:, None]}
    prior = step.prior
    found |= {"unknown": prior.unknown[:, None], "group": prior.group[:, None]}
    return {name: tensor.clone() for name, tensor in found.items()}


def test_survivors_keep_all_and_who_comes_begins_anew(data: Dataset) -> None:
    model, admission = begun(data)
    step = step_of(model, admission, data)
    take(step, admission, data, 0, 7)
    before, codes = by_row(step), np.concatenate([admission.codes(i) for i in range(4)])
    shapes = admission.maps[1]
    assert shapes is not None
    wanted = np.flatnonzero(shapes.slot_of < 0)[:2]
    shapes.count(np.repeat(wanted, 500))
    admission.steps = 7
    admission.after(step)
    after, own = by_row(step), np.concatenate([admission.codes(i) for i in range(4)])
    changed = np.flatnonzero(codes != own)
    rows = torch.from_numpy(changed)
    assert set(wanted + FIRST) <= set(own[changed])
    assert len(changed) < ROOM[1]
    stays = torch.ones(model.net.n_rows, dtype=torch.bool)
    stays[rows] = False
    for name, value in before.items():
        assert torch.equal(after[name][stays], value[stays]), name
    for name in ("first", "second", "mean"):
        assert not after[name][rows].any(), name
    assert after["table"][rows].abs().max() < 0.1
    assert not torch.equal(after["table"][rows], before["table"][rows])
    # The chance of reading unknown, and the group, are those of the value that came.
    whole = FrequencyPrior(DeepFM(4, ()).begin(data.train).net, data.train.rows, 50.0, 5)
    field = np.searchsorted(admission.rows_at, changed, side="right") - 1
    values = torch.from_numpy(admission.values_at[field] + own[changed])
    assert torch.equal(after["unknown"][rows, 0], whole.unknown[values])
    assert torch.equal(after["group"][rows, 0], whole.group[values])
    take(step, admission, data, 8, 12)


def test_both_ways_through_the_table_agree(data: Dataset) -> None:
    found = []
    for plain in (False, True):
        model, admission = begun(data)
        step = step_of(model, admission, data)
        if plain:
            assert step.mean.rows is not None
            step.table = PlainTable(model.net, step.prior, step.lazy, step.mean.rows)
        take(step, admission, data, 0, 30)
        found.append((by_row(step), [admission.codes(i) for i in range(4)]))
    (one, held), (two, same) = found
    for a, b in zip(held, same, strict=True):
        np.testing.assert_array_equal(a, b)
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, atol=2e-5, err_msg=name)


def test_codes_without_a_row_read_unknown(data: Dataset) -> None:
    model, admission = begun(data)
    rows = data.train.rows
    first = admission.look_up(rows)
    assert set(np.unique(first.codes[:, :2])) == {UNKNOWN}
    np.testing.assert_array_equal(first.codes[:, 2:], rows.codes[:, 2:])
    np.testing.assert_array_equal(first.shares, rows.shares)
    take(step_of(model, admission, data), admission, data, 0, 9)
    looked = admission.look_up(rows)
    for field in (0, 1):
        codes = admission.codes(field)
        own = looked.codes[:, field]
        known = own >= FIRST
        np.testing.assert_array_equal(codes[own[known]], rows.codes[known, field])
        assert not np.isin(rows.codes[~known, field], codes[FIRST:]).any()


def test_a_sequence_counts_its_elements_and_no_padding() -> None:
    frame = pl.DataFrame({"tags": [["a", "b"], ["a"], [], ["c", "a"]] * 20, "y": [0, 1, 1, 0] * 20})
    data = Dataset.from_frame(frame, label="y").split(by="random")
    encoder = data.train.encoder
    admission = Admission(encoder, (1,), interval=1)
    admission.count(data.train.rows)
    slots = admission.maps[0]
    assert slots is not None
    codes = data.train.rows.codes
    np.testing.assert_array_equal(slots.uses, np.bincount(codes[codes >= FIRST] - FIRST))
    slots.renew()
    (held,) = slots.held
    assert encoder.parts["tags"].elements.values[held] == "a"
    looked = admission.look_up(data.train.rows).codes
    np.testing.assert_array_equal(looked == 0, codes == 0)


def test_the_mean_of_a_renewed_row_begins_anew() -> None:
    draws = np.random.default_rng(0)
    table = torch.from_numpy(draws.normal(size=(3, 2)).astype(np.float32))
    mean, horizon = RowMean(table, 8), 8
    plain, weight = np.zeros((3, 2)), np.zeros(3)
    for number in range(1, 30):
        old, rows = table.clone(), torch.from_numpy(np.flatnonzero(draws.random(3) < 0.5))
        mean.advance()
        table[rows] = torch.from_numpy(draws.normal(size=(len(rows), 2)).astype(np.float32))
        mean.add(rows, old[rows])
        now = max(1 / number, 1 / horizon)
        plain += now * (table.numpy() - plain)
        weight += now * (1 - weight)
        if number in (5, 8, 21):
            renewed = number % 3
            table[renewed] = 9.0
            mean.forget(torch.tensor([renewed]))
            plain[renewed], weight[renewed] = 0, 0
    mean.catch_up()
    np.testing.assert_allclose(mean.value(), plain / weight[:, None], rtol=1e-4)
    table[1] = 5.0
    mean.forget(torch.tensor([1]))
    mean.catch_up()
    np.testing.assert_array_equal(mean.value()[1], [5.0, 5.0])


def test_a_checkpoint_is_refused(data: Dataset, tmp_path) -> None:
    model, admission = begun(data)
    objective = CrossEntropy(Target(data.train.label))
    with pytest.raises(ParameterError, match="an admission"):
        train(
            model.net,
            data.train.rows,
            objective,
            model.training,
            checkpoint=tmp_path / "c",
            admission=admission,
        )


def test_maps_are_renewed_soon_at_first_and_then_at_intervals(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, admission = begun(data)
    step, renewed = step_of(model, admission, data), []
    admission.interval = 6
    monkeypatch.setattr(SlotMap, "renew", lambda self: renewed.append(admission.steps) or [])
    take(step, admission, data, 0, 19)
    assert sorted(set(renewed)) == [1, 2, 4, 6, 12, 18]
