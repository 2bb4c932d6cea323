"""One forward pass of a user's module, watched operation by operation.

torch-pruning's dependency graph reads autograd's graph and takes what it does not know for
elementwise; on ``stack`` → ``flatten`` → ``Linear``, which most rankers start with, it cuts the wrong
columns without an error. Here every operation is seen with its arguments
(``TorchDispatchMode``), whatever the Python around it does.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recprune.errors import PlanError
from recprune.foreign.labels import Dims, Labels
from recprune.foreign.rules import Call, Tape, apply_rule, aten, tensors_in

__all__ = [
    "NORMALIZED",
    "TABLES",
    "Forward",
    "Place",
    "Trace",
    "call",
    "copied",
    "leaves",
    "reproducible",
    "trace",
]

#: ``forward(net, inputs)``: how to run a module whose call is more than ``net(inputs)``.
Forward = Callable[[nn.Module, Any], Any]

#: A dimension of a named tensor. What a ``LayerNorm`` remembers counts as one: it may have none.
Place = tuple[str, int]
NORMALIZED = "normalized_shape"

TABLES = (nn.Embedding, nn.EmbeddingBag)


@dataclass(eq=False)
class Trace:
    """What one forward pass showed.

    Args:
        labels: classes of positions.
        places: tensor name and dimension → labels, shape (size,).
        calls: module name → how often a table was called as a module.
        looked_up: tensor name → how often it was the table of a look-up.
        other_use: table's tensor name → another operation that read it.
    """

    labels: Labels
    places: dict[Place, np.ndarray[Any, np.dtype[np.int64]]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    looked_up: Counter[str] = field(default_factory=Counter)
    other_use: dict[str, str] = field(default_factory=dict)


def call(net: nn.Module, inputs: Any, forward: Forward | None = None) -> Any:
    """Run a module on its inputs: a tensor, a tuple of arguments, or a dict.

    A dict whose keys are all parameters of ``forward`` is passed by name, any other as it is.
    """
    if forward is not None:
        return forward(net, inputs)
    if isinstance(inputs, tuple):
        return net(*inputs)
    if isinstance(inputs, dict):
        known = inspect.signature(net.forward).parameters
        if inputs and all(k in known for k in inputs):
            return net(**inputs)
    return net(inputs)


def copied(net: nn.Module) -> nn.Module:
    """Return a copy that shares nothing with ``net``.

    Raises:
        PlanError: the module holds something that cannot be copied.
    """
    try:
        return copy.deepcopy(net)
    except Exception as error:  # whatever a user's attribute raises
        raise PlanError(
            f"{type(net).__name__} cannot be copied ({type(error).__name__}: {error}). "
            "Remove what holds results of a forward pass, or open files, before planning."
        ) from error


@contextlib.contextmanager
def reproducible() -> Iterator[None]:
    """Without gradients, and with the same draws every time, leaving torch's own generators alone."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.random.manual_seed(0)
        yield


