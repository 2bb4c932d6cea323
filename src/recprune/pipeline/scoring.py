"""Models as they ship: their scores of rows, and how long an answer takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.data import Split
from recprune.data.encode import encode_frame
from recprune.encoding import Encoder, Rows
from recprune.evaluation import paired_latency_us
from recprune.runtime import Scorer

__all__ = ["encoded_for", "latencies", "logits_in_blocks"]

#: Rows that are scored at once.
BLOCK = 1 << 16
#: Rows of the answers that are timed.
LATENCY_ROWS = (1, 1000)


def encoded_for(encoder: Encoder, rows: Split) -> Rows:
    """Return a split's rows in a model's codes, from its raw columns."""
    return rows.rows if rows.encoder is encoder else encode_frame(encoder, rows.columns)


def logits_in_blocks(scorer: Scorer, rows: Rows) -> NDArray[np.float32]:
    """Return the logits of encoded rows, shape ``(n,)``, in bounded memory."""
    return np.concatenate([scorer.logits(block) for _, block in rows.blocks(BLOCK)])


def latencies(scorers: Sequence[tuple[Scorer, Rows]]) -> list[dict[str, float]]:
    """Return each scorer's median microseconds by rows of an answer, ``"1"`` and ``"1000"``.

    They take turns; see :func:`recprune.evaluation.paired_latency_us`.

    Args:
        scorers: with encoded rows to answer with (repeated where there are fewer).
    """
    out: list[dict[str, float]] = [{} for _ in scorers]
    for size in LATENCY_ROWS:
        times = paired_latency_us([_call(scorer, rows, size) for scorer, rows in scorers])
        for found, value in zip(out, times, strict=True):
            found[str(size)] = round(float(value), 2)
    return out


def _call(scorer: Scorer, rows: Rows, size: int) -> Callable[[], Any]:
    asked = rows[np.arange(size) % len(rows)]
    return lambda: scorer.logits(asked)
