"""The scorer against the formulae, row by row in float64."""

from __future__ import annotations

import numpy as np
import pytest

from recprune.encoding import Rows
from recprune.errors import DataError
from recprune.runtime import Scorer

from .factory import (
    KINDS,
    Kind,
    plain_schema,
    random_artifact,
    random_encoder,
    random_rows,
    slow_logits,
)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
@pytest.mark.parametrize("ragged", [False, True], ids=["even", "ragged"])
@pytest.mark.parametrize("numeric", [0, 3, 8])
def test_agrees_with_the_formulae(kind: Kind, cut: bool, ragged: bool, numeric: int) -> None:
    for seed in range(4):
        encoder = random_encoder(plain_schema(8, numeric), seed)
        artifact = random_artifact(encoder, kind, seed, cut=cut, ragged=ragged)
        rows = random_rows(artifact.encoder, 30, seed)
        expected = slow_logits(artifact, rows)
        got = Scorer(artifact).logits(rows)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=1e-5, rtol=1e-5)


def test_one_row_blocks_and_batches_agree() -> None:
    encoder = random_encoder(plain_schema(12, 5), 3)
    scorer = Scorer(random_artifact(encoder, KINDS[3], 3))
    rows = random_rows(encoder, 3001, 3)
    together = scorer.logits(rows)
    assert together.shape == (3001,)
    for i in (0, 1, 1023, 1024, 3000):
        np.testing.assert_allclose(scorer.logits(rows[i : i + 1]), together[i], atol=1e-5)
    assert scorer.logits(rows[:0]).shape == (0,)


def test_rows_are_left_as_they_were() -> None:
    encoder = random_encoder(plain_schema(6, 3), 0)
    rows = random_rows(encoder, 10, 0)
    codes, shares = rows.codes.copy(), rows.shares.copy()
    scorer = Scorer(random_artifact(encoder, KINDS[2], 0))
    first, second = scorer.logits(rows), scorer.logits(rows)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(rows.codes, codes)
    np.testing.assert_array_equal(rows.shares, shares)


def test_refuses_another_encoders_rows() -> None:
    encoder = random_encoder(plain_schema(6, 2), 1)
    scorer = Scorer(random_artifact(encoder, KINDS[1], 1))
    rows = random_rows(encoder, 4, 1)
    with pytest.raises(DataError, match="6 codes and 2 shares"):
        scorer.logits(Rows(rows.codes[:, :5], rows.shares))
    for wrong in (-1, 10**6):
        codes = rows.codes.copy()
        codes[2, 4] = wrong
        with pytest.raises(DataError, match="'f4' has a code beyond its table"):
            scorer.logits(Rows(codes, rows.shares))
