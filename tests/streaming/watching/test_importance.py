"""Fields that the model stops to lean on, or leans on all of a sudden."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from recprune._support import stream
from recprune.metrics import auc
from recprune.streaming.watching import Alarm, RollingImportance, Watching
from recprune.streaming.watching.alarms import BLOCK

FIELDS = ("strong", "weak", "idle")


@dataclass
class Rows:
    """Three numbers an event."""

    values: NDArray[np.float64]

    def __getitem__(self, index: NDArray[np.int64]) -> Rows:
        return Rows(self.values[index])

    def shuffled(self, field: str, order: NDArray[np.int64]) -> Rows:
        values = self.values.copy()
        place = FIELDS.index(field)
        values[:, place] = values[order, place]
        return Rows(values)


def chunks(n: int, truth: list[float], seed: int) -> Iterator[tuple[NDArray[np.float32], Rows]]:
    draws = np.random.default_rng(seed)
    for _ in range(n):
        values = draws.normal(0, 1, (4 * BLOCK, 3))
        chance = 1 / (1 + np.exp(1.5 - values @ truth))
        yield (draws.random(len(values)) < chance).astype(np.float32), Rows(values)


def run(
    rolling: RollingImportance,
    n: int,
    truth: list[float],
    seed: int,
    model: list[float] | None = None,
) -> list[Alarm]:
    weights = np.array(truth if model is None else model)
    found = []
    for label, rows in chunks(n, truth, seed):
        found += rolling.add(label, rows, lambda r: (r.values @ weights).astype(np.float32))
    return found


OPTIONS = Watching(every=4 * BLOCK, run_length=1e9)


def test_a_look_is_the_fall_of_auc_of_one_shuffle() -> None:
    rolling = RollingImportance(FIELDS, OPTIONS)
    weights = np.array([1.0, 0.3, 0.0])
    ((label, rows),) = chunks(1, [1.0, 0.3, 0.0], 0)
    rolling.add(label, rows, lambda r: (r.values @ weights).astype(np.float32))
    chosen = np.sort(stream(0, "rolling importance", 1).permutation(len(label))[:1000])
    order = stream(0, "shuffle", "strong", 1).permutation(1000)
    base = rows.values[chosen] @ weights
    shuffled = base + rows.values[chosen][order, 0] - rows.values[chosen][:, 0]
    expected = auc(label[chosen], base) - auc(label[chosen], shuffled)
    figures = rolling.figures()
    assert figures["importance.strong"] == pytest.approx(expected, abs=1e-5)
    assert figures["importance.idle"] == 0
    assert 0.005 < figures["importance_error.strong"] < 0.03


def test_a_field_that_is_forgotten_is_an_alarm_and_so_is_its_return() -> None:
    rolling = RollingImportance(FIELDS, OPTIONS)
    assert run(rolling, 60, [1.0, 0.5, 0.0], 1) == []
    (fallen,) = run(rolling, 40, [0.0, 0.5, 0.0], 2)
    assert (fallen.kind, fallen.field) == ("importance", "strong")
    assert fallen.detail["auc_fall"] < fallen.detail["usual"]
    # Armed again: a second fall is a second alarm.
    assert run(rolling, 60, [1.0, 0.5, 0.0], 3) == []
    assert [alarm.field for alarm in run(rolling, 40, [0.0, 0.5, 0.0], 4)] == ["strong"]


def test_a_field_that_takes_over_is_an_alarm() -> None:
    rolling = RollingImportance(FIELDS, OPTIONS)
    assert run(rolling, 20, [1.0, 0.3, 0.0], 5) == []
    found = run(rolling, 60, [1.0, 0.3, 1.0], 6)
    assert ("importance", "idle") in {(alarm.kind, alarm.field) for alarm in found}
    assert "weak" not in {alarm.field for alarm in found}


@pytest.mark.parametrize("seed", range(5))
def test_nothing_moves_and_nothing_rings(seed: int) -> None:
    # 300 looks at three fields, six tests, at a bound of one false alarm in 1,000 looks each.
    options = Watching(every=4 * BLOCK, run_length=4000.0 * BLOCK)
    rolling = RollingImportance(FIELDS, options)
    found = run(rolling, 60, [1.0, 0.4, 0.05], seed, model=[0.8, 0.5, 0.0])
    assert len(found) <= 1


def test_what_cannot_be_looked_at_is_left_out() -> None:
    rolling = RollingImportance(FIELDS, OPTIONS)
    assert rolling.add(np.ones(8 * BLOCK, np.float32), None, None) == []
    ((_, rows),) = chunks(1, [1.0, 0.3, 0.0], 0)
    ones = np.ones(4 * BLOCK, np.float32)

    def score(some: Rows) -> NDArray[np.float32]:
        return some.values[:, 0].astype(np.float32)

    few = np.arange(100)
    label = (few % 3 == 0).astype(np.float32)
    assert rolling.add(ones, rows, score) == []
    assert rolling.add(label, rows[few], score) == []
    assert rolling.figures() == {}
    # It was put off, not left out.
    many = np.arange(300)
    assert rolling.add((many % 3 == 0).astype(np.float32), rows[many], score) == []
    assert rolling.looks == 1
