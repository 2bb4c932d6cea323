"""An executor's workers train together: processes of this machine, or on Ray."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from recprune.data import Split
from recprune.errors import RunError
from recprune.executor import Executor
from recprune.models import DeepFM, Objective
from recprune.models.parallel import fit_together
from tests.models.parallel.world import difference, ranker, table

RAY = pytest.param("ray", marks=pytest.mark.slow)


@pytest.mark.parametrize("engine", ["processes", RAY])
def test_an_executors_workers_train_as_one_process(engine: str, tmp_path: Path) -> None:
    if engine == "ray":
        pytest.importorskip("ray")
    data, plain = table(), ranker("DeepFM", epochs=3)
    address = "local" if engine == "ray" else None
    executor = Executor(2, engine=engine, address=address)  # type: ignore[arg-type]
    together = fit_together(plain, data.train, data.tune, executor, tmp_path / "kept")
    alone = fit_together(plain, data.train, data.tune, Executor(1))
    assert difference(together.state, alone.state) < 1e-6
    assert [e.score for e in together.history] == pytest.approx(
        [e.score for e in alone.history], abs=1e-4
    )
    assert (tmp_path / "kept").exists()
    assert not plain.fitted or plain is alone


class Dying(DeepFM):
    """All its processes but one are killed as training begins; the one would wait for the others."""

    def objective(self, split: Split, teacher: object = None) -> Objective:
        try:
            (Path(os.environ["RECPRUNE_TEST_FOLDER"]) / "first").mkdir()
        except FileExistsError:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().objective(split)


def test_one_that_dies_ends_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECPRUNE_TEST_FOLDER", str(tmp_path))
    model = Dying(4, (8,), ranker("DeepFM").training)
    with pytest.raises(RunError, match="died"):
        fit_together(model, table().train, None, Executor(2))
