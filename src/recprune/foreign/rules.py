"""What each operation of torch does to labels.

An operation without a rule freezes everything it touches: what is not understood is not cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from recprune.foreign.labels import Dims, Labels, Vector

__all__ = ["Call", "Tape", "apply_rule"]

aten = torch.ops.aten


class Tape(Protocol):
    """What a rule sees of the trace."""

    labels: Labels

    def of(self, tensor: Tensor) -> Dims:
        """Return a tensor's labels."""

    def put(self, tensor: Tensor, dims: Dims) -> None:
        """Say what the labels of a result are."""


class Call:
    """One call of an operation: arguments by name, results, and where in the model it stands."""

    def __init__(self, func: Any, args: Sequence[Any], kwargs: Any, out: Any, where: str) -> None:
        names = [a.name for a in func._schema.arguments]
        self.given = {**dict(zip(names, args, strict=False)), **kwargs}
        self.packet = func.overloadpacket
        self.pointwise = torch.Tag.pointwise in func.tags
        self.tensors = tensors_in([*args, *kwargs.values()])
        self.results = tensors_in([out])
        name = str(self.packet).removeprefix("aten.")
        self.where = f"{name} in {where}" if where else name

    def dims(self, ndim: int, name: str = "dim") -> list[int]:
        """Return the dimensions an argument names, from 0; None or an empty list means all."""
        given = self.given.get(name)
        if given is None or given == []:
            return list(range(ndim))
        return [d % ndim for d in ([given] if isinstance(given, int) else given)] if ndim else []


Rule = Callable[[Tape, Call], None]
RULES: dict[Any, Rule] = {}


