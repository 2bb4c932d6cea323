"""What a user asks to keep of a module: units by the names of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from torch import nn

from recprune.errors import ParameterError, PlanError, nearest
from recprune.foreign.tracing import TABLES

__all__ = ["LAYERS", "Share", "dims", "matched", "neurons", "rows", "wanted_layers"]

#: Unit → layers that have it.
LAYERS: dict[str, tuple[type[nn.Module], ...]] = {
    "neuron": (nn.Linear, nn.modules.conv._ConvNd),
    "dim": TABLES,
    "row": TABLES,
}
WORDS = {
    "neuron": "a Linear or convolution",
    "dim": "an embedding table",
    "row": "an embedding table",
}


@dataclass(frozen=True)
class Share:
    """How much to keep of a layer's units; made by :func:`neurons`, :func:`rows`, :func:`dims`.

    Args:
        unit: what is cut.
        keep: the share kept, a float in (0, 1], or the count, an int ≥ 1.
        min_keep: fewest units that stay, ≥ 1.

    Raises:
        ParameterError: a value out of range.
    """

    unit: Literal["neuron", "dim", "row"]
    keep: float | int
    min_keep: int = 1

    def __post_init__(self) -> None:
        constraint = "a float in (0, 1] (the share kept) or an int ≥ 1 (the count)"
        whole = isinstance(self.keep, int) and not isinstance(self.keep, bool)
        if not (self.keep >= 1 if whole else isinstance(self.keep, float) and 0 < self.keep <= 1):
            raise ParameterError.of("keep", f"{self.unit}s", constraint, self.keep)
        least = isinstance(self.min_keep, int) and not isinstance(self.min_keep, bool)
        if not (least and self.min_keep >= 1):
            raise ParameterError.of("min_keep", f"{self.unit}s", "an int ≥ 1", self.min_keep)

    def count(self, size: int) -> int:
        """Return how many of ``size`` units stay: the nearest whole number, never none.

        >>> neurons(0.5).count(7), neurons(3).count(7), neurons(0.1, min_keep=4).count(7)
        (4, 3, 4)
        """
        wanted = self.keep if isinstance(self.keep, int) else round(self.keep * size)
        return min(size, max(wanted, self.min_keep))


def neurons(keep: float | int, min_keep: int = 1) -> Share:
    """Keep a share (float) or a count (int) of each layer's output units."""
    return Share("neuron", keep, min_keep)


def rows(keep: float | int, min_keep: int = 1) -> Share:
    """Keep a share (float) or a count (int) of each table's rows; cut ids then share one row."""
    return Share("row", keep, min_keep)


def dims(keep: float | int, min_keep: int = 1) -> Share:
    """Keep a share (float) or a count (int) of each table's dims."""
    return Share("dim", keep, min_keep)


def matched(pattern: str, net: nn.Module, owner: str) -> list[str]:
    """Return the names of the modules that a pattern names.

    Args:
        pattern: a name, or one with ``*`` and ``?``; a container's name stands for all within.
        net: whose modules.
        owner: the parameter, for the error.

    Raises:
        PlanError: there is none.
    """
    names = [n for n, _ in net.named_modules(remove_duplicate=False) if n]
    found = [n for n in names if fnmatchcase(n, pattern)]
    found += [n for n in names if any(n.startswith(f"{f}.") for f in found) and n not in found]
    if not found:
        raise PlanError(
            f"The {owner!r} parameter of plan names {pattern!r}; {type(net).__name__} has no such "
            f"module.{nearest(pattern, names)}"
        )
    return found


def wanted_layers(
    net: nn.Module, keep: Mapping[str, Share | Sequence[Share]]
) -> dict[tuple[str, str], Share]:
    """Return layer and unit → what to keep; where two patterns match, the later one holds.

    Raises:
        ParameterError: ``keep`` is empty, or a value is no share.
        PlanError: a pattern that names no module, or none with such units.
    """
    if not isinstance(keep, Mapping) or not keep:
        constraint = 'a mapping such as {"tower.*": rp.neurons(0.5)}'
        raise ParameterError.of("keep", "plan", constraint, keep)
    modules = dict(net.named_modules(remove_duplicate=False))
    out: dict[tuple[str, str], Share] = {}
    for pattern, value in keep.items():
        found = matched(pattern, net, "keep")
        for share in _shares(pattern, value):
            layers = [n for n in found if isinstance(modules[n], LAYERS[share.unit])]
            if not layers:
                kinds = sorted({type(modules[n]).__name__ for n in found})
                raise PlanError(
                    f"{pattern!r} names no layer with {share.unit}s ({WORDS[share.unit]}); it "
                    f"names: {', '.join(kinds)}."
                )
            out.update({(name, share.unit): share for name in layers})
    return out


def _shares(pattern: str, value: object) -> Iterable[Share]:
    several = [value] if isinstance(value, Share) else value
    if not isinstance(several, list | tuple) or not all(isinstance(s, Share) for s in several):
        constraint = "rp.neurons(…), rp.rows(…) or rp.dims(…), or a list of them"
        raise ParameterError.of(f"keep[{pattern!r}]", "plan", constraint, value)
    return several
