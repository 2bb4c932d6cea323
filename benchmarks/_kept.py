"""Models that take minutes to train: made once, kept beside the machine's other caches, used again.

They lie under ``$XDG_CACHE_HOME/recprune/benchmarks``, by a hash of the package's code, of other files
and of settings, so that checkouts of one version share them, and changed code trains anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks._cells import TRAINING, code_version
from recprune.artifact import folder_written_whole
from recprune.data import Dataset

__all__ = ["ALONE", "PROFILE", "QUICK", "kept", "main_job"]

#: The host's profile that latencies are foretold by, so that every machine asks for the same.
PROFILE = Path(__file__).parent / "profiles" / "serving_host.json"
#: Settings of the main job whose report is not shown: no comparisons beside the search.
ALONE = ("techniques=false", "baselines=false", "noise_seeds=0", "bring_back=false")
#: Those of a quick run.
QUICK = ("epochs=2", "search_seconds=3", *ALONE)


def kept(
    name: str, made_by: Sequence[str], make: Callable[[Path], None], files: tuple[Path, ...] = ()
) -> Path:
    """Return the folder of what was made once.

    Args:
        name: begins the folder's name.
        made_by: settings that it comes from.
        make: fills a folder, if there is none yet.
        files: that it comes from, beside the package.
    """
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    text = " ".join([code_version(TRAINING, files), *made_by])
    mark = hashlib.sha256(text.encode()).hexdigest()[:12]
    out = Path(home) / "recprune" / "benchmarks" / f"{name}-{mark}"
    out.parent.mkdir(parents=True, exist_ok=True)
    # Of two benchmarks that want it at once, one makes it.
    with (out.parent / f"{out.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not out.exists():
            with folder_written_whole(out) as folder:
                make(folder)
    return out


def main_job(
    name: str, data: Callable[[], Dataset], settings: Sequence[str], profile: Path | None = None
) -> Path:
    """Return the output folder of the main job on a data set.

    Args:
        name: of the data, and its size.
        data: reads it.
        settings: of the run, as on the command line.
        profile: the host's, that latencies are foretold by; None = this host's.
    """
    from recprune.cli._options import read_config
    from recprune.pipeline import run

    def make(folder: Path) -> None:
        also = [f"profile={profile}"] if profile else []
        run(data(), folder / "run", read_config(None, [*settings, *also]))
        for part in (folder / "run").iterdir():
            part.rename(folder / part.name)
        (folder / "run").rmdir()

    return kept(name, settings, make, (profile,) if profile else ())
