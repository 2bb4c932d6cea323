"""One ``plan`` for rankers of recprune and for modules of your own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, overload

from torch import nn

from recprune.errors import ParameterError
from recprune.foreign.planning import plan_module
from recprune.foreign.plans import ModulePlan
from recprune.foreign.wanted import neurons  # noqa: F401  (the example)

if TYPE_CHECKING:
    from recprune.data import Split
    from recprune.layout import Plan
    from recprune.models import Ranker
    from recprune.pruning import Keep

__all__ = ["plan"]


@overload
def plan(
    model: Ranker,
    data: Split,
    keep: Keep,
    methods: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Plan: ...


@overload
def plan(model: nn.Module, **options: Any) -> ModulePlan: ...


def plan(model: Any, *args: Any, **options: Any) -> Any:
    """Plan what to keep of a model; nothing is cut before ``apply``.

    Args:
        model: a fitted ranker, with the arguments of :func:`recprune.pruning.plan`; or a module of
            your own, with those of :func:`recprune.foreign.plan_module`, by name.
        args: of a ranker: rows that the methods score on, ``keep``, and so on.
        options: the same by name.

    Returns:
        A :class:`recprune.Plan` for a ranker, a :class:`recprune.foreign.ModulePlan` for a module.

    Raises:
        ParameterError: neither a ranker nor a module, or arguments of the other kind.

    >>> from torch import nn, ones
    >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> made = plan(net, example_inputs=ones(2, 3), keep={"0": neurons(0.5)})
    >>> made.apply(net)[0]
    Linear(in_features=3, out_features=4, bias=True)
    """
    if isinstance(model, nn.Module):
        if args or "example_inputs" not in options or "keep" not in options:
            raise ParameterError(
                "plan takes example_inputs=… and keep={…} by name for a module of your own: "
                'rp.plan(net, example_inputs=batch, keep={"tower.*": rp.neurons(0.5)}).'
            )
        return plan_module(model, **options)
    # Here, because a module of your own is pruned without what rankers need (tables, encoders).
    from recprune.models import Ranker
    from recprune.pruning import plan as plan_ranker

    if not isinstance(model, Ranker):
        constraint = "a fitted ranker of recprune or a torch.nn.Module"
        raise ParameterError.of("model", "plan", constraint, model)
    if "example_inputs" in options:
        raise ParameterError("plan needs no example_inputs for a ranker: pass rows of its data.")
    return plan_ranker(model, *args, **options)
