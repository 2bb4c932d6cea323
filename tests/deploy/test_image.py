"""The Dockerfile's steps as a script: a clean environment, without training software, that serves."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.living import Place, living, make_place

ROOT = Path(__file__).resolve().parents[2]
STEP = re.compile(r"^([A-Z]+)\s+(.*)$")
#: Where the image has what; a test has it below a folder of its own.
PLACES = ("/opt/recprune", "/var/cache/recprune", "/state")


def steps() -> list[tuple[str, str]]:
    """Return the instructions with their arguments; the file has no line that goes on."""
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    found = [STEP.match(line) for line in lines if line and not line.startswith("#")]
    assert all(found)
    return [(each[1], each[2]) for each in found if each]


def argument(name: str) -> str:
    """Return the last instruction's arguments of this name."""
    return [words for step, words in steps() if step == name][-1]


def test_the_image_runs_as_nobody_in_particular_and_is_told_to_end() -> None:
    assert argument("USER") == "10001:10001"
    assert argument("STOPSIGNAL") == "SIGTERM"
    health = argument("HEALTHCHECK").partition("CMD ")[2]
    assert "/health/live" in json.loads(health)[2]
    assert json.loads(argument("ENTRYPOINT")) + json.loads(argument("CMD"))[:1] == [
        "recprune",
        "serve",
    ]


def test_no_secret_and_no_data_get_into_the_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert ignored[0] == "*"
    sources = [shlex.split(words) for step, words in steps() if step == "COPY"]
    copied = {name for words in sources if "--from=build" not in words for name in words[:-1]}
    assert copied == {line.removeprefix("!") for line in ignored if line.startswith("!")}


def built(folder: Path) -> Path:
    """Follow the steps below a folder; return where its programs are."""
    root, source = folder / "root", folder / "source"
    source.mkdir(parents=True)
    # The image's own Python comes first on its path, without an environment of ours.
    path = f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"

    def placed(text: str) -> str:
        for place in PLACES:
            text = re.sub(rf"(?<![\w/]){re.escape(place)}(?![\w])", f"{root}{place}", text)
        return text

    for step, words in steps():
        if step == "COPY" and "--from" not in words:
            *names, target = shlex.split(words)
            for name in names:
                if (ROOT / name).is_dir():
                    shutil.copytree(
                        ROOT / name,
                        source / target,
                        ignore=shutil.ignore_patterns("__pycache__"),
                        dirs_exist_ok=True,
                    )
                else:
                    shutil.copy(ROOT / name, source / target)
        elif step == "RUN":
            environment = {"PATH": path, "HOME": str(folder)}
            environment |= {n: v for n, v in os.environ.items() if n.startswith("PIP_")}
            command = ["/bin/sh", "-euc", placed(words)]
            subprocess.run(command, cwd=source, env=environment, check=True, timeout=900)
    return root / "opt" / "recprune" / "bin"


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="the steps give folders to another user")
def test_what_the_steps_install_serves_without_training_software(tmp_path: Path) -> None:
    programs = built(tmp_path)
    cache = tmp_path / "root" / "var" / "cache" / "recprune"
    assert (cache.stat().st_uid, cache.stat().st_mode & 0o777) == (10001, 0o700)
    listed = subprocess.run(
        [programs / "python", "-m", "pip", "list", "--format=json"],
        capture_output=True,
        check=True,
    )
    installed = {each["name"].lower() for each in json.loads(listed.stdout)}
    assert {"recprune", "fastapi", "numba", "markdown-it-py"} <= installed
    assert installed.isdisjoint({"torch", "scikit-learn", "matplotlib", "pandas", "scipy"})
    place = make_place(tmp_path / "shop")
    assert served(place, programs, tmp_path) == list_of(place)


def served(place: Place, programs: Path, folder: Path) -> list[str]:
    """Return what the installed program recommends, run where nothing of the checkout is near."""
    environment = {"PYTHONPATH": "", "NUMBA_CACHE_DIR": str(folder / "kernels")}
    program = [str(programs / "recprune")]
    with (
        living(place, environment=environment, program=program, cwd=folder) as service,
        service.client(place.token("recommend")) as client,
    ):
        assert client.get("/").status_code == 200
        answer = client.post("/v1/recommend", json={"user": "2", "k": 5}).json()
    return [each["item"] for each in answer["items"]]


def list_of(place: Place) -> list[str]:
    from recprune.runtime import Scorer

    return list(Scorer(place.shop.artifact).recommend_user(place.shop.users, "2", 5).items)
