"""One private step: whose rows take part, their clipped gradients, the noise."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune.encoding import Rows
from recprune.models.network import FieldNet
from recprune.models.objective import CrossEntropy
from recprune.models.privacy import PrivacyBudget
from recprune.models.training import Training

__all__ = ["RATE", "PrivateStep", "UserRows", "losses_of"]

#: Few steps that noise keeps from overfitting have to be long ones: of ε = 8 on ML-100k, AUC is 0.644
#: at ten times the usual rate, 0.627 at three times and 0.600 at thirty times.
RATE = 10.0


class UserRows:
    """Which rows are whose.

    Args:
        users: each row's user, any integers, shape (n,); None = each row is a user.
        n: rows.
    """

    def __init__(self, users: NDArray[np.int64] | None, n: int) -> None:
        self.unit = "row" if users is None else "user"
        owner = np.arange(n) if users is None else np.unique(users, return_inverse=True)[1]
        self.order = np.argsort(owner, kind="stable")
        size = np.bincount(owner)
        self.ends = np.cumsum(size)
        self.starts = self.ends - size

    def __len__(self) -> int:
        return len(self.ends)

    def draw(
        self, chosen: Sequence[int], most: int, draws: np.random.Generator
    ) -> NDArray[np.int64]:
        """Return at most so many rows of each chosen user, shape (U, R), −1 where there are fewer.

        Each user's are drawn by themselves: another user's presence changes no chance.
        """
        rows = [self.order[self.starts[u] : self.ends[u]] for u in chosen]
        rows = [r if len(r) <= most else np.sort(draws.permutation(r)[:most]) for r in rows]
        out = np.full((len(rows), max(map(len, rows), default=0)), -1, np.int64)
        for own, r in zip(out, rows, strict=True):
            own[: len(r)] = r
        return out


class PrivateStep:
    """A network, Opacus's clipping and optimiser around it, and what one step does.

    Args:
        net: updated in place; on the processor.
        budget: says how gradients are clipped.
        noise: σ.
        users: users expected in a step.
        training: learning rate and L2.
        draws: the noise.
    """

    def __init__(
        self,
        net: FieldNet,
        budget: PrivacyBudget,
        noise: float,
        users: float,
        training: Training,
        draws: np.random.Generator,
    ) -> None:
        from recprune.models.ghost import Ghost, Noisy, UserNet

        self.net, self.penalty = net, training.penalty
        self.rate = min(RATE * training.learning_rate, 1.0)
        self.ghost = Ghost(UserNet(net), budget.max_grad_norm)
        self.adam = torch.optim.Adam(self.ghost.parameters(), self.rate)
        self.optimiser = Noisy(
            self.adam,
            draws,
            noise_multiplier=noise,
            max_grad_norm=budget.max_grad_norm,
            expected_batch_size=users,
        )
        #: Columns that a field lacks stay zero: noise is added to all.
        self.absent = self._absent() if net.ragged else None

    def set_rate(self, factor: float) -> None:
        """Set the learning rate to ``factor`` times the training's."""
        self.rate = factor * self.adam.defaults["lr"]
        for group in self.adam.param_groups:
            group["lr"] = self.rate

    def clip(self, rows: Rows, users: int, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """Set every parameter's ``grad`` to the sum of the users' clipped gradients.

        Args:
            rows: an equal number of each user, user by user; codes and shares.
            users: U; 0 = a step that nobody takes part in.
            loss: of the logits, each user's, shape (U,).

        Returns:
            The norm of each user's gradient before it was clipped, shape (U,).
        """
        from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping

        if not users:
            for parameter in self.ghost.parameters():
                parameter.grad, parameter.summed_grad = torch.zeros_like(parameter), None
            return torch.zeros(0)
        codes, shares = torch.from_numpy(rows.codes).long(), torch.from_numpy(rows.shares)
        losses = loss(self.ghost.logits(users, codes, shares))
        with warnings.catch_warnings():  # the table's input is integers: that is as it should be
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            DPTensorFastGradientClipping(self.ghost, self.optimiser, losses, "sum").backward()
        norms: Tensor = self.ghost.per_sample_gradient_norms
        return norms

    @torch.no_grad()
    def update(self) -> None:
        """Add the noise, divide by the users expected, and step."""
        self.optimiser.step()
        if self.absent is not None:
            self.net.table[self.absent] = 0
        if self.penalty.l2:  # of all weights alike: which ones a user touched is nobody's business
            for parameter in self.net.parameters():
                parameter.mul_(self.penalty.decay(self.rate))

    def close(self) -> None:
        """Leave the network as an ordinary one."""
        self.ghost.remove_hooks()
        for parameter in self.net.parameters():
            for name in ("grad_sample", "summed_grad", "_norm_sample", "_forward_counter"):
                if hasattr(parameter, name):
                    delattr(parameter, name)
            parameter.grad = None

    def _absent(self) -> Tensor:
        sizes = torch.tensor(self.net.shape.sizes)
        mask = torch.empty_like(self.net.column_mask)
        mask[self.net.order] = self.net.column_mask
        return mask.repeat_interleave(sizes, dim=0) == 0


def losses_of(objective: CrossEntropy, at: NDArray[np.int64]) -> Callable[[Tensor], Tensor]:
    """Return what gives each user's loss, shape (U,): the sum over its rows.

    Args:
        objective: of all training rows.
        at: the users' rows, shape (U, R), −1 where there are fewer.
    """
    there = torch.from_numpy(at >= 0)
    chosen = torch.from_numpy(np.maximum(at, 0).ravel())

    def loss(logits: Tensor) -> Tensor:
        each = objective.losses(logits, chosen)
        each = each.reshape(*at.shape, -1).mean(dim=2)
        return (each * there).sum(dim=1)

    return loss
