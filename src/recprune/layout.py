"""Plans, and the one function that cuts: pure NumPy.

Every unit that can be pruned lives on a named *axis* (:mod:`recprune.axes`). A *plan* names the
units to keep; ``shrink`` is the only code that cuts anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.axes import Axis, IntArray, Layout, Unit, Use
from recprune.errors import PlanError, nearest
from recprune.quantisation import Encoding, Stored, checked, described, stored_bytes

__all__ = [
    "Axis",
    "Encoding",
    "Layout",
    "Patch",
    "Plan",
    "State",
    "Unit",
    "Use",
    "composed",
    "regrown",
    "shrink",
]

Array = NDArray[Any]
State = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Plan:
    """Which units stay, and how tensors are stored. Always in the uncut model's coordinates.

    Args:
        layout_hash: hash of the uncut layout.
        keep: axis → kept units, increasing; an axis that is not named keeps all.
        encoding: tensor → how it is stored (:mod:`recprune.quantisation`), runs of rows in the
            uncut model's coordinates too; a tensor that is not named stays fp32.
    """

    layout_hash: str
    keep: Mapping[str, IntArray] = field(default_factory=dict)
    encoding: Mapping[str, Stored] = field(default_factory=dict)

    def __or__(self, other: Plan) -> Plan:
        """Compose: a unit stays if both plans keep it; the later plan's encodings win.

        >>> a = Plan("h", {"neurons.0": np.array([0, 1, 2], np.int32)})
        >>> b = Plan("h", {"neurons.0": np.array([1, 2, 3], np.int32)})
        >>> (a | b).keep["neurons.0"].tolist()
        [1, 2]
        """
        if self.layout_hash != other.layout_hash:
            raise PlanError(
                f"Plans of two different layouts cannot be composed: {self.layout_hash} and "
                f"{other.layout_hash}. Make both from the same uncut model."
            )
        keep = dict(self.keep)
        for name, units in other.keep.items():
            both = np.intersect1d(keep[name], units) if name in keep else units
            keep[name] = both.astype(np.int32)
        return Plan(self.layout_hash, keep, {**self.encoding, **other.encoding})

    def resolve(self, layout: Layout) -> dict[str, IntArray]:
        """Return every axis's kept units as *positions* in ``layout``, children of cut units empty.

        Units that an earlier cut already removed are no error: a plan applies again without effect.

        Raises:
            PlanError: another layout's plan, unknown axis or tensor, unit out of range, or fewer
                units kept than the axis allows.
        """
        if self.layout_hash != layout.hash:
            raise PlanError(
                f"The plan was made for layout {self.layout_hash}; this model's is {layout.hash}. "
                "Make the plan from this model, or apply it to a checkpoint of its own layout."
            )
        for name in self.keep:
            if name not in layout.gone:
                layout.axis(name)
        for name, stored in self.encoding.items():
            if name not in layout.shapes and name not in layout.gone:
                known = nearest(name, layout.shapes)
                raise PlanError(f"The plan encodes {name!r}; the model has no such tensor.{known}")
            checked(stored, name)
        kept: dict[str, IntArray] = {}
        for name, axis in layout.axes.items():
            units = axis.units
            if axis.parent is not None and axis.parent[1] not in _units_kept(
                layout, kept, axis.parent[0]
            ):
                kept[name] = np.empty(0, np.int32)
                continue
            wanted = self.keep.get(name, units)
            if len(wanted) and (np.diff(wanted) <= 0).any():
                raise PlanError(f"Kept units of axis {name!r} must increase without repeats.")
            if len(wanted) and (wanted[0] < 0 or (axis.origin is None and wanted[-1] >= axis.size)):
                raise PlanError(
                    f"Axis {name!r} has units 0 to {axis.size - 1}; the plan keeps "
                    f"{int(wanted[0] if wanted[0] < 0 else wanted[-1])}."
                )
            mask = np.isin(units, wanted)
            mask[: axis.pinned] = True
            for other, needed in axis.members:
                mask &= (needed < 0) | np.isin(needed, list(_units_kept(layout, kept, other)))
            floor = min(axis.min_keep, axis.size)
            if mask.sum() < floor:
                raise PlanError(
                    f"The plan keeps {int(mask.sum())} units of axis {name!r}; at least {floor} must stay."
                )
            kept[name] = np.flatnonzero(mask).astype(np.int32)
        return kept

    def predicted_bytes(self, layout: Layout) -> int:
        """Return the exact tensor bytes of the model after this plan (encoding scales included)."""
        kept = self.resolve(layout)
        encodings = self.encodings(layout, kept)
        after = _cut_shapes(layout, kept)
        return sum(stored_bytes(s, encodings.get(name, "fp32")) for name, s in after.items())

    def encodings(
        self, layout: Layout, kept: Mapping[str, IntArray] | None = None
    ) -> dict[str, Stored]:
        """Return how the tensors are stored, runs counted in the rows that are left.

        Args:
            layout: the model's, cut or not.
            kept: axis → positions in ``layout`` that a further cut keeps; None = all.

        Raises:
            PlanError: runs for a tensor whose rows are no units of one axis.
        """
        out: dict[str, Stored] = {}
        for name, stored in self.encoding.items():
            if name not in layout.shapes:
                continue
            if isinstance(stored, str):
                out[name] = stored
                continue
            axis = _axis_of_rows(layout, name)
            starts, rows = [start for start, _ in stored], axis.size
            units = axis.origin if kept is None else axis.units[kept[axis.name]]
            if units is None:  # all are left; so many may be what a damaged file merely says
                starts = [min(start, rows) for start in starts]
            else:
                starts, rows = np.searchsorted(units, starts).tolist(), len(units)
            runs = zip(starts, [*starts[1:], rows], stored, strict=True)
            left = tuple((start, each) for start, end, (_, each) in runs if start < end)
            if left:
                out[name] = left if len(left) > 1 else left[0][1]
        return out

    def summary(self, layout: Layout) -> list[dict[str, Any]]:
        """Return one record an axis that is cut.

        Each has axis, unit, kept, total, bytes saved (in fp32), tensors, and the encodings of these.
        """
        kept = self.resolve(layout)
        full = sum(map(stored_bytes, layout.shapes.values()))
        out = []
        for name, axis in layout.axes.items():
            if len(kept[name]) == axis.size or not axis.size:
                continue
            parent_gone = axis.parent is not None and not len(kept[name])
            alone = Plan(self.layout_hash, {} if parent_gone else {name: axis.units[kept[name]]})
            saved = 0 if parent_gone else full - alone.predicted_bytes(layout)
            out.append(
                {
                    "axis": name,
                    "unit": axis.unit,
                    "kept": len(kept[name]),
                    "total": axis.size,
                    "bytes_saved": saved,
                    "tensors": (tensors := sorted({u.tensor for u in axis.uses})),
                    "encoding": {t: self.encoding[t] for t in tensors if t in self.encoding},
                }
            )
        return out

    def to_text(self, layout: Layout) -> str:
        """Return the plan as a table: axis · unit · kept/total · bytes saved · coupled tensors."""
        lines = [
            f"{'axis':<28} {'unit':<7} {'kept/total':>14} {'bytes saved':>12}  coupled tensors"
        ]
        for r in self.summary(layout):
            share = f"{r['kept']}/{r['total']}"
            saved = f"{r['bytes_saved']:,}" if r["bytes_saved"] else "with field"
            lines.append(
                f"{r['axis']:<28} {r['unit']:<7} {share:>14} {saved:>12}  {', '.join(r['tensors'])}"
            )
        stored: dict[str, list[str]] = {}
        for name in sorted(set(self.encoding) & set(layout.shapes)):
            stored.setdefault(described(self.encoding[name]), []).append(name)
        lines += [f"stored as {how}: {', '.join(names)}" for how, names in stored.items()]
        before = sum(map(stored_bytes, layout.shapes.values()))
        lines.append(f"tensor bytes {before:,} → {self.predicted_bytes(layout):,}")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Patch:
    """What a cut adds to surviving tensors (folded means, refitted weights), before cutting.

    Args:
        checkpoint_hash: hash of the state it was computed from (see ``state_hash``).
        tensors: whole replacement tensors, by name, in uncut shape.
    """

    checkpoint_hash: str
    tensors: Mapping[str, Array]


def shrink(
    state: State, layout: Layout, plan: Plan, patch: Patch | None = None
) -> tuple[State, Layout]:
    """Build the smaller state and layout. Pure: nothing given is changed, or shared with the result.

    Args:
        state: tensor name → array, shapes as ``layout.shapes``.
        plan: kept units in the *uncut* model's coordinates; ``layout`` may be cut already.
        patch: replacement tensors, bound to exactly this state.

    Raises:
        PlanError: plan or state do not fit the layout, or the patch belongs to another checkpoint.
    """
    if patch is not None:
        if patch.checkpoint_hash != state_hash(state):
            raise PlanError(
                "The patch belongs to another checkpoint; compute it again from this one."
            )
        state = {**state, **patch.tensors}
    if odd := sorted(set(state) ^ set(layout.shapes)):
        raise PlanError(f"Tensors that only one of state and layout has: {', '.join(odd)}.")
    kept = plan.resolve(layout)
    index = kept_indices(layout, kept)
    cut: dict[str, Array] = {}
    for name, shape in layout.shapes.items():
        array = state[name]
        if array.shape != shape:
            raise PlanError(f"Tensor {name!r} has shape {array.shape}; its layout says {shape}.")
        for dim in range(array.ndim):
            if (name, dim) in index:
                array = np.take(array, index[name, dim], axis=dim)
        if array.size:
            cut[name] = np.array(array, order="C")
    axes = {}
    for name, axis in layout.axes.items():
        if axis.size and not len(kept[name]):
            continue
        uses = tuple(
            replace(u, offset=int(np.searchsorted(index[u.tensor, u.dim], u.offset)))
            for u in axis.uses
            if u.tensor in cut
        )
        axes[name] = replace(
            axis,
            size=len(kept[name]),
            uses=uses,
            origin=axis.units[kept[name]],
            members=tuple((other, needed[kept[name]]) for other, needed in axis.members),
        )
    shapes = {name: array.shape for name, array in cut.items()}
    lost = [n for n in (*layout.axes, *layout.shapes) if n not in axes and n not in cut]
    gone = tuple(sorted((*layout.gone, *lost)))  # the same, whatever was cut first
    return cut, Layout(axes, shapes, layout.vocab_hash, layout.hash, gone)


def composed(before: Plan, plan: Plan, layout: Layout, smaller: Layout) -> Plan:
    """Return the plan that makes of the uncut model what ``plan`` made of one cut already.

    Args:
        before: that made the model that was cut.
        plan: what it was cut by now.
        layout: before that cut.
        smaller: after it.
    """
    both = before | plan
    # Units that went with their members are named too: nothing else says which are left.
    named = {*both.keep, *(n for n, a in smaller.axes.items() if a.members)}
    kept = {n: a.units for n, a in smaller.axes.items() if n in named}
    # Pairs that went altogether leave no axis behind; other axes that do go with a field.
    lone = [n for n, a in layout.axes.items() if a.members and n not in smaller.axes]
    lone += [n for n, units in before.keep.items() if not len(units)]
    kept |= {n: np.empty(0, np.int32) for n in lone}
    return Plan(both.layout_hash, kept, both.encoding)


def regrown(layout: Layout, sizes: Mapping[str, int], vocab_hash: str) -> Layout:
    """Return the layout of a model whose tables have other rows; all else is cut as it was.

    Plans of the given layout do not apply to it: its rows are no longer those that they count.

    Args:
        layout: of the model, cut or not.
        sizes: row axis → its new number of rows, none of them cut.
        vocab_hash: of the encoder whose rows these are.

    Raises:
        PlanError: an axis that is absent, has other units than rows, or is a part of its tensor.
    """
    axes, shapes = dict(layout.axes), dict(layout.shapes)
    for name, size in sizes.items():
        axis = layout.axis(name)
        if axis.unit != "row":
            raise PlanError(f"Axis {name!r} has units of kind {axis.unit!r}; only rows regrow.")
        for use in axis.uses:
            if use.offset or shapes[use.tensor][use.dim] != axis.size:
                raise PlanError(f"Axis {name!r} is but a part of {use.tensor!r}; it cannot regrow.")
            shape = list(shapes[use.tensor])
            shape[use.dim] = size
            shapes[use.tensor] = tuple(shape)
        axes[name] = replace(axis, size=size, origin=None)
    new = Layout(axes, shapes, vocab_hash, "", layout.gone)
    if not layout.root:
        return new
    return replace(new, root=hashlib.sha256(f"{layout.root} {new.hash}".encode()).hexdigest()[:16])


def state_hash(state: State) -> str:
    """Return a hash of every tensor's name, shape and bytes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name}:{state[name].dtype}:{state[name].shape};".encode())
        digest.update(np.ascontiguousarray(state[name]).tobytes())
    return digest.hexdigest()[:16]


