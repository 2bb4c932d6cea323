"""Benchmarks: alternating order, paired ratios, one printed form."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

COMMON = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "_common.py"))
Claim, Timing = COMMON["Claim"], COMMON["Timing"]


def test_contestants_run_in_turn_and_change_places() -> None:
    calls: list[str] = []
    timing = COMMON["alternate"](
        {"ours": lambda: calls.append("o"), "peer": lambda: calls.append("p")}, repeats=5, calls=2
    )
    assert "".join(calls) == "op" + "oopp" + "ppoo" + "oopp" + "ppoo" + "oopp"
    assert {n: len(s) for n, s in timing.seconds.items()} == {"ours": 5, "peer": 5}


def test_the_ratio_is_paired() -> None:
    timing = Timing({"peer": (2.0, 20.0, 200.0), "ours": (1.0, 10.0, 100.0)})
    assert timing.ratio("peer", "ours") == 2.0
    assert timing.detail()["ours"] == {"median_s": 10.0, "min_s": 1.0, "max_s": 100.0}


@pytest.mark.parametrize("repeats, calls", [(4, 1), (5, 0)])
def test_too_few_repeats_are_refused(repeats: int, calls: int) -> None:
    with pytest.raises(ValueError, match="At least 5 repeats"):
        COMMON["alternate"]({"ours": lambda: None}, repeats=repeats, calls=calls)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    def measure(quick: bool) -> list[Any]:
        return [Claim("speed.batch1", 3.25, "ratio", "peer 1.0", {"quick": quick})]

    COMMON["main"]("speed", measure, list(arguments))
    return capsys.readouterr().out


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    result = json.loads(run(capsys, "--json", "--quick"))
    assert list(result) == ["benchmark", "quick", "full", "seconds", "environment", "claims"]
    assert set(result["environment"]) == {"cpu", "threads", "versions", "date", "commit"}
    assert result["claims"] == [
        {
            "id": "speed.batch1",
            "value": 3.25,
            "unit": "ratio",
            "peer": "peer 1.0",
            "detail": {"quick": True},
        }
    ]


def test_a_quick_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert "quick" in run(capsys, "--quick")
    assert "quick" not in run(capsys)


def test_a_full_run_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    def measure(quick: bool, full: bool) -> list[Any]:
        return [Claim("size", float(full), "share")]

    for arguments, value in ((["--json"], 0.0), (["--json", "--full"], 1.0)):
        COMMON["main"]("sizes", measure, arguments, full="everything: six hours")
        assert json.loads(capsys.readouterr().out)["claims"][0]["value"] == value
    with pytest.raises(SystemExit):  # a benchmark without a full size has no such option
        run(capsys, "--full")


def test_a_missing_peer_is_an_error() -> None:
    with pytest.raises(SystemExit, match="make bench-peers"):
        COMMON["peer"]("print(1)", folder=".venv-that-nobody-made")
