"""Each extra alone, installed from the wheel, does what its name promises."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tomllib
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from tests.postgres import running_postgres

from .conftest import ROOT, Archives, Shop
from .environments import CLEAN, Environment, install

pytestmark = pytest.mark.slow
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]
SMALL = ("--set", "epochs=1", "--set", "hidden=[4]", "--set", "dim=2")


class Place(NamedTuple):
    """An environment with one extra, an empty folder, and the shop."""

    environment: Environment
    folder: Path
    shop: Shop

    def recprune(self, *arguments: object) -> dict[str, Any]:
        """Run a verb that ends well; return what it said."""
        done = self.environment.recprune(*arguments, "--json", cwd=self.folder)
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def train(self, *options: object) -> dict[str, Any]:
        return self.recprune(
            *("train", self.shop.table, *self.shop.columns, *SMALL, "-o", "fit"), *options
        )

    def program(self, text: str) -> str:
        """Run a program that ends well; return what it printed."""
        done = self.environment.call("-c", text, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout


SELECTING = """
import numpy as np
import recprune as rp
from sklearn.linear_model import LogisticRegression

x = np.random.default_rng(0).normal(size=(200, 4))
chosen = rp.FeatureSelector(LogisticRegression(), keep_count=1).fit(x, x[:, 2] > 0)
print(chosen.get_support(indices=True).tolist())
"""


def train(place: Place) -> None:
    place.train()
    best = ("recommend", "fit", "--users", "fit/users.rp", "--user", "u1", "-k", 2)
    assert len(place.recprune(*best)["items"]) == 2
    assert list(place.folder.glob("fit/plots/*.png"))
    assert place.program(SELECTING) == "[2]\n"


FOREIGN = """
import recprune as rp
import torch

def net():
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))

batch, whole = torch.ones(3, 4), net()
plan = rp.plan(whole, example_inputs=batch, keep={"0": rp.neurons(0.5)})
tiny = plan.apply(whole)
plan.save(tiny, "tiny")
assert torch.equal(rp.restore(net(), "tiny")(batch), tiny(batch))
print(tiny[0].out_features)
"""


def foreign(place: Place) -> None:
    assert place.program(FOREIGN) == "4\n"


def trees(place: Place) -> None:
    ranked = place.recprune("rank", place.shop.model, place.shop.table, "--method", "lightgbm_gain")
    assert "lightgbm_gain" in json.dumps(ranked)


def demo(place: Place) -> None:
    said = place.recprune("demo", "--households", 60, "--table", "rows.parquet")
    assert said["rows"] > 0
    assert (place.folder / "rows.parquet").is_file()


def als(place: Place) -> None:
    place.recprune(*("train", place.shop.table, *place.shop.columns, "--model", "ALS", "-o", "fit"))
    place.recprune("inspect", "fit")


def sql(place: Place) -> None:
    query = (
        "check",
        "--sql",
        "SELECT * FROM clicks",
        "--sql-url-file",
        "url",
        "--label",
        "clicked",
    )
    url = place.folder / "url"
    url.write_text("postgresql://nobody@/none?host=/nowhere")
    url.chmod(0o600)
    done = place.environment.recprune(*query, cwd=place.folder)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("recprune: ")
    assert "Traceback" not in done.stderr
    with running_postgres() as there:
        url.write_text(there)
        assert "200" in json.dumps(place.recprune(*query))


def search(place: Place) -> None:
    tuned = place.recprune(
        *("tune", place.shop.table, *place.shop.columns, *SMALL, "--trials", 2, "-o", "tuned")
    )
    assert tuned


def export(place: Place) -> None:
    said = place.recprune("export", place.shop.model, "-o", "model.onnx")
    assert (place.folder / "model.onnx").stat().st_size == said["bytes"]


def serve(place: Place) -> None:
    for name in ("pepper", "audit", "master"):
        (place.folder / name).write_text(os.urandom(32).hex())
        (place.folder / name).chmod(0o600)
    place.recprune("seal", place.shop.model, "-o", "sealed", "--master-key-file", "master")
    keys = ("--state", "state", "--pepper-key-file", "pepper", "--audit-key-file", "audit")
    token = place.recprune("keys", "create", "me", "--scope", "recommend", *keys)["token"]
    options = ("--users", place.shop.users, "--master-key-file", "master", "--port", 0)
    command = ("serve", "sealed", *keys, *options, "--workers", 1)
    program = place.environment.folder / "bin" / "recprune"
    with subprocess.Popen(
        list(map(str, (program, *command))),
        cwd=place.folder,
        env={**CLEAN, "XDG_STATE_HOME": str(place.folder)},
        stderr=subprocess.PIPE,
        text=True,
    ) as service:
        assert service.stderr is not None
        try:
            said = []
            for line in service.stderr:
                said.append(line)
                if "serving on " in line:
                    break
            url = "".join(said).split("serving on ")[-1].split()[0]
            with urllib.request.urlopen(f"{url}/health/live", timeout=30) as answer:
                assert answer.status == 200
            asked = urllib.request.Request(
                f"{url}/v1/recommend",
                b'{"user": "u1", "k": 2}',
                {"X-API-Key": token, "Content-Type": "application/json"},
            )
            with urllib.request.urlopen(asked, timeout=60) as answer:
                assert len(json.load(answer)["items"]) == 2
        finally:
            service.send_signal(signal.SIGTERM)


def privacy(place: Place) -> None:
    place.train("--dp-epsilon", 8)
    assert "epsilon" in (place.folder / "fit" / "config.json").read_text("utf-8")


def distributed(place: Place) -> None:
    words = ("rank", place.shop.model, place.shop.table)
    alone = place.recprune(*words)
    ray = ("--workers", 2, "--engine", "ray", "--address", "local")
    assert place.recprune(*words, *ray) == alone


CLIENTS = """
from recprune.errors import RunError
from recprune.streaming.sources import open_source

for text in ("redis://127.0.0.1:9/0?stream=a", "kafka://127.0.0.1:9/t"):
    try:
        open_source(text, patience=0.5)
    except RunError as error:
        print(type(error).__name__)
"""


def stream(place: Place) -> None:
    (place.folder / "events").mkdir()
    rows = pl.read_csv(place.shop.table).with_row_index("id")
    rows.write_ndjson(place.folder / "events" / "1.jsonl")
    learned = ("--model", place.shop.model, "--state", "state", "--id", "id", "--until-end")
    said = place.recprune("stream", "events", *learned)
    assert said["counts"]["counted"] == len(rows)
    assert "recprune_stream_events" in (place.folder / "state" / "metrics.prom").read_text("utf-8")
    assert place.program(CLIENTS) == "RunError\nRunError\n"


SMOKES: dict[str, Callable[[Place], None]] = {
    each.__name__: each
    for each in (
        *(train, foreign, trees, demo, als, sql, search),
        *(export, serve, privacy, distributed, stream),
    )
}


def test_every_extra_has_a_smoke() -> None:
    assert {*SMOKES, "all"} == {*EXTRAS}, "write what a new extra alone can do, as a function here"


def test_all_names_every_other_extra() -> None:
    (named,) = EXTRAS["all"]
    assert named == f"recprune[{','.join(e for e in EXTRAS if e != 'all')}]"


@pytest.mark.parametrize("extra", [e for e in EXTRAS if e != "all"])
def test_an_extra_alone_is_enough(
    extra: str, archives: Archives, shop: Shop, tmp_path: Path
) -> None:
    environment = install(archives.wheel, extra, tmp_path / "venv")
    folder = tmp_path / "place"
    folder.mkdir()
    SMOKES[extra](Place(environment, folder, shop))
