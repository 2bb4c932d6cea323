"""How fast this machine answers: measured once, saved, and from then on computed.

Latencies that are timed during a search differ from run to run. A *host profile* holds what one
unit of the runtime's work takes on a machine, so that the latency of any cut is a function of the
cut alone: the same profile and the same model give the same number, to the bit.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from recprune._support import progress, require
from recprune.errors import InputError, ParameterError
from recprune.folders import file_written_whole, state_folder
from recprune.pipeline.work import MANY, ONE, Work
from recprune.runtime import Scorer

if TYPE_CHECKING:
    from recprune.models import Ranker

__all__ = ["HostProfile"]

FORMAT, VERSION = "recprune host profile", 1
#: Rows of the answers that are timed; seconds for each, and the fewest repeats.
LARGE, SECONDS, LEAST_REPEATS = 1000, 0.04, 7
#: Seconds that a short call is repeated for before the clock is read again.
TICK = 2e-4
#: Parts in which the models are left out in turn, to see how far predictions are off.
FOLDS = 5

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class HostProfile:
    """What the runtime's work takes on one machine, on one core.

    Args:
        cpu: the processor, as the system names it.
        recprune: the version that was measured.
        compiled: whether compiled kernels answered; without numba NumPy does.
        one: count of :meth:`Work.of_one` → microseconds of each, for an answer of one row.
        many: count of :meth:`Work.of_many` → nanoseconds a row of each, for one of 1,000 rows.
        errors: ``"1"`` and ``"1000"`` rows → median relative error on models left out of the fit.

    >>> one, many = dict.fromkeys(ONE, 0.5), dict.fromkeys(MANY, 0.5)
    >>> profile = HostProfile("a processor", "0.1.0", True, one, many, {"1": 0.1, "1000": 0.1})
    >>> HostProfile.from_json(profile.to_json()) == profile
    True
    """

    cpu: str
    recprune: str
    compiled: bool
    one: Mapping[str, float]
    many: Mapping[str, float]
    errors: Mapping[str, float]

    @classmethod
    def measure(cls, seed: int = 0, models: int = 126) -> HostProfile:
        """Time the runtime on random models of many sizes, on one core; takes about 15 seconds.

        Args:
            seed: of the models.
            models: how many. Fewer than the default predict less well.

        Raises:
            ParameterError: fewer models than one.
            MissingExtra: SciPy is not installed.
        """
        from recprune import __version__
        from recprune.pipeline.synthetic_models import random_rows, synthetic_models

        if models < 1:
            raise ParameterError.of("models", "HostProfile.measure", "an int ≥ 1", models)
        require("scipy.optimize", "train")
        compiled, works, times = True, [], []
        with threadpool_limits(1):
            drawn = synthetic_models(models, seed)
            for artifact in progress(drawn, "Measuring this machine", total=models):
                scorer, model = Scorer(artifact), artifact.model
                compiled = scorer.warm_up()
                facts = artifact.layout, artifact.encoder, model["parts"], model["wide"]
                works.append(Work(*facts, compiled=compiled))
                rows = random_rows(artifact.encoder, LARGE, seed)
                times.append([_seconds(scorer, rows[:n]) for n in (1, LARGE)])
        small, large = np.array(times).T
        one, off = _fitted([w.of_one() for w in works], small * 1e6)
        many, off_many = _fitted([w.of_many() for w in works], large * 1e9 / LARGE)
        errors = {"1": off, str(LARGE): off_many}
        return cls(_cpu(), __version__, compiled, one, many, errors)

    @classmethod
    def of_this_host(cls) -> HostProfile:
        """Return this machine's profile: the stored one, or else measured now and stored.

        It lies under ``$XDG_STATE_HOME/recprune/host_profiles`` (default ``~/.local/state/…``), one
        file for each processor, version of recprune, and with or without numba. One that cannot be
        read is measured anew; where nothing can be written, it lasts as long as the process.
        """
        path = cls.place()
        with contextlib.suppress(InputError):
            return cls.read(path)
        profile = _measured_here.get(path)
        if profile is None:
            profile = _measured_here[path] = cls.measure()
            with contextlib.suppress(InputError, OSError):
                profile.save(path)
        return profile

    @staticmethod
    def place() -> Path:
        """Return where this machine's profile is stored, whether or not it is there."""
        from recprune import __version__

        kernels = "numpy" if importlib.util.find_spec("numba") is None else "numba"
        name = re.sub(r"[^a-z0-9.]+", "-", f"{_cpu()} {__version__} {kernels}".lower())
        return state_folder("host_profiles") / f"{name}.json"

    def latency_us(self, model: Ranker, rows: int = 1) -> float:
        """Return the predicted microseconds of an answer: no clock is read.

        It never grows with a cut. Between 1 and 1,000 rows it is interpolated, beyond that it is
        that of a thousand rows as often as needed.

        Args:
            model: fitted, cut or not.
            rows: of the answer.

        Raises:
            ParameterError: ``rows`` is not a positive whole number.
        """
        if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
            raise ParameterError.of("rows", "latency_us", "an int ≥ 1", rows)
        work = Work(model.layout, model.encoder, model.parts, model.wide, compiled=self.compiled)
        one = sum(self.one[name] * count for name, count in work.of_one().items())
        many = sum(self.many[name] * count for name, count in work.of_many().items())
        many *= LARGE / 1000
        if rows >= LARGE:
            return many * rows / LARGE
        share = (rows - 1) / (LARGE - 1)
        return (1 - share) * one + share * many

    def to_json(self) -> dict[str, Any]:
        """Return the profile as plain data."""
        about = {"format": FORMAT, "version": VERSION, "cpu": self.cpu, "recprune": self.recprune}
        costs = {"one": dict(self.one), "many": dict(self.many), "errors": dict(self.errors)}
        return {**about, "compiled": self.compiled, **costs}

    @classmethod
    def from_json(cls, data: Any) -> HostProfile:
        """Return the profile that :meth:`to_json` wrote.

        Raises:
            InputError: something else, a damaged one, or one of another version.
        """
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            raise InputError("This is no host profile. Make one with 'recprune doctor --profile'.")
        if data.get("version") != VERSION:
            raise InputError(
                f"The host profile has version {data.get('version')!r}; this recprune reads version "
                f"{VERSION}. Measure it again with 'recprune doctor --profile FILE'."
            )
        about = {"cpu": str, "recprune": str, "compiled": bool}
        wrong = [name for name, kind in about.items() if not isinstance(data.get(name), kind)]
        known = {"one": ONE, "many": MANY, "errors": ("1", str(LARGE))}
        wrong += [name for name, keys in known.items() if not _costs(data.get(name), keys)]
        if wrong:
            raise InputError(
                f"The host profile is damaged: {', '.join(map(repr, wrong))}. Measure it again with "
                "'recprune doctor --profile FILE'."
            )
        return cls(**{name: data[name] for name in (*about, "one", "many", "errors")})

    def save(self, path: Path | str) -> None:
        """Write one JSON file, whole or not at all.

        Raises:
            InputError: it cannot be written.
        """
        with file_written_whole(Path(path)) as file:
            file.write_text(json.dumps(self.to_json(), indent=1) + "\n", "utf-8")

    @classmethod
    def read(cls, path: Path | str) -> HostProfile:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: no such file, or none that :meth:`from_json` takes.
        """
        try:
            data = json.loads(Path(path).read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"Host profile {str(path)!r} cannot be read: {error}. Make one with "
                "'recprune doctor --profile FILE'."
            ) from error
        return cls.from_json(data)


#: Where nothing can be written, once a process is enough.
_measured_here: dict[Path, HostProfile] = {}


def _costs(given: Any, names: Sequence[str]) -> bool:
    """Tell whether these names, and no others, have finite numbers of at least 0."""
    return (
        isinstance(given, Mapping)
        and set(given) == set(names)
        and all(type(v) in (int, float) and 0 <= v < math.inf for v in given.values())
    )


def _seconds(scorer: Scorer, rows: Any) -> float:
    """Return how long an undisturbed answer takes: the least of many, each after one like it."""

    def call() -> Any:
        return scorer.logits(rows)

    times: list[float] = [_timed(call, 1) for _ in range(3)]
    repeats = max(1, int(TICK / min(times)))
    times, end = [], time.perf_counter() + SECONDS
    while len(times) < LEAST_REPEATS or time.perf_counter() < end:
        times.append(_timed(call, repeats))
    return min(times)


def _timed(call: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _fitted(counts: Sequence[Mapping[str, float]], times: F64) -> tuple[dict[str, float], float]:
    """Return each count's cost, and the median relative error on models left out in turn."""
    table = np.array([list(each.values()) for each in counts], np.float64)
    off, fold = np.zeros(len(times)), np.arange(len(times)) % FOLDS
    for left_out in range(FOLDS):
        out = fold == left_out
        off[out] = table[out] @ _costs_of(table[~out], times[~out]) / times[out] - 1
    costs = dict(zip(counts[0], _costs_of(table, times).tolist(), strict=True))
    return costs, float(np.median(np.abs(off)))


def _costs_of(table: F64, times: F64) -> F64:
    """Return the costs, none below 0, with the least squares of relative errors."""
    scale = table.max(axis=0, initial=0.0)
    scale[scale == 0] = 1
    relative = table / scale / times[:, None]
    solve = require("scipy.optimize", "train").nnls
    costs: F64 = solve(relative, np.ones(len(times)), maxiter=100 * table.shape[1])[0] / scale
    return costs


def _cpu() -> str:
    """Return the processor's name."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return (
            next(line for line in lines if line.startswith("model name")).split(":", 1)[1].strip()
        )
    return platform.processor() or platform.machine() or "unknown"
