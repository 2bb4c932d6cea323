"""Importance of a module's units: one number a unit, higher = keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recprune._support import stream
from recprune.errors import ParameterError, PlanError, nearest
from recprune.foreign.cuts import UnitAxis
from recprune.foreign.tracing import TABLES, Forward, call, copied, leaves, reproducible

__all__ = ["METHODS", "Evidence", "Importance", "Loss", "counted", "score", "slopes"]

Scores = NDArray[np.float64]
#: ``loss(net, batch)``: a scalar to differentiate.
Loss = Callable[[nn.Module, Any], Tensor]
#: A method's name, or ``method(axis, tensors) -> scores`` with the module's tensors by name and
#: scores of shape (n_units,).
Importance = str | Callable[[UnitAxis, Mapping[str, Tensor]], Any]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What methods look at.

    Args:
        tensors: the module's parameters and buffers, by name.
        parameters: which of them are parameters.
        counts: table's tensor name → how often each row was looked up, shape (rows,).
        slopes: for each batch, tensor name → gradient of the loss.
        seed: of random scores.
    """

    tensors: Mapping[str, Tensor]
    parameters: frozenset[str]
    counts: Mapping[str, Scores] = field(default_factory=dict)
    slopes: tuple[Mapping[str, Tensor], ...] = ()
    seed: int = 0


def score(axis: UnitAxis, method: Importance, evidence: Evidence) -> Scores:
    """Score the units of one axis, shape (n_units,).

    ``l1`` and ``l2`` are norms over everything that goes with a unit: its rows and columns in all
    coupled tensors. ``taylor`` is the mean over batches of |Σ weight · gradient| over the same
    (Molchanov et al. 2019, first order). ``frequency`` counts the look-ups of a row, ``norm_count`` is its norm times
    the square root of that count. ``random`` draws.

    Raises:
        ParameterError: a method's scores have another shape or are not finite.
    """
    found = method(axis, evidence.tensors) if callable(method) else METHODS[method](axis, evidence)
    if isinstance(found, Tensor):
        found = found.detach().cpu()
    scores = np.asarray(found, np.float64)
    if scores.shape != (axis.size,) or not np.isfinite(scores).all():
        constraint = f"{axis.size} finite numbers for axis {axis.name!r}"
        raise ParameterError.of("importance", "plan", f"a method that returns {constraint}", found)
    return scores


def _summed(axis: UnitAxis, evidence: Evidence, term: Callable[[str], Tensor]) -> Scores:
    """Sum a term's elements over everything that goes with each unit."""
    out = np.zeros(axis.size)
    for (name, dim), units in axis.places.items():
        if name not in evidence.parameters:
            continue
        term_here = term(name).double()
        value = term_here.movedim(dim, 0).reshape(len(units), -1).sum(1).cpu().numpy()
        mine = units >= 0
        out += np.bincount(units[mine], value[mine], axis.size)
    return out


def _l1(axis: UnitAxis, evidence: Evidence) -> Scores:
    return _summed(axis, evidence, lambda n: evidence.tensors[n].detach().abs())


def _l2(axis: UnitAxis, evidence: Evidence) -> Scores:
    return np.sqrt(_summed(axis, evidence, lambda n: evidence.tensors[n].detach().double() ** 2))


def _taylor(axis: UnitAxis, evidence: Evidence) -> Scores:
    def moved(slope: Mapping[str, Tensor]) -> Scores:
        return np.abs(_summed(axis, evidence, lambda n: evidence.tensors[n].detach() * slope[n]))

    return np.asarray(np.mean([moved(s) for s in evidence.slopes], 0))


def _random(axis: UnitAxis, evidence: Evidence) -> Scores:
    return stream(evidence.seed, "importance", axis.name).random(axis.size)


def _frequency(axis: UnitAxis, evidence: Evidence) -> Scores:
    ((place, units),) = axis.places.items()
    return evidence.counts[place[0]][units >= 0]


def _norm_count(axis: UnitAxis, evidence: Evidence) -> Scores:
    norm, count = _l2(axis, evidence), _frequency(axis, evidence)
    # Rows that were never seen come last, by norm.
    return np.where(count > 0, norm * np.sqrt(count), -1 / (1 + norm))


METHODS: dict[str, Callable[[UnitAxis, Evidence], Scores]] = {
    "l1": _l1,
    "l2": _l2,
    "taylor": _taylor,
    "random": _random,
    "frequency": _frequency,
    "norm_count": _norm_count,
}


def counted(
    net: nn.Module, batches: Iterable[Any], forward: Forward | None = None
) -> dict[str, Scores]:
    """Count how often each row of each table is looked up; table's tensor name → counts."""
    twin = copied(net).eval()
    names = {id(t): name for name, t in leaves(twin).items()}
    counts: dict[str, Scores] = {}

    def count(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        given = args[0] if args else next(iter(kwargs.values()))
        ids = given.detach().long().reshape(-1).cpu()
        remap = getattr(module, "remap", None)
        ids = ids if remap is None else remap.cpu().long()[ids]
        name, rows = names[id(module.weight)], len(module.weight)
        counts[name] = counts.get(name, np.zeros(rows)) + np.bincount(ids.numpy(), minlength=rows)

    for module in twin.modules():
        if isinstance(module, TABLES) and id(module.weight) in names:
            module.register_forward_pre_hook(count, with_kwargs=True)
    with reproducible():
        for batch in batches:
            call(twin, batch, forward)
    return counts


def given_counts(net: nn.Module, counts: Mapping[str, Any]) -> dict[str, Scores]:
    """Return a user's counts by table, as counts by tensor name.

    Raises:
        PlanError: a name that is no table's.
        ParameterError: counts of another shape, negative, or infinite.
    """
    tables = {n: m for n, m in net.named_modules(remove_duplicate=False) if isinstance(m, TABLES)}
    names = {id(t): name for name, t in leaves(net).items()}
    out: dict[str, Scores] = {}
    for name, given in counts.items():
        if name not in tables:
            known = nearest(name, tables)
            raise PlanError(
                f"The 'counts' parameter of plan names {name!r}, which is no table.{known}"
            )
        weight = tables[name].weight
        array = np.asarray(given, np.float64)
        if array.shape != (len(weight),) or not ((array >= 0) & (array < np.inf)).all():
            constraint = f"{len(weight)} finite numbers ≥ 0"
            raise ParameterError.of(f"counts[{name!r}]", "plan", constraint, array)
        tensor = names[id(weight)]
        out[tensor] = out.get(tensor, 0) + array
    return out


def slopes(net: nn.Module, batches: Iterable[Any], loss: Loss) -> tuple[dict[str, Tensor], ...]:
    """Return the gradient of the loss on each batch; the module is neither changed nor trained."""
    twin = copied(net).eval()
    named = {n: p for n, p in twin.named_parameters() if p.requires_grad}
    out = []
    for batch in batches:
        found = torch.autograd.grad(loss(twin, batch), list(named.values()), allow_unused=True)
        slope = {n: torch.zeros_like(p) for n, p in twin.named_parameters()}
        for name, gradient in zip(named, found, strict=True):
            if gradient is not None:
                slope[name] = gradient.to_dense() if gradient.is_sparse else gradient
        out.append(slope)
    return tuple(out)
