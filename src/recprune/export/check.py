"""An exported file against the scorer, on generated rows, before it is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recprune._support import require, stream
from recprune.encoding import Encoder, Rows
from recprune.errors import RunError
from recprune.export.inputs import CODES, SHARES
from recprune.lookups import FIRST, UNKNOWN, Knots
from recprune.runtime import Scorer

__all__ = ["ROWS", "TOLERANCE", "difference", "generated_rows"]

#: How far two sums of the same numbers in fp32 may lie apart, by the largest logit (at least 1).
TOLERANCE = 1e-5
#: Rows compared: one alone, a few, and many.
ROWS = (1, 7, 256)


def difference(path: Path, scorer: Scorer) -> float:
    """Return the largest difference of a file's logits to the scorer's, by the largest logit.

    Args:
        path: an ONNX file.
        scorer: the model that it was made from.

    Raises:
        RunError: ONNX Runtime does not load or run the file, or what it answers is another logit or
            another probability.
    """
    runtime = require("onnxruntime", "export")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    worst = 0.0
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]
        for number, n in enumerate(ROWS):
            rows = generated_rows(scorer.encoder, n, number)
            given = {k: v for k, v in ((CODES, rows.codes), (SHARES, rows.shares)) if k in names}
            logit, probability = session.run(["logit", "probability"], given)
            wanted = np.stack([scorer.logits(rows, label=t) for t in scorer.labels], axis=1)
            if logit.shape != wanted.shape:
                raise RunError(f"The ONNX file answers shape {logit.shape} for {wanted.shape}.")
            scale = max(1.0, float(np.abs(wanted).max()))
            off = np.abs(logit.astype(np.float64) - wanted).max() / scale
            sure = np.abs(probability - 0.5 * (1 + np.tanh(0.5 * logit.astype(np.float64)))).max()
            worst = max(worst, float(np.nan_to_num(max(off, sure), nan=np.inf)))
    except RunError:
        raise
    except Exception as error:  # its errors share no base
        raise RunError(f"ONNX Runtime cannot run the exported file: {error}") from error
    if worst > TOLERANCE:
        raise RunError(
            f"The ONNX file's logits are {worst:.2g} of the largest logit away from the scorer's; "
            f"at most {TOLERANCE:g} is allowed. Nothing was kept; please report this model."
        )
    return worst


def generated_rows(encoder: Encoder, n: int, seed: int = 0) -> Rows:
    """Return rows of random codes and shares within the fields' tables, unknown values among them.

    Args:
        encoder: of the fields.
        n: how many rows.
        seed: of the draws.
    """
    draws, rows = stream(seed, "export"), encoder.blank(n)
    for i, name in enumerate(encoder.schema.names):
        part, slots, shares = encoder.parts[name], encoder.slots[i], encoder.share_slots[i]
        if isinstance(part, Knots):
            unknown = draws.random((n, 1)) < 0.1
            low = draws.integers(FIRST, part.rows - 1, (n, 1))
            rows.codes[:, slots] = np.where(unknown, UNKNOWN, low)
            rows.shares[:, shares] = np.where(unknown, 0, draws.random((n, 1)))
            continue
        rows.codes[:, slots] = draws.integers(0, part.rows, (n, part.width))
        rows.shares[:, shares] = draws.normal(0, 1 / part.width, (n, part.n_shares))
    return rows
