"""The compiled way through the table against the plain one, and both against dense versions."""

from __future__ import annotations

import copy

import numpy as np
import polars as pl
import pytest
import torch

from recprune.data import Dataset
from recprune.models import CrossEntropy, DeepFM, Penalty, Target, Training
from recprune.models.averaging import RowMean, RunningMean
from recprune.models.frequency import FrequencyPrior
from recprune.models.step import Step, Updates
from recprune.models.table import FusedTable, PlainTable, _shared_out


@pytest.fixture(scope="module")
def data() -> Dataset:
    """All kinds of fields: categories, numbers, a sequence and a vector."""
    draws, n = np.random.default_rng(0), 3_000
    frame = pl.DataFrame(
        {
            "a": [f"a{v}" for v in draws.integers(0, 300, n)],
            "b": [f"b{v}" for v in draws.integers(0, 5, n)],
            "x": draws.normal(size=n),
            "s": [[f"t{v}" for v in draws.integers(0, 40, k)] for k in draws.integers(0, 5, n)],
            "z": np.where(draws.random(n) < 0.1, np.nan, draws.normal(size=n)),
            "v": pl.Series(draws.normal(size=(n, 3)), dtype=pl.Array(pl.Float64, 3)),
            "y": draws.integers(0, 2, n),
        }
    )
    return Dataset.from_frame(frame, label="y").split(by="random", seed=0)


def run(
    data: Dataset, table: str, penalty: Penalty, threads: int = 1, steps: int = 12
) -> dict[str, torch.Tensor]:
    """Return all weights and all state after some steps."""
    net = DeepFM(4, (8,), training=Training(epochs=0)).fit(data.train).net
    rows = data.train.rows
    prior = FrequencyPrior(net, rows, 50.0, 5)
    prior.unfold(net)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        step = Step(
            net, prior, CrossEntropy(Target(data.train.label)), Updates(1e-2, penalty, horizon=5)
        )
        if table == "plain":
            assert step.mean.rows is not None
            step.table = PlainTable(net, prior, step.lazy, step.mean.rows)
        assert isinstance(step.table, {"plain": PlainTable, "fused": FusedTable}[table])
        for number in range(steps):
            # Of unequal sizes, the last batch of an epoch being smaller.
            chosen = np.arange(number * 100, number * 100 + 100 - 7 * number)
            draws = torch.Generator().manual_seed(number)
            step.take(rows[chosen], torch.from_numpy(chosen), draws)
    finally:
        torch.set_num_threads(before)
    return copy.deepcopy({**dict(net.state_dict()), **step.state()})


@pytest.mark.parametrize(
    "penalty", [Penalty(), Penalty(l2=0.05), Penalty(l1=0.02), Penalty(group=0.05, l2=0.01)]
)
def test_the_compiled_table_does_what_the_plain_one_does(data: Dataset, penalty: Penalty) -> None:
    plain, fused = run(data, "plain", penalty), run(data, "fused", penalty)
    assert plain.keys() == fused.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(fused[name], tensor, rtol=1e-4, atol=2e-6, msg=name)
    if penalty.sparse:
        zeros = (plain["table"] == 0).float().mean()
        assert float((fused["table"] == 0).float().mean()) == pytest.approx(float(zeros), abs=0.01)
        assert zeros > 0.1


def test_threads_change_nothing_of_the_table(data: Dataset) -> None:
    """The dense layers are torch's, whose products may round by the number of threads."""
    one, three = (run(data, "fused", Penalty(), threads, steps=1) for threads in (1, 3))
    for name in ("table.first", "table.second", "table", "mean.rows.mean"):
        torch.testing.assert_close(three[name], one[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_parts_hold_whole_fields(parts: int) -> None:
    lengths, numbers = np.array([1, 1, 1, 4, 3]), np.array([False, False, True, False, False])
    runs = _shared_out(lengths, numbers, parts)
    assert len(runs) <= parts
    assert [a for a, _ in runs[1:]] == [b for _, b in runs[:-1]]
    assert (runs[0][0], runs[-1][1]) == (0, 10)
    assert {b for _, b in runs} <= {1, 2, 3, 7, 10}


@pytest.mark.parametrize("horizon", [1, 2, 7, 100])
def test_the_lazy_mean_is_the_plain_mean(horizon: int) -> None:
    draws = torch.Generator().manual_seed(0)
    table = torch.randn(30, 3, generator=draws)
    plain, lazy = RunningMean([table], horizon), RowMean(table, horizon)
    for number in range(60):
        rows = torch.randperm(30, generator=draws)[: 1 + number % 5]
        old = table[rows].clone()
        lazy.advance()
        table[rows] += torch.randn(len(rows), 3, generator=draws)
        lazy.add(rows, old)
        plain.add()
        if number in (20, 59):
            lazy.catch_up()
            torch.testing.assert_close(lazy.mean, plain.mean[0], rtol=1e-5, atol=1e-5)


def test_a_row_never_touched_keeps_its_bits() -> None:
    table = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    lazy = RowMean(table, 3)
    for _ in range(10):
        lazy.advance()
        lazy.add(torch.tensor([1]), table[[1]].clone())
    lazy.catch_up()
    assert torch.equal(lazy.mean, table)
