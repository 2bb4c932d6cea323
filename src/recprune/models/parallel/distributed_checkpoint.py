"""Tensors of several processes in one folder, each its own rows: torch.distributed.checkpoint.

The files are safetensors (:class:`torch.distributed.checkpoint.HuggingFaceStorageWriter`), beside
them JSON: loading runs no code. What N processes wrote, any number may read.
"""

from __future__ import annotations

import importlib
import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recprune.models.checkpoint import Checkpoint
from recprune.models.parallel.group import Group, told
from recprune.models.parallel.shards import Shards

__all__ = ["ShardedCheckpoint"]

FACTS = "facts.json"
#: With readers and writers of safetensors since torch 2.8; torch does not list all of them.
dcp: Any = importlib.import_module("torch.distributed.checkpoint")


class ShardedCheckpoint(Checkpoint):
    """A folder that all processes write and read, on a disk that all see.

    Args:
        group: the processes.
        path: of the folder.
        run: what the run is made of; only a run of the same goes on from it.
        by_row: names of the tensors whose first axis lies over the processes.
    """

    def __init__(
        self, group: Group, path: Path, run: Mapping[str, str], by_row: Sequence[str]
    ) -> None:
        super().__init__(path, run)
        self.group, self.by_row = group, tuple(by_row)

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return all small tensors, this process's rows of the others, and the facts."""
        stored = self.group.facts(self._facts() if not self.group.rank else None)
        if stored is None:
            return None
        wanted: dict[str, Any] = {}
        shards: dict[int, Shards] = {}
        for name, (shape, kind) in stored["tensors"].items():
            dtype = getattr(torch, kind)
            if name in stored["by_row"]:
                over = shards.setdefault(shape[0], Shards(self.group, shape[0]))
                own = torch.empty(over.held.stop - over.held.start, *shape[1:], dtype=dtype)
                wanted[name] = over.whole(own)
            else:
                wanted[name] = torch.empty(shape, dtype=dtype)
        with told():
            dcp.load(wanted, storage_reader=dcp.HuggingFaceStorageReader(str(self.path)))
        found = {n: t.to_local() if n in stored["by_row"] else t for n, t in wanted.items()}
        return found, stored["facts"]

    def write(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the folder, once all have written."""
        partial = self.path.with_name(f"{self.path.name}.partial")
        over = [name for name in tensors if name in self.by_row]
        rows = torch.tensor([len(tensors[name]) for name in over])
        self.group.add(rows)
        shards = {n: Shards(self.group, n) for n in sorted(set(rows.tolist()))}
        given: dict[str, Any] = dict(tensors)
        for name, n in zip(over, rows.tolist(), strict=True):
            given[name] = shards[n].whole(tensors[name].detach().contiguous())
        if not self.group.rank:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self.group.facts(None)  # the folder is there
        with told(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            writer = dcp.HuggingFaceStorageWriter(str(partial), save_distributed=True)
            dcp.save(given, storage_writer=writer)
        if not self.group.rank:
            shapes = {n: (list(t.shape), str(t.dtype)[6:]) for n, t in given.items()}
            about = {"run": self.run, "facts": facts, "tensors": shapes, "by_row": over}
            (partial / FACTS).write_text(json.dumps(about), encoding="utf-8")
            shutil.rmtree(self.path, ignore_errors=True)
            partial.replace(self.path)
        self.group.facts(None)

    def _facts(self) -> dict[str, Any] | None:
        try:
            stored: dict[str, Any] = json.loads((self.path / FACTS).read_text(encoding="utf-8"))
            other = [n for n in self.run | stored["run"] if self.run.get(n) != stored["run"].get(n)]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            self._leave_out(f"cannot be read ({error})")
            return None
        if other:
            self._leave_out(f"is of another run: its {', '.join(other)} differ")
            return None
        return stored
