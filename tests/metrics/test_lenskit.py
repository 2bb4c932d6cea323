"""Metrics of lists against LensKit's own numbers: equal where the definitions agree, and where they
do not, different as docs/metrics.md says.

LensKit needs other versions of what is installed here, so its numbers lie in ``lenskit.json``; where
the peers' environment is there too, they are computed anew on other lists (``make test-slow``).
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recprune import metrics
from tests.metrics.test_definitions import DEFINITIONS

HERE = Path(__file__).resolve().parent
PEERS = HERE.parents[1] / ".venv-peers" / "bin" / "python"


def ours(case: dict[str, Any]) -> dict[str, float]:
    """Return our values of a case; the list is one item or more, or one that is empty."""
    shown, relevant = np.array([case["list"]], np.int64), [np.array(case["relevant"])]
    hits = metrics.hits_of_lists(shown, relevant)
    return {
        name: float(metrics.metric(f"{name}@{case['k']}")(hits, [len(relevant[0])])[0])
        for name in ("ndcg", "recall", "precision", "map", "mrr", "hit_rate")
    }


def check(told: dict[str, Any]) -> None:
    """Compare every value of LensKit's with ours."""
    for case in told["cases"]:
        theirs, found = case["values"], ours(case)
        n, k, length = len(case["relevant"]), case["k"], min(len(case["list"]), case["k"])
        for name, here in (("ndcg_standard", "ndcg"), ("mrr", "mrr"), ("hit_rate", "hit_rate")):
            assert found[here] == pytest.approx(theirs[name], abs=1e-12), (name, case)
        assert found["recall"] * n == pytest.approx(theirs["recall"] * min(n, k)), case
        if not length:
            assert theirs["precision"] is theirs["map"] is None
            assert found["precision"] == found["map"] == 0
        else:
            assert found["precision"] * k == pytest.approx(theirs["precision"] * length), case
            average = theirs["map"] * min(n, length)
            assert found["map"] * min(n, k) == pytest.approx(average), case
        # The page's LensKit column is LensKit.
        hits = [int(item in case["relevant"]) for item in case["list"][:k]]
        for name in ("ndcg", "recall", "precision", "map"):
            if theirs[name] is not None:
                value = DEFINITIONS[name, "LensKit-style"](hits, n, k)
                assert value == pytest.approx(theirs[name], abs=1e-12), (name, case)
    gini = told["gini"]
    lists = [one[:5] for one in gini["lists"]]
    assert metrics.gini(lists, 30) == pytest.approx(gini["value"])


def test_against_the_numbers_that_lenskit_gave() -> None:
    told = json.loads((HERE / "lenskit.json").read_text("utf-8"))
    assert len(told["cases"]) > 60
    check(told)


@pytest.mark.slow
@pytest.mark.skipif(not PEERS.exists(), reason="make bench-peers installs LensKit")
def test_against_lenskit_itself() -> None:
    script = HERE / "lenskit_values.py"
    run = subprocess.run(
        [str(PEERS), str(script), "7"], capture_output=True, text=True, check=True, timeout=300
    )
    check(json.loads(run.stdout))
