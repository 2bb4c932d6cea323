"""From nothing to the first score, against ``import torch`` alone: whole processes, one thread.

Ours imports recprune, loads the artefact of :func:`benchmarks.runtime.small_model` (DeepFM, 20
fields × 6 dims, 64-64-32, 20,000 rows) and scores one row of raw values; once as it comes, by
NumPy, and once with the compiled kernels loaded first (their cache filled by the warm-up, as an
image or an earlier process leaves it). What serves is installed without extras, and so without
SciPy, which numba loads where it finds it: that is the claim, and what it takes with SciPy stands
beside it. The processes take turns. A ratio is ours ÷ torch's, so less
is better: of seconds until the process ended, and of its peak memory as the system counts it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks._common import ROOT, Claim, alternate, main

ROUNDS, QUICK_ROUNDS = 15, 5

MAKE = """
import sys
from pathlib import Path
from benchmarks.runtime import small_model
from recprune import __version__
from recprune.artifact import write_artifact
write_artifact(Path(sys.argv[1]), small_model()[0], __version__)
"""
SCORE = """
import sys
{first}
import recprune as rp
scorer = rp.load(sys.argv[1])
{then}
(score,) = scorer.score({{name: ["7"] for name in scorer.fields}})
assert 0 < score < 1, score
"""
NO_SCIPY, KERNELS = "sys.modules['scipy'] = None", "assert scorer.warm_up()"
CONTESTANTS = {
    "torch": "import torch",
    "numpy": SCORE.format(first=NO_SCIPY, then=""),
    "numba": SCORE.format(first=NO_SCIPY, then=KERNELS),
    "numba_and_scipy": SCORE.format(first="", then=KERNELS),
}
VERSION = "import torch; print(torch.__version__.partition('+')[0])"


def measure(quick: bool) -> Sequence[Claim]:
    """Return the claims on time and memory."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, **dict.fromkeys(threads, "1")}
        environment |= {"NUMBA_CACHE_DIR": f"{folder}/numba", "PYTHONPATH": f"{ROOT}/src:{ROOT}"}
        (artefact := Path(folder, "model")).mkdir()
        subprocess.run([sys.executable, "-c", MAKE, artefact], env=environment, check=True)
        peaks: dict[str, list[int]] = {name: [] for name in CONTESTANTS}

        def process(name: str) -> Callable[[], None]:
            def run() -> None:
                command = [sys.executable, "-c", CONTESTANTS[name], str(artefact)]
                started = subprocess.Popen(command, env=environment)
                _, status, usage = os.wait4(started.pid, 0)
                started.returncode = os.waitstatus_to_exitcode(status)
                if started.returncode:
                    sys.exit(f"The process {name!r} failed.")
                peaks[name].append(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))

            return run

        rounds = QUICK_ROUNDS if quick else ROUNDS
        timing = alternate({name: process(name) for name in CONTESTANTS}, rounds)
        version = subprocess.check_output([sys.executable, "-c", VERSION], text=True).strip()
    own = _own_peak()
    if own > min(map(min, peaks.values())):
        # A child is counted with what its parent held when it was started.
        sys.exit(f"This process has taken {own:,} bytes, more than what it measures.")
    memory = {name: [float(p) for p in peak[1:]] for name, peak in peaks.items()}
    sizes = {
        name: {"median": statistics.median(peak), "min": min(peak), "max": max(peak)}
        for name, peak in memory.items()
    }
    peer = f"torch {version}"

    def ratio(ours: str) -> float:
        return statistics.median(a / b for a, b in zip(memory[ours], memory["torch"], strict=True))

    return [
        Claim(
            "cold_start_over_import_torch",
            timing.ratio("numpy", "torch"),
            "ratio",
            peer,
            {
                **timing.detail(),
                "with_kernels": timing.ratio("numba", "torch"),
                "with_kernels_and_scipy": timing.ratio("numba_and_scipy", "torch"),
                "rounds": rounds,
            },
        ),
        *(
            Claim(f"cold_memory_{ours}_over_import_torch", ratio(ours), "ratio", peer, detail)
            for ours, detail in (
                ("numpy", sizes),
                ("numba", {**sizes, "with_scipy": ratio("numba_and_scipy")}),
            )
        ),
    ]


def _own_peak() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main("cold_start", measure)
