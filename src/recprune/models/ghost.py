"""Each user's gradient, clipped without ever being formed: ghost clipping for a ranker's network.

Li et al. 2022, "Large language models can be strong differentially private learners", section 4,
by Opacus. A first backward pass shows each layer what flows into it and the gradient of what flows
out, from which the norm of each user's gradient follows; a second one differentiates the users'
losses, each times what it is clipped by. Nothing has the size users × weights.

Named axes: U users, R rows of a user, B = U · R rows, user by user; I inputs, H outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizerFastGradientClipping
from torch import Tensor, nn

from recprune.errors import ParameterError
from recprune.models.layers import Dense
from recprune.models.network import FieldNet
from recprune.models.parts.final import Bilinear, Gate

__all__ = ["Ghost", "Noisy", "UserNet"]

Norms = dict[nn.Parameter, Tensor]

#: Layers whose norms are known, to the letter: a subclass may compute something else.
LAYERS = (Dense, Gate, Bilinear)


class Look(nn.Module):
    """Gathers rows of the table: index (B, N) ↦ (B, N, W)."""

    def __init__(self, table: nn.Parameter) -> None:
        super().__init__()
        self.table = table

    def forward(self, index: Tensor) -> Tensor:
        """Return the rows."""
        return nn.functional.embedding(index, self.table)


class Sums(nn.Module):
    """What enters the logit as it is: the bias, and FwFM's weights of pairs times their products.

    The network has added both already; this passes the logit on, and is where the gradient of the
    two is read off.
    """

    def __init__(self, bias: nn.Parameter, pairs: nn.Parameter | None) -> None:
        super().__init__()
        self.bias, self.pairs = bias, pairs

    def forward(self, logit: Tensor, products: Tensor) -> Tensor:
        """Return the logit, shape (B,) or (B, T); ``products`` of pairs, (B, P), P = 0 without."""
        return logit.view_as(logit)


class UserNet(nn.Module):
    """A network as Opacus sees it: its layers with weights, and no other module.

    Args:
        net: whose parameters these are. It stays as it is.

    Raises:
        ParameterError: a part has weights whose gradients nobody here can clip.
    """

    def __init__(self, net: FieldNet) -> None:
        super().__init__()
        self.flow = (net,)  # in a tuple it is no module of this one
        pairs = net.parts["pairs"].weight if "pairs" in net.parts else None
        self.look, self.sums = Look(net.table), Sums(net.bias, pairs)  # type: ignore[arg-type]
        self.layers = nn.ModuleList(m for m in net.modules() if type(m) in LAYERS)
        known = {id(p) for p in self.parameters()}
        for name, parameter in net.named_parameters():
            if id(parameter) not in known:
                part = name.removeprefix("parts.").split(".")[0]
                constraint = f"None: the part {part!r} has weights ({name}) that cannot be clipped"
                raise ParameterError.of("privacy", "fit", constraint, "a budget")

    def forward(self, codes: Tensor, shares: Tensor) -> Tensor:
        """Return the logits, shape (B,) or (B, T)."""
        net, seen = self.flow[0], []

        def products(value: Tensor, _: object) -> Tensor:
            seen.append(value.detach())
            return value

        index = net.index(codes)
        value = net.blend(self.look(index), shares)
        taps = {"pairs": products} if self.sums.pairs is not None else None
        logit = net.finish(value, shares, index, taps)
        return self.sums(logit, seen[0] if seen else logit.new_zeros(len(codes), 0))  # type: ignore[no-any-return]


class Ghost(GradSampleModuleFastGradientClipping):  # type: ignore[misc]
    """Opacus's module of ghost clipping, by user instead of by row.

    Args:
        net: to be clipped.
        max_grad_norm: C.
    """

    def __init__(self, net: UserNet, max_grad_norm: float) -> None:
        self.users = 0
        samplers: dict[type, Callable[[Any, Sequence[Tensor], Tensor], Norms]] = {
            Look: self._of_table,
            Sums: self._of_sums,
            Dense: self._of_dense,
            Gate: self._of_gate,
            Bilinear: self._of_bilinear,
        }
        # The second says that no functional copy of these layers is wanted; it is never called.
        self.NORM_SAMPLERS = self.GRAD_SAMPLERS = samplers
        super().__init__(net, loss_reduction="sum", max_grad_norm=max_grad_norm)

    def logits(self, users: int, codes: Tensor, shares: Tensor) -> Tensor:
        """Return the logits of B rows, an equal number of each of so many users, user by user."""
        self.users = users
        out: Tensor = self(codes, shares)
        return out

    def _of_dense(self, layer: Dense, inputs: Sequence[Tensor], slope: Tensor) -> Norms:
        norms: Norms = {layer.weight: self._outer(inputs[0], slope)}
        if layer.bias is not None:
            norms[layer.bias] = self._plain(slope)
        return norms

    def _of_gate(self, layer: Gate, inputs: Sequence[Tensor], slope: Tensor) -> Norms:
        gate = layer(inputs[0])
        return self._of_dense(layer, inputs, slope * gate * (1 - gate / 2))

    def _of_bilinear(self, layer: Bilinear, inputs: Sequence[Tensor], slope: Tensor) -> Norms:
        x, y = inputs
        return {layer.weight: self._outer(x, y * slope.unsqueeze(1))}

    def _of_sums(self, layer: Sums, inputs: Sequence[Tensor], slope: Tensor) -> Norms:
        norms = {layer.bias: self._plain(slope.reshape(len(slope), -1))}
        if layer.pairs is not None:
            norms[layer.pairs] = self._plain(inputs[1] * slope.unsqueeze(1))
        return norms

    def _of_table(self, layer: Look, inputs: Sequence[Tensor], slope: Tensor) -> Norms:
        """Return the norms of the table's gradient: a user's reads of one row are added up first."""
        (index,), width = inputs, slope.shape[-1]
        user = torch.arange(self.users).repeat_interleave(index.numel() // self.users)
        key = user * len(layer.table) + index.reshape(-1)
        found, place = torch.unique(key, return_inverse=True)
        total = slope.new_zeros(len(found), width).index_add_(0, place, slope.reshape(-1, width))
        owner = torch.div(found, len(layer.table), rounding_mode="floor")
        squares = slope.new_zeros(self.users).index_add_(0, owner, total.square().sum(1))
        return {layer.table: squares.sqrt()}

    def _plain(self, rows: Tensor) -> Tensor:
        """Return ‖Σ rows‖ of each user, shape (U,), of rows (B, n)."""
        norms: Tensor = rows.reshape(self.users, -1, rows.shape[1]).sum(1).norm(dim=1)
        return norms

    def _outer(self, inputs: Tensor, slope: Tensor) -> Tensor:
        """Return ‖Σ slope ⊗ inputs‖ of each user, shape (U,), of slopes (B, H) and inputs (B, I).

        Its square is the sum, over pairs of the user's rows, of the product of their inner products:
        R² · (H + I) multiplications instead of R · H · I and a matrix.
        """
        a = inputs.reshape(self.users, -1, inputs.shape[1])
        g = slope.reshape(self.users, -1, slope.shape[1])
        pairs = torch.bmm(a, a.transpose(1, 2)) * torch.bmm(g, g.transpose(1, 2))
        return pairs.sum(dim=(1, 2)).clamp(min=0).sqrt()


class Noisy(DPOptimizerFastGradientClipping):  # type: ignore[misc]
    """Opacus's optimiser, with noise that nobody can try out.

    Of a seed, torch's generator on the processor takes the last 32 bits: four thousand million
    streams, which whoever guesses at a user's rows could go through.

    Args:
        draws: of the noise; its state is to have more bits.
        optimizer, options: as Opacus takes them.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, draws: np.random.Generator, **options: Any
    ) -> None:
        super().__init__(optimizer, **options)
        self.draws = draws

    def add_noise(self) -> None:
        """Set every ``grad`` to the clipped sum and noise."""
        scale = self.noise_multiplier * self.max_grad_norm
        for p in self.params:
            noise = torch.from_numpy(self.draws.standard_normal(tuple(p.shape), np.float32))
            p.grad = p.summed_grad + noise.mul_(scale)
