"""The notebooks: run from top to bottom, and their results hold what their texts say."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nbclient", reason="notebooks need nbclient (dependency group dev)")

import nbformat
from examples.render import FOLDER, PICTURES, SHOWN, executed, pictures

#: Bytes of a notebook's pictures, all together.
MOST = 200_000


def ran(name: str, results: str) -> dict[str, Any]:
    """Run a notebook, and return what an expression of its names comes to."""
    last = executed(name, f"import json\nprint(json.dumps({results}))").cells[-1]
    return dict(json.loads(last.outputs[-1]["text"]))


def test_every_notebook_is_run() -> None:
    assert {file.stem for file in FOLDER.glob("*.ipynb")} == set(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_kept_of_a_run(name: str) -> None:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert all(output.output_type != "error" for output in outputs)
    kept = pictures(notebook)
    assert 0 < sum(map(len, kept)) < MOST
    assert (PICTURES / f"{name}.png").read_bytes() == kept[SHOWN[name]]
    text = (FOLDER / f"{name}.ipynb").read_text("utf-8")
    assert not re.search(r"/(home|root|tmp|work|usr|Users)/", text), "no machine's paths"
    cells = [cell.cell_type for cell in notebook.cells]
    assert cells.count("markdown") * 3 > cells.count("code"), "code is explained"


@pytest.mark.slow
def test_purchase_intent() -> None:
    found = ran(
        "purchase_intent",
        "{'outcome': judged.verdict.outcome, 'bytes': sizes, 'stop': found.stop, 'sensitive': "
        "data.sensitive, 'last': ranking.keep(ratio=1.0)[-1], 'auc': before['auc'], 'slices': "
        "[s.slice for s in slices], 'confirmed': found.confirmed}",
    )
    assert found["outcome"] != "FAIL"
    assert found["bytes"]["pruned"] * 4 < found["bytes"]["full"]
    assert set(found["sensitive"]) == {"age", "gender", "income"}
    assert found["auc"] > 0.65
    # The gender was drawn at random: whoever needs it is wrong.
    assert "gender" in found["stop"]
    assert found["last"] == "gender"
    assert {"gender=female", "gender=male", "age=35-44"} <= set(found["slices"])
    assert found["confirmed"]


@pytest.mark.slow
def test_top_n(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECPRUNE_SHARED", str(shared_data.parent))
    found = ran(
        "top_n_online_retail",
        "{'outcome': judged.verdict.outcome, 'bytes': sizes, 'lists': {n: {m: e[m] for m in "
        "METRICS} for n, e in lists.items()}, 'seen': len(past & set(new.items)), 'every': "
        "len(past & set(every.items)), 'denied': new.items[0] in cheap.items, 'items': "
        "len(new.items), 'micros': micros, 'catalogue': lists['full'].counts['items']}",
    )
    assert found["outcome"] != "FAIL"
    assert found["bytes"]["pruned"] * 5 < found["bytes"]["full"]
    assert (found["seen"], found["denied"], found["items"]) == (0, False, 10)
    assert found["every"] > 0
    full, pruned = found["lists"]["full"], found["lists"]["pruned"]
    for metric in ("ndcg@10", "recall@10", "hit_rate@10"):
        assert pruned[metric] > 0.8 * full[metric] > 0
    # Ten of the catalogue at random have a hit rate of a tenth of this.
    assert full["hit_rate@10"] > 0.2
    assert full["coverage@10"] > 0.05


def test_a_table_that_is_not_there_is_asked_for(tmp_path: Path) -> None:
    notebook = nbformat.read(FOLDER / "top_n_online_retail.ipynb", as_version=4)
    source = next(cell.source for cell in notebook.cells if "FileNotFoundError" in cell.source)
    asking = source[source.index("shared = ") :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECPRUNE_SHARED", str(tmp_path))
        with pytest.raises(FileNotFoundError, match="Set RECPRUNE_SHARED"):
            exec(asking, {"os": os, "Path": Path})


@pytest.mark.slow
def test_a_foreign_model() -> None:
    found = ran(
        "foreign_model",
        "{'outcome': judged.outcome, 'cut': unrepaired.outcome, 'before': stored(net), 'after': "
        "stored(tiny), 'foretold': plan.predicted_bytes, 'same': bool((scores(again) == "
        "tiny_scores).all()), 'untouched': [m.out_features for m in net.tower if hasattr(m, "
        "'out_features')], 'head': tiny.head.out_features}",
    )
    assert found["outcome"] != "FAIL"
    assert found["after"] == found["foretold"]
    assert found["after"] * 3 < found["before"]
    assert found["same"]
    assert (found["untouched"], found["head"]) == ([128, 64], 1)
