"""Where training stands, in one file: written whole or not at all, read only by the same run."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from recprune import __version__
from recprune._support import fingerprint
from recprune.encoding import Rows
from recprune.errors import RecpruneWarning
from recprune.models.network import FieldNet
from recprune.models.objective import Objective
from recprune.models.training import Training

__all__ = ["Checkpoint", "identity"]

#: The name of all that is no tensor, in the file's header.
FACTS = "recprune"
#: Rows hashed at once.
BLOCK = 1 << 16


class Checkpoint:
    """A safetensors file whose header holds the other facts as JSON: loading it runs no code.

    Args:
        path: of the file; its folder is made when it is first written.
        run: what the run is made of (:func:`identity`). Only a run of the same goes on from it.
    """

    def __init__(self, path: Path, run: Mapping[str, str]) -> None:
        self.path, self.run = Path(path), dict(run)

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the tensors and facts that were written last; None = begin at the beginning.

        A file of another run, or one that cannot be read, is left out with a warning.
        """
        try:
            with safe_open(self.path, "pt") as file:
                stored = json.loads((file.metadata() or {})[FACTS])
                found = dict(stored["run"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
            self._leave_out(f"cannot be read ({error})")
            return None
        other = [name for name in self.run | found if self.run.get(name) != found.get(name)]
        if other:
            self._leave_out(f"is of another run: its {', '.join(other)} differ")
            return None
        return tensors, stored["facts"]

    def write(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the file. Where it cannot be written, training goes on with a warning."""
        partial = self.path.with_name(f"{self.path.name}.partial")
        header = {FACTS: json.dumps({"run": self.run, "facts": facts})}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_file({n: t.detach().contiguous() for n, t in tensors.items()}, partial, header)
            with partial.open("rb") as handle:
                os.fsync(handle.fileno())
            partial.replace(self.path)
        except (OSError, SafetensorError) as error:
            warnings.warn(
                f"Checkpoint {str(self.path)!r} cannot be written: {error}. Training goes on; stopped "
                "now, it would start again further back.",
                RecpruneWarning,
                stacklevel=2,
            )

    def _leave_out(self, why: str) -> None:
        warnings.warn(
            f"Checkpoint {str(self.path)!r} {why}. It is left out and will be overwritten: training "
            "starts at the beginning.",
            RecpruneWarning,
            stacklevel=3,
        )


def identity(
    net: FieldNet, rows: Rows, objective: Objective, training: Training, seed: int
) -> dict[str, str]:
    """Return what decides the result of training: name → text or hash, each told in messages."""
    blocks = (array for _, block in rows.blocks(BLOCK) for array in (block.codes, block.shares))
    return {
        "version": f"recprune {__version__}, torch {torch.__version__} on {net.table.device.type}",
        "settings": f"{training!r}, seed {seed}",
        "rows": fingerprint(blocks),
        "objective": f"{type(objective).__name__} {fingerprint(_arrays(objective))}",
        "first weights": fingerprint(t.detach().cpu().numpy() for t in net.state_dict().values()),
    }


def _arrays(owner: Any, seen: set[int] | None = None) -> Iterator[NDArray[Any]]:
    """Yield all arrays and numbers that an objective holds, or that parts of it hold."""
    seen = set() if seen is None else seen
    seen.add(id(owner))
    for value in getattr(owner, "__dict__", {}).values():
        if isinstance(value, (Tensor | np.ndarray, int | float)):
            yield np.asarray(value)
        elif type(value).__module__.startswith("recprune.") and id(value) not in seen:
            yield from _arrays(value, seen)
