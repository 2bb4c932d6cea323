"""Random models, catalogues and users for the runtime's tests, and a slow forward as the oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recprune._support import stream
from recprune.artifact import Artifact
from recprune.bags import Components
from recprune.bags import Sequence as Bag
from recprune.catalogue import Catalogue
from recprune.encoding import Encoder, Rows
from recprune.layout import Axis, Layout, Plan, Use, shrink
from recprune.lookups import Knots, Vocabulary
from recprune.schema import Field, Schema
from recprune.users import CrossTable, SeenItems, Users

from .drafts import random_model

SHOP = Schema(
    (
        Field("user_id", "categorical", "user"),
        Field("times_category", "numeric", "cross", by="category"),
        Field("age", "numeric", "user"),
        Field("item_id", "categorical", "item"),
        Field("hour", "numeric", "context"),
        Field("category", "categorical", "item"),
        Field("price", "numeric", "item"),
        Field("days_category", "numeric", "cross", by="category"),
        Field("times_item", "numeric", "cross", by="item_id"),
        Field("favourite", "categorical", "cross", by="category"),
    ),
    label="bought",
    user="user_id",
    item="item_id",
)

#: Fields of all kinds and sources, but no cross fields, which towers cannot have.
MIXED = Schema(
    (
        Field("user", "categorical", "user"),
        Field("tags", "sequence", "item"),
        Field("age", "numeric", "user"),
        Field("picture", "dense", "item"),
        Field("hour", "numeric"),
        Field("shelf", "categorical", "item"),
        Field("place", "categorical"),
    ),
    label="click",
    user="user",
    item="item",
)


@dataclass(frozen=True)
class Kind:
    """Which model: its class, dims, hidden layers and whether it has pairs."""

    name: str
    dim: int
    hidden: tuple[int, ...]
    fm: bool


KINDS = (
    Kind("LR", 0, (), False),
    Kind("FM", 5, (), True),
    Kind("DeepFM", 5, (7,), True),
    Kind("DeepFM", 4, (9, 6, 3), True),
    Kind("DNN", 4, (6, 5), False),
)


def plain_schema(fields: int, numeric: int) -> Schema:
    """Return a table's schema without users or items; numeric fields are spread among the rest."""
    every = max(fields // max(numeric, 1), 1)
    kinds = [
        "numeric" if i % every == 0 and i // every < numeric else "categorical"
        for i in range(fields)
    ]
    return Schema(tuple(Field(f"f{i}", k) for i, k in enumerate(kinds)), label="y")  # type: ignore[arg-type]


def random_encoder(schema: Schema, seed: int, rows: int = 9) -> Encoder:
    """Return an encoder whose vocabularies are "0", "1", … (some with a missing entry)."""
    draws = stream(seed, "encoder")
    parts: dict[str, Any] = {}
    for field in schema.fields:
        if field.kind == "numeric":
            parts[field.name] = Knots(np.cumsum(draws.uniform(0.1, 2, draws.integers(2, 8))) - 2)
            continue
        if field.kind == "dense":
            parts[field.name] = Components(draws.normal(0, 1, 3), draws.uniform(0.5, 2, 3))
            continue
        values: list[str | None] = [str(v) for v in range(int(draws.integers(1, rows + 1)))]
        if draws.random() < 0.5:
            values[int(draws.integers(len(values)))] = None
        words = Vocabulary(tuple(values))
        parts[field.name] = Bag(words, 3) if field.kind == "sequence" else words
    return Encoder(schema, parts)


def random_artifact(
    encoder: Encoder, kind: Kind, seed: int, *, cut: bool = False, ragged: bool = False
) -> Artifact:
    """Return an artefact with random weights; ``cut`` prunes rows and neurons, ``ragged`` dims."""
    draws = stream(seed, "weights")
    names, dim = encoder.schema.names, kind.dim
    shapes: dict[str, tuple[int, ...]] = {}
    axes = {"fields": Axis("fields", "field", len(names), labels=names)}
    for i, name in enumerate(names):
        rows = encoder.parts[name].rows
        shapes[f"table.{name}"] = (rows, 1 + dim)
        uses = (Use(f"table.{name}", 0),)
        axes[f"rows.{name}"] = Axis(f"rows.{name}", "row", rows, uses, ("fields", i), pinned=2)
        if dim:
            places = [Use(f"table.{name}", 1, 1)]
            places += [Use("mlp.0.weight", 1, i * dim)] if kind.hidden else []
            axes[f"dims.{name}"] = Axis(f"dims.{name}", "dim", dim, tuple(places), ("fields", i))
    shapes["bias"] = (1,)
    width = len(names) * dim
    for layer, size in enumerate(kind.hidden):
        shapes[f"mlp.{layer}.weight"], shapes[f"mlp.{layer}.bias"] = (size, width), (size,)
        after = "out" if layer == len(kind.hidden) - 1 else str(layer + 1)
        places = [Use(f"mlp.{layer}.weight", 0), Use(f"mlp.{layer}.bias", 0)]
        places.append(Use(f"mlp.{after}.weight", 1))
        axes[f"neurons.{layer}"] = Axis(f"neurons.{layer}", "neuron", size, tuple(places))
        width = size
    if kind.hidden:
        shapes["mlp.out.weight"] = (1, width)
    state = {n: draws.normal(0, 0.4, s).astype(np.float32) for n, s in shapes.items()}
    layout = Layout(axes, shapes, encoder.hash())
    keep: dict[str, Any] = {}
    for name, axis in axes.items():
        prunable = (axis.unit == "dim" and ragged) or (axis.unit == "neuron" and cut)
        if axis.unit == "row" and cut:
            prunable = isinstance(encoder.parts[name.removeprefix("rows.")], Vocabulary)
        if prunable:
            few = max(axis.pinned, 1)
            count = int(draws.integers(few, axis.size + 1))
            kept = np.sort(draws.permutation(axis.size)[:count])
            keep[name] = np.union1d(kept, np.arange(axis.pinned)).astype(np.int32)
    plan = Plan(layout.hash, keep)
    if keep:
        state, layout = shrink(state, layout, plan)  # type: ignore[assignment]
        kept_rows = {n: keep[f"rows.{n}"] for n in names if f"rows.{n}" in keep}
        encoder = encoder.take(names, kept_rows)
    parts = [*(["fm"] if kind.fm else []), *(["mlp"] if kind.hidden else [])]
    model = {"class": kind.name, "options": {}, "parts": parts, "wide": True, "labels": ["y"]}
    return Artifact(model, state, layout, plan, encoder)


def random_rows(encoder: Encoder, n: int, seed: int) -> Rows:
    """Return encoded rows, unknown codes among them."""
    return encoder.encode(random_columns(encoder.schema, n, seed))


def random_columns(schema: Schema, n: int, seed: int) -> dict[str, list[Any]]:
    """Return raw columns with unseen and missing values."""
    draws = stream(seed, "columns")
    columns: dict[str, list[Any]] = {}
    for field in schema.fields:
        if field.kind == "numeric":
            raw = draws.normal(0, 3, n)
            columns[field.name] = [None if draws.random() < 0.1 else float(v) for v in raw]
        elif field.kind == "dense":
            raw = draws.normal(0, 2, (n, 3))
            columns[field.name] = [None if draws.random() < 0.2 else v for v in raw.tolist()]
        elif field.kind == "sequence":
            several = (draws.integers(0, 12, draws.integers(0, 6)) for _ in range(n))
            columns[field.name] = [[str(v) for v in some] for some in several]
        else:
            raw = draws.integers(0, 12, n)
            columns[field.name] = [None if v == 11 else str(v) for v in raw.tolist()]
    return columns


def slow_logits(artifact: Artifact, rows: Rows) -> np.ndarray:
    """Return the logits row by row in float64, from the formulae alone."""
    state = {n: a.astype(np.float64) for n, a in artifact.state.items()}
    schema, numeric = artifact.encoder.schema, artifact.encoder.numeric
    hidden = sum(n.endswith(".bias") for n in state)
    out = []
    for codes, shares in zip(rows.codes, rows.shares, strict=True):
        logit, flat, sums, squares = state["bias"][0], [], np.zeros(64), np.zeros(64)
        for i, name in enumerate(schema.names):
            table, code = state[f"table.{name}"], codes[i]
            value = table[code].copy()
            if i in numeric and shares[numeric.index(i)]:
                value += shares[numeric.index(i)] * (table[code + 1] - table[code])
            logit += value[0]
            axis = artifact.layout.axes.get(f"dims.{name}")
            for unit, number in zip(axis.units if axis else (), value[1:], strict=True):
                sums[unit] += number
                squares[unit] += number**2
            flat.extend(value[1:])
        if "fm" in artifact.model["parts"]:
            logit += 0.5 * (sums**2 - squares).sum()
        if hidden:
            unit = np.array(flat)
            for layer in range(hidden):
                unit = state[f"mlp.{layer}.weight"] @ unit + state[f"mlp.{layer}.bias"]
                unit = np.maximum(unit, 0)
            logit += (state["mlp.out.weight"] @ unit)[0]
        out.append(logit)
    return np.array(out)


@dataclass(frozen=True)
class Shop:
    """A shop: raw item and user tables, and what serving needs of them."""

    artifact: Artifact
    users: Users
    items: dict[str, list[Any]]

    def rows_of(self, index: int | None, hour: float | None = None) -> dict[str, list[Any]]:
        """Return the raw rows of one user with every item, by brute force."""
        n, users = len(self.items["item_id"]), self.users
        columns: dict[str, list[Any]] = {k: list(v) for k, v in self.items.items()}
        record = {} if index is None else users.record_at(index)
        for name in ("user_id", "age"):
            columns[name] = [record.get(name)] * n
        columns["hour"] = [hour] * n
        for by, table in users.cross.items():
            keys, numbers = ([], {}) if index is None else table.of_user(index)
            for name in table.fields:
                known = {table.values[k]: numbers[name][e] for e, k in enumerate(keys)}
                columns[name] = [
                    known.get(v if v is None else str(v), table.default(name))
                    for v in self.items[by]
                ]
        return columns


def random_shop(
    kind: Kind | Mapping[str, Any], seed: int, n_items: int = 40, n_users: int = 6, **cut: Any
) -> Shop:
    """Return a shop with every kind of field; some items lack a category, some users a history.

    A mapping is a model of :data:`tests.runtime.drafts.MODELS`; with towers, no field is a cross.
    """
    draws = stream(seed, "shop")
    if isinstance(kind, Kind):
        artifact = random_artifact(random_encoder(SHOP, seed, rows=n_items), kind, seed, **cut)
    else:
        plain = tuple(f.name for f in SHOP.fields if f.source != "cross")
        schema = SHOP.only(plain) if "towers" in kind["parts"] else SHOP
        artifact = random_model(random_encoder(schema, seed, rows=n_items), kind, seed, **cut)
    items: dict[str, list[Any]] = {
        "item_id": [str(i) for i in range(n_items)],
        "category": [None if c == 4 else str(c) for c in draws.integers(0, 5, n_items).tolist()],
        "price": draws.normal(0, 2, n_items).tolist(),
    }
    defaults = {"times_category": 0.0, "favourite": 1.0, "times_item": 0.0}
    catalogue = Catalogue.build(artifact.encoder, items, items["item_id"], defaults)
    cross = {
        # The store's values have another order than the catalogue's, one more, and one fewer.
        "category": _table(
            draws, ["9", "3", "1", "0"], ("times_category", "days_category", "favourite"), n_users
        ),
        "item_id": _table(draws, [str(i) for i in range(n_items)], ("times_item",), n_users),
    }
    owner = draws.integers(0, n_users - 1, 3 * n_users)
    stored = [*items["item_id"][::-1], "gone"]
    seen = SeenItems.from_entries(
        owner, draws.integers(0, len(stored), len(owner)), stored, n_users
    )
    ages = draws.normal(0, 2, n_users)
    ages[0] = np.nan
    columns = {"user_id": [str(u) for u in range(n_users)], "age": ages}
    users = Users(tuple(columns["user_id"]), columns, cross, seen)
    tensors = catalogue.tensors()
    whole = Artifact(
        artifact.model, artifact.state, artifact.layout, artifact.plan, artifact.encoder, tensors
    )
    return Shop(whole, users, items)


def _table(draws: Any, values: list[str], fields: tuple[str, ...], n_users: int) -> CrossTable:
    pairs = [(u, k) for u in range(1, n_users) for k in range(len(values)) if draws.random() < 0.5]
    owner, keys = [p[0] for p in pairs], [p[1] for p in pairs]
    numbers = {n: draws.integers(0, 4, len(pairs)).astype(np.float32) for n in fields}
    defaults = {
        n: d
        for n, d in (("times_category", 0.0), ("favourite", 1.0), ("times_item", 0.0))
        if n in fields
    }
    return CrossTable.from_entries(owner, keys, values, numbers, n_users, defaults)
