"""The search for better settings: Optuna's trials, stopped early where they are poor."""

from __future__ import annotations

import contextlib
import fcntl
import inspect
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from recprune._support import logger, progress, require, stream
from recprune.data import Dataset
from recprune.errors import InputError, ParameterError, RunError, TrainingError
from recprune.folders import file_written_whole
from recprune.metrics import metric
from recprune.models import RANKERS, Epoch, Ranker
from recprune.pipeline.config import RunConfig
from recprune.pipeline.run_folder import data_hash

__all__ = ["Tuned", "tune"]

STUDY, SETTINGS, TRIALS = "study.db", "run.toml", "trials.parquet"
#: Settings with a range; they are drawn evenly on a logarithmic scale.
RANGES = {"learning_rate": (1e-4, 0.03), "l2": (1e-3, 3.0), "unknown_rate": (1.0, 500.0)}
MOST_DROPOUT = 0.5
DIMS = (4, 8, 16, 32)
#: Hidden layers as trials call them.
HIDDEN = ("64", "128-64", "256-128", "400-400")


@dataclass(frozen=True, eq=False)
class Tuned:
    """What a search found.

    Args:
        config: the best trial's settings.
        best: its number.
        trials: one row a trial: number, state (complete, pruned or failed), the metric on the tune
            rows and, for whom it may concern, on the gate rows, which chose nothing; best epoch,
            seconds, and the settings.
    """

    config: RunConfig
    best: int
    trials: pl.DataFrame


def tune(
    model: type[Ranker] | RunConfig,
    data: Dataset,
    *,
    trials: int = 50,
    storage: str | Path | None = None,
) -> Tuned:
    """Search settings of a ranker: learning rate, L2, unknown rate, dims, hidden layers, dropout.

    The first trial has the settings as given (0 as the least of a range). Then a tree-structured Parzen estimator chooses
    (Bergstra et al. 2011, section 4), each trial with its own stream of the configuration's seed.
    After every epoch a trial that is below the median of those before it at that epoch is stopped.

    Args:
        model: the ranker's class, or a configuration whose other settings stay as they are.
        data: a split data set: trained on *train*, scored on *tune* by the configuration's metric.
        trials: how many in all.
        storage: folder that keeps the search, its best settings (``run.toml``) and ``trials.parquet``;
            None = nothing is kept. A search that was ended goes on when it is started again: a trial
            that it was in is failed and tried again, and the result is what it would have been.

    Raises:
        ParameterError: ``trials`` is below 1.
        InputError: the folder holds something else, the search of other data or settings, or one
            that is running.
        MissingExtra: Optuna is not installed.
    """
    if trials < 1:
        raise ParameterError.of("trials", "tune", "an int ≥ 1", trials)
    config = model if isinstance(model, RunConfig) else RunConfig.of(model=model.__name__)
    with _opened(storage) as folder:
        search = _Search(config, data, folder)
        done = search.done
        for _ in progress(range(done, trials), f"trials from {done + 1}", trials - done):
            search.trial()
        table = search.table()
        if folder is not None:
            with file_written_whole(folder / TRIALS) as partial:
                table.write_parquet(partial)
        found = Tuned(*search.best(), table)
        if folder is not None:
            with file_written_whole(folder / SETTINGS) as partial:
                partial.write_text(found.config.to_toml(), "utf-8")
    return found


