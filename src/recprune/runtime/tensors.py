"""An artefact's tensors, each taken under the shape that the model's parts give it."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ArtifactError, nearest
from recprune.layout import State

__all__ = ["F32", "F64", "Layer", "Tensors"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
#: Weight (H_out, H_in) and bias (H_out,): x ↦ W·x + b.
Layer = tuple[F64, F64]

#: What batch normalisation adds to the variance (Ioffe & Szegedy 2015, algorithm 1).
EPSILON = 1e-5


class Tensors:
    """The tensors that are not taken yet.

    A tensor with an axis of no units is not stored; it is taken as an empty one.

    Args:
        state: tensor name → array.
    """

    def __init__(self, state: State) -> None:
        self._state, self._left = state, set(state)

    def has(self, *names: str) -> bool:
        """Return whether there is any tensor of these names."""
        return any(name in self._state for name in names)

    def take(self, name: str, *shape: int | None) -> NDArray[Any]:
        """Return a tensor of this shape; None stands for any length.

        Raises:
            ArtifactError: no such tensor, another shape, or a number that is not finite.
        """
        array = self._state.get(name)
        if array is None:
            if 0 in shape:
                return np.zeros([n or 0 for n in shape], np.float32)
            raise ArtifactError(
                f"The model has no tensor {name!r}, which its parts need."
                f"{nearest(name, self._left)}"
            )
        same = len(shape) == array.ndim and all(
            wanted in (None, got) for wanted, got in zip(shape, array.shape, strict=True)
        )
        if not same:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise ArtifactError(
                f"Tensor {name!r} must have shape ({wanted}). Got {array.shape} instead."
            )
        if not np.isfinite(array).all():
            raise ArtifactError(f"Tensor {name!r} has weights that are no finite numbers.")
        self._left.discard(name)
        return array

    def layer(self, name: str, rows: int | None, columns: int, bias: bool = True) -> Layer:
        """Return ``name.weight`` (rows, columns) and ``name.bias``; without one, zeros."""
        add = self.take(f"{name}.bias", rows) if bias else np.zeros(rows or 0)
        weight = self.take(f"{name}.weight", len(add), columns)
        return weight.astype(np.float64), add.astype(np.float64)

    def stages(self, name: str) -> list[str]:
        """Return ``name.0``, ``name.1``, … as far as there are such layers."""
        known: list[str] = []
        for number in count():
            stage = f"{name}.{number}"
            if not self.has(f"{stage}.weight", f"{stage}.bias"):
                break
            known.append(stage)
        return known

    def hidden(self, name: str, columns: int) -> list[Layer]:
        """Return hidden layers ``name.N`` on so many inputs, batch norms folded into them.

        norm(W·x + b) = s·(W·x + b − mean) + shift, where s = scale / √(var + 1e-5), is itself a
        layer: s·W and s·(b − mean) + shift.
        """
        layers: list[Layer] = []
        for stage in self.stages(name):
            weight, bias = self.layer(stage, None, columns)
            columns = len(bias)
            keys = [f"{stage}.norm.{key}" for key in ("weight", "bias", "mean", "var")]
            if self.has(*keys):
                scale, shift, mean, var = (
                    self.take(key, columns).astype(np.float64) for key in keys
                )
                if (var < 0).any():
                    raise ArtifactError(f"Tensor {keys[-1]!r} has a negative variance.")
                scale /= np.sqrt(var + EPSILON)
                weight, bias = scale[:, None] * weight, scale * (bias - mean) + shift
            layers.append((weight, bias))
        return layers

    def done(self) -> None:
        """Refuse tensors that nothing took.

        Raises:
            ArtifactError: there is one.
        """
        if self._left:
            odd = ", ".join(map(repr, sorted(self._left)[:5]))
            raise ArtifactError(f"The model's parts have no use for these tensors: {odd}.")
