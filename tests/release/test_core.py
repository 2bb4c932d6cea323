"""The core alone, installed from the wheel: what it can do, and what it says where it cannot."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

import recprune
from recprune.cli.main import GROUPS, VERBS
from tests.cli.inside import inside

from .conftest import ROOT, Archives, Shop
from .environments import CLEAN, Environment, install

pytestmark = pytest.mark.slow

#: Verb → the extra that it asks for, and words that would make it do its work.
ASKING = {
    "demo": ("train", "-o out"),
    "run": ("train", "{table} {columns} -o out"),
    "train": ("train", "{table} {columns} -o out"),
    "tune": ("train", "{table} {columns} -o out"),
    "rank": ("train", "{model} {table}"),
    "prune": ("train", "{model} {table} --keep neurons=0.5 -o out"),
    "evaluate": ("train", "{model} {table}"),
    "compare": ("train", "{model} {model} {table}"),
    "minimise": ("train", "{model} {table}"),
    "init": ("train", "{table}"),
    "stream": ("train", ". --model {model} --state state"),
    "serve": ("serve", "{model} --users {users} --state state"),
    "export": ("export", "{model} -o model.onnx"),
    "seal": ("serve", "{model} -o out --master-key-file key"),
    "unseal": ("serve", "{sealed} -o out --master-key-file key"),
    "reseal": ("serve", "{sealed} --old-master-key-file key --master-key-file new"),
}
#: Verb → words with which the core alone does its work.
ALONE = {
    "check": "{table} {columns}",
    "ingest": "{table} -o data.rp",
    "recommend": "{model} --users {users} --user u1 -k 3",
    "inspect": "{model}",
    "doctor": "",
    "forget": "u1 data --erasure-key-file key",
    "keys": "list --state state --pepper-key-file key",
}


class Core(NamedTuple):
    """An environment with the core alone, and a folder with what the verbs are asked about."""

    environment: Environment
    folder: Path
    words: dict[str, str]

    def run(self, verb: str, words: str) -> subprocess.CompletedProcess[str]:
        filled = words.format(**self.words).split()
        return self.environment.recprune(verb, *filled, cwd=self.folder)


@pytest.fixture(scope="module")
def core(archives: Archives, shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Core:
    folder = tmp_path_factory.mktemp("core")
    environment = install(archives.wheel, "", folder / "venv")
    place = folder / "place"
    for name, inner in (("data", shop.model), ("state", None)):
        (place / name).mkdir(parents=True, mode=0o700)
        if inner is not None:
            shutil.copytree(inner, place / name / "model")
    for name, byte in (("key", "01"), ("new", "02")):
        (place / name).write_text(byte * 32)
        (place / name).chmod(0o600)
    sealed = inside("seal", shop.model, "-o", place / "sealed", "--master-key-file", place / "key")
    assert sealed.returncode == 0, sealed.stderr
    words = {"table": str(shop.table), "columns": " ".join(shop.columns), "model": str(shop.model)}
    words |= {"users": str(shop.users), "sealed": str(place / "sealed")}
    return Core(environment, place, words)


def test_every_verb_is_tried() -> None:
    assert {*ASKING, *ALONE} == {*VERBS, *GROUPS}
    assert not {*ASKING} & {*ALONE}


@pytest.mark.parametrize("verb", ASKING)
def test_a_verb_says_in_one_line_which_extra_it_needs(core: Core, verb: str) -> None:
    before = sorted(core.folder.iterdir())
    extra, words = ASKING[verb]
    done = core.run(verb, words)
    assert done.returncode == 2, done.stderr
    line = (
        rf"recprune: '\w+' is needed here and not installed. .*: pip install 'recprune\[{extra}\]'"
    )
    assert re.fullmatch(line, done.stderr.strip())
    assert done.stdout == ""
    assert sorted(core.folder.iterdir()) == before


@pytest.mark.parametrize("verb", ALONE)
def test_a_verb_that_needs_no_extra_does_its_work(core: Core, verb: str) -> None:
    done = core.run(verb, ALONE[verb])
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "Traceback" not in done.stderr


def test_recommendations_are_those_of_the_environment_that_trained(core: Core, shop: Shop) -> None:
    words = ALONE["recommend"] + " --json"
    there = json.loads(core.run("recommend", words).stdout)
    here = inside("recommend", *words.format(**core.words).split())
    expected = json.loads(here.stdout)
    assert [row["item"] for row in there["items"]] == [row["item"] for row in expected["items"]]
    assert [row["score"] for row in there["items"]] == pytest.approx(
        [row["score"] for row in expected["items"]], abs=1e-6
    )
    assert len(there["items"]) == 3


PROGRAM = """
import importlib.util
import json
import sys

