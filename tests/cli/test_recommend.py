"""``recprune recommend``: denied items and a first stage, as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recprune.artifact import write_artifact
from recprune.runtime import load
from tests.runtime.drafts import MODELS
from tests.runtime.factory import KINDS, random_shop


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ranker, a retriever with the same 300 items, and the ranker's users."""
    out = tmp_path_factory.mktemp("models")
    for name, model in (("ranker", KINDS[2]), ("tower", MODELS["towers"])):
        shop = random_shop(model, 0, n_items=300)
        (out / name).mkdir()
        write_artifact(out / name, shop.artifact, "1")
        shop.users.save(out / f"{name}.users.rp")
    return out


def recommend(folder: Path, *arguments: Any) -> tuple[int, str, str]:
    command = ["recommend", folder / "ranker", "--users", folder / "ranker.users.rp"]
    run = subprocess.run(
        [sys.executable, "-m", "recprune", *map(str, [*command, "--user", "2", *arguments])],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return run.returncode, run.stdout, run.stderr


def items(folder: Path, *arguments: Any) -> list[str]:
    code, out, error = recommend(folder, "--json", "-k", 5, *arguments)
    assert code == 0, error
    return [row["item"] for row in json.loads(out)["items"]]


def test_denied_items_are_left_out(folder: Path) -> None:
    best = items(folder)
    got = items(folder, "--deny", best[0], "--deny", best[2], "--deny", "gone")
    assert got[:3] == [best[1], best[3], best[4]]
    assert not {best[0], best[2]} & {*got}


def test_a_first_stage_narrows_the_choice(folder: Path) -> None:
    from recprune.users import Users

    tower, users = folder / "tower", Users.load(folder / "ranker.users.rp")
    scorer = load(folder / "ranker", first_stage=tower, first_stage_k=20)
    expected = list(scorer.recommend_user(users, "2", 5).items)
    assert items(folder, "--first-stage", tower, "--first-stage-k", 20) == expected
    assert items(folder, "--first-stage", tower) == items(folder) != expected


def test_wrong_use_is_said_in_one_line(folder: Path) -> None:
    code, _, error = recommend(folder, "--first-stage-k", 20)
    assert code == 2
    assert "--first-stage-k goes with --first-stage" in error
    code, _, error = recommend(folder, "--first-stage", folder / "ranker")
    assert code == 2
    assert "no inner product" in error
    assert "Traceback" not in error
