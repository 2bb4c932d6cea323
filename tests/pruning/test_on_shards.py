"""Plans made where the rows lie are those of one process, ties included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recprune.errors import ParameterError
from recprune.models.parallel import RowSharded, joined, merged
from recprune.models.parallel.quantile import best_of_all
from recprune.pruning import plan
from recprune.pruning.on_shards import SHARD_METHODS, plan_rows_on_shards
from tests.models.parallel.world import in_processes, ranker, table

KEEPS = (0.003, 0.25, 0.7, 1.0, 2, 77, 100_000)
CASES = [(size, values) for size in (0, 1, 7, 500) for values in (1, 3, 10**6)]


def scores_of(case: int, rank: int) -> tuple[np.ndarray, int]:
    """Return a process's scores, some of them equal, and of how many values they are."""
    size, values = CASES[case]
    draws = np.random.default_rng([case, rank])
    n = int(draws.integers(0, size + 1)) if rank != 1 else size * (case % 2)  # some have none
    scores = draws.integers(-values, values, n) * np.array([1e-300, 1.0, 1e300])[case % 3]
    return scores.astype(np.float64) * draws.choice([1.0, -1.0], n), values


def on_shards(shared: Any, rank: int, draws: object) -> Any:
    size, where = shared
    data, out = table(), {}
    with joined(rank, size, where) as group:
        for case in range(len(CASES)):
            scores = scores_of(case, rank)[0]
            n = sum(len(scores_of(case, r)[0]) for r in range(size))
            for count in sorted({0, 1, n // 3, n - 1, n} & set(range(n + 1))):
                out[case, count] = best_of_all(group, scores, count)
        model = ranker("DeepFM", epochs=1).fit(data.train, together=RowSharded(group))
        # Rows of one value: ties within and between processes.
        with torch.no_grad():
            model.net.table[: len(model.net.table) // 3] = 0.25
        for method in SHARD_METHODS:
            for keep in KEEPS:
                out[method, keep] = plan_rows_on_shards(model, data, keep, method, seed=3)
        whole = merged(model)
        out["refused"] = []
        for wrong in ({"keep": 0.0}, {"keep": 0.5, "method": "norm_cuont"}):
            with pytest.raises(ParameterError) as caught:
                plan_rows_on_shards(model, data, **wrong)
            out["refused"].append(str(caught.value))
    return out, whole


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return in_processes(on_shards, 3, tmp_path_factory.mktemp("plans"))


def test_the_best_are_those_of_one_array_sorted(found: list[Any]) -> None:
    keys = [key for key in found[0][0] if isinstance(key[0], int)]
    assert len(keys) > 30
    for case, count in keys:
        whole = np.concatenate([scores_of(case, rank)[0] for rank in range(3)])
        expected = np.zeros(len(whole), bool)
        expected[np.argsort(-whole, kind="stable")[:count]] = True
        got = np.concatenate([each[0][case, count] for each in found])
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("method", SHARD_METHODS)
def test_plans_are_one_processs(found: list[Any], method: str) -> None:
    whole = found[0][1]
    sizes = set()
    for keep in KEEPS:
        expected = plan(whole, table(), {"rows": keep}, {"rows": method}, seed=3)
        plans = [each[0][method, keep] for each in found]
        for got in plans:
            assert got.layout_hash == expected.layout_hash
            for name, kept in got.keep.items():
                everything = np.arange(whole.layout.axes[name].size)
                np.testing.assert_array_equal(kept, expected.keep.get(name, everything))
            assert whole.apply(got).params == whole.apply(expected).params
        sizes.add(whole.apply(plans[0]).params)
    assert len(sizes) >= 4


def test_what_is_wrong_is_named(found: list[Any]) -> None:
    assert "'rows' parameter of keep must be" in found[0][0]["refused"][0]
    assert "'norm_count'" in found[0][0]["refused"][1]


def test_a_process_alone_makes_the_plan_of_the_merged_model(tmp_path: Path) -> None:
    data = table()
    with joined(0, 1, f"file://{tmp_path}/meeting") as group:
        model = ranker("DeepFM", epochs=1).fit(data.train, together=RowSharded(group))
        whole = merged(model)
        for method in SHARD_METHODS:
            for keep in (0.25, 0.7, 3, 10**6):
                expected = plan(whole, data, {"rows": keep}, {"rows": method}, seed=3)
                found = plan_rows_on_shards(model, data, keep, method, seed=3)
                assert found.layout_hash == expected.layout_hash
                assert found.keep.keys() == expected.keep.keys()
                for name, units in expected.keep.items():
                    np.testing.assert_array_equal(found.keep[name], units)
        default = plan_rows_on_shards(model, data, 0.25)
        asked = plan_rows_on_shards(model, data, 0.25, "norm_count", 0)
        for name, units in asked.keep.items():
            np.testing.assert_array_equal(default.keep[name], units)
        with pytest.raises(ParameterError, match=r"'norm' does not score the rows of shards\."):
            plan_rows_on_shards(model, data, 0.25, "norm")