def _units_kept(layout: Layout, kept: Mapping[str, IntArray], name: str) -> set[int]:
    if name not in kept:
        raise PlanError(f"Axis {name!r} is a parent and must be declared before its children.")
    return set(layout.axes[name].units[kept[name]].tolist())


def kept_indices(layout: Layout, kept: Mapping[str, IntArray]) -> dict[tuple[str, int], IntArray]:
    """Return tensor and dim → surviving indices, for every dim that an axis uses."""
    gone: dict[tuple[str, int], Array] = {}
    for name, axis in layout.axes.items():
        removed = np.ones(axis.size, bool)
        removed[kept[name]] = False
        for use in axis.uses:
            mask = gone.setdefault(
                (use.tensor, use.dim), np.zeros(layout.shapes[use.tensor][use.dim], bool)
            )
            mask[use.offset : use.offset + axis.size] |= removed
    return {place: np.flatnonzero(~mask).astype(np.int32) for place, mask in gone.items()}


def _axis_of_rows(layout: Layout, tensor: str) -> Axis:
    """Return the axis whose units are a tensor's rows."""
    for axis in layout.axes.values():
        if axis.size == layout.shapes[tensor][0] and Use(tensor, 0) in axis.uses:
            return axis
    raise PlanError(
        f"The plan encodes {tensor!r} by runs of rows, but its rows are no units of one axis. "
        "Name one encoding for all of it."
    )


def _cut_shapes(layout: Layout, kept: Mapping[str, IntArray]) -> dict[str, tuple[int, ...]]:
    index = kept_indices(layout, kept)
    return {
        name: tuple(len(index[name, d]) if (name, d) in index else n for d, n in enumerate(shape))
        for name, shape in layout.shapes.items()
    }
