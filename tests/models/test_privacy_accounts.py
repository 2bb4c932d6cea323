"""ε against other ways to it."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from recprune.models.privacy import PrivacySpent, epsilon_of, noise_for

DELTA = 1e-5


def exact_epsilon(noise: float, delta: float) -> float:
    """Return ε of one Gaussian release (Balle & Wang 2018, theorem 8), by bisection."""
    phi = NormalDist().cdf

    def delta_at(epsilon: float) -> float:
        a, b = 1 / (2 * noise), epsilon * noise
        return phi(a - b) - math.exp(epsilon) * phi(-a - b)

    low, high = 0.0, 60.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if delta_at(middle) > delta else (low, middle)
    return high


@pytest.mark.parametrize(("noise", "steps"), [(2.0, 1), (5.0, 20), (10.0, 10), (40.0, 100)])
def test_without_sampling_it_bounds_the_exact_epsilon_closely(noise: float, steps: int) -> None:
    # Steps of everyone, one after the other, tell as much as one of noise / √steps.
    exact = exact_epsilon(noise / math.sqrt(steps), DELTA)
    ours = epsilon_of([(noise, 1.0, steps)], DELTA)
    assert exact <= ours < 1.15 * exact + 0.05


@pytest.mark.parametrize(("noise", "rate", "steps"), [(1.4, 0.2, 150), (1.0, 0.01, 1000)])
def test_it_bounds_another_accountant(noise: float, rate: float, steps: int) -> None:
    from opacus.accountants import PRVAccountant, RDPAccountant

    prv, rdp = PRVAccountant(), RDPAccountant()
    prv.history = rdp.history = [(noise, rate, steps)]
    ours = epsilon_of([(noise, rate, steps)], DELTA)
    assert prv.get_epsilon(DELTA) <= ours < 1.25 * prv.get_epsilon(DELTA)
    assert ours == pytest.approx(rdp.get_epsilon(DELTA), rel=1e-3)


def test_sampling_and_noise_lower_epsilon_and_steps_raise_it() -> None:
    base = epsilon_of([(1.0, 0.1, 100)], DELTA)
    assert epsilon_of([(1.0, 0.05, 100)], DELTA) < base
    assert epsilon_of([(1.5, 0.1, 100)], DELTA) < base
    assert epsilon_of([(1.0, 0.1, 200)], DELTA) > base
    assert epsilon_of([(1.0, 0.1, 50)] * 2, DELTA) == pytest.approx(base)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0, 50.0])
def test_the_noise_spends_what_was_asked_for_and_hardly_less(epsilon: float) -> None:
    noise = noise_for(epsilon, DELTA, 0.1, 60)
    assert 0.98 * epsilon < epsilon_of([(noise, 0.1, 60)], DELTA) <= epsilon


def test_statements_add_up_and_come_back_from_json() -> None:
    spell = (1.0, 0.1, 100)
    one = PrivacySpent("user", epsilon_of([spell], DELTA), DELTA, (spell,), 1.0, 20)
    row = PrivacySpent("row", 1.0, 1e-6, (spell,), 1.0, 1, seeded=True, not_covered=("x",))
    both = one.after(row)
    assert both.unit == "row"
    assert both.epsilon == pytest.approx(epsilon_of([spell, spell], DELTA))
    assert both.seeded
    assert both.not_covered == ("x", *one.not_covered)
    assert PrivacySpent.from_json(both.to_json()) == both
    assert PrivacySpent.from_json(None) is None
