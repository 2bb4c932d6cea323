"""Items that the stream brought: their latest columns, so that a model that is published has them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.artifact import Artifact
from recprune.catalogue import Catalogue
from recprune.streaming.forms import TYPES
from recprune.streaming.hashes import hashes
from recprune.streaming.labelled import Labelled

__all__ = ["Newcomers"]


class Newcomers:
    """Items of the events that the reference's catalogue lacks, the latest so many.

    Args:
        reference: whose catalogue it is; without one, nothing is kept.
        most: items that are kept.
    """

    def __init__(self, reference: Artifact, most: int = 100_000) -> None:
        schema = reference.encoder.schema
        self.most, self.item = most, schema.item
        #: Columns that are kept, and how they are read.
        self.columns: dict[str, pl.DataType] = {}
        if not reference.catalogue or self.item is None:
            return
        catalogue = Catalogue.from_tensors(reference.encoder, reference.catalogue)
        self.columns = {self.item: pl.String()}
        self.columns |= {f.name: TYPES[f.kind] for f in schema.fields if f.source == "item"}
        for names, kind in (
            (catalogue.keys, pl.String()),
            (catalogue.texts, pl.String()),
            (catalogue.numbers, pl.Float64()),
        ):
            self.columns = {**dict.fromkeys(names, kind), **self.columns}
        # Of tensors in a file, the order is any.
        self.columns = dict(sorted(self.columns.items()))
        self._known = np.sort(hashes(pl.Series(catalogue.ids, dtype=pl.String)))
        self._frames = [pl.DataFrame(schema=self.columns)]

    def add(self, events: Labelled) -> None:
        """Note the items of events."""
        if not self.columns or events.items is None:
            return
        at = np.searchsorted(self._known, events.items)
        known = self._known.take(at, mode="clip") == events.items
        if known.all():
            return
        columns = [pl.col(name).cast(kind, strict=False) for name, kind in self.columns.items()]
        new = events.frame.select(columns).filter(~known).drop_nulls(self.item)
        self._frames.append(self._latest(new))
        if sum(map(len, self._frames)) > 2 * self.most:
            self.frame()

    def frame(self) -> pl.DataFrame:
        """Return the items' columns, each item once, those seen last at the end."""
        if len(self._frames) > 1:
            self._frames = [self._latest(pl.concat(self._frames)).tail(self.most)]
        return self._frames[0]

    def listed(self, artifact: Artifact) -> Artifact:
        """Return the artefact with these items after those of its catalogue."""
        if not self.columns or not len(self.frame()):
            return artifact
        catalogue = Catalogue.from_tensors(artifact.encoder, artifact.catalogue)
        columns = self.frame().to_dict(as_series=False)
        new = Catalogue.build(
            artifact.encoder, columns, columns[str(self.item)], catalogue.defaults
        )
        return replace(artifact, catalogue=catalogue.joined(new).tensors())

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what :meth:`restore` goes on from."""
        written = io.BytesIO()
        if self.columns:
            self.frame().write_ndjson(written)
        return {"items": np.frombuffer(written.getvalue(), np.uint8)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state."""
        data = state["items"].tobytes()
        if self.columns:
            empty = pl.DataFrame(schema=self.columns)
            self._frames = [pl.read_ndjson(data, schema=self.columns) if data else empty]

    def _latest(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.unique(self.item, keep="last", maintain_order=True)
