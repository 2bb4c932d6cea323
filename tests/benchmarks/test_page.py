"""The page of the benchmarks: what it says is what the published results hold."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from benchmarks._catalog import Family, benchmarks, sources
from benchmarks._chart import drawn
from benchmarks._figures import absolute, aim_text, value_text

from benchmarks import _page

RESULT: dict[str, Any] = {
    "benchmark": "metrics",
    "quick": False,
    "full": False,
    "seconds": 130.0,
    "environment": {
        "cpu": "a processor",
        "threads": 2,
        "versions": {"recprune": "0.1.0"},
        "date": "2026-01-02",
        "commit": "0123456789ab",
    },
    "claims": [
        {
            "id": "auc_vs_sklearn",
            "value": 2.5,
            "unit": "ratio",
            "peer": "scikit-learn 1.8.0",
            "detail": {"float64": {"ours": {"median_s": 0.31}, "sklearn": {"median_s": 5.2}}},
        }
    ],
    "code": "abcdef",
}


def changed(**parts: Any) -> dict[str, Any]:
    return {**deepcopy(RESULT), **parts}


def test_the_committed_page_is_what_the_published_results_give() -> None:
    results = _page.published()
    assert _page.PAGE.read_text("utf-8") == _page.page(results, bool(drawn(results))), (
        "docs/benchmarks.md is not what benchmarks/*.json give. Write it: python -m benchmarks page"
    )
    assert _page.CHART.exists() == bool(drawn(results))


def test_every_benchmark_is_on_the_page_measured_or_not() -> None:
    text = _page.page({"metrics": RESULT}, chart=False)
    assert all(f"python -m benchmarks.{name} --json" in text for name in benchmarks())
    measured = text.partition("## Not measured yet")[2].partition("\n## ")[2]
    assert "benchmarks.metrics" in measured
    assert "benchmarks.ingest" not in measured


def test_a_claim_stands_with_all_that_it_came_from() -> None:
    text = _page.page({"metrics": RESULT}, chart=False)
    (line,) = [one for one in text.splitlines() if one.startswith("| `auc_vs_sklearn` | **")]
    for part in (
        "2.5×",
        "≥ 3×",
        "**not reached**",
        "scikit-learn 1.8.0",
        "ours 310 ms",
        "peer 5.2 s",
    ):
        assert part in line
    for part in ("a processor, 2 threads", "2026-01-02", "`0123456789ab`", "recprune 0.1.0"):
        assert part in text
    # A claim that the run did not tell is not passed over.
    assert "| `ranking_vs_lenskit` | not measured |" in text


def test_claims_below_their_aim_are_listed_first() -> None:
    text = _page.page({"metrics": RESULT}, chart=False)
    assert "**0 of 1 claims" in text
    below = text.partition("## Below their aim")[2].partition("\n## ")[0]
    assert "`auc_vs_sklearn` | 2.5× | ≥ 3×" in below
    good = changed(claims=[{**RESULT["claims"][0], "value": 3.0}])
    assert "Below their aim" not in _page.page({"metrics": good}, chart=False)


@pytest.mark.parametrize(
    "parts, why",
    [
        ({"quick": True}, "quick run, which is not for publication"),
        ({"environment": {**RESULT["environment"], "commit": "0123+"}}, "was not committed"),
        ({"environment": {**RESULT["environment"], "commit": None}}, "was not committed"),
        ({"benchmark": "ingest"}, "holds a result of 'ingest'"),
        ({"claims": []}, "has no claims"),
    ],
)
def test_what_is_not_for_publication_is_refused(
    parts: dict[str, Any], why: str, tmp_path: Path
) -> None:
    (source := tmp_path / "results").mkdir()
    (to := tmp_path / "published").mkdir()
    (source / "metrics.json").write_text(json.dumps(changed(**parts)))
    with pytest.raises(ValueError, match=why):
        _page.publish(None, source, to)
    assert not list(to.iterdir())
    (source / "metrics.json").rename(to / "metrics.json")
    with pytest.raises(ValueError, match=why):
        _page.published(to)


def test_results_are_published_by_name_or_all(tmp_path: Path) -> None:
    (source := tmp_path / "results").mkdir()
    (to := tmp_path / "published").mkdir()
    with pytest.raises(ValueError, match="make bench"):
        _page.publish(None, source, to)
    (source / "metrics.json").write_text(json.dumps(RESULT))
    with pytest.raises(ValueError, match="ingest has no result"):
        _page.publish(["metrics", "ingest"], source, to)
    _page.publish(["metrics"], source, to)
    assert _page.published(to) == {"metrics": RESULT}


def test_a_file_that_is_no_result_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text("{}")
    with pytest.raises(ValueError, match=r"host\.json is no result"):
        _page.published(tmp_path)


def test_a_claim_that_nobody_explains_is_refused() -> None:
    with pytest.raises(ValueError, match=r"claims\.toml does not say what the claim 'fast'"):
        benchmarks()["metrics"].family("fast")


def test_aims_are_judged_by_number_or_by_what_the_claim_says() -> None:
    claim = {"id": "gap_a", "value": 0.5, "detail": {"holds": True}}
    assert Family("*", "x", "<= 0.5").reached(claim) is True
    assert Family("*", "x", ">= 0.6").reached(claim) is False
    assert Family("*", "x", "at least so much", holds="holds").reached(claim) is True
    assert Family("*", "x").reached(claim) is None
    assert Family("*", "x", ">= 0.6", aim_of=["gap_b"]).reached(claim) is None
    with pytest.raises(ValueError, match="An aim begins with"):
        Family("*", "x", "about 5").reached(claim)


def test_every_stated_aim_can_be_read() -> None:
    for benchmark in benchmarks().values():
        for family in benchmark.families:
            if family.aim and not family.holds:
                assert family.limit(family.aim)


@pytest.mark.parametrize(
    "value, unit, text",
    [
        (1234.4, "ratio", "1,230×"),
        (0.15, "ratio", "0.15×"),
        (0.9996, "ratio", "0.9996×"),
        (1.0, "ratio", "1×"),
        (1.0, "share", "100 %"),
        (-0.00134, "auc difference", "−0.0013"),
        (0.143, "seconds", "143 ms"),
        (40_671, "events", "40,700 events"),
        (1.5e-7, "weight", "1.5e-7"),
        (0.0, "alarms", "0 alarms"),
        (0.997, "correlation", "0.997"),
        (3.2, "GB", "3.2 GB"),
    ],
)
def test_values_are_written_by_their_units(value: float, unit: str, text: str) -> None:
    assert value_text(value, unit) == text


def test_an_aim_is_written_as_its_claim_is() -> None:
    assert aim_text(">= 0.97", "share") == "≥ 97 %"
    assert aim_text(">= -0.002", "AUC") == "≥ −0.0020"


def test_figures_are_found_where_the_detail_has_them() -> None:
    detail = {"a b": {"ours": {"s": 2}, "theirs": {"s": 0.004}}, "ci": [-0.1, 0.2], "no": None}
    shows = [("", "a b/*/s", "s"), ("interval", "ci/*", "AUC"), ("gone", "no/x", "s")]
    assert absolute(shows, detail) == "ours 2 s, theirs 4 ms, interval −0.1000, interval 0.2000"


def test_a_result_depends_on_what_its_benchmark_imports() -> None:
    names = {file.name for file in sources("serving")}
    assert {"serving.py", "_wrk.py", "catalogue.py", "_planted.py", "serving_host.json"} <= names
    assert "ingest.py" not in names
    assert "planted.py" in {file.name for file in sources("selection")}  # of the tests
