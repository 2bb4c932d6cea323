"""Where a verdict and an alarm begin and end: the edges, by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from recprune.errors import ParameterError
from recprune.evaluation import (
    Verdict,
    clustered_delong,
    fixed_sequence,
    judge_slices,
    reference_reasons,
    verdict,
    weak_reference,
)
from recprune.evaluation.intervals import Interval, effective_freedom, t_tail
from recprune.evaluation.judging import judge_rows
from recprune.evaluation.noninferiority import outcome_of, too_few
from recprune.evaluation.paired import Rows
from recprune.evaluation.slices import SliceResult, _holm
from recprune.executor import Executor
from recprune.metrics import auc


def test_the_tolerance_itself_is_neither_pass_nor_fail() -> None:
    assert outcome_of((-0.002, 0.001), 0.002) == "INCONCLUSIVE"
    assert outcome_of((-0.00199, 0.001), 0.002) == "PASS"
    assert outcome_of((-0.01, -0.002), 0.002) == "INCONCLUSIVE"
    assert outcome_of((-0.01, -0.00201), 0.002) == "FAIL"
    assert outcome_of((-0.01, 0.01), 0.002) == "INCONCLUSIVE"


def test_thirty_rows_of_a_class_and_ten_users_are_enough() -> None:
    assert too_few(30, 10) == ((), 1.0)
    assert too_few(300, 100) == ((), 1.0)
    reasons, times = too_few(20, 10)
    assert (reasons, times) == (("too few rows: 20 of the rarer class, 30 are needed",), 1.5)
    reasons, times = too_few(30, 4)
    assert (reasons, times) == (("too few users: 4, 10 are needed",), 2.5)
    reasons, times = too_few(29, 9)
    assert (len(reasons), times) == (2, pytest.approx(10 / 9))


def test_a_reference_is_held_to_five_tolerances_and_to_linear_models() -> None:
    told = reference_reasons(0.7099, 0.7, 0.7, 0.002)
    assert len(told) == 1
    assert "AUC 0.7099 does not beat popularity's 0.7000 by 5 × 0.002" in told[0]
    assert reference_reasons(0.7501, 0.7, 0.752, 0.002) == ()
    told = reference_reasons(0.7499, 0.7, 0.752, 0.002)
    assert len(told) == 1
    assert "AUC 0.7499 trails logistic regression's 0.7520" in told[0]
    assert reference_reasons(0.5 + 5 * 0.25, 0.5, 1.0, 0.25) == ()  # at the edge: beaten
    assert reference_reasons(1.5, 0.0, 1.75, 0.25) == ()  # at the edge: not trailing


DECISION = Verdict(
    "PASS", "auc", 0.002, 0.0012, (-0.0005, 0.0029), "user bootstrap", 12345, 99, {"x": 1}
)


def test_a_verdict_is_printed_and_written() -> None:
    assert str(DECISION) == (
        "PASS: auc +0.0012 (90 % interval -0.0005 to +0.0029), tolerance 0.002, "
        "user bootstrap, 12,345 rows"
    )
    procedure = replace(DECISION, estimand="procedure", n_seeds=5)
    assert str(procedure).endswith("12,345 rows, the procedure by 5 seeds")
    part = SliceResult("age=18", "sensitive", 100, 20, -0.1, (-0.2, 0.0), "alarm")
    told = replace(DECISION, slices=(part,), reasons=("why",)).to_json()
    assert told["ci"] == [-0.0005, 0.0029]
    assert told["slices"] == [part.to_json()]
    assert told["slices"][0]["ci"] == [-0.2, 0.0]
    assert (told["reasons"], told["test_uses"], told["rows_needed"]) == (("why",), 1, 99)
    assert (told["estimand"], told["n_seeds"], told["crosscheck"]) == ("artefacts", 1, {"x": 1})


def test_weak_reasons_come_after_those_there_are() -> None:
    weak = weak_reference(replace(DECISION, reasons=("first",)), ("second",))
    assert weak.reasons == ("first", "second")
    assert (weak.outcome, weak.rows_needed, weak.difference) == ("INCONCLUSIVE", None, 0.0012)
    assert fixed_sequence([DECISION, weak, DECISION]) == 0
    assert fixed_sequence([weak, DECISION]) is None
    assert fixed_sequence([DECISION, DECISION]) == 1


def verdict_of(n: int = 400, **options: Any) -> Verdict:
    label = np.tile([0.0, 1.0], n // 2)
    score, noise = label + np.linspace(0, 2, n), np.sin(np.arange(n) ** 2)
    return verdict(label, score, score + 0.1 * noise, **options)


@pytest.mark.parametrize(
    "options",
    [{"tolerance": 1.0}, {"tolerance": -0.1}, {"draws": 99}, {"draws": True}, {"draws": 100.0}],
)
def test_options_out_of_range_are_named(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ParameterError, match=f"'{name}' parameter of verdict must be"):
        verdict_of(**options)


def test_the_defaults_are_four_hundred_draws_and_two_thousandths() -> None:
    default = verdict_of()
    assert default == verdict_of(draws=400, seed=0, tolerance=0.002, metric="auc")
    assert default.ci != verdict_of(draws=100).ci
    assert verdict_of(draws=np.int64(100)) == verdict_of(draws=100)
    assert default.tolerance == 0.002
    assert (default.n_rows, default.test_uses, default.slices) == (400, 1, ())
    assert default.outcome == "INCONCLUSIVE"
    assert default.rows_needed is not None
    assert default.rows_needed > 400
    assert verdict_of(tolerance=0.2).rows_needed is None  # a PASS needs no more rows


def test_the_rows_asked_for_are_enough_for_both_counts() -> None:
    label = np.tile([0.0, 1.0], 60)
    score = label + np.linspace(0, 1, 120)
    few = verdict(label, score, score, users=np.arange(120) % 4)
    assert (few.outcome, few.rows_needed) == ("INCONCLUSIVE", 300)  # ten users of thirty rows
    assert few.reasons == ("too few users: 4, 10 are needed",)


def test_resamples_run_where_they_are_asked_to() -> None:
    asked: list[tuple[list[range], str]] = []

    class Spy(Executor):
        def map(self, work: Any, parts: Any, **options: Any) -> list[Any]:
            asked.append((list(parts), options["text"]))
            return super().map(work, parts, **options)

    assert verdict_of(executor=Spy(), draws=120) == verdict_of(draws=120)
    blocks = [range(start, min(start + 16, 120)) for start in range(0, 120, 16)]
    assert asked == [(blocks, "resamples")]


def test_labels_and_scores_must_be_of_one_shape() -> None:
    label, score = np.tile([0, 1], 50), np.arange(100.0)
    for change in (
        {"label": label[:, None]},
        {"label": np.tile([0.0, 0.5], 50)},
        {"full": score[:, None]},
        {"full": score[None]},
        {"pruned": np.stack([score, score])[:, :99]},
        {"full": np.stack([score] * 2), "pruned": np.stack([score] * 3)},
        {"items": np.arange(99)},
        {"users": np.zeros((100, 1))},
    ):
        given: dict[str, Any] = {"label": label, "full": score, "pruned": score, **change}
        with pytest.raises(ParameterError, match=r"parameter of verdict must be"):
            verdict(**given)
    two = verdict(label, np.stack([score] * 2), np.stack([score] * 2), tolerance=0.1)
    assert (two.n_seeds, two.n_rows, two.estimand) == (2, 100, "procedure")
    yes = verdict(label.astype(bool), score, score, tolerance=0.1)
    assert (yes.outcome, yes.n_seeds, yes.estimand) == ("PASS", 1, "artefacts")


# ---- slices


def test_alarms_are_stepped_down() -> None:
    def each(difference: float, error: float = 0.01, freedom: float = np.inf) -> Interval:
        return Interval(difference, error**2, 0.0, freedom)

    def needed(p: float) -> float:  # the difference whose p-value against −0.005 is p
        return -0.005 - 0.01 * float(stats.norm.isf(p))

    sure, never = each(-0.2), each(0.0)
    # Three are tested: 5 % ÷ 3 for the least, then ÷ 2, then all of it.
    for p, alarms in ((0.024, [True, True, False]), (0.026, [True, False, False])):
        assert _holm([sure, each(needed(p)), never], 0.005) == alarms
    assert _holm([each(needed(0.016)), never, never], 0.005) == [True, False, False]
    assert _holm([each(needed(0.018)), never, never], 0.005) == [False, False, False]
    assert _holm([each(needed(0.049))], 0.005) == [True]
    assert _holm([each(needed(0.051))], 0.005) == [False]
    # What is too small is not tested, and dilutes nothing; one that does not pass stops the rest.
    assert _holm([None, each(needed(0.049)), None], 0.005) == [False, True, False]
    assert _holm([each(needed(0.03)), each(needed(0.04))], 0.005) == [False, False]
    # Without any error the difference decides alone.
    assert _holm([each(-0.006, 0.0), each(-0.004, 0.0)], 0.005) == [True, False]
    # Few users' tails are Student's.
    p = t_tail(2.0, 5.0)
    assert 0.05 < p < 0.06
    assert _holm([each(-0.025, 0.01, 5.0)], 0.005) == [False]
    assert _holm([each(-0.025, 0.01, 50.0)], 0.005) == [True]


def test_a_slice_needs_thirty_rows_of_a_class_and_twenty_users() -> None:
    draws = np.random.default_rng(0)

    def judged(ones: int, zeros: int, users: int) -> SliceResult:
        label = np.repeat([1, 0], [ones, zeros])
        score, n = draws.normal(size=ones + zeros), ones + zeros
        groups = {("g", "kind"): np.full(n, "all", object)}
        (found,) = judge_slices(label, score, score + 0.1, groups, np.arange(n) % users)
        return found

    for ones, zeros, users in ((30, 40, 20), (40, 30, 20)):
        found = judged(ones, zeros, users)
        assert (found.difference, found.rows, found.users) == (0, 70, 20)
        assert found.outcome == "ok"
    for ones, zeros, users in ((29, 41, 30), (41, 29, 30), (40, 40, 19)):
        assert judged(ones, zeros, users).difference is None
    # One class in the hands of a single user says nothing of how users differ.
    label = np.repeat([1, 0], [40, 60])
    owner = np.concatenate([np.zeros(40, int), np.arange(60)])
    groups = {("g", "kind"): np.full(100, "all", object)}
    score = draws.normal(size=100)
    (found,) = judge_slices(label, score, -score, groups, owner)
    assert (found.difference, found.ci, found.outcome) == (None, None, "undecided")


def test_the_interval_of_a_slice_has_the_freedom_of_its_users() -> None:
    draws = np.random.default_rng(2)
    label, score = np.tile([0, 1], 150), draws.normal(size=300)
    pruned = score + draws.normal(size=300)
    users = np.minimum(draws.geometric(0.05, 300), 60)  # a few have most of the rows
    groups = {("g", "kind"): np.full(300, "all", object)}
    (found,) = judge_slices(label, score, pruned, groups, users)
    rows = Rows.checked(label, score, pruned, users)
    freedom = effective_freedom(rows.pair.influence[0], rows.by_user.code, rows.by_user.size)
    difference, error = clustered_delong(label, score, pruned, users)
    expected = Interval(difference, error**2, 0.0, freedom)
    assert freedom < rows.by_user.size - 1
    assert (found.difference, found.ci) == (difference, pytest.approx(expected.bounds))


def test_a_wide_interval_is_undecided_and_rows_stand_alone_without_users() -> None:
    draws = np.random.default_rng(1)
    label = np.tile([0, 1], 40)
    score = label + draws.normal(size=80)
    pruned = score + 0.5 * draws.normal(size=80)
    groups = {("g", "kind"): np.full(80, "all", object)}
    (found,) = judge_slices(label, score, pruned, groups)
    assert found.users is None
    assert found.outcome == "undecided"
    assert found.ci is not None
    assert found.ci[0] < -0.005 < found.ci[1]
    (wide,) = judge_slices(label, score, pruned, groups, slice_tolerance=0.5)
    assert wide.outcome == "ok"
    assert found.difference == pytest.approx(auc(label, pruned) - auc(label, score))
    (kept,) = judge_slices(label, score, score, groups, slice_tolerance=0.005)
    assert (kept.outcome, kept.ci) == ("ok", (0, 0))


def test_an_alarm_fails_what_would_pass() -> None:
    draws = np.random.default_rng(0)
    n = 4000
    label = np.tile([0.0, 1.0], n // 2)
    full = label + draws.normal(size=n)
    few = np.arange(n) < 200
    pruned = np.where(few, draws.normal(size=n), full)
    groups = {("g", "kind"): np.where(few, "few", "many").astype(object)}
    rows: Any = SimpleNamespace(label=label, users=np.arange(n), items=None)
    found = judge_rows(rows, full, pruned, groups, tolerance=0.1)  # type: ignore[arg-type]
    assert found.outcome == "FAIL"
    assert found.reasons == ("worse by more than the slice tolerance on: g=few",)
    assert [s.outcome for s in found.slices] == ["alarm", "ok"]
    assert found.method == "user bootstrap"
    assert found.ci == verdict(label, full, pruned, users=rows.users, tolerance=0.1).ci
    calm = judge_rows(rows, full, full, groups, tolerance=0.1)  # type: ignore[arg-type]
    assert (calm.outcome, calm.reasons, len(calm.slices)) == ("PASS", (), 2)
    by_item = replace_items(rows, np.arange(n) % 50)
    assert "users and items" in judge_rows(by_item, full, pruned, groups).crosscheck["intervals"]  # type: ignore[arg-type]


def replace_items(rows: Any, items: np.ndarray) -> Any:
    return SimpleNamespace(label=rows.label, users=rows.users, items=items)
