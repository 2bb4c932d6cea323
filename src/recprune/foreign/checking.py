"""Try cuts before they are promised: a size that the user's code knows by heart shows here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from recprune.foreign.cuts import Cut, Slicer, apply_cuts, masked
from recprune.foreign.tracing import Forward, call, copied, reproducible

__all__ = ["Run"]

#: Outputs may differ by this share of their largest, for sums in another order.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Run:
    """How a user's module is run.

    Args:
        inputs: example inputs.
        forward: see :func:`plan_module`; None = ``net(inputs)``.
    """

    inputs: Any
    forward: Forward | None = None

    def sound(self, net: nn.Module, cuts: Sequence[Cut]) -> tuple[list[Cut], dict[str, str]]:
        """Return the cuts that hold together, and axis → why another one does not."""
        if not cuts or not self.fault(net, cuts):
            return list(cuts), {}
        held: list[Cut] = []
        failed = {}
        for cut in cuts:
            if reason := self.fault(net, [*held, cut]):
                failed[cut.axis.name] = reason
            else:
                held.append(cut)
        return held, failed

    def fault(self, net: nn.Module, cuts: Sequence[Cut]) -> str:
        """Return what is wrong with a module after these cuts; ``""`` = nothing.

        Weights near zero would hide a wrong cut, so it is tried on shaken ones too.
        """
        slicer = Slicer(cuts)
        for shake in (False, True):
            try:
                small = self._outputs(net, slicer, apply_cuts, shake)
                full = self._outputs(net, slicer, masked, shake)
            except Exception as error:  # noqa: BLE001 (a user's forward pass raises what it likes)
                said = str(error).strip().partition("\n")[0][:160]
                return (
                    f"the forward pass fails without some of them ({type(error).__name__}: {said})"
                )
            if shake and not all(t.isfinite().all() for t in full):
                continue  # some weights may not be what noise makes of them, as a variance
            if [t.shape for t in small] != [t.shape for t in full]:
                return "outputs change their shape without some of them"
            if not all(map(_close, small, full)):
                return (
                    "the code depends on their number: without some, outputs are not as with zeros"
                )
        return ""

    def _outputs(
        self,
        net: nn.Module,
        slicer: Slicer,
        change: Callable[[nn.Module, Slicer], None],
        shake: bool,
    ) -> list[Tensor]:
        twin = copied(net).eval()
        with reproducible():
            if shake:
                _shake(twin)
            change(twin, slicer)
            out = call(twin, self.inputs, self.forward)
        return [t.detach() for t in tree_leaves(out) if isinstance(t, Tensor)]


def _shake(net: nn.Module) -> None:
    """Add noise to the weights, of a size that keeps a layer's outputs near one."""
    for parameter in net.parameters():
        if parameter.is_floating_point():
            size = 0.1 if parameter.ndim < 2 else parameter.shape[-1] ** -0.5
            parameter.data = parameter.data + size * torch.randn_like(parameter)


def _close(small: Tensor, full: Tensor) -> bool:
    if not full.is_floating_point():
        return torch.equal(small, full)
    if not full.numel():
        return True
    tolerance = max(TOLERANCE, 8 * torch.finfo(full.dtype).eps)
    return bool(((small - full).abs() <= tolerance * full.abs().max()).all())
