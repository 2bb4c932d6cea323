"""A plan for a user's own module: printable, applied to a copy, saved as data."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from recprune.errors import PlanError
from recprune.foreign import storing
from recprune.foreign.cuts import Cut, Slicer, apply_cuts, cut_moments
from recprune.foreign.storing import Inventory
from recprune.foreign.tracing import copied

__all__ = ["ModulePlan", "restore"]


@dataclass(frozen=True, eq=False)
class ModulePlan:
    """Which units of a module stay.

    Args:
        net: class name of the module.
        tensors: its tensors, uncut.
        cuts: what each axis keeps.
        skipped: layer → why its units (or some of them) stay although ``keep`` asked for fewer.
    """

    net: str
    tensors: Inventory
    cuts: tuple[Cut, ...]
    skipped: Mapping[str, str]

    @property
    def bytes_before(self) -> int:
        """Bytes of the uncut module's state; a tensor that several names share counts once."""
        return self.tensors.size()

    @property
    def predicted_bytes(self) -> int:
        """Bytes of the state of what :meth:`apply` returns, maps of ids included."""
        return self.tensors.size(Slicer(self.cuts))

    def apply(self, net: nn.Module) -> nn.Module:
        """Return a smaller copy of a module; the one given is untouched.

        What comes back is of the same class, with smaller tensors, and its parameters are new:
        an optimiser of ``net`` does not train it (see :meth:`follow`).

        Args:
            net: the module of the plan, or a later checkpoint of it.

        Raises:
            PlanError: its tensors are others than those of the plan.
        """
        self.tensors.check(net, f"The plan was made for a {self.net}")
        small = copied(net)
        apply_cuts(small, Slicer(self.cuts))
        return small

    def follow(
        self, optimizer: torch.optim.Optimizer, net: nn.Module, small: nn.Module
    ) -> torch.optim.Optimizer:
        """Return an optimiser like this one for the smaller module, its moments cut alike.

        Args:
            optimizer: of ``net``; it is untouched.
            net: the uncut module.
            small: what :meth:`apply` made of it.

        Raises:
            PlanError: the optimiser trains a parameter that ``net`` does not have.
        """
        self.tensors.check(net, f"The plan was made for a {self.net}")
        uncut, cut = dict(net.named_parameters()), dict(small.named_parameters())
        new = {id(p): cut[name] for name, p in uncut.items()}
        held = [p for group in optimizer.param_groups for p in group["params"]]
        if any(id(p) not in new for p in held):
            raise PlanError(
                "The optimiser trains parameters that the module does not have. Pass the module "
                "that it was made for."
            )
        follower = copy.deepcopy(optimizer, dict(new))
        names = {id(p): name for name, p in cut.items()}
        shapes = {name: tuple(p.shape) for name, p in uncut.items()}
        cut_moments(follower, names, shapes, Slicer(self.cuts))
        return follower

    def save(self, small: nn.Module, path: str | Path) -> int:
        """Write the smaller module and this plan into a folder, whole or not at all.

        Returns:
            bytes of its tensors' file.

        Raises:
            PlanError: ``small`` is not what this plan makes.
            InputError: the folder cannot be written.
        """
        return storing.save(self.net, self.tensors, self.cuts, self.skipped, small, Path(path))

    @staticmethod
    def restore(net: nn.Module, path: str | Path) -> nn.Module:
        """See :func:`restore`."""
        return restore(net, path)

    def __str__(self) -> str:
        """The plan as a table: axis · unit · kept/total · bytes saved · coupled tensors."""
        lines = [
            f"{'axis':<28} {'unit':<7} {'kept/total':>14} {'bytes saved':>12}  coupled tensors"
        ]
        for cut in self.cuts:
            share = f"{len(cut.kept)}/{cut.axis.size}"
            saved = self.bytes_before - self.tensors.size(Slicer([cut]))
            tensors = ", ".join(f"{name}[{dim}]" for name, dim in cut.axis.places)
            lines.append(
                f"{cut.axis.name:<28} {cut.axis.unit:<7} {share:>14} {saved:>12,}  {tensors}"
            )
        lines += [f"not cut: {name}: {reason}" for name, reason in self.skipped.items()]
        lines.append(f"tensor bytes {self.bytes_before:,} → {self.predicted_bytes:,}")
        return "\n".join(lines)


def restore(net: nn.Module, path: str | Path) -> nn.Module:
    """Build a saved module again, in any process.

    Args:
        net: an uncut module of the class and the sizes that the plan was made for, with any
            weights; it is untouched.
        path: the folder that :meth:`ModulePlan.save` wrote. JSON and safetensors only; nothing in
            it is run.

    Returns:
        The smaller module, with the saved weights.

    Raises:
        ArtifactError: the folder is not sound.
        PlanError: ``net`` has other tensors than the plan's module.
    """
    stored = storing.read(Path(path))
    stored.tensors.check(net, f"{str(path)!r} holds a {stored.net}")
    small = copied(net)
    apply_cuts(small, Slicer(stored.cuts))
    stored.fill(small)
    return small
