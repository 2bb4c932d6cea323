"""The pool: who has a row when more values come than fit, and that bytes are bounded."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from recprune.encoding import Encoder
from recprune.errors import ParameterError, RunError
from recprune.lookups import FIRST, UNKNOWN, Vocabulary
from recprune.schema import Field, Schema
from recprune.streaming.rows import Encoded, Pool, row_bytes

ROWS = 3_000


def pool_of(rows: int = ROWS, values: tuple[str | None, ...] = (), **options: int) -> Pool:
    schema = Schema((Field("id", "categorical"), Field("kind", "categorical")), label="y")
    encoder = Encoder(schema, {"id": Vocabulary(values), "kind": Vocabulary(("a", "b"))})
    given = {"half_life": 100_000, "least": 2, "batch": 256, **options}
    return Pool(encoder, rows * row_bytes(1), 1, **given)


def frame_of(ids: np.ndarray, prefix: str = "x") -> pl.DataFrame:
    texts = pl.Series("id", [f"{prefix}{i}" for i in ids.tolist()])
    return pl.DataFrame({"id": texts, "kind": ["ab"[i % 2] for i in range(len(ids))]})


def zipf(n: int, sizes: int, seed: int) -> np.ndarray:
    return (sizes ** np.random.default_rng(seed).random(n)).astype(int)


def held(pool: Pool, texts: list[str]) -> np.ndarray:
    """Return which texts have a row, without counting them."""
    twin = pool_of(pool.capacity, half_life=pool.half_life)
    twin.restore(pool.state())
    rows = twin.encode(pl.DataFrame({"id": texts, "kind": ["a"] * len(texts)})).rows[:, 0]
    return rows != pool.starts[0] + UNKNOWN


def test_a_value_has_its_row_from_the_block_after_its_second_use_on() -> None:
    pool = pool_of(batch=2)
    ids = ["n", "p", "q", "n", "n", "p", "p", None, "", None, "n", "p"]
    found = pool.encode(pl.DataFrame({"id": ids, "kind": ["a"] * len(ids)}))
    unknown = pool.starts[0] + UNKNOWN
    own = dict(zip(texts_of(found), found.renewed.rows, strict=True))
    assert list(own) == ["n", "p", None]
    assert found.renewed.blocks.tolist() == [1, 2, 4]
    expected = [*[unknown] * 4, own["n"], unknown, own["p"], *[unknown] * 3, own["n"], own["p"]]
    assert found.rows[:, 0].tolist() == expected
    # What is empty is missing, and two fields' values are not confused.
    again = pool.encode(pl.DataFrame({"id": ["", "a"], "kind": ["n", "b"]}))
    assert again.rows[0].tolist() == [own[None], pool.starts[1] + UNKNOWN]


def test_frequent_values_are_kept_while_ten_times_more_flow() -> None:
    pool = pool_of()
    draws = np.random.default_rng(0)
    for chunk in range(30):
        ids = zipf(10_000, 30_000, chunk)
        pool.encode(frame_of(ids[draws.permutation(len(ids))]))
    assert pool.used == pool.capacity == ROWS
    # Of the ids by frequency, the first third of what fits has rows almost without exception, and
    # of the last third of all, few do.
    assert held(pool, [f"x{i}" for i in range(1, ROWS // 3)]).mean() > 0.99
    assert held(pool, [f"x{i}" for i in range(20_000, 30_000)]).mean() < 0.06


def test_after_a_drift_the_new_ones_have_the_rows() -> None:
    pool = pool_of(half_life=20_000)
    for chunk in range(10):
        pool.encode(frame_of(zipf(10_000, 30_000, chunk)))
    for chunk in range(10):
        pool.encode(frame_of(zipf(10_000, 30_000, 100 + chunk), "z"))
    assert held(pool, [f"z{i}" for i in range(1, ROWS // 3)]).mean() > 0.97
    assert held(pool, [f"x{i}" for i in range(ROWS // 3, ROWS)]).mean() < 0.06


def test_no_row_is_held_twice_and_none_of_those_that_stay_is_given_away() -> None:
    pool, owner = pool_of(), {}
    for chunk in range(20):
        found = pool.encode(frame_of(zipf(5_000, 30_000, chunk)))
        assert found.renewed.rows.min(initial=pool.fixed) >= pool.fixed
        owner |= dict(zip(found.renewed.rows.tolist(), texts_of(found), strict=True))
    assert len(set(owner.values())) == len(owner)
    rows, sizes = list(owner), [len(text) for text in owner.values()]
    assert pool.sizes[rows].tolist() == sizes


def test_long_texts_wait_until_there_is_room_for_them() -> None:
    pool = pool_of(64)
    long = [f"{'l' * 300}{i}" for i in range(40)]
    for _ in range(4):
        pool.encode(pl.DataFrame({"id": long, "kind": ["a"] * 40}))
    assert 0 < held_bytes(pool) <= pool.room < 40 * 300
    assert pool.used < pool.capacity


def texts_of(found: Encoded) -> list[str | None]:
    """Return the texts of the renewed rows."""
    starts, sizes, data = found.renewed.texts
    spans = zip(starts.tolist(), sizes.tolist(), strict=True)
    return [bytes(data[at : at + n]).decode() if n else None for at, n in spans]


def held_bytes(pool: Pool) -> int:
    return int(pool.sizes[: pool.used].sum())


def test_it_goes_on_from_a_state_as_if_never_stopped() -> None:
    def run(stops: bool) -> tuple[list[Encoded], Pool]:
        pool, out = pool_of(half_life=500, batch=100), []
        for chunk in range(60):  # uses are scaled down on the way
            if stops and chunk % 7 == 3:
                state, pool = pool.state(), pool_of(half_life=500, batch=100)
                pool.restore(state)
            out.append(pool.encode(frame_of(zipf(1_001 + chunk, 9_000, chunk)[: 1_000 + chunk])))
        return out, pool

    (through, pool), (resumed, other) = run(False), run(True)
    for a, b in zip(through, resumed, strict=True):
        assert a.rows.tobytes() == b.rows.tobytes()
        assert a.renewed.rows.tobytes() == b.renewed.rows.tobytes()
        assert texts_of(a) == texts_of(b)
    mine, theirs = pool.state(), other.state()
    assert {n: a.tobytes() for n, a in mine.items()} == {n: a.tobytes() for n, a in theirs.items()}


def test_a_state_of_other_arguments_is_refused() -> None:
    with pytest.raises(RunError, match="another budget"):
        pool_of(least=3).restore(pool_of().state())


def test_a_chunk_of_many_half_lives_is_counted_or_refused() -> None:
    pool = pool_of(half_life=1_000)
    for _ in range(2):
        pool.encode(frame_of(np.arange(64_000) % 50))
    uses = pool.uses[pool.fixed : pool.used]
    assert np.isfinite(uses).all()
    assert uses.max() > 0
    with pytest.raises(ParameterError, match="at least 1001 for 64,001 events"):
        pool.encode(frame_of(np.arange(64_001)))


def test_too_few_bytes_are_refused_with_the_least_that_do() -> None:
    values = tuple(f"v{i}" for i in range(100))
    need = FIRST + 2 * FIRST + 102 + 1
    with pytest.raises(ParameterError, match=f"at least {need * row_bytes(1):,}"):
        pool_of(need - 1, values)
    assert pool_of(need, values).used == need - 1
