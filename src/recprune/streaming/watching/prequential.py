"""How good the model is on events that it had not learned from when it scored them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled
from recprune.metrics import ndcg_at_k
from recprune.streaming.watching.alarms import BLOCK, State

__all__ = ["Prequential"]

Floats = NDArray[np.float64]

#: Logits are counted in parts of 1/128 from −16 to 16; those beyond lie in the outermost.
BINS, WIDTH, LEAST = 4096, 1 / 128, -16.0
#: Of the users in a chunk, one of so many is looked at for NDCG.
SHARE, PLACES = 8, 10
#: Places in the sums: overall and of late.
COUNT, LOSS, LABELS, CHANCES, SUMS = 0, 1, 2, 3, 4


class Prequential:
    """Log loss, AUC and calibration, of all events and of late; NDCG@10 within users.

    "Of late" is a mean whose weights fade by e in ``memory`` events. AUC is that of the logits'
    histogram: within 1/128 of a logit all count as equal, which moves it by less than 0.001.
    NDCG is :func:`recprune.metrics.ndcg_at_k` of each user's events in one chunk, by logit, for an
    eighth of the users (by hash), and those only who have both labels there; so it, alone of all
    figures, depends on where chunks end.

    Prequential: "predictive sequential", Dawid 1984, "Statistical Theory: The Prequential Approach".

    Args:
        memory: events.
    """

    def __init__(self, memory: int) -> None:
        self.keep = math.exp(-BLOCK / memory)
        self.events = 0
        self._counts = np.zeros((2, BINS), np.int64)
        self._late = np.zeros((2, BINS))
        self._sums = np.zeros((2, SUMS))
        self._users = np.zeros((2, 2))

    def add(
        self,
        label: NDArray[np.float32],
        logits: NDArray[np.float32],
        users: NDArray[np.uint64] | None = None,
    ) -> None:
        """Take a chunk.

        Args:
            label: 0 or 1, shape ``(n,)``.
            logits: from before the model learned these, shape ``(n,)``.
            users: a number for each event's user, shape ``(n,)``.
        """
        fading = (self.events % BLOCK, BLOCK, self.keep)
        _add(fading, label, logits, self._counts, self._late, self._sums)
        self.events += len(label)
        if users is not None and len(users):
            self._add_users(label, logits, users)

    def _add_users(
        self, label: NDArray[np.float32], logits: NDArray[np.float32], users: NDArray[np.uint64]
    ) -> None:
        # Multiplied first, so that numbers in a row are as good as hashes.
        mixed = (users * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
        chosen = np.flatnonzero(mixed % np.uint64(SHARE) == 0)
        order = chosen[np.lexsort((-logits[chosen], users[chosen]))]
        _, first, rows = np.unique(users[order], return_index=True, return_counts=True)
        if not len(rows):
            return
        hit = label[order] > 0.5
        relevant = np.add.reduceat(hit, first, dtype=np.int64)
        places = first[:, None] + np.arange(PLACES)
        inside = np.arange(PLACES) < rows[:, None]
        hits = hit[np.minimum(places, len(hit) - 1)] & inside
        both = (relevant > 0) & (relevant < rows)
        values = ndcg_at_k(hits[both], relevant[both], PLACES)
        self._users[1] *= self.keep ** (len(label) / BLOCK)
        self._users += (len(values), values.sum())

    def figures(self) -> dict[str, float]:
        """Return the figures; those that nothing is known of yet are left out."""
        found: dict[str, float] = {"events": self.events}
        for end, counts, sums, users in zip(
            ("", "_of_late"), (self._counts, self._late), self._sums, self._users, strict=True
        ):
            if sums[COUNT] > 0:
                found[f"log_loss{end}"] = sums[LOSS] / sums[COUNT]
                found[f"observed{end}"] = sums[LABELS] / sums[COUNT]
                found[f"predicted{end}"] = sums[CHANCES] / sums[COUNT]
            zeros, ones = counts.sum(axis=1)
            if zeros > 0 and ones > 0:
                below = np.cumsum(counts[0]) - counts[0] / 2
                found[f"auc{end}"] = (counts[1] @ below) / (zeros * ones)
            if users[0] > 0:
                found[f"ndcg@{PLACES}{end}"] = users[1] / users[0]
        return {name: float(value) for name, value in found.items()}

    def state(self) -> State:
        """Return what :meth:`restore` takes."""
        return {
            "events": np.array(self.events),
            "counts": self._counts.copy(),
            "late": self._late.copy(),
            "sums": self._sums.copy(),
            "users": self._users.copy(),
        }

    def restore(self, state: State) -> None:
        """Go on from there."""
        self.events = int(state["events"])
        self._counts, self._late = state["counts"].copy(), state["late"].copy()
        self._sums, self._users = state["sums"].copy(), state["users"].copy()


@compiled
def _add(
    fading: tuple[int, int, float],
    label: NDArray[np.float32],
    logits: NDArray[np.float32],
    counts: NDArray[np.int64],
    late: Floats,
    sums: Floats,
) -> None:
    at, block, keep = fading
    for i in range(len(label)):
        z = np.float64(logits[i])
        y = 1 if label[i] > 0.5 else 0
        tail = np.exp(-abs(z))
        chance = (1.0 if z >= 0 else tail) / (1.0 + tail)
        loss = max(z, 0.0) - z * y + np.log1p(tail)
        place = min(int((min(max(z, LEAST), -LEAST) - LEAST) / WIDTH), BINS - 1)
        counts[y, place] += 1
        late[y, place] += 1
        for row in range(2):
            sums[row, COUNT] += 1
            sums[row, LOSS] += loss
            sums[row, LABELS] += y
            sums[row, CHANCES] += chance
        if (at + i + 1) % block == 0:
            late *= keep
            sums[1] *= keep
