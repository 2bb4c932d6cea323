"""What every trained model's folder says of its training: settings, versions, data, history."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune import __version__
from recprune._support import fingerprint, logger
from recprune.artifact import folder_written_whole
from recprune.data import Dataset
from recprune.errors import BudgetError, InputError, TrainingError
from recprune.executor import Executor
from recprune.models import PrivacyBudget, Ranker
from recprune.models.device import device_of, uses_bf16
from recprune.models.parallel import DataParallel, Group, fit_together
from recprune.pipeline.config import RunConfig
from recprune.pipeline.saving import ship
from recprune.report import pictures

__all__ = [
    "checkpoint_beside",
    "data_hash",
    "epochs_of",
    "fitted",
    "train_model",
    "write_training",
]

#: What can change a result's bytes.
PACKAGES = ("numpy", "polars", "torch", "scikit-learn")
#: Rows hashed at once.
BLOCK = 1 << 16


def train_model(
    data: Dataset,
    out: str | Path,
    config: RunConfig,
    privacy: PrivacyBudget | None = None,
    group: Group | None = None,
    executor: Executor | None = None,
) -> tuple[Ranker, int]:
    """Train a full model and write its folder, whole or not at all.

    The folder is the model's artefact, with ``users.rp``, and what :func:`write_training` writes.
    Stopped and started again, training goes on where it was; private training (``privacy``) begins
    anew, since its noise is kept nowhere.

    Args:
        data: split.
        out: the folder.
        config: settings.
        privacy: None = not private.
        group: the processes that train together, each with the same arguments; the first alone
            writes. None = this one alone.
        executor: whose workers train together, if there are several.

    Returns:
        The model, and its artefact's bytes: 0 where another process writes it.

    Raises:
        InputError: private training by several processes, or workers beside a group.
    """
    several = executor is not None and executor.workers > 1
    if several and group is not None:
        raise InputError(
            "Processes that torchrun started train together already. Leave --workers (executor) out."
        )
    if privacy is not None and (several or group is not None):
        raise InputError(
            "Private training is for one process alone. Start it without --workers (executor) and "
            "torchrun."
        )
    if group is not None and group.rank:
        return fitted(config, data, Path(out), DataParallel(group)), 0
    together = None if group is None else DataParallel(group)
    with checkpoint_beside(out) as checkpoint, folder_written_whole(Path(out)) as folder:
        if executor is not None and several:
            model = fit_together(config.ranker(), data.train, data.tune, executor, checkpoint)
        elif privacy is None:
            model = fitted(config, data, checkpoint, together)
        else:
            model = config.ranker().fit(data.train, data.tune, privacy)
        _, size = ship(folder, model, data)
        if data.users is not None:
            data.users.save(folder / "users.rp")
        write_training(folder, model, data, config)
    return model, size


def fitted(
    config: RunConfig, data: Dataset, checkpoint: Path, together: DataParallel | None = None
) -> Ranker:
    """Return the full model, trained; from a checkpoint where its training knows such."""
    model = config.ranker()
    kept = checkpoint if model.resumable else None
    return model.fit(data.train, data.tune, checkpoint=kept, together=together)


def write_training(folder: Path, model: Ranker, data: Dataset, config: RunConfig) -> None:
    """Write ``run.toml``, ``run.json``, ``history.parquet`` and ``plots/learning.png``.

    ``run.toml`` holds the settings, which give the same bytes again on the same data, versions,
    device, precision and number of threads: those are in ``run.json``.
    """
    (folder / "run.toml").write_text(config.to_toml(), encoding="utf-8")
    told = json.dumps(_circumstances(data, config), indent=1) + "\n"
    (folder / "run.json").write_text(told, encoding="utf-8")
    epochs = epochs_of(model)
    if not epochs:  # trained elsewhere
        return
    pl.DataFrame(epochs, infer_schema_length=None).write_parquet(folder / "history.parquet")
    drawn = pictures({"history": {"full": epochs}}).get("learning")
    if drawn is not None:
        (folder / "plots").mkdir(exist_ok=True)
        (folder / "plots" / "learning.png").write_bytes(drawn.png)


def epochs_of(model: Ranker) -> list[dict[str, float | None]]:
    """Return a model's history: one record an epoch, its score under the metric's name."""
    return [
        {
            "epoch": e.epoch,
            "loss": e.loss if np.isfinite(e.loss) else None,
            model.metric: e.score,
            "learning_rate": e.learning_rate,
            "seconds": e.seconds,
            "rows_per_second": e.rows_per_second,
        }
        for e in model.history
    ]


def data_hash(data: Dataset) -> str:
    """Return a hash of a split data set: encodings, codes, shares, labels and weights, by part."""

    def arrays() -> Iterator[NDArray[Any]]:
        yield np.frombuffer(data.encoder.hash().encode(), np.uint8)
        for part in (data.train, data.tune, data.gate, data.test):
            for at, block in part.rows.blocks(BLOCK):
                yield block.codes
                yield block.shares
                yield part.label[at]
            if part.extras.weight is not None:
                yield part.extras.weight

    return fingerprint(arrays())


@contextlib.contextmanager
def checkpoint_beside(out: str | Path) -> Iterator[Path]:
    """Yield the file for a training's checkpoints, in a hidden folder beside its output.

    The folder is removed once the body is through, and where the loss stopped training; after any
    other end it stays, to go on from. One run at a time has it.

    Raises:
        InputError: another run has it.
    """
    target = Path(os.path.realpath(out))
    folder = target.parent / f".{target.name}.checkpoint"
    with _held(folder, str(out)):
        try:
            yield folder / "training.safetensors"
        except TrainingError:  # the same command would come to the same
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except BudgetError:
            if _is_worth_keeping(folder):
                logger.warning(
                    "What was tried is in %s; with another budget it goes on from it.", folder
                )
            raise
        except BaseException:
            if _is_worth_keeping(folder):
                logger.warning(
                    "What was trained is in %s; the same command goes on from it.", folder
                )
            raise
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path, out: str) -> Iterator[None]:
    """Make a folder and hold it, so that two runs do not write each other's checkpoints."""
    with contextlib.ExitStack() as opened:
        # Where it cannot be made, neither can the output, which says why; and a file system may
        # know no locks.
        with contextlib.suppress(OSError):
            try:
                while not opened.enter_context(_locked(folder)):
                    pass
            except BlockingIOError:
                raise InputError(
                    f"Another run is writing {out!r}. Wait for it, or choose another -o."
                ) from None
        yield


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Make a folder, lock it, and tell whether it is still there: its last run removes it at its end."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            there = os.fstat(handle).st_ino == folder.stat().st_ino
        except FileNotFoundError:
            there = False
        yield there
    finally:
        os.close(handle)


def _is_worth_keeping(folder: Path) -> bool:
    """Whether there is something in the folder; it is removed where there is nothing."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _circumstances(data: Dataset, config: RunConfig) -> Mapping[str, Any]:
    import torch

    parts = {"train": data.train, "tune": data.tune, "gate": data.gate, "test": data.test}
    device = device_of(config.device)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "recprune": __version__,
        "seed": config.seed,
        "versions": {"python": platform.python_version(), **versions},
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "device": device.type,
        "precision": "bf16" if uses_bf16(config.precision, device) else "fp32",
        "data": {
            "rows": {name: len(part) for name, part in parts.items()},
            "hash": data_hash(data),
        },
    }
