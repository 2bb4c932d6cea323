"""A shop's log, and what recprune made of it: data, a model that knows users by id, its users."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recprune.crypto import Pseudonymiser
from recprune.data import Dataset, ingest
from recprune.pipeline import RunConfig
from recprune.pipeline.run_folder import train_model

PEOPLE = Pseudonymiser(b"a key that nobody would guess, ever")
ROLES = {"label": "y", "user": "user_id", "item": "product", "time": "day"}
SCHEMA = {"fields": {"user_id": {"kind": "categorical", "source": "user"}}}
GONE, OTHER = "customer-07", "customer-11"


def log(n: int = 1500, users: int = 30) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, users, n), rng.integers(0, 20, n)
    likes = rng.normal(0, 1.5, (users, 20))[user, item]
    return pl.DataFrame(
        {
            "user_id": [f"customer-{u:02d}" for u in user],
            "product": [f"p{i}" for i in item],
            "category": [f"c{i % 5}" for i in item],
            "city": [f"town {u % 7}" for u in user],
            "day": np.sort(rng.integers(0, 100, n)),
            "y": (rng.random(n) < 1 / (1 + np.exp(-likes))).astype(int),
        }
    )


def make(folder: Path, people: Pseudonymiser | None = None, users: int = 30) -> Path:
    """Write ``log.csv``, ``data.rp`` of it, and ``model``, trained on that."""
    folder.mkdir(parents=True)
    log(users=users).write_csv(folder / "log.csv")
    ingest(folder / "log.csv", folder / "data.rp", **ROLES, pseudonyms=people)
    data = Dataset.read(folder / "data.rp", schema=SCHEMA).split(seed=0)
    config = RunConfig.of(model="DeepFM", dim=4, hidden=(8,), epochs=2)
    train_model(data, folder / "model", config)
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("erasure") / "plain")


@pytest.fixture(scope="session")
def made_hidden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("erasure") / "hidden", PEOPLE)


@pytest.fixture
def shop(made: Path, tmp_path: Path) -> Path:
    """A copy to forget users in; the log is not in it."""
    return copied(made, tmp_path / "shop")


@pytest.fixture
def hidden(made_hidden: Path, tmp_path: Path) -> Path:
    return copied(made_hidden, tmp_path / "hidden")


def copied(source: Path, place: Path) -> Path:
    shutil.copytree(source, place, ignore=shutil.ignore_patterns("log.csv"))
    return place


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a list of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
