"""Values out of a stream's state: their rows, their texts, and whatever else holds them as texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.artifact import CONFIG, Artifact, read_artifact

__all__ = ["Contents", "contents_of", "without_rows"]

Arrays = dict[str, NDArray[Any]]

#: Arrays of the pool's rows, one entry a row, by the thread that keeps them.
READ = ("keys", "uses", "sizes")
LEARNT = ("table.weights", "table.sums", "names.field", "names.size")
ROWS, LEARNER, MODELS = "reading/rows/", "learner/", ("reference", "served", "candidate")


@dataclass(frozen=True, eq=False)
class Contents:
    """What of a state are texts.

    Args:
        values: field → rows of the pool that stand for values of it, and these.
        models: name → files of an artefact: the reference, the model served, a candidate.
        items: lines of JSON, one an item that the stream brought.
    """

    values: Mapping[str, tuple[NDArray[np.int64], list[str]]] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    items: Sequence[str] = ()

    @property
    def reference(self) -> Artifact:
        """The model that the stream began with."""
        return read_artifact(self.models["reference"].__getitem__)


def contents_of(arrays: Mapping[str, NDArray[Any]]) -> Contents:
    """Return what of a state's arrays are texts."""
    models = {m: files for m in MODELS if CONFIG in (files := dict(_files(arrays, m)))}
    names = read_artifact(models["reference"].__getitem__).encoder.schema.names
    fields, sizes = (arrays[f"{LEARNER}names.{n}"] for n in ("field", "size"))
    data, ends = arrays[f"{LEARNER}names.text"].tobytes(), np.cumsum(sizes, dtype=np.int64)
    values = {}
    for at, name in enumerate(names):
        rows = np.flatnonzero((fields == at) & (sizes > 0))
        spans = zip(ends[rows].tolist(), sizes[rows].tolist(), strict=True)
        texts = [data[end - n : end].decode("utf-8", "surrogatepass") for end, n in spans]
        values[name] = rows, texts
    items = arrays["newcomers/items"].tobytes().decode("utf-8", "surrogatepass")
    # Not by splitlines: to it, U+2028 and its like end a line, and JSON holds them as they are.
    return Contents(values, models, [line for line in items.split("\n") if line])


def without_rows(arrays: Mapping[str, NDArray[Any]], rows: NDArray[np.int64]) -> Arrays:
    """Return a state in which rows of the pool stand for nothing: they are gone, the rest moves up.

    Which row a value has changes nothing that is scored. The rows that were chosen to be evicted next
    are chosen anew.
    """
    out = dict(arrays)
    stay = np.ones(len(arrays[f"{ROWS}keys"]), np.bool_)
    stay[rows] = False
    sizes = arrays[f"{ROWS}sizes"]
    for prefix, names in ((ROWS, READ), (LEARNER, LEARNT)):
        out |= {f"{prefix}{name}": arrays[f"{prefix}{name}"][stay] for name in names}
    letters = np.repeat(stay, arrays[f"{LEARNER}names.size"])
    out[f"{LEARNER}names.text"] = arrays[f"{LEARNER}names.text"][letters]
    for name in ("cold.rows", "cold.uses"):
        out[f"{ROWS}{name}"] = arrays[f"{ROWS}{name}"][:0]
    counts = arrays[f"{ROWS}counts"].copy()
    counts[:2] -= len(rows), sizes[rows].sum()
    out[f"{ROWS}counts"] = counts
    return out


def _files(arrays: Mapping[str, NDArray[Any]], model: str) -> Iterator[tuple[str, bytes]]:
    prefix = f"publisher/{model}/"
    for name, array in arrays.items():
        if name.startswith(prefix):
            yield name.removeprefix(prefix), array.tobytes()
