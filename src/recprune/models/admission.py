"""Fewer table rows than values: which values have one, as training goes on.

In-training embedding pruning (ITEP, TorchRec's ``itep_modules.py`` and FBGEMM's
``intraining_embedding_pruning.cu``): uses are counted and decay, the least used values are evicted
at intervals and the most used admitted, and a row that changes hands starts afresh, in its weights
and in all that the optimiser keeps of it. A value without a row reads its field's unknown row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune._support import stream
from recprune.encoding import Encoder, Rows
from recprune.lookups import FIRST, UNKNOWN
from recprune.models.objective import Objective
from recprune.models.step import Step
from recprune.slots import SlotMap

__all__ = ["Admission"]

Array = NDArray[np.int32]


class Admission:
    """One map from values to table rows a field, renewed every so many steps.

    At first no value has a row but in fields that have room for all. Renewals follow steps 1, 2, 4,
    … until ``interval`` is reached, and then every ``interval`` steps, so that rows are not idle for
    long. A field's number of rows is fixed: no tensor ever grows, shrinks or moves.

    Args:
        encoder: of all values.
        room: rows of each field for values, beside padding and the unknown row.
        half_life: training rows after which a use counts half.
        interval: steps between renewals.
        seed: of admitted rows' first weights.
    """

    def __init__(
        self,
        encoder: Encoder,
        room: Sequence[int],
        half_life: float = math.inf,
        interval: int = 1000,
        seed: int = 0,
    ) -> None:
        self.encoder, self.interval, self.seed, self.steps = encoder, interval, seed, 0
        #: Rows of each field's table if every value had one.
        self.sizes = encoder.sizes
        #: None where every value has a row.
        self.maps = [
            None if n >= size - FIRST else SlotMap(size - FIRST, n, half_life)
            for n, size in zip(room, self.sizes, strict=True)
        ]
        tables = [FIRST + min(n, s - FIRST) for n, s in zip(room, self.sizes, strict=True)]
        #: The first of each field's rows of the table, and of its values among all fields'.
        self.rows_at, self.values_at = (np.cumsum([0, *n]) for n in (tables, self.sizes))

    def codes(self, field: int) -> Array:
        """Return what each row of a field's table stands for, shape (rows,); −1 = nothing."""
        slots = self.maps[field]
        if slots is None:
            return np.arange(self.sizes[field], dtype=np.int32)
        own = np.where(slots.code_of < 0, -1, slots.code_of + FIRST)
        return np.concatenate([np.arange(FIRST), own]).astype(np.int32)

    def held(self) -> tuple[Tensor, Tensor]:
        """Return the table rows that stand for a value, and these; see ``FrequencyPrior.hold``."""
        rows, values = [], []
        for field in range(len(self.maps)):
            codes = self.codes(field)
            full = np.flatnonzero(codes >= 0)
            rows.append(self.rows_at[field] + full)
            values.append(self.values_at[field] + codes[full])
        return torch.from_numpy(np.concatenate(rows)), torch.from_numpy(np.concatenate(values))

    def look_up(self, rows: Rows) -> Rows:
        """Return rows in the codes that the table has now."""
        codes = rows.codes.copy()
        for slots, at in self._mapped():
            given = rows.codes[:, at]
            own = np.where(given < FIRST, -1, slots.look_up(np.maximum(given - FIRST, 0)))
            codes[:, at] = np.where(own >= 0, own + FIRST, np.minimum(given, UNKNOWN))
        return Rows(codes, rows.shares)

    def count(self, rows: Rows) -> None:
        """Count the uses of the values of a batch, and let its time pass."""
        for slots, at in self._mapped():
            given = rows.codes[:, at]
            slots.advance(len(rows))
            slots.count(given[given >= FIRST] - FIRST)

    def reading(self, objective: Objective) -> Objective:
        """Return the objective, reading rows through the maps, and counting them."""
        return _Reading(self, objective)

    def after(self, step: Step) -> None:
        """Renew the maps, if it is time, and the table's rows with them."""
        self.steps += 1
        early = self.steps < self.interval and not self.steps & (self.steps - 1)
        if not (early or self.steps % self.interval == 0):
            return
        seed = int(stream(self.seed, "admitted", self.steps).integers(2**62))
        draws, device = torch.Generator().manual_seed(seed), step.net.table.device
        for field, slots in enumerate(self.maps):
            changed = slots.renew() if slots is not None else ()
            if slots is None or not len(changed):
                continue
            rows = self.rows_at[field] + FIRST + changed
            values = self.values_at[field] + FIRST + slots.code_of[changed]
            places, stand_for = (torch.from_numpy(a).to(device) for a in (rows, values))
            step.renew(places, stand_for, draws)

    def _mapped(self) -> list[tuple[SlotMap, slice]]:
        return [(m, s) for m, s in zip(self.maps, self.encoder.slots, strict=True) if m is not None]


class _Reading:
    """An objective whose rows go through the maps."""

    def __init__(self, admission: Admission, objective: Objective) -> None:
        self.admission, self.objective = admission, objective

    def rows(self, rows: Rows, chosen: Tensor, draws: torch.Generator) -> Rows:
        """Return what the objective reads, in the table's codes."""
        given = self.objective.rows(rows, chosen, draws)
        self.admission.count(given)
        return self.admission.look_up(given)

    def loss(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Return the objective's loss."""
        return self.objective.loss(output, chosen)
