"""Every curl of docs/serving.md, as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .living import Living, Place

PAGE = Path(__file__).resolve().parents[2] / "docs" / "serving.md"
CALLS = re.findall(r"^curl .*$", PAGE.read_text("utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def variables(service: Living, place: Place) -> dict[str, str]:
    return {
        "URL": service.url,
        "KEY": place.token("recommend", "score"),
        "ADMIN": place.token("admin"),
    }


def test_the_page_has_every_route() -> None:
    from recprune.serving.app import RULES
    from recprune.serving.doorway import PAGES

    routes = {rule.partition(" ")[2] for rule in RULES if rule not in PAGES}
    assert {route for route in routes if route not in PAGE.read_text("utf-8")} == set()
    assert len(CALLS) > 10


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("call", CALLS)
def test_a_call_is_answered(call: str, variables: dict[str, str]) -> None:
    command = ["bash", "-euc", call]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(("{", "#"))
