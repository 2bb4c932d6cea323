"""Permutation of a network that is taken as linear around each row.

Of row r whose field reads e′ instead of e, the logit is taken as z_r + J_r(e′ − e) with J = ∂z/∂e,
the network as Gauss–Newton sees it (Schraudolph 2002): one backward pass gives all fields' J.
Shuffled values go in, and the metric comes out as it is. First order, FM and every part that is
linear in one field's embedding are exact; hidden layers keep the relus that are on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from recprune._support import stream
from recprune.encoding import Rows
from recprune.importance.permutation import HeldOut
from recprune.importance.walk import first_label
from recprune.models.network import FieldNet

__all__ = ["linearised_drops"]

#: Numbers that the embeddings of a block of rows may have, and the fewest rows of one.
NUMBERS, FEWEST = 1 << 22, 64


def linearised_drops(
    net: FieldNet, held: HeldOut, chunks: Sequence[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Return by how much AUC falls where a field is shuffled, shape (n_fields, n_chunks).

    Rows change places within a block of a chunk, the same ones for all fields, so that memory does
    not grow with the rows.

    Args:
        net: of the model.
        held: the rows.
        chunks: places of the rows of each.
    """
    draws = stream(held.seed, "linearised")
    place = np.argsort(net.order.numpy())
    size = max(FEWEST, NUMBERS // max(len(net.shape.sizes) * net.shape.width, 1))
    drops = []
    for chunk in chunks:
        blocks = np.array_split(chunk, -(-len(chunk) // size))
        moved = [_moved(net, held.renewal.rows[at], draws.permutation(len(at))) for at in blocks]
        logits = held.renewal.logits[chunk]
        base = held.auc(logits, chunk)
        drops.append([base - held.auc(logits + m, chunk) for m in np.concatenate(moved, axis=1)])
    return np.array(drops).T[place]


def _moved(net: FieldNet, rows: Rows, order: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return how each row's logit moves, (F, B), where field f reads the value of other rows."""
    with torch.no_grad():
        value = net.embed(rows)
    leaf = value.requires_grad_()
    (slope,) = torch.autograd.grad(first_label(net.head(leaf)).sum(), leaf)
    value = value.detach()
    change = torch.linalg.vecdot(slope, value[torch.from_numpy(order)] - value)
    moved: NDArray[np.float32] = change.numpy().T
    return moved