def tensors_in(values: Sequence[Any]) -> list[Tensor]:
    """Return the tensors among arguments and lists of arguments."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += tensors_in(value)
    return found


def apply_rule(tape: Tape, call: Call) -> None:
    """Follow the labels through one operation."""
    if call.packet is not aten.expand and not any(
        d.any() for t in call.tensors for d in tape.of(t)
    ):
        return  # ids, constants: what comes out is fixed too
    rule = RULES.get(call.packet, _elementwise if call.pointwise else _unknown)
    try:
        rule(tape, call)
    except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError):
        _unknown(tape, call)  # arguments of a form that the rule does not foresee


def _unknown(tape: Tape, call: Call) -> None:
    for tensor in call.tensors:
        _freeze_all(tape, tensor, f"no rule for {call.where}")


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        RULES.update({getattr(aten, n): rule for n in names if hasattr(aten, n)})
        return rule

    return register


def _freeze_all(tape: Tape, tensor: Tensor, reason: str) -> None:
    for dim in tape.of(tensor):
        tape.labels.freeze(dim, reason)


def _zeros(size: int) -> Vector:
    return np.zeros(size, np.int64)


def _broadcast(tape: Tape, parts: Sequence[Dims], shape: Sequence[int], where: str) -> Dims:
    """Line operands up from the right, as broadcasting does."""
    out: Dims = []
    for back in range(len(shape), 0, -1):
        size = shape[len(shape) - back]
        here = [p[len(p) - back] for p in parts if len(p) >= back]
        here = [d for d in here if len(d) == size]
        out.append(tape.labels.unite(here, where) if here and size > 1 else _zeros(size))
    return out


@_rule("clone", "detach", "alias", "_to_copy", "contiguous", "lift_fresh", "copy_", "zeros_like")
@_rule("ones_like", "full_like", "empty_like", "rand_like", "native_dropout", "bernoulli", "fill_")
@_rule("_prelu_kernel", "hardswish", "log_sigmoid_forward")
def _elementwise(tape: Tape, call: Call) -> None:
    parts = [tape.of(t) for t in call.tensors]
    for result in call.results:
        tape.put(result, _broadcast(tape, parts, result.shape, call.where))


@_rule("new_zeros", "new_ones", "new_full", "new_empty", "equal", "is_same_size")
def _nothing(tape: Tape, call: Call) -> None:
    """Only the kind of tensor is read, never the values along a dimension."""


@_rule("mm", "bmm", "mv", "dot", "addmm", "baddbmm", "addmv")
def _product(tape: Tape, call: Call) -> None:
    *added, left, right = call.tensors
    a, b = tape.of(left), tape.of(right)
    contracted = 0 if len(b) == 1 else len(b) - 2
    tape.labels.unite([a[-1], b[contracted]], call.where)
    batch = [tape.labels.unite([a[0], b[0]], call.where)] if len(b) == 3 else []
    dims = [*batch, *a[len(batch) : -1], *b[contracted + 1 :]]
    result = call.results[0]
    tape.put(result, _broadcast(tape, [dims, *map(tape.of, added)], result.shape, call.where))


@_rule("linear")
def _linear(tape: Tape, call: Call) -> None:
    x, weight, *bias = map(tape.of, call.tensors)
    tape.labels.unite([x[-1], weight[1]], call.where)
    out = tape.labels.unite([weight[0], *(b[0] for b in bias)], call.where)
    tape.put(call.results[0], [*x[:-1], out])


@_rule("sum", "linalg_vector_norm")
def _total(tape: Tape, call: Call) -> None:
    """A cut unit adds nothing, as one that is zero would: the dimension can be cut."""
    _reduced(tape, call)


@_rule("mean", "amax", "amin", "max", "min", "argmax", "argmin", "prod", "var", "std", "logsumexp")
@_rule("_softmax", "_log_softmax", "cumsum", "cumprod", "sort", "topk", "median", "any", "all")
@_rule("var_mean", "std_mean", "norm")
def _of_all(tape: Tape, call: Call) -> None:
    """The result is of all units together: without some of them it is another one."""
    dims = tape.of(call.tensors[0])
    for d in call.dims(len(dims)):
        tape.labels.freeze(dims[d], f"{call.where} is over all of its units")
    for other in call.tensors[1:]:
        _freeze_all(tape, other, f"no rule for {call.where}")
    _reduced(tape, call)


def _reduced(tape: Tape, call: Call) -> None:
    dims = tape.of(call.tensors[0])
    gone = call.dims(len(dims))
    for result in call.results:
        if result.ndim == len(dims):
            sizes = result.shape
            tape.put(result, [_zeros(sizes[i]) if i in gone else d for i, d in enumerate(dims)])
        else:
            tape.put(result, [d for i, d in enumerate(dims) if i not in gone])


@_rule("cat")
def _cat(tape: Tape, call: Call) -> None:
    result = call.results[0]
    # torch.cat skips an empty vector, whatever the others' shapes.
    parts = [tape.of(t) for t in call.tensors if t.ndim == result.ndim]
    along = call.given.get("dim", 0) % result.ndim
    tape.put(
        result,
        [
            np.concatenate(d) if i == along else tape.labels.unite(d, call.where)
            for i, d in enumerate(map(list, zip(*parts, strict=True)))
        ],
    )


@_rule("stack")
def _stack(tape: Tape, call: Call) -> None:
    parts = [tape.of(t) for t in call.tensors]
    dims = [tape.labels.unite(d, call.where) for d in map(list, zip(*parts, strict=True))]
    dims.insert(call.given.get("dim", 0) % (len(dims) + 1), _zeros(len(parts)))
    tape.put(call.results[0], dims)


@_rule("t", "transpose", "permute")
def _permuted(tape: Tape, call: Call) -> None:
    dims = tape.of(call.tensors[0])
    order = list(range(len(dims)))
    if call.packet is aten.permute:
        order = call.dims(len(dims), "dims")
    elif len(dims) > 1:
        a, b = (call.given.get(k, d) % len(dims) for k, d in (("dim0", 0), ("dim1", 1)))
        order[a], order[b] = order[b], order[a]
    tape.put(call.results[0], [dims[i] for i in order])


@_rule("view", "_unsafe_view", "reshape", "_reshape_alias", "squeeze", "unsqueeze")
def _viewed(tape: Tape, call: Call) -> None:
    """Match runs of dimensions with equal products: each run is flattened, then parted."""
    result = call.results[0]
    source = [d for d in tape.of(call.tensors[0]) if len(d) != 1]
    target = [n for n in result.shape if n != 1]
    new: Dims = []
    while target:
        run, sizes = [source.pop(0)], [target.pop(0)]
        while (have := math.prod(map(len, run))) != (want := math.prod(sizes)):
            if have < want:
                run.append(source.pop(0))
            else:
                sizes.append(target.pop(0))
        flat = run[0]
        for inner in run[1:]:
            flat = tape.labels.merged(flat, inner, call.where)
        new += tape.labels.parted(flat, sizes, call.where)
    tape.put(result, [new.pop(0) if n != 1 else _zeros(1) for n in result.shape])


@_rule("expand")
def _expanded(tape: Tape, call: Call) -> None:
    """What is repeated has the size of what it will meet; whether it follows, trying will tell."""
    result, source = call.results[0], tape.of(call.tensors[0])
    source = [_zeros(1)] * (result.ndim - len(source)) + source
    tape.put(
        result,
        [
            d if len(d) == n else tape.labels.fresh(n)
            for d, n in zip(source, result.shape, strict=True)
        ],
    )


@_rule("repeat")
def _repeated(tape: Tape, call: Call) -> None:
    times = call.given["repeats"]
    dims = tape.of(call.tensors[0])
    dims = [_zeros(1)] * (len(times) - len(dims)) + dims
    tape.put(call.results[0], [np.tile(d, n) for d, n in zip(dims, times, strict=True)])


@_rule("slice", "select", "split", "split_with_sizes", "unbind", "index_select", "narrow")
def _picked(tape: Tape, call: Call) -> None:
    """Positions are picked by number, and a number means another unit after a cut."""
    source = call.tensors[0]
    dims = list(tape.of(source))
    along = call.given.get("dim", 0) % source.ndim
    for other in call.tensors[1:]:
        _freeze_all(tape, other, f"used as an index by {call.where}")
    for result in call.results:
        if result.ndim < source.ndim:
            new = dims[:along] + dims[along + 1 :]
        elif call.packet is not aten.index_select and result.shape == source.shape:
            new = dims
        else:
            new = [_zeros(result.shape[along]) if i == along else d for i, d in enumerate(dims)]
        if new is not dims:
            tape.labels.freeze(dims[along], f"{call.where} picks its units by position")
        tape.put(result, new)


@_rule("index")
def _indexed(tape: Tape, call: Call) -> None:
    source, *indices = call.tensors
    dims, result = tape.of(source), call.results[0]
    given = call.given["indices"]
    for index in indices:
        _freeze_all(tape, index, f"used as an index by {call.where}")
    spots = [i for i, index in enumerate(given) if index is not None]
    if any(i.dtype in (torch.bool, torch.uint8) for i in indices):
        return _freeze_all(tape, source, f"{call.where} picks its units by a mask")
    for spot in spots:
        tape.labels.freeze(dims[spot], f"{call.where} picks its units by position")
    rest = [d for i, d in enumerate(dims) if i not in spots]
    first = spots[0] if spots == list(range(spots[0], spots[0] + len(spots))) else 0
    picked = result.ndim - len(rest)
    sizes = result.shape[first : first + picked]
    return tape.put(result, [*rest[:first], *map(_zeros, sizes), *rest[first:]])


@_rule("embedding")
def _embedding(tape: Tape, call: Call) -> None:
    weight = tape.of(call.given["weight"])
    _freeze_all(tape, call.given["indices"], f"used as an index by {call.where}")
    tape.labels.freeze(weight[0], f"{call.where} picks its units by position")
    result = call.results[0]
    tape.put(result, [*map(_zeros, result.shape[:-1]), weight[1]])


@_rule("_embedding_bag", "_embedding_bag_forward_only")
def _bag(tape: Tape, call: Call) -> None:
    weight = tape.of(call.tensors[0])
    for other in call.tensors[1:]:
        _freeze_all(tape, other, f"used as an index or weight by {call.where}")
    tape.labels.freeze(weight[0], f"{call.where} picks its units by position")
    tape.put(call.results[0], [_zeros(len(call.results[0])), weight[1]])


@_rule("embedding_renorm_")
def _renormed(tape: Tape, call: Call) -> None:
    """max_norm rescales rows in place, each by itself; a cut dim counts as zero would."""


@_rule("convolution")
def _convolution(tape: Tape, call: Call) -> None:
    if call.given["groups"] != 1 or call.given["transposed"]:
        return _unknown(tape, call)
    x, weight, *bias = map(tape.of, call.tensors)
    for d in (*x[2:], *weight[2:]):
        tape.labels.freeze(d, f"{call.where} slides over it")
    tape.labels.unite([x[1], weight[1]], call.where)
    out = tape.labels.unite([weight[0], *(b[0] for b in bias)], call.where)
    result = call.results[0]
    return tape.put(result, [x[0], out, *map(_zeros, result.shape[2:])])


@_rule("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training")
@_rule("_batch_norm_no_update", "_batch_norm_with_update", "cudnn_batch_norm")
def _batch_norm(tape: Tape, call: Call) -> None:
    x, *of_channels = map(tape.of, call.tensors)
    channels = tape.labels.unite([x[1], *(v[0] for v in of_channels)], call.where)
    tape.put(call.results[0], [x[0], channels, *x[2:]])


@_rule("native_layer_norm")
def _layer_norm(tape: Tape, call: Call) -> None:
    """Mean and variance are of the units that are left; the check of a plan knows that."""
    x, *affine = map(tape.of, call.tensors)
    last = len(call.given["normalized_shape"])
    parts = [x[len(x) - last :], *affine]
    tape.put(
        call.results[0],
        [
            *x[: len(x) - last],
            *(tape.labels.unite(list(d), call.where) for d in zip(*parts, strict=True)),
        ],
    )