import recprune as rp
from recprune.errors import MissingExtra
from recprune.users import Users

model, users = sys.argv[1:]
scorer = rp.load(model)
best = scorer.recommend_user(Users.load(users), "u1", 3)
lacking = {}
for name in rp.__all__:
    try:
        getattr(rp, name)
    except MissingExtra as error:
        lacking[name] = str(error)
absent = [n for n in ("torch", "sklearn", "matplotlib", "pandas") if importlib.util.find_spec(n)]
print(json.dumps({"items": list(best.items), "lacking": lacking, "absent": absent}))
"""


def test_a_program_recommends_and_what_it_lacks_is_said(core: Core) -> None:
    done = core.environment.call(
        "-c", PROGRAM, core.words["model"], core.words["users"], cwd=core.folder
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["items"]) == 3
    assert told["absent"] == []
    assert all(text.endswith("pip install 'recprune[train]'") for text in told["lacking"].values())
    assert "DeepFM" in told["lacking"]
    assert {"Dataset", "Field", "Plan", "Schema", "load", "shrink"} <= {*recprune.__all__} - told[
        "lacking"
    ].keys()


def test_help_and_version_need_nothing(core: Core) -> None:
    assert "recommend" in core.run("--help", "").stdout
    assert core.run("--version", "").stdout == f"recprune {recprune.__version__}\n"


def test_doctor_says_what_is_there_and_how_to_get_the_rest(core: Core) -> None:
    told = json.loads(core.run("doctor", "--json").stdout)
    assert told["problems"] == []
    assert told["extras"]["train"] == "not installed: pip install 'recprune[train]'"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {*told["extras"], "all"} == {*project["optional-dependencies"]}


TYPED = """
from typing import assert_type

import recprune as rp
from recprune.models import Ranker
from recprune.runtime import Scorer
from recprune.users import Users

scorer = rp.load("runs/small")
assert_type(scorer, Scorer)
best = scorer.recommend_user(Users.load("users.rp"), "u1", 3)
assert_type(best.items, tuple[str, ...])
data = rp.Dataset.from_frame(None, label="y").split(by="time")
assert_type(data, rp.Dataset)
full = rp.DeepFM(dim=4).fit(data.train, data.valid)
assert_type(full, Ranker)
small = rp.prune(full, data, budget=rp.Budget(bytes="2 MB", max_drop={"auc": 0.002}))
assert_type(small, Ranker)
plan: rp.Plan = small.plan
"""
#: A line with a mistake each.
MISTAKEN = """
import recprune as rp
rp.Datset()
rp.load(3)
rp.DeepFM(dims=4)
rp.PrivacyBudget(nothing=1)
rp.verdict(scores="high")
"""


def test_programs_are_checked_against_the_installed_types(core: Core, tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(TYPED)
    (tmp_path / "mistaken.py").write_text(MISTAKEN)
    options = ["--strict", "--python-executable", str(core.environment.python)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--cache-dir", "cache", "typed.py", "mistaken.py"],
        cwd=tmp_path,
        env=CLEAN,
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if ": error:" in line]
    places = {line.split(": error:")[0] for line in found}
    assert places == {f"mistaken.py:{line}" for line in range(3, 8)}, done.stdout


def test_the_source_archive_installs_the_same(
    archives: Archives, core: Core, tmp_path: Path
) -> None:
    other = install(archives.source, "", tmp_path / "venv")

    def content(environment: Environment) -> dict[str, bytes]:
        package = environment.packages / "recprune"
        files = [f for f in package.rglob("*") if f.is_file() and "__pycache__" not in f.parts]
        return {f.relative_to(package).as_posix(): f.read_bytes() for f in files}

    assert content(other) == content(core.environment)
    assert other.recprune("inspect", core.words["model"], cwd=tmp_path).returncode == 0
