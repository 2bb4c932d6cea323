"""An ONNX graph in the making: matrices of one row a request, and the few operators they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from recprune import __version__
from recprune._support import require
from recprune.errors import RunError

__all__ = ["NOTHING", "Graph", "Value"]

Array = NDArray[Any]
#: ONNX versions that runtimes of the last years read: operators of 2021, the file's form of 2022.
OPSET, IR_VERSION = 17, 8


@dataclass(frozen=True, eq=False)
class Value:
    """A matrix in the graph, shape (n, width). One without columns has no name and no node.

    Args:
        name: of the node's output.
        width: columns.
        at: where the columns that count stand, shape (size,); all others are zeros. None = they are
            all, in order.
    """

    name: str
    width: int
    at: Array | None = None

    @property
    def size(self) -> int:
        """The columns that count."""
        return self.width if self.at is None else len(self.at)


NOTHING = Value("", 0)


class Graph:
    """Nodes and weights, in order.

    Args:
        rows: the name of an input whose first axis counts the rows.

    Raises:
        MissingExtra: onnx is not installed.
    """

    def __init__(self, rows: str) -> None:
        self.onnx = require("onnx", "export")
        self._rows, self._zeros = rows, ""
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node of one output; return the output's name."""
        stem = name or f"{kind.lower()}.{len(self._nodes)}"
        self._nodes.append(self.onnx.helper.make_node(kind, inputs, [stem], stem, **attributes))
        return stem

    def constant(self, array: Array, name: str = "") -> str:
        """Add a weight, once if it has no name of its own; return its name."""
        if name:
            self._weights.append(self.onnx.numpy_helper.from_array(array, name))
            return name
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self.constant(array, f"const.{len(self._known)}")
        return self._known[key]

    def ints(self, *numbers: int) -> str:
        """Add a list of whole numbers: axes, shapes, places."""
        return self.constant(np.array(numbers, np.int64))

    def zeros(self) -> str:
        """Return the name of a column of zeros, shape (n, 1)."""
        if not self._zeros:
            rows = self.op("Shape", self._rows, start=0, end=1)
            shape = self.op("Concat", rows, self.ints(1), axis=0)
            self._zeros = self.op("ConstantOfShape", shape)
        return self._zeros

    def affine(self, x: Value, weight: Array, bias: Array, like: Value | None = None) -> Value:
        """Return W·x + b for every row.

        Args:
            x: shape (n, width).
            weight: shape (outputs, inputs), of the columns of x that count.
            bias: shape (outputs,).
            like: where the outputs shall stand among columns; None = they are all.
        """
        outputs = len(weight)
        if not outputs:
            return NOTHING
        out = like or Value("", outputs)
        add = self._spread(self.constant(bias.astype(np.float32)), out, 0, rank=1)
        if not x.width:
            return replace(out, name=self.op("Add", self.zeros(), add))
        matrix = self._spread(self.constant(weight.astype(np.float32)), out, 0)
        matrix = self._spread(matrix, x, 1)
        return replace(out, name=self.op("Gemm", x.name, matrix, add, transB=1))

    def _spread(self, constant: str, over: Value, dim: int, rank: int = 2) -> str:
        """Let a constant's dim, which runs over the columns that count, run over all columns.

        This is done by nodes, and so when a file is loaded: in it stand no zeros.
        """
        if over.at is None:
            return constant
        place = np.full(over.width, over.size, np.int64)
        place[over.at] = np.arange(over.size)
        if over.width > over.size:
            ends = [0] * rank + [int(d == dim) for d in range(rank)]
            constant = self.op("Pad", constant, self.ints(*ends))
        return self.op("Gather", constant, self.constant(place), axis=dim)

    def relu(self, x: Value) -> Value:
        """Return max(x, 0)."""
        return replace(x, name=self.op("Relu", x.name)) if x.width else x

    def concat(self, values: Sequence[Value]) -> Value:
        """Return matrices side by side."""
        some = [v for v in values if v.width]
        if len(some) < 2:
            return some[0] if some else NOTHING
        joined = self.op("Concat", *(v.name for v in some), axis=1)
        return Value(joined, sum(v.width for v in some))

    def columns(self, x: Value, columns: Array) -> Value:
        """Return some of the columns that count, in this order."""
        width = len(columns)
        if not width:
            return NOTHING
        if x.at is not None:
            columns = x.at[columns]
        if width == x.width and (columns == np.arange(width)).all():
            return Value(x.name, width)
        if (np.diff(columns) == 1).all():
            start, end = int(columns[0]), int(columns[-1]) + 1
            return Value(
                self.op("Slice", x.name, self.ints(start), self.ints(end), self.ints(1)), width
            )
        places = self.constant(columns.astype(np.int64))
        return Value(self.op("Gather", x.name, places, axis=1), width)

    def product(self, x: Value, y: Value) -> Value:
        """Return x ⊙ y, both shape (n, width), of the same columns."""
        return replace(x, name=self.op("Mul", x.name, y.name)) if x.width else x

    def total(self, x: Value) -> Value:
        """Return each row's sum, shape (n, 1)."""
        if x.width < 2:
            return x
        return Value(self.op("ReduceSum", x.name, self.ints(1), keepdims=1), 1)

    def plus(self, values: Sequence[Value]) -> Value:
        """Return the sum of matrices of one width; those of one column are added to all columns."""
        some = [v for v in values if v.width]
        if not some:
            return NOTHING
        name = some[0].name
        for value in some[1:]:
            name = self.op("Add", name, value.name)
        return Value(name, max(v.width for v in some))

    def write(
        self,
        path: Path,
        inputs: Sequence[tuple[str, DTypeLike, int]],
        outputs: Mapping[str, int],
        facts: Mapping[str, str],
    ) -> None:
        """Write the whole as an ONNX file that onnx's checker finds sound.

        Args:
            path: the file.
            inputs: name, type and width of each; all are of shape (n, width).
            outputs: name → width; likewise, in 32 bits.
            facts: what the file says of itself.

        Raises:
            RunError: onnx's checker refuses the graph.
        """
        helper, checker = self.onnx.helper, self.onnx.checker
        given, answers = (
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), ["n", width]
                )
                for name, dtype, width in side
            ]
            for side in (inputs, [(n, np.float32, w) for n, w in outputs.items()])
        )
        model = helper.make_model(
            helper.make_graph(self._nodes, "recprune", given, answers, self._weights),
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="recprune",
            producer_version=__version__,
        )
        helper.set_model_props(model, dict(facts))
        path.write_bytes(model.SerializeToString(deterministic=True))
        try:
            checker.check_model(str(path), full_check=True)
        except (checker.ValidationError, self.onnx.shape_inference.InferenceError) as error:
            raise RunError(f"onnx refuses the exported graph: {error}") from error
