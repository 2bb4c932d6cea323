"""``recprune doctor``: is this machine ready?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from recprune._support import kernel_cache, require
from recprune.cli._doctor_ray import of_ray
from recprune.cli._options import Address, EngineName, Json, emit
from recprune.errors import InputError, ParameterError

#: A requirement as the package's metadata words it: a distribution, and the extra that brings it.
REQUIREMENT = re.compile(r"([\w.-]+).*?(?:\bextra == ['\"]([\w-]+)['\"].*)?")
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
    can be started or joined; exit 1 if something is wrong. Extras may be missing.
    """
    from recprune import __version__

    if address is not None and engine != "ray":
        raise InputError("--address goes with --engine ray, which is not given.")
    problems: list[str] = []
    try:
        brought = _brought()
    except importlib.metadata.PackageNotFoundError:
        brought = {}
        problems.append("nothing says what recprune needs, as it is not installed: pip install it")
    versions = {name: _version(name) for names in brought.values() for name in names}
    core = brought.pop("", [])
    problems += [
        f"{name} is not installed: pip install recprune" for name in core if versions[name] is None
    ]
    extras = {
        extra: "installed"
        if all(versions[name] for name in names)
        else f"not installed: pip install 'recprune[{extra}]'"
        for extra, names in sorted(brought.items())
    }
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
        "versions": {name: version for name, version in versions.items() if version},
        "extras": extras,
        "kernel_cache": kernels,
        **_host_profile(profile),
        **ray,
        "problems": problems,
    }
    emit(result, as_json)
    for problem in problems:
        print(f"recprune: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _brought() -> dict[str, list[str]]:
    """Return extra → the distributions that it brings, as the package says; ``""`` = always.

    Raises:
        PackageNotFoundError: recprune was not installed, so that nothing says it.
    """
    found: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("recprune") or ():
        requirement = REQUIREMENT.fullmatch(line)
        assert requirement is not None
        found.setdefault(requirement[2] or "", []).append(requirement[1])
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


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
