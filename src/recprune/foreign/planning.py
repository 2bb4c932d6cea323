"""Plan the pruning of a user's own module, and check the plan before it is given out."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from recprune.errors import ParameterError, PlanError, nearest
from recprune.foreign.checking import Run
from recprune.foreign.cuts import Cut, Slicer, UnitAxis
from recprune.foreign.finding import Finder
from recprune.foreign.plans import ModulePlan
from recprune.foreign.scoring import (
    METHODS,
    Evidence,
    Importance,
    Loss,
    counted,
    given_counts,
    score,
    slopes,
)
from recprune.foreign.storing import Inventory, inventory
from recprune.foreign.tracing import Forward, leaves, trace
from recprune.foreign.wanted import Share, matched, wanted_layers

__all__ = ["plan_module"]

OF_ROWS = ("frequency", "norm_count")
WORDS = {"neuron": "neurons", "dim": "dims", "row": "rows"}


def plan_module(
    net: nn.Module,
    example_inputs: Any,
    keep: Mapping[str, Share | Sequence[Share]],
    *,
    protect: Sequence[str] = (),
    importance: Importance | Mapping[str, Importance] | None = None,
    batches: Iterable[Any] | None = None,
    loss: Loss | None = None,
    counts: Mapping[str, Any] | None = None,
    forward: Forward | None = None,
    seed: int = 0,
) -> ModulePlan:
    """Plan which units of a module of your own to keep.

    One forward pass in evaluation mode shows which units go together. The plan is then tried: a
    cut copy must give the outputs that the same units at zero give. What fails stays whole and is
    listed in ``plan.skipped`` with the reason, as is what cannot be followed.

    Args:
        net: any ``nn.Module``; it is untouched.
        example_inputs: what it takes: a tensor, a tuple of arguments, or a dict (by name if its
            keys are parameters of ``forward``). A batch of at least two rows.
        keep: pattern of module names → ``neurons(…)`` (Linear, convolutions), ``rows(…)`` or
            ``dims(…)`` (Embedding, EmbeddingBag), or a list of them. A container's name stands
            for all within; where two patterns match, the later one holds.
        protect: patterns of modules whose own units stay.
        importance: ``"l1"``, ``"l2"``, ``"taylor"`` (needs ``loss``), ``"random"``, for rows also
            ``"frequency"`` and ``"norm_count"`` (need ``batches`` or ``counts``), or a function
            ``f(axis, tensors) -> scores``; one for all units, or by ``"neurons"``, ``"dims"``,
            ``"rows"``. The default is ``"l2"``, for rows with counts ``"norm_count"``.
        batches: more inputs, to count look-ups and to take gradients on; the default for
            gradients is ``example_inputs``.
        loss: ``loss(net, batch)``, a scalar.
        counts: table's module name → how often each row is looked up, shape (rows,), in place of
            what ``batches`` tell.
        forward: ``forward(net, inputs)``, where the call is more than ``net(inputs)``.
        seed: of random scores.

    Raises:
        PlanError: a pattern names nothing, coupled layers are asked for different shares, the
            module cannot be run or copied, or nothing of what was asked can be cut.
        ParameterError: a value out of range, or a method that lacks what it needs.
    """
    layers = wanted_layers(net, keep)
    if isinstance(protect, str):
        raise ParameterError.of("protect", "plan", "a list of patterns", protect)
    protected = [name for pattern in protect for name in matched(pattern, net, "protect")]
    batches = None if batches is None else list(batches)
    if batches == []:
        constraint = "at least one batch; an iterator may be at its end already"
        raise ParameterError.of("batches", "plan", constraint, batches)
    run = Run(example_inputs, forward)
    methods = _methods(importance, batches is not None or bool(counts))
    finder = Finder(net, trace(net, example_inputs, forward), protected)
    axes, skipped = _asked(finder, layers)
    needed = {methods[axis.unit] for axis, _ in axes}
    evidence = _evidence(net, needed, run, batches, counts, loss, seed)
    cuts = [_cut(axis, share, methods[axis.unit], evidence) for axis, share in axes]
    tensors = inventory(net)
    cuts, failed = run.sound(net, _paying(cuts, tensors, skipped))
    skipped |= failed
    if not cuts and skipped:
        told = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        raise PlanError(f"Nothing of what 'keep' asks for can be cut. {told}.")
    return ModulePlan(type(net).__name__, tensors, tuple(cuts), skipped)


def _asked(
    finder: Finder, layers: Mapping[tuple[str, str], Share]
) -> tuple[list[tuple[UnitAxis, Share]], dict[str, str]]:
    """Return each axis once with what to keep of it, and the layers of which none is cut."""
    axes: dict[Hashable, tuple[str, UnitAxis, Share]] = {}
    skipped: dict[str, str] = {}
    for (layer, unit), share in layers.items():
        found, reason = finder.find(layer, unit)
        if reason:
            skipped[f"{WORDS[unit]}.{layer}"] = reason
        if len(found) > 1 and isinstance(share.keep, int):
            raise PlanError(
                f"The {WORDS[unit]} of {layer!r} are cut with {len(found)} other layers, some with "
                "each, so that a count says too little. Ask for a share (float)."
            )
        for key, axis in found.items():
            first, _, other = axes.setdefault(key, (layer, axis, share))
            if (other.keep, other.min_keep) != (share.keep, share.min_keep):
                raise PlanError(
                    f"Layers {first!r} and {layer!r} are cut together, but 'keep' asks for "
                    f"{other.keep} of the one and {share.keep} of the other. Ask for the same."
                )
    return [(axis, share) for _, axis, share in axes.values()], skipped


def _methods(
    importance: Importance | Mapping[str, Importance] | None, counted: bool
) -> dict[str, Importance]:
    methods: dict[str, Importance] = dict.fromkeys(WORDS, "l2")
    if counted:
        methods["row"] = "norm_count"
    if isinstance(importance, Mapping):
        units = {word: unit for unit, word in WORDS.items()}
        for word, method in importance.items():
            if word not in units:
                raise ParameterError(f"There is no unit {word!r} to score.{nearest(word, units)}")
            methods[units[word]] = method
    elif importance is not None:
        methods = dict.fromkeys(WORDS, importance)
    for unit, method in methods.items():
        if callable(method):
            continue
        if method not in METHODS:
            raise ParameterError(f"There is no importance {method!r}.{nearest(method, METHODS)}")
        if method in OF_ROWS and unit != "row" and isinstance(importance, Mapping):
            raise ParameterError(f"The importance {method!r} is of rows; {WORDS[unit]} have none.")
        if method in OF_ROWS and unit != "row":
            methods[unit] = "l2"
    return methods


def _evidence(
    net: nn.Module,
    methods: set[Importance],
    run: Run,
    batches: list[Any] | None,
    counts: Mapping[str, Any] | None,
    loss: Loss | None,
    seed: int,
) -> Evidence:
    """Count and differentiate as far as these methods need it."""
    seen: Mapping[str, Any] = {}
    if batches is not None:
        seen = counted(net, batches, run.forward)
    if counts is not None:
        seen = {**seen, **given_counts(net, counts)}
    if "taylor" in methods and loss is None:
        constraint = "a function loss(net, batch) when importance is 'taylor'"
        raise ParameterError.of("loss", "plan", constraint, loss)
    found: tuple[Mapping[str, Any], ...] = ()
    if loss is not None and "taylor" in methods:
        found = slopes(net, [run.inputs] if batches is None else batches, loss)
    parameters = frozenset(name for name, _ in net.named_parameters())
    return Evidence(leaves(net), parameters, seen, found, seed)


def _cut(axis: UnitAxis, share: Share, method: Importance, evidence: Evidence) -> Cut:
    (table, _), *_ = axis.places
    if method in OF_ROWS and table not in evidence.counts:
        constraint = f"given, or counts of axis {axis.name!r}, when importance is {method!r}"
        raise ParameterError.of("batches", "plan", constraint, None)
    best = np.argsort(-score(axis, method, evidence), kind="stable")[: share.count(axis.size)]
    weight = evidence.counts.get(table) if axis.unit == "row" else None
    if weight is not None:
        weight = weight[axis.places[table, 0] >= 0]
    return Cut(axis, np.sort(best).astype(np.int32), weight)


def _paying(cuts: list[Cut], tensors: Inventory, skipped: dict[str, str]) -> list[Cut]:
    """Return the cuts that make the module smaller; note those that would not."""
    out = [c for c in cuts if c.axis.unit != "row" and len(c.kept) < c.axis.size]
    size = tensors.size(Slicer(out))
    for cut in cuts:
        if cut.axis.unit != "row" or len(cut.kept) == cut.axis.size:
            continue
        if tensors.size(Slicer([*out, cut])) < size:
            out.append(cut)
            size = tensors.size(Slicer(out))
        else:
            skipped[cut.axis.name] = "a map of its ids takes as many bytes as the rows save"
    return out
