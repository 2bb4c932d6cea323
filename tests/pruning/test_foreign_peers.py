"""Models built with four libraries: pruned to less than half, trained on, saved, read again.

They live in environments of their own (``make bench-peers``), where these tests run them.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("foreign_peers.py")
HOMES = {
    "deepctr-torch": ".venv-peers",
    "fuxictr": ".venv-peers",
    "torch-rechub": ".venv-peers",
    "recbole": ".venv-recbole",
}


def told(verb: str, name: str, folder: Path) -> dict[str, Any]:
    """Run the script in the peer's environment and return what it prints last."""
    python = ROOT / HOMES[name] / "bin" / "python"
    if not python.with_name("pip").exists() or not _has_safetensors(python):
        pytest.skip(f"there is no {HOMES[name]} with safetensors; make bench-peers makes it")
    run = subprocess.run(
        [python, SCRIPT, verb, name, folder],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    found: dict[str, Any] = json.loads(run.stdout.strip().splitlines()[-1])
    return found


def _has_safetensors(python: Path) -> bool:
    return any(python.parents[1].glob("lib/python3*/site-packages/safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("name", HOMES)
def test_a_peers_model_is_pruned_tuned_saved_and_read_in_a_clean_process(
    name: str, tmp_path: Path
) -> None:
    made = told("prune", name, tmp_path)
    assert made["untouched"]
    assert made["units"] == ["dim", "neuron", "row"]
    assert made["bytes"] == made["predicted"] <= made["before"] / 2
    assert made["tuned"] > 1e-4, "the library's own loop trains the small model"
    assert all(reason == "it has one unit only" for reason in made["skipped"].values())
    again = told("load", name, tmp_path)
    assert again["off"] <= 1e-5
    assert again["spread"] > 1e-4, "outputs that are all alike would prove nothing"
