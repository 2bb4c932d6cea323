"""Results that are kept on disk: a benchmark that was stopped goes on where it was.

What was measured stands in files of JSON lines, in a folder named after the benchmark and the code
that results come from, so that changed code begins anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._common import ROOT

__all__ = ["RESULTS", "TRAINING", "Cells", "Record", "code_version"]

RESULTS = ROOT / "benchmarks" / "results"
Record = dict[str, Any]
#: Folders of the package that trained and pruned models come from.
TRAINING = ("data", "models", "importance", "pruning", "evaluation", "metrics", "pipeline")


class Cells:
    """What was measured already, by key; the rest is measured when it is asked for.

    Args:
        folder: of the benchmark's results, as it is now.
        name: of the file.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / f"{name}.jsonl"
        self.known: dict[str, Record] = {}
        if self.file.exists():
            for line in filter(None, self.file.read_text("utf-8").splitlines()):
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:  # cut short when the run was stopped
                    continue
                self.known[record["key"]] = record

    def get(self, key: str, work: Callable[[], Record]) -> Record:
        """Return the record of a key, from disk or newly measured, with its seconds."""
        if key not in self.known:
            start = time.perf_counter()
            found = work()
            record = {"key": key, "seconds": round(time.perf_counter() - start, 3), **found}
            with self.file.open("a", encoding="utf-8") as file:
                # A line of its own, also after one that was cut short.
                file.write(f"\n{json.dumps(record)}\n")
            self.known[key] = record
        return self.known[key]

    def keep(self, key: str, array: NDArray[np.float32]) -> str:
        """Write an array beside the records; return its file's name for one of them."""
        name = f"{self.file.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
        np.save(self.file.parent / name, array)
        return name

    def kept(self, name: str) -> NDArray[np.float32]:
        """Return an array that :meth:`keep` wrote."""
        return np.asarray(np.load(self.file.parent / name), np.float32)


@cache
def code_version(folders: tuple[str, ...], files: tuple[Path, ...]) -> str:
    """Return a hash of the package's own modules, of some of its folders, and of other files.

    Once a process: files that change while it runs are not what it runs.
    """
    source = ROOT / "src" / "recprune"
    digest = hashlib.sha256()
    for file in [*_sorted(source.glob("*.py")), *_sorted(_all(source, folders)), *files]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _all(source: Path, folders: Iterable[str]) -> Iterable[Path]:
    return (file for folder in folders for file in (source / folder).rglob("*.py"))


def _sorted(files: Iterable[Path]) -> list[Path]:
    return sorted(files)
