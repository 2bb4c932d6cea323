"""No bytes in an artefact's folder crash the reader, or make it hang or take memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
import zlib
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recprune._support import stream
from recprune.artifact import Artifact, as_stored, read_artifact, write_artifact
from recprune.encoding import Encoder
from recprune.errors import ArtifactError, InputError
from recprune.layout import Plan
from recprune.lookups import Buckets
from recprune.runtime import Scorer
from recprune.schema import Field, Schema

from .broken import Files, broken, packed, rehashed
from .drafts import MODELS, random_model
from .factory import KINDS, MIXED, random_columns, random_encoder, random_shop

#: Far above what the small models below take; a shape that is believed takes more.
MOST_BYTES = 48 << 20


def _hashed() -> Artifact:
    schema = Schema(
        (
            Field("f", "categorical"),
            Field("born", "numeric", of="date", part="age"),
            Field("list", "sequence"),
        ),
        label="y",
        time="when",
    )
    plain = random_encoder(schema, 0)
    encoder = Encoder(schema, {**plain.parts, "f": Buckets(7, np.array([1, 4], np.int32))})
    return random_model(encoder, MODELS["dot"], 0, cut=("dim",))


def _stored(artifact: Artifact) -> Artifact:
    tables = cycle(
        [((0, "fp16"), (3, "int8_row"), (5, "int4_row")), "int4_row", "int8_row", "int8"]
    )
    named: Any = {n: next(tables) if n.startswith("table") else "fp16" for n in artifact.state}
    plan = Plan(artifact.layout.hash, artifact.plan.keep, named)
    state = as_stored(artifact.state, plan.encodings(artifact.layout))
    return replace(artifact, state=state, plan=plan)


MADE = {
    "shop": random_shop(KINDS[2], 0, n_items=8, cut=True).artifact,
    "all": random_model(random_encoder(MIXED, 0), MODELS["all"], 0, cut=("dim", "pair", "row")),
    "encoded": _stored(random_model(random_encoder(MIXED, 1), MODELS["shared"], 1, cut=("dim",))),
    "towers": random_model(random_encoder(MIXED, 2), MODELS["towers_wide"], 2),
    "hashed": _hashed(),
}


@pytest.fixture(scope="module", params=MADE)
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("sound")
    write_artifact(folder, MADE[request.param], "0.1.0")
    return {f.name: f.read_bytes() for f in folder.iterdir()}


def attempt(files: Files) -> str:
    """Load and use what may be an artefact: only errors that say what is wrong with it."""
    try:
        scorer = Scorer(read_artifact(files.__getitem__))
    except ArtifactError as error:
        return str(error)
    for n in (1, 3):
        try:
            schema = scorer.encoder.schema
            columns = {str(k): v for k, v in random_columns(schema, n, 0).items()}
            scorer.score(columns)
            scorer.score(columns, calibrated=True)
            if scorer.catalogue is not None:
                scorer.recommend({k: v[0] for k, v in columns.items() if k in ("age", "hour")})
        except InputError:
            continue
    return ""


def fuzz(sound: Files, seeds: range) -> set[str]:
    """Break the files once a seed; return the errors' beginnings."""
    said = set()
    tracemalloc.start()
    try:
        for seed in seeds:
            files = broken(sound, stream(seed, "broken"))
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                said.add(attempt(files)[:20])
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error!r}") from error
            grown = tracemalloc.get_traced_memory()[1] - before
            assert grown < MOST_BYTES, f"seed {seed}: {grown:,} bytes"
    finally:
        tracemalloc.stop()
    return said


def test_no_change_crashes_the_reader(sound: Files) -> None:
    assert attempt(dict(sound)) == ""
    assert attempt(rehashed(dict(sound))) == ""
    assert len(fuzz(sound, range(80))) > 5


@pytest.mark.slow
def test_no_change_of_very_many_crashes_the_reader(sound: Files) -> None:
    assert len(fuzz(sound, range(1000, 2200))) > 5


# ---- one by one