def leaves(net: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer once, by its first name."""
    return {**dict(net.named_parameters()), **dict(net.named_buffers())}


def trace(net: nn.Module, inputs: Any, forward: Forward | None = None) -> Trace:
    """Run a copy of the module once, in evaluation mode, and follow every position.

    Raises:
        PlanError: the module cannot be copied, or its forward pass fails on these inputs.
    """
    twin = copied(net).eval()
    watch = _Watch(twin)
    try:
        with reproducible(), watch.inside_modules(), watch:
            out = call(twin, inputs, forward)
    except Exception as error:  # a user's forward pass raises what it likes
        raise PlanError(
            f"The forward pass of {type(net).__name__} fails on the example inputs "
            f"({type(error).__name__}: {error}). Pass what the module takes: a tensor, a tuple of "
            "arguments, a dict, or a function forward(net, inputs)."
        ) from error
    return watch.finished(out)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, net: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.net = net
        self.labels = Labels()
        self.trace = Trace(self.labels)
        self.inside: list[str] = []
        # Tensors are held until the end: a freed one's id would be given out again.
        self.known: dict[int, tuple[Tensor, Dims]] = {}
        self.leaf = leaves(net)
        self.seen: set[str] = set()
        self.names = {id(t): name for name, t in self.leaf.items()}
        self.memory = {t.untyped_storage().data_ptr(): n for n, t in self.leaf.items() if t.numel()}
        tables = {id(m.weight) for m in net.modules() if isinstance(m, TABLES)}
        self.tables = {self.names[i] for i in tables if i in self.names}
        for name, tensor in self.leaf.items():
            dims = [
                np.zeros(n, np.int64) if name in self.tables and d == 0 else self.labels.fresh(n)
                for d, n in enumerate(tensor.shape)
            ]
            self.known[id(tensor)] = (tensor, dims)
            self.trace.places.update({(name, d): v for d, v in enumerate(dims)})

    def of(self, tensor: Tensor) -> Dims:
        if id(tensor) in self.known:
            return self.known[id(tensor)][1]
        if tensor.numel() and (name := self.memory.get(tensor.untyped_storage().data_ptr())):
            # A view made behind the watch's back, as by ``.data``: its shape may be anything.
            self._freeze(name, "read through a view that cannot be followed")
        dims = [np.zeros(n, np.int64) for n in tensor.shape]
        self.known[id(tensor)] = (tensor, dims)
        return dims

    def put(self, tensor: Tensor, dims: Dims) -> None:
        assert [len(d) for d in dims] == list(tensor.shape)
        self.known[id(tensor)] = (tensor, dims)

    def _freeze(self, name: str, reason: str) -> None:
        for dim in self.known[id(self.leaf[name])][1]:
            self.labels.freeze(dim, reason)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        step = Call(func, args, kwargs, out, self.inside[-1] if self.inside else "")
        used = [self.names[id(t)] for t in step.tensors if id(t) in self.names]
        self.seen.update(used)
        for name in used:
            if name in self.tables:
                self._table_used(name, step)
        if used and used[0] in self.tables and step.packet is aten.detach:
            self.names[id(out)] = used[0]  # max_norm looks the table up detached
        apply_rule(self, step)
        # A result that no rule labelled, or a changed argument, is of fixed shape.
        for result in step.results:
            self.of(result)
        return out

    def _table_used(self, name: str, step: Call) -> None:
        looks_up = (aten.embedding, aten._embedding_bag, aten._embedding_bag_forward_only)
        if step.packet in looks_up:
            self.trace.looked_up[name] += 1
        elif step.packet not in (aten.embedding_renorm_, aten.detach):
            self.trace.other_use.setdefault(name, step.where)

    @contextlib.contextmanager
    def inside_modules(self) -> Iterator[None]:
        """Know which module runs, and what normalises over a shape of its own."""
        handles = []

        def enter(module: nn.Module, args: Any, kwargs: Any, name: str) -> None:
            self.inside.append(name)
            if isinstance(module, TABLES):
                self.trace.calls[name] += 1
            if isinstance(module, nn.LayerNorm) and (
                given := tensors_in([*args, *kwargs.values()])
            ):
                dims = self.of(given[0])[-len(module.normalized_shape) :]
                for i, new in enumerate(dims):
                    place = (f"{name}.{NORMALIZED}", i)
                    old = self.trace.places.get(place)
                    self.trace.places[place] = (
                        new if old is None else self.labels.unite([old, new], name)
                    )

        def leave(module: nn.Module, args: Any, out: Any) -> None:
            self.inside.pop()

        for name, module in self.net.named_modules():

            def before(module: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
                enter(module, args, kwargs, name)

            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def finished(self, out: Any) -> Trace:
        """Freeze what the outputs show and what the pass never read."""
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                for dim in self.of(tensor):
                    self.labels.freeze(dim, "part of the output")
        for name in self.leaf:
            if name not in self.seen:
                self._freeze(name, "the traced forward pass never reads it")
        return self.trace


_: type[Tape] = _Watch
