"""Tables with a known truth, for the tests of training, importance and pruning."""

from __future__ import annotations

import numpy as np
import polars as pl

from recprune.data import Dataset

STRONG = tuple(f"strong{i}" for i in range(4))
WEAK = ("weak0", "weak1")
PAIRS = ("xor0a", "xor0b", "xor1a", "xor1b")
COPIES = ("copy0", "copy1")
CARDINALITIES = (2, 10, 100, 1000, 10_000)


def planted_frame(n: int = 60_000, noise: int = 28, seed: int = 0) -> pl.DataFrame:
    """Four strong additive fields, two weak, two exclusive-or pairs, two copies, and noise."""
    draws = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {}
    logit = np.zeros(n)
    for name in STRONG:
        columns[name] = draws.integers(0, 8, n)
        effect = draws.normal(0, 1, 8)
        logit += 0.8 * ((effect - effect.mean()) / effect.std())[columns[name]]
    for name in WEAK:
        columns[name] = draws.integers(0, 5, n)
        logit += np.linspace(-0.33, 0.33, 5)[columns[name]]
    for a, b in (PAIRS[:2], PAIRS[2:]):
        columns[a], columns[b] = draws.integers(0, 2, n), draws.integers(0, 2, n)
        logit += 1.0 * ((columns[a] ^ columns[b]) * 2 - 1)
    for name in COPIES:
        columns[name] = np.where(draws.random(n) < 0.1, draws.integers(0, 8, n), columns["strong0"])
    for i in range(noise):
        columns[f"noise{i}"] = draws.integers(0, CARDINALITIES[i % 5], n)
    label = draws.random(n) < 1 / (1 + np.exp(-logit))
    # Letters, so that every column is categorical whatever its cardinality.
    frame = {name: [f"v{v}" for v in values.tolist()] for name, values in columns.items()}
    return pl.DataFrame({**frame, "y": label.astype(int)})


def small_data(n: int = 6_000, seed: int = 0, second_label: bool = False) -> Dataset:
    """A small mixed table: two useful categorical fields, one useful numeric, missing values.

    A second label, if wanted, follows the same rule the other way round, and lacks in some rows.
    """
    draws = np.random.default_rng(seed)
    colour = draws.choice(["red", "green", "blue", "grey"], n)
    shape = draws.choice([f"s{i}" for i in range(30)], n)
    size = draws.normal(0, 1, n)
    logit = 1.5 * (colour == "red") - 1.0 * (colour == "blue") + np.sin(2 * size) * 1.5
    label = (draws.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
    shown = np.where(draws.random(n) < 0.05, np.nan, size)
    frame = pl.DataFrame(
        {
            "colour": pl.Series(colour.tolist()).set(pl.Series(draws.random(n) < 0.03), None),
            "shape": shape.tolist(),
            "size": pl.Series(shown).fill_nan(None),
            "noise": draws.normal(0, 1, n),
            "y": label,
        }
    )
    if not second_label:
        return Dataset.from_frame(frame, label="y").split(by="random", seed=seed)
    other = (draws.random(n) < 1 / (1 + np.exp(logit))).astype(float)
    other[draws.random(n) < 0.2] = np.nan
    frame = frame.with_columns(pl.Series("z", other).fill_nan(None))
    data = Dataset.from_frame(frame, label="y", schema={"other_labels": ["z"]})
    return data.split(by="random", seed=seed)
