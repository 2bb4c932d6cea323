"""Trials that are kept while a search runs: killed and started again, it goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recprune import __version__
from recprune._support import fingerprint
from recprune.data import Split
from recprune.errors import InputError
from recprune.layout import State, state_hash
from recprune.models import Ranker
from recprune.pipeline.trial import Trial
from recprune.pruning import FineTuning

__all__ = ["TrialStore"]

JOURNAL = "trials.jsonl"
#: To be raised when trials come to something else.
FORMAT = 1
#: Rows hashed at once.
BLOCK = 1 << 16
#: What a trial came to, None if nothing could be cut; and the weights that its fine-tuning gave.
Made = tuple[Trial | None, State | None]


class TrialStore:
    """What was tried, by a hash of everything that it depends on.

    A trial's facts stand in a journal, one line each, and its weights in a file of their own until
    they are not needed any more. Whoever asks for a trial again gets what it came to, the seconds
    that it took then included. A key holds a hash of the weights that a trial began with, of the
    rows, and the versions, so that other data, settings or versions never meet.

    Args:
        folder: where; made when the first trial is kept. None = in memory.

    Raises:
        InputError: the folder is a file.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._facts: dict[str, Mapping[str, Any] | None] = {}
        self._states: dict[str, State] = {}
        self._before: set[str] = set()
        #: Seconds of trials asked for again that were made before this store was opened.
        self.seconds_before = 0.0
        self._rows: dict[int, tuple[Split, str]] = {}
        if folder is not None and folder.exists() and not folder.is_dir():
            raise InputError(f"Storage {str(folder)!r} is a file. Name a folder for the trials.")
        if folder is not None and (folder / JOURNAL).exists():
            for line in (folder / JOURNAL).read_text("utf-8").splitlines():
                try:
                    told = json.loads(line)
                    known = told["trial"]
                    self._facts[told["key"]] = known and Trial.from_json(known).to_json()
                except (ValueError, LookupError, TypeError):  # cut short when it was killed
                    continue
        self._before.update(self._facts)

    def key(self, model: Ranker, tuning: FineTuning, *words: object) -> str:
        """Return the key of what is made of a model, by what it is fine-tuned on and by words."""
        teacher = np.empty(0, np.float32) if tuning.teacher is None else tuning.teacher
        versions = (FORMAT, __version__, torch.__version__, torch.get_num_threads())
        rows = (self._hash(tuning.rows), self._hash(tuning.valid))
        said = (state_hash(model.state), model.layout.hash, tuning.training)
        told = repr((*versions, *rows, *said, words))
        return fingerprint([np.frombuffer(told.encode(), np.uint8), teacher])

    def _hash(self, split: Split) -> str:
        """Return a hash of a split's rows, taken once."""
        if id(split) not in self._rows:
            self._rows[id(split)] = (split, fingerprint(_arrays(split)))
        return self._rows[id(split)][1]

    def trial(self, key: str, make: Callable[[], Made]) -> Trial | None:
        """Return a trial, made if it is not known; its weights are kept until :meth:`forget`."""
        if key not in self._facts:
            trial, state = make()
            if state is not None:
                self._keep_state(key, state)
            self._facts[key] = None if trial is None else trial.to_json()
            self._append({"key": key, "trial": self._facts[key]})
        known = self._facts[key]
        if known is None:
            return None
        trial = Trial.from_json(known)
        if key in self._before:
            self._before.discard(key)
            self.seconds_before += trial.seconds
        return trial

    def trials(
        self, keys: Sequence[str], make: Callable[[list[int]], Sequence[Made]]
    ) -> list[Trial | None]:
        """Return trials as :meth:`trial` does; ``make`` is given the places of those not known."""
        unknown = [place for place, key in enumerate(keys) if key not in self._facts]
        made = dict(zip(unknown, make(unknown) if unknown else (), strict=True))
        return [
            self.trial(key, lambda place=place: made[place])  # type: ignore[misc]
            for place, key in enumerate(keys)
        ]

    def state(self, key: str) -> State | None:
        """Return the weights of a trial; None if they are not kept."""
        if key in self._states:
            return self._states[key]
        if self.folder is None:
            return None
        try:
            return dict(load_file(self.folder / f"{key}.safetensors"))
        except (OSError, SafetensorError):
            return None

    def forget(self, key: str) -> None:
        """Give up the weights of a trial; what it came to stays."""
        self._states.pop(key, None)
        if self.folder is not None:
            (self.folder / f"{key}.safetensors").unlink(missing_ok=True)

    def _keep_state(self, key: str, state: State) -> None:
        if self.folder is None:
            self._states[key] = state
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f".{key}.partial"
        save_file({name: np.ascontiguousarray(a) for name, a in state.items()}, partial)
        partial.replace(self.folder / f"{key}.safetensors")

    def _append(self, told: Mapping[str, Any]) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / JOURNAL).open("a", encoding="utf-8") as file:
            # A line of its own, also after one that was cut short.
            file.write(f"\n{json.dumps(told)}")
            file.flush()
            os.fsync(file.fileno())


def _arrays(split: Split) -> Iterator[NDArray[Any]]:
    yield np.frombuffer(split.encoder.hash().encode(), np.uint8)
    for _, block in split.rows.blocks(BLOCK):
        yield block.codes
        yield block.shares
    yield from (
        each for each in (split.label, split.extras.weight, split.users) if each is not None
    )
