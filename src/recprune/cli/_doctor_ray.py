"""``recprune doctor --engine ray``: can Ray be started here, or the cluster be joined?"""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

from recprune import ray_access, ray_engine
from recprune.errors import RecpruneError
from recprune.executor import Executor

__all__ = ["of_ray"]

#: Where Ray keeps shared objects, and the least that should be free: below it, they lie on disk.
SHARED_MEMORY, LEAST_SHARED = Path("/dev/shm"), 1 << 30  # nosec B108
#: Least free bytes of the temporary folder, for logs and what does not fit into memory.
LEAST_TEMPORARY = 1 << 30


def of_ray(address: str | None) -> tuple[dict[str, Any], list[str]]:
    """Return what is so, and what to do about what is wrong.

    Args:
        address: as of :class:`recprune.executor.Executor`; None = nothing is started or joined.

    Raises:
        ParameterError: an address that is none.
    """
    if address is not None:
        ray_access.check_address(address, "recprune doctor")
    about: dict[str, Any] = {"address": address, "python": platform.python_version()}
    problems: list[str] = []
    try:
        about["version"] = ray_access.ray_module().__version__
    except RecpruneError as error:
        return {"ray": about}, [str(error)]
    _shared_memory(about, problems)
    _temporary(about, problems)
    _token(address, about, problems)
    if address is not None and not problems:
        try:
            about["nodes"] = _nodes(address)
        except RecpruneError as error:
            problems.append(str(error))
    return {"ray": about}, problems


def _shared_memory(about: dict[str, Any], problems: list[str]) -> None:
    if not SHARED_MEMORY.is_dir():  # not Linux
        about["shared_memory_gb"] = None
        return
    free = shutil.disk_usage(SHARED_MEMORY).free
    about["shared_memory_gb"] = round(free / 1e9, 2)
    if free < LEAST_SHARED:
        problems.append(
            f"{free / 1e9:.2f} GB are free in {SHARED_MEMORY}, and Ray's shared objects should have "
            f"{LEAST_SHARED / 1e9:.1f}, or they lie on disk: give the container more, as by "
            "docker run --shm-size=4g"
        )


def _temporary(about: dict[str, Any], problems: list[str]) -> None:
    try:
        with ray_access.temporary_folder() as folder:
            free = shutil.disk_usage(folder).free
            about["temporary_folder"] = str(folder.parent)
            about["temporary_free_gb"] = round(free / 1e9, 2)
    except (RecpruneError, OSError) as error:
        problems.append(str(error))
        return
    if free < LEAST_TEMPORARY:
        problems.append(
            f"only {free / 1e9:.2f} GB are free in {about['temporary_folder']}, where Ray keeps logs "
            "and what does not fit into memory: free some, or set TMPDIR to another short path"
        )


def _token(address: str | None, about: dict[str, Any], problems: list[str]) -> None:
    mode = os.environ.get("RAY_AUTH_MODE")
    about["token"] = ray_access.has_token() and mode in (None, "token")
    own = address in (None, ray_access.LOCAL)  # has a token of its own, whatever is set
    if own or about["token"] or ray_access.is_loopback(str(address)):
        return
    problems.append(
        f"no token is set for the cluster at {address}: start its nodes with RAY_AUTH_MODE=token and "
        "one RAY_AUTH_TOKEN, and set both here"
    )


def _nodes(address: str) -> list[dict[str, Any]]:
    """Start or join Ray, let each node say what it has, and leave."""
    with Executor(1, 0, "ray", address):
        return ray_engine.nodes()
