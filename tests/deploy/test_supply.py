"""What ``make check`` looks for beyond style and types, and the list of components."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import recprune

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def bandit(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bandit", "--quiet", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_no_unsafe_call_is_found_and_one_would_be(tmp_path: Path) -> None:
    found = bandit("--recursive", "src", "--configfile", "pyproject.toml")
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    unsafe = tmp_path / "unsafe.py"
    unsafe.write_text(
        "import pickle, subprocess\npickle.loads(b'')\nsubprocess.call('x', shell=True)\n"
    )
    found = bandit(str(unsafe), "--configfile", "pyproject.toml")
    assert found.returncode == 1
    assert {"B301", "B602"} <= {word.strip("[:") for word in found.stdout.replace(":", " ").split()}


def test_the_list_of_components_has_what_a_service_loads() -> None:
    command = ["make", "--silent", "sbom", "--assume-old=.venv/.installed"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    made = json.loads((ROOT / "build" / "sbom.json").read_text("utf-8"))
    assert made["bomFormat"] == "CycloneDX"
    about = made["metadata"]["component"]
    assert (about["name"], about["version"]) == ("recprune", recprune.__version__)
    listed = {each["name"].lower(): each["version"] for each in made["components"]}
    assert {"numpy", "fastapi", "uvicorn", "cryptography", "pyjwt", "limits"} <= set(listed)
    assert all(listed.values())
