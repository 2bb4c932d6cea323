"""What workers do in the tests of the executor: a worker finds it by its module."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np


def moments(shared: np.ndarray, part: slice, draws: np.random.Generator) -> np.ndarray:
    values = shared[part] + draws.normal(size=len(shared[part]))
    return np.array([values.sum(), values @ values, draws.random()])


def product(shared: np.ndarray, part: int, draws: np.random.Generator) -> bytes:
    """A matrix product whose last bits depend on the number of threads."""
    import torch

    a = torch.from_numpy(draws.normal(size=(200, 3000)).astype(np.float32))
    return (a @ torch.from_numpy(shared)).numpy().tobytes()


def fail_at_three(shared: object, part: int, draws: np.random.Generator) -> int:
    if part == 3:
        raise ValueError("three is wrong")
    return part


def die_once(shared: str, part: int, draws: np.random.Generator) -> int:
    mark = Path(shared) / f"{part}"
    if part == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return part * part


def die_always(shared: object, part: int, draws: np.random.Generator) -> int:
    if part == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return part


def sleep_long(shared: str, part: int, draws: np.random.Generator) -> None:
    (Path(shared) / f"{os.getpid()}").touch()
    time.sleep(60)


def memory(shared: np.ndarray, part: int, draws: np.random.Generator) -> tuple[bool, bool]:
    return shared.flags.writeable, shared.flags.owndata


def zeros(shared: object, part: int, draws: np.random.Generator) -> np.ndarray:
    return np.zeros(part)


def whose(shared: object, part: int, draws: np.random.Generator) -> str:
    """Return the node of Ray that this is worked on."""
    import ray

    time.sleep(0.1)
    return str(ray.get_runtime_context().get_node_id())


def held_moments(
    shared: tuple[np.ndarray, str], part: slice, draws: np.random.Generator
) -> np.ndarray:
    """Says in a folder what is begun; while ``hold-NUMBER`` is there it waits, and says that too."""
    data, place = shared[0], Path(shared[1])
    (place / f"begun-{part.start}").touch()
    ends = time.monotonic() + 120
    for hold in sorted(place.glob("hold-*")):
        while hold.exists():
            (place / f"waits-{hold.name}-{os.getpid()}").touch()
            assert time.monotonic() < ends
            time.sleep(0.01)
    return moments(data, part, draws)