def changed(sound: Files, change: Any) -> Files:
    """Return the files after a change of the parsed configuration, hashes right."""
    config = json.loads(sound["config.json"])
    change(config)
    return rehashed({**sound, "config.json": json.dumps(config).encode()})


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c.update(protocol=0), "no protocol: 0"),
        (lambda c: c.update(protocol=True), "no protocol: True"),
        (lambda c: c.update(protocol=float("nan")), "no protocol: nan"),
        (lambda c: c.update(meta=[]), "cannot be read"),
        (lambda c: c.update(meta={"labels": [1]}), "cannot be read"),
        (lambda c: c.update(meta={"labels": {"negatives": 3}}), "says nothing of the labels"),
        (lambda c: c["schema"].update(time=["t"]), "names are texts"),
        (lambda c: c["schema"].update(label=3), "names are texts"),
        (lambda c: c["layout"]["axes"][0].update(size=10**12), "10{12} units, but no tensor has"),
        (lambda c: c["layout"]["axes"][1].update(uses=[], size=10**12), "units"),
        (lambda c: c["layout"]["shapes"].update({"bias": [10**12]}), "other weights than"),
    ],
)
def test_a_config_that_says_too_much_is_refused(sound: Files, change: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        read_artifact(changed(sound, change).__getitem__)


def test_keys_said_twice_count_once(sound: Files) -> None:
    twice = sound["config.json"].replace(b"{", b'{"format": "other",', 1)
    assert attempt({**sound, "config.json": twice}) == ""


HEADERS = {
    "a header of 2⁶³ bytes": (1 << 63).to_bytes(8, "little") + b"{}",
    "a header beyond the file": (1 << 20).to_bytes(8, "little") + b"{}",
    "a tensor of 2⁶² elements": packed({"bias": ("F32", [1 << 62], b"")}),
    "a tensor of 2⁶⁰ rows without columns": packed({"bias": ("F32", [1 << 60, 0], b"")}),
    "a shape whose product wraps round": packed({"bias": ("F32", [1 << 32, 1 << 32], b"")}),
    "a deep header": (200_000).to_bytes(8, "little") + b"[" * 200_000,
}

LIMITED = """
import json, resource, sys
from pathlib import Path
from recprune.errors import ArtifactError
from recprune.runtime import load
load(sys.argv[1])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
for folder in sys.argv[2:]:
    try:
        load(folder)
    except ArtifactError as error:
        print(error)
    else:
        print("loaded")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_what_is_declared_and_not_there_takes_no_memory(tmp_path: Path) -> None:
    def written(name: str, files: Files) -> str:
        folder = tmp_path / name
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_bytes(content)
        return str(folder)

    write_artifact(_folder(tmp_path / "sound"), MADE["shop"], "0.1.0")
    sound = {f.name: f.read_bytes() for f in (tmp_path / "sound").iterdir()}
    folders = [
        written(f"{i}.{file}", rehashed({**sound, f"{file}.safetensors": content}))
        for i, content in enumerate(HEADERS.values())
        for file in ("model", "catalogue")
    ]
    folders += [
        written(f"{i}.{file}", rehashed({**sound, f"{file}.zlib": zlib.compress(content)}))
        for i, content in enumerate([*HEADERS.values(), bytes(1 << 28)])  # the last is a bomb
        for file in ("vocab", "plan")
    ]
    deep = b"[" * 5_000_000
    folders.append(written("deep", {**sound, "config.json": deep}))
    folders.append(written("deep plan", rehashed({**sound, "plan.json": deep})))
    for number, place in enumerate((0, 1, 2)):

        def grow(config: dict[str, Any], place: int = place) -> None:
            config["layout"]["axes"][place] |= {"size": 1 << 40, "uses": []}

        folders.append(written(f"axis {number}", changed(sound, grow)))
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "sound"), *folders],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    said = run.stdout.splitlines()
    assert len(said) == len(folders)
    assert "loaded" not in said


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "plan.json"])
def test_only_files_are_read(tmp_path: Path, name: str) -> None:
    write_artifact(tmp_path, MADE["towers"], "0.1.0")
    content = (tmp_path / name).read_bytes()
    real = tmp_path.parent / f"{tmp_path.name}-{name}"
    real.write_bytes(content)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(real)  # as mounted volumes and caches of models do
    read_artifact(tmp_path)
    for place, why in (
        (lambda p: p.symlink_to("/dev/zero"), "it is no file"),
        (os.mkfifo, "it is no file"),
        (Path.mkdir, "it is no file"),
        (lambda p: p.symlink_to(p), "cannot be read"),
        (lambda p: p.symlink_to("nowhere"), f"has no {name}"),
    ):
        if (tmp_path / name).is_dir():
            (tmp_path / name).rmdir()
        else:
            (tmp_path / name).unlink()
        place(tmp_path / name)
        with pytest.raises(ArtifactError, match=why):
            read_artifact(tmp_path)


def test_a_config_beyond_all_measure_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(1 << 40)  # sparse: it takes no disk
    with pytest.raises(ArtifactError, match="is too long"):
        read_artifact(tmp_path)


def test_files_of_one_artefact_in_another_are_refused(tmp_path: Path) -> None:
    for name in ("towers", "all"):
        write_artifact(_folder(tmp_path / name), MADE[name], "0.1.0")
    towers, other = (
        {f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("towers", "all")
    )
    differ = {name for name in towers if towers[name] != other[name]} - {"config.json"}
    assert {"model.safetensors", "plan.json", "vocab.zlib"} <= differ
    for name in differ:
        assert "does not match the hash" in attempt({**towers, name: other[name]})
        # A plan that keeps everything is any model's.
        assert attempt(rehashed({**towers, name: other[name]})) or name == "plan.json"
