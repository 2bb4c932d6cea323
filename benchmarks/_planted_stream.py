"""Clicks as they come, from a world whose truth is planted.

Twelve fields that a model reads (of the user, the item, the moment) and three columns that it was
told to drop. Users and items have Zipf's tails (frequency as one over the rank) and newcomers: the
users grow by one every five events, and a new item comes out every hundred, which is shown most at
once and then ever less. The chance of a click is logistic in

    effects of user, item, place and price + ⟨taste of the user, kind of the item⟩
    + pairs (age, category), (gender, category), (device, hour)

so that a first-order model has something to learn and something that it cannot. The dropped columns
are noise; from ``drift_at`` on, one of them carries an effect a value. One world (``WORLD``) for all
seeds: a seed draws who comes and what happens, so that runs differ as days of one shop do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune._support import stream

__all__ = ["DROPPED", "FIELDS", "LABEL", "events"]

#: What a model reads, in order.
FIELDS = (
    *("user_id", "item_id", "age", "gender", "city", "price"),
    *("category", "brand", "device", "hour", "weekday", "position"),
)
#: What it does not: 5, 40 and 1,000 values.
DROPPED = ("channel", "coupon", "store")
LABEL = "clicked"
WORLD = 7
#: Effects are kept for so many ids; ids beyond share them.
EFFECTS = 1 << 16
USERS, ITEMS, RECENT = 50_000, 20_000, 2_000
SIZES = {"age": 7, "gender": 3, "city": 200, "price": 10, "category": 25, "brand": 300}
SIZES |= {"device": 4, "hour": 24, "weekday": 7, "position": 10}
SIZES |= dict(zip(DROPPED, (5, 40, 1_000), strict=True))
#: Of the logit; the share of clicks is then near a fifth.
INTERCEPT = -1.4

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def events(
    n: int,
    seed: int,
    drift_at: int | None = None,
    *,
    drifting: str = "coupon",
    strength: float = 0.5,
    chunk: int = 65_536,
) -> Iterator[pl.DataFrame]:
    """Yield frames of ``event_id``, the fields, the dropped columns (texts all) and the label (int8).

    Args:
        n: events in all.
        seed: of who comes and what happens; the same bytes each time, whatever the chunk.
        drift_at: event from which on ``drifting`` matters; None = it never does.
        drifting: one of the dropped columns.
        strength: standard deviation of its effects, in logits.
        chunk: events a frame, the last may have fewer.

    >>> frame = next(events(100, seed=0))
    >>> frame.shape, frame.columns[:3]
    ((100, 17), ['event_id', 'user_id', 'item_id'])
    """
    world = _world()
    kept: list[pl.DataFrame] = []
    have = 0
    for start in range(0, n, BLOCK):
        kept.append(_block(world, seed, start, drift_at, drifting, strength)[: n - start])
        have += len(kept[-1])
        while have >= chunk or (have and start + BLOCK >= n):
            joined = pl.concat(kept)
            yield joined[:chunk].rechunk()
            kept = [joined[chunk:]]
            have = len(kept[0])


#: Events that are drawn at once.
BLOCK = 65_536


def _world() -> dict[str, NDArray[Any]]:
    def normal(name: str, *shape: int) -> Floats:
        return stream(WORLD, name).normal(0, 1, shape)

    def of_id(field: str) -> Ints:
        """Skewed towards small codes: some cities and brands are large."""
        draws = stream(WORLD, "attribute", field).random(EFFECTS)
        return (SIZES[field] * draws**1.5).astype(np.int64)

    world: dict[str, NDArray[Any]] = {
        field: of_id(field) for field in ("age", "gender", "city", "price", "category", "brand")
    }
    world |= {
        "user effect": 0.7 * normal("user", EFFECTS),
        "item effect": 0.7 * normal("item", EFFECTS),
        "taste": normal("taste", EFFECTS, 2),
        "kind": 0.25 * normal("kind", EFFECTS, 2),
        "city effect": 0.2 * normal("city", SIZES["city"]),
        "brand effect": 0.3 * normal("brand", SIZES["brand"]),
        "age category": 0.3 * normal("age category", SIZES["age"], SIZES["category"]),
        "gender category": 0.3 * normal("gender category", SIZES["gender"], SIZES["category"]),
        "device hour": 0.3 * normal("device hour", SIZES["device"], SIZES["hour"]),
    }
    return world | {field: normal(field, SIZES[field]) for field in DROPPED}


def _block(
    world: dict[str, NDArray[Any]],
    seed: int,
    start: int,
    drift_at: int | None,
    drifting: str,
    strength: float,
) -> pl.DataFrame:
    draws = stream(seed, "planted stream", start)
    at = start + np.arange(BLOCK)
    user = _zipf(draws, USERS + at // 5)
    fresh = draws.random(BLOCK) < 0.3
    recent = ITEMS + at // 100 - _zipf(draws, np.full(BLOCK, RECENT))
    item = np.where(fresh, np.maximum(recent, 0), _zipf(draws, np.full(BLOCK, ITEMS)))
    who, what = _scattered(user), _scattered(item)
    codes = {field: world[field][who] for field in ("age", "gender", "city")}
    codes |= {field: world[field][what] for field in ("price", "category", "brand")}
    # Any hour at any time: a day's and a week's waves would be drifts of their own.
    codes |= {f: draws.integers(0, SIZES[f], BLOCK) for f in ("hour", "weekday", "device")}
    codes["position"] = np.minimum(draws.geometric(0.3, BLOCK) - 1, SIZES["position"] - 1)
    codes |= {field: draws.integers(0, SIZES[field], BLOCK) for field in DROPPED}
    logit = (
        INTERCEPT
        + world["user effect"][who]
        + world["item effect"][what]
        + (world["taste"][who] * world["kind"][what]).sum(axis=1)
        + world["city effect"][codes["city"]]
        + world["brand effect"][codes["brand"]]
        + world["age category"][codes["age"], codes["category"]]
        + world["gender category"][codes["gender"], codes["category"]]
        + world["device hour"][codes["device"], codes["hour"]]
        - 0.1 * codes["position"]
        - 0.05 * codes["price"]
    )
    if drift_at is not None:
        logit += strength * (at >= drift_at) * world[drifting][codes[drifting]]
    clicked = draws.random(BLOCK) < 1 / (1 + np.exp(-logit))
    columns = {"event_id": _texts("e", at + (seed << 40)), "user_id": _texts("u", user)}
    columns |= {"item_id": _texts("i", item)}
    columns |= {f: _names(f, codes[f]) for f in (*FIELDS[2:], *DROPPED)}
    return pl.DataFrame(columns).with_columns(pl.Series(LABEL, clicked.astype(np.int8)))


def _zipf(draws: np.random.Generator, sizes: Ints) -> Ints:
    """Ranks from 0 whose frequency goes as one over the rank: log-uniform."""
    return np.minimum((sizes ** draws.random(len(sizes))).astype(np.int64), sizes) - 1


def _scattered(ids: Ints) -> Ints:
    """Ids in a row get effects that are none."""
    return ids * 40_503 % EFFECTS


def _texts(prefix: str, ids: Ints) -> pl.Series:
    return pl.Series(ids).cast(pl.String).to_frame("x").select(pl.format(prefix + "{}", "x"))["x"]


def _names(field: str, codes: Ints) -> pl.Series:
    names = pl.Series([f"{field[:2]}{code}" for code in range(SIZES[field])])
    return names.gather(codes)
