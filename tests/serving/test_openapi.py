"""The service keeps to its own OpenAPI document, whatever is sent (schemathesis)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recprune.serving.app import RULES

from .inprocess import inprocess
from .living import ROOT, Living, Place

CONFIG = """
hooks = "tests.serving.openapi_checks"
[auth.openapi.bearer]
bearer = "${TOKEN}"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 422]
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 413, 415, 422]
"""


def run(hardy: Living, folder: Path, examples: int, seed: int) -> None:
    (folder / "schemathesis.toml").write_text(CONFIG)
    token = hardy.place.token("score", "recommend", "admin")
    bounds = ["--max-examples", str(examples), "--seed", str(seed), "--request-timeout", "10"]
    shown = ["--no-color", "--continue-on-failure", "--warnings", "off"]
    program = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"]
    options = ["--checks", "all", "--mode", "all", "-H", f"Authorization: Bearer {token}"]
    what = ["--config-file", str(folder / "schemathesis.toml"), "run", f"{hardy.url}/openapi.json"]
    done = subprocess.run(
        [*program, *what, *options, *bounds, *shown],
        cwd=folder,
        env={**os.environ, "TOKEN": token, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        capture_output=True,
        text=True,
    )
    told = "\n".join(line[:500] for line in done.stdout.splitlines())
    assert done.returncode == 0, told + done.stderr
    assert "9 selected" in told, told
    assert "Network Error" not in told, told
    # What was hidden is shown again: others use the service too.
    (hardy.place.state / "hidden.json").unlink(missing_ok=True)


def test_no_request_finds_a_fault(hardy: Living, tmp_path: Path) -> None:
    run(hardy, tmp_path, examples=8, seed=1)


@pytest.mark.slow
def test_many_requests_find_no_fault(hardy: Living, tmp_path: Path) -> None:
    run(hardy, tmp_path, examples=250, seed=2)


def test_the_document_says_who_may_ask(place: Place) -> None:
    with inprocess(place, scopes=("score",)) as worker:
        document = worker.get("/openapi.json").json()
    told = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert {rule for rule in RULES if rule.split()[1].startswith("/v1/")} <= set(told)
    for rule, operation in told.items():
        assert ("security" in operation) is (RULES[rule] is not None), rule
        assert ("401" in operation["responses"]) is (RULES[rule] is not None), rule
        if RULES[rule] not in (None, "any"):
            assert repr(RULES[rule]) in operation["description"]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "key"}
    assert "recprune" in json.dumps(document["info"])
