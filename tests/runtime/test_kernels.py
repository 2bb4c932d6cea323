"""The compiled forward pass against NumPy's, on every kind of model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recprune._support import kernel_cache
from recprune.encoding import Rows
from recprune.errors import DataError
from recprune.runtime import Scorer, demand, fused

from .drafts import MODELS, random_model
from .factory import KINDS, MIXED, Kind, plain_schema, random_artifact, random_encoder, random_rows
from .oracle import Oracle
from .test_parts import CUTS

#: Bytes of folded rows: all tables, some of them, none.
FOLDS = (fused.FOLDED_BYTES, 1500, 0)


def _both(artifact: Any) -> tuple[Scorer, Scorer]:
    """Return a scorer that NumPy answers for, and one of the kernels."""
    plain, warm = Scorer(artifact), Scorer(artifact)
    assert warm.warm_up()
    return plain, warm


def _same(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("folds", FOLDS)
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("cut", CUTS, ids="-".join)
def test_every_part_and_cut(
    model: Mapping[str, Any], cut: tuple[str, ...], folds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "FOLDED_BYTES", folds)
    for seed in range(2):
        artifact = random_model(random_encoder(MIXED, seed), model, seed, cut=cut)
        plain, warm = _both(artifact)
        rows, oracle = random_rows(artifact.encoder, 40, seed), Oracle(artifact)
        for number, label in enumerate(warm.labels):
            _same(warm.logits(rows, label=label), plain.logits(rows, label=label))
            _same(warm.logits(rows, label=label), oracle.logits(rows, number))
            _same(warm.logits(rows[3:4], label=label), plain.logits(rows[3:4], label=label))


@pytest.mark.parametrize("folds", FOLDS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("ragged", [False, True], ids=["even", "ragged"])
def test_every_number_of_fields(
    kind: Kind, ragged: bool, folds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "FOLDED_BYTES", folds)
    for fields, numeric in ((1, 0), (3, 1), (4, 0), (5, 5), (13, 2), (32, 0)):
        encoder = random_encoder(plain_schema(fields, numeric), fields)
        artifact = random_artifact(encoder, kind, fields, cut=True, ragged=ragged)
        plain, warm = _both(artifact)
        rows = random_rows(artifact.encoder, 1300, fields)
        _same(warm.logits(rows), plain.logits(rows))
        assert warm.logits(rows[:0]).shape == (0,)
        for n in (1, 2, 7, 8, 9):
            _same(warm.logits(rows[:n]), plain.logits(rows[:n]))


def test_wide_layers() -> None:
    encoder = random_encoder(plain_schema(9, 2), 0)
    plain, warm = _both(random_artifact(encoder, Kind("DeepFM", 8, (400, 300), True), 0))
    rows = random_rows(encoder, 600, 0)
    expected = plain.logits(rows)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(warm.logits(rows), expected, atol=1e-6 * scale)
    np.testing.assert_allclose(warm.logits(rows[:1]), expected[:1], atol=1e-6 * scale)


def test_many_threads_at_once() -> None:
    encoder = random_encoder(plain_schema(12, 3), 1)
    _, warm = _both(random_artifact(encoder, KINDS[3], 1))
    cold = Scorer(random_artifact(encoder, KINDS[3], 1))
    batches = [random_rows(encoder, 1 + 97 * i, i) for i in range(12)] * 4
    expected = [warm.logits(rows) for rows in batches]
    with ThreadPoolExecutor(8) as pool:
        for got, wanted in zip(pool.map(warm.logits, batches), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
        # Some ask for the kernels while others are answered.
        asked = [pool.submit(cold.warm_up) for _ in range(8)]
        for got, wanted in zip(pool.map(cold.logits, batches), expected, strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-5, rtol=1e-5)
        assert all(a.result() for a in asked)


def test_refuses_what_numpy_refuses() -> None:
    encoder = random_encoder(plain_schema(6, 2), 1)
    _, warm = _both(random_artifact(encoder, KINDS[1], 1))
    _, deep = _both(random_artifact(encoder, KINDS[3], 1))
    for scorer in (warm, deep):
        for n in (1, 40):
            rows = random_rows(encoder, n, 1)
            with pytest.raises(DataError, match="6 codes and 2 shares"):
                scorer.logits(Rows(rows.codes[:, :5], rows.shares))
            for column in range(6):
                for wrong in (-1, 10**6):
                    codes = rows.codes.copy()
                    codes[n // 2, column] = wrong
                    with pytest.raises(DataError, match=f"'f{column}' has a code beyond its table"):
                        scorer.logits(Rows(codes, rows.shares))


def test_rows_lie_anyhow(tmp_path: Path) -> None:
    encoder = random_encoder(plain_schema(6, 3), 2)
    _, warm = _both(random_artifact(encoder, KINDS[2], 2))
    rows = random_rows(encoder, 50, 2)
    codes, shares = rows.codes.copy(), rows.shares.copy()
    expected = warm.logits(rows)
    np.testing.assert_array_equal(rows.codes, codes)
    np.testing.assert_array_equal(rows.shares, shares)
    on_disk = np.memmap(tmp_path / "codes", np.int32, "w+", shape=codes.shape)
    on_disk[:] = codes
    frozen = codes.copy()
    frozen.flags.writeable = False
    wide = np.zeros((50, 12), np.int32)
    wide[:, ::2] = codes
    for same in (on_disk, frozen, wide[:, ::2], codes.astype(np.int64), np.asfortranarray(codes)):
        np.testing.assert_array_equal(warm.logits(Rows(same, np.asfortranarray(shares))), expected)


def test_numbers_at_the_last_knot_have_no_step_up() -> None:
    encoder = random_encoder(plain_schema(3, 3), 4)
    plain, warm = _both(random_artifact(encoder, KINDS[2], 4))
    last = np.array([[size - 1 for size in encoder.sizes]] * 20, np.int32)
    rows = Rows(last, np.full((20, 3), 0.5, np.float32))
    _same(warm.logits(rows), plain.logits(rows))


def test_numba_comes_when_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = random_encoder(plain_schema(6, 2), 5)
    artifact, rows = random_artifact(encoder, KINDS[2], 5), random_rows(encoder, 30, 5)
    monkeypatch.setattr(demand, "ENOUGH", 3 * (demand.CALL + 30))
    scorer = Scorer(artifact)
    before = scorer.bytes_in_memory
    first, second = scorer.logits(rows), scorer.logits(rows)
    np.testing.assert_array_equal(first, second)
    assert scorer.bytes_in_memory == before
    _same(scorer.logits(rows), first)
    assert scorer.bytes_in_memory > before


def test_without_numba_numpy_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = random_encoder(plain_schema(6, 2), 6)
    artifact, rows = random_artifact(encoder, KINDS[2], 6), random_rows(encoder, 30, 6)
    scorer = Scorer(artifact)
    expected = scorer.logits(rows)
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr(demand, "ENOUGH", 1)
    monkeypatch.setattr(fused, "kernel_of", lambda function: kernel_cache())
    np.testing.assert_array_equal(scorer.logits(rows), expected)
    assert not scorer.warm_up()
    np.testing.assert_array_equal(scorer.logits(rows), expected)
