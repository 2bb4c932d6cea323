"""The screened mode: the kept sets of permutation for less, and what decides is sound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune._support import stream
from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.importance import Scores, importance, rank_fields, screened
from recprune.importance.linearised import linearised_drops
from recprune.importance.permutation import HeldOut
from recprune.models import FM, DeepFM, Ranker, Training
from tests.planted import planted_frame, small_data


@pytest.fixture(scope="module")
def data() -> Dataset:
    frame = planted_frame(20_000, noise=12)
    return Dataset.from_frame(frame, label="y").split(by="random", valid=0.02, test=0.5, seed=0)


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ranker:
    return DeepFM(8, (16, 8), training=Training(epochs=3)).fit(data.train)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screened, "ROWS", 39)
    monkeypatch.setattr(screened, "RARE", 5)


def kept(scores: Scores, ratio: float) -> set[int]:
    order = np.argsort(-scores.score, kind="stable")
    return set(order[: round(ratio * len(order))].tolist())


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("seed", range(3))
def test_keeps_what_permutation_keeps(model: Ranker, data: Dataset, seed: int) -> None:
    exact = importance(model, data.test, "fields", "permutation", seed)
    scores = importance(model, data.test, "fields", "screened", seed)
    for ratio in screened.RATIOS:
        assert kept(scores, ratio) == kept(exact, ratio)
    # Fields that every shuffle was spent on have permutation's own score; others had less work.
    whole = np.array([by == "permutation, 10,000 rows × 5" for by in scores.by])
    assert 0 < whole.sum() < len(whole)
    own = np.isin(scores.score[whole].round(6), exact.score[whole].round(6))
    assert own.mean() > 0.7  # but where an estimate changed places with it
    assert np.all(scores.std > 0)


@pytest.mark.usefixtures("few")
def test_one_cut_is_cheaper_than_three(model: Ranker, data: Dataset) -> None:
    def shuffles(ratios: tuple[float, ...]) -> int:
        by = importance(model, data.test, "fields", "screened", keep_ratios=ratios).by
        return sum(int(text[-1]) if "×" in text else 0 for text in by)

    assert shuffles((0.25,)) < shuffles(screened.RATIOS)


@pytest.mark.usefixtures("few")
def test_a_cut_between_signal_and_noise_needs_few_rows(model: Ranker, data: Dataset) -> None:
    """The four strong fields are far above all others: some rows tell, or a single shuffle."""
    scores = importance(model, data.test, "fields", "screened", keep_ratios=(4 / 24,))
    names = np.array(model.encoder.schema.names)
    assert len(names) == 24
    top = set(names[np.argsort(-scores.score)[:4]].tolist())
    exact = importance(model, data.test, "fields", "permutation")
    assert top == set(names[np.argsort(-exact.score)[:4]].tolist())
    assert any(text.startswith("surrogate") for text in scores.by)


def test_few_rows_are_all_read() -> None:
    data = small_data(3000)
    model = DeepFM(4, (8,), training=Training(epochs=2)).fit(data.train)
    exact = rank_fields(model, data.tune)
    ranking = rank_fields(model, data.tune, "screened")
    assert ranking.fields == exact.fields
    np.testing.assert_allclose(ranking.scores, exact.scores, atol=1e-6)
    np.testing.assert_allclose(ranking.std, exact.std, atol=1e-6)
    assert set(ranking.by) == {f"permutation, {len(data.tune):,} rows × 5"}
    assert ranking.to_frame()["by"].to_list() == list(ranking.by)


def test_where_all_are_kept_there_are_scores_all_the_same() -> None:
    data = small_data(3000)
    model = DeepFM(4, (8,), training=Training(epochs=1)).fit(data.train)
    exact = importance(model, data.tune, "fields", "permutation").score
    scores = importance(model, data.tune, "fields", "screened", keep_ratios=(1.0,)).score
    np.testing.assert_allclose(scores, exact, atol=1e-6)


def test_the_surrogate_is_exact_where_a_field_acts_linearly() -> None:
    """First order and FM are linear in one field's embedding, numbers between knots included."""
    data = small_data(3000)
    model = FM(4, training=Training(epochs=2)).fit(data.train)
    held = HeldOut(model, data.tune, 7, 1, 1000)
    chunk = np.arange(len(held))
    drops = linearised_drops(model.net, held, [chunk])
    order = stream(7, "linearised").permutation(len(chunk))
    base = held.auc(held.renewal.logits)
    fields = range(len(model.encoder.sizes))
    for field, scores in held.renewal.shuffled(fields, chunk, lambda _: order[None]):
        assert drops[field, 0] == pytest.approx(base - held.auc(scores[0]), abs=1e-5)


@given(
    st.lists(st.integers(-20, 20), min_size=2, max_size=12, unique=True),
    st.integers(1, 11),
    st.integers(0, 99),
)
def test_what_is_decided_is_right(truth: list[int], count: int, seed: int) -> None:
    """Fields that noise cannot exchange are decided; none is ever on the wrong side."""
    n, draws = len(truth), np.random.default_rng(seed)
    count = min(count, n - 1)
    value = np.array(truth, float)
    right = np.where(value > np.sort(value)[::-1][count], 1, -1)
    screen = screened.Screen([count], n)
    drops = value[:, None] + draws.normal(0, 0.5, (n, 32))
    screen.by_chunks("some", np.arange(n), drops, doubt=0.02)
    assert not np.any(screen.side[0] * right < 0)
    left = screen.open()
    screen.by_shuffles("one", left, value[left, None], np.full(len(left), np.inf), 2)
    assert screen.open().tolist() == left.tolist()  # of unknown noise nothing is decided
    twice = np.stack([value[left]] * 2, axis=1)
    screen.by_shuffles("all", left, twice, np.zeros(len(left)), 2)
    np.testing.assert_array_equal(screen.side[0], right)
    best = np.argsort(-screen.scores().score, kind="stable")[:count]
    assert set(best.tolist()) == set(np.flatnonzero(right > 0).tolist())


def test_a_decision_stands_against_a_later_estimate() -> None:
    """A field that was put below the cut stays there, though its estimate was the larger one."""
    screen = screened.Screen([1], 2)
    screen.score[:] = 0.2, 0.3
    screen.side[0] = 1, -1
    np.testing.assert_array_equal(screen.scores().score, [0.3, 0.2])


@pytest.mark.parametrize("wrong", [(), (0.0,), (0.5, 1.2), ("half",)])
def test_odd_ratios_are_refused(model: Ranker, data: Dataset, wrong: tuple[object, ...]) -> None:
    with pytest.raises(ParameterError, match="'keep_ratios' parameter of screened"):
        importance(model, data.test, "fields", "screened", keep_ratios=wrong)