class _Search:
    """One study: asks for settings, trains with them, tells the score."""

    def __init__(self, config: RunConfig, data: Dataset, folder: Path | None) -> None:
        self.optuna = optuna = require("optuna", "search")
        self.config, self.data, self.space = config, data, _space(config)
        self.metric = config.ranker().metric
        self.finished = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
        better = metric(self.metric).higher_is_better
        told = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self.study = optuna.create_study(
                storage=None if folder is None else _database(folder / STUDY, optuna),
                study_name="recprune",
                direction="maximize" if better else "minimize",
                pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1),
                load_if_exists=True,
            )
        finally:
            optuna.logging.set_verbosity(told)
        self._same_as_before()
        self._fail_the_dead()

    @property
    def done(self) -> int:
        """Trials that came to a result."""
        return len(self.study.get_trials(deepcopy=False, states=self.finished))

    def trial(self) -> None:
        """Do the next trial."""
        optuna, number = self.optuna, self.done
        # By the trials done, so that a search that was ended chooses as if it had not been.
        seed = int(stream(self.config.seed, "trial", number).integers(2**31))
        self.study.sampler = optuna.samplers.TPESampler(seed=seed)
        if not number and not self._in_state("WAITING"):
            given = _as_given(self.config)
            self.study.enqueue_trial({name: given[name] for name in self.space})
        trial = self.study.ask(self._distributions())
        start, state, score = time.perf_counter(), optuna.trial.TrialState.COMPLETE, None

        def watch(epoch: Epoch) -> None:
            trial.report(epoch.score, epoch.epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        model = _config_of(self.config, trial.params).ranker()
        try:
            model.fit(self.data.train, self.data.tune, watch=watch)
            best = model.training.best_of(model.history)
            score = best.score
            trial.set_user_attr("epoch", best.epoch)
            trial.set_user_attr("gate", model.held_out(model.aligned(self.data.gate))())
        except optuna.TrialPruned:
            state = optuna.trial.TrialState.PRUNED
        except TrainingError as error:
            state = optuna.trial.TrialState.PRUNED
            trial.set_user_attr("error", str(error))
        trial.set_user_attr("seconds", time.perf_counter() - start)
        self.study.tell(trial, score, state)
        logger.info("trial %d: %s, %s %s", trial.number, trial.params, self.metric, score)

    def best(self) -> tuple[RunConfig, int]:
        """Return the settings of the best trial, and its number."""
        if not self._in_state("COMPLETE"):
            raise RunError(
                "No trial trained to its end; trials.parquet says why. Start from a lower learning rate."
            )
        best = self.study.best_trial
        return _config_of(self.config, best.params), best.number

    def table(self) -> pl.DataFrame:
        """Return all trials, in order."""
        name = self.metric
        rows = [
            {
                "trial": t.number,
                "state": "failed" if t.state.name == "FAIL" else t.state.name.lower(),
                f"{name}_tune": t.value if t.state.name == "COMPLETE" else None,
                f"{name}_gate": t.user_attrs.get("gate"),
                "epoch": t.user_attrs.get("epoch"),
                "seconds": t.user_attrs.get("seconds"),
                **{n: t.params.get(n) for n in self.space},
                "error": t.user_attrs.get("error"),
            }
            for t in self.study.get_trials(deepcopy=False)
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def _distributions(self) -> dict[str, Any]:
        kinds = self.optuna.distributions
        return {
            name: kinds.CategoricalDistribution(values)
            if isinstance(values, tuple)
            else kinds.FloatDistribution(**values)
            for name, values in self.space.items()
        }

    def _in_state(self, name: str) -> list[Any]:
        state = getattr(self.optuna.trial.TrialState, name)
        return list(self.study.get_trials(deepcopy=False, states=(state,)))

    def _same_as_before(self) -> None:
        settings = json.loads(self.config.model_dump_json())
        of = {"data": data_hash(self.data), **settings}
        known = self.study.user_attrs.get("of")
        if known is None:
            self.study.set_user_attr("of", of)
            return
        other = [name for name in of | known if of.get(name) != known.get(name)]
        if other:
            raise InputError(
                f"This folder's search is of another {other[0]!r} "
                f"({_short(known.get(other[0]))}, now {_short(of.get(other[0]))}), so that its trials "
                "do not compare. Choose another -o (storage)."
            )

    def _fail_the_dead(self) -> None:
        for trial in self._in_state("RUNNING"):
            self.study.tell(trial.number, state=self.optuna.trial.TrialState.FAIL)
            # One that had not all its settings yet is asked for again by the same stream.
            if set(trial.params) == set(self.space):
                self.study.enqueue_trial(trial.params, user_attrs={"again": trial.number})


def _space(config: RunConfig) -> dict[str, Any]:
    """Return setting → its choices, or its range, which hold what the configuration has."""
    takes, given = inspect.signature(RANKERS[config.model]).parameters, _as_given(config)
    space: dict[str, Any] = {
        name: {"low": min(low, given[name]), "high": max(high, given[name]), "log": True}
        for name, (low, high) in RANGES.items()
    }
    if "dim" in takes:
        space["dim"] = tuple(sorted({*DIMS, given["dim"]}))
    if "hidden" in takes:
        space["hidden"] = tuple(dict.fromkeys([*HIDDEN, given["hidden"]]))
        space["dropout"] = {"low": 0.0, "high": max(MOST_DROPOUT, given["dropout"])}
    return space


def _as_given(config: RunConfig) -> dict[str, Any]:
    """Return the configuration's own settings as trials have them; a 0 has no logarithm."""
    given = {name: getattr(config, name) or low for name, (low, _) in RANGES.items()}
    hidden = "-".join(map(str, config.hidden))
    return given | {"dim": config.dim, "hidden": hidden, "dropout": config.dropout}


def _config_of(config: RunConfig, params: Mapping[str, Any]) -> RunConfig:
    settings = dict(params)
    if "hidden" in params:
        settings["hidden"] = tuple(int(size) for size in params["hidden"].split("-") if size)
    return RunConfig.of(**{**config.model_dump(), **settings})


def _database(file: Path, optuna: Any) -> Any:
    """Return Optuna's storage in a SQLite file that appends to a log: five times as fast, as safe."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{file}")

    def quick(connection: Any, _: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")

    require("sqlalchemy.event", "search").listen(storage.engine, "connect", quick)
    storage.engine.dispose()  # connections from before do not know
    return storage


@contextlib.contextmanager
def _opened(storage: str | Path | None) -> Iterator[Path | None]:
    """Yield the search's folder, which no other search has meanwhile."""
    if storage is None:
        yield None
        return
    folder = Path(storage)
    lock = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not lock.exists() and any(folder.iterdir()):
            raise InputError(
                f"Output {str(storage)!r} exists and is not a search's folder. Choose another -o."
            )
        handle = lock.open("w")
    except OSError as error:
        raise InputError(
            f"Output {str(storage)!r} cannot be written: {error.strerror}. Choose another -o."
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"Another search is running in {str(storage)!r}. Wait for it, or choose another -o."
            ) from error
        yield folder


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
