"""The main job on small tables: what it returns, what it leaves, and that it repeats."""

from __future__ import annotations

import html
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recprune as rp
from recprune.artifact import read_artifact
from recprune.data import Dataset, ingest
from recprune.data.checks import check_dataset
from recprune.errors import DataError, InputError, ParameterError, RecpruneWarning
from recprune.executor import Executor
from recprune.pipeline import RunConfig, job, run
from recprune.users import Users
from tests.host import with_profile
from tests.planted import planted_frame

# What the report shows beside the search has tests of its own.
QUICK = RunConfig(
    epochs=3,
    tuning_epochs=1,
    dim=8,
    hidden=(16, 8),
    ranking_users=20,
    baselines=False,
    noise_seeds=0,
    bring_back=False,
)
PLAIN = QUICK.model_copy(update={"techniques": False})
BYTES_OF_ARTEFACT = (
    "config.json",
    "model.safetensors",
    "plan.json",
    "plan.zlib",
    "vocab.zlib",
)
METRICS = {
    "auc",
    "logloss",
    "accuracy",
    "precision",
    "recall",
    "recall@10",
    "ndcg@10",
    "coverage@10",
}

pytestmark = pytest.mark.filterwarnings("ignore::recprune.errors.RecpruneWarning")


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", with_profile(tmp_path_factory.mktemp("state")))


def shop(n_users: int = 200, n_items: int = 60, seed: int = 0) -> pl.DataFrame:
    """Users of two tastes meet items of two kinds; age says the taste, most of the time."""
    draws = np.random.default_rng(seed)
    taste, kind = draws.integers(0, 2, n_users), draws.integers(0, 2, n_items)
    user = np.repeat(np.arange(n_users), 30)
    item = draws.integers(0, n_items, len(user))
    chance = np.where(taste[user] == kind[item], 0.6, 0.1)
    age = np.where(draws.random(n_users) < 0.8, 25 + 30 * taste, draws.integers(20, 70, n_users))
    return pl.DataFrame(
        {
            "user_id": [f"u{u}" for u in user],
            "item_id": [f"i{i}" for i in item],
            "age": age[user],
            "kind": [("fruit", "tool")[k] for k in kind[item]],
            "price": np.round(draws.random(n_items) * 9, 2)[item],
            "bought": (draws.random(len(user)) < chance).astype(int),
        }
    ).unique(subset=["user_id", "item_id"], maintain_order=True)


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the page and its pictures, which take longest, where none is looked at."""
    monkeypatch.setattr(job, "write_report", lambda *_: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, Dataset]:
    out = tmp_path_factory.mktemp("runs") / "shop"
    data = Dataset.from_frame(shop(), label="bought", user="user_id", item="item_id")
    data = data.split(by="random", seed=0)
    return out, run(data, out, QUICK, name="shop", command="recprune run shop.csv"), data


def test_the_report_holds_every_promised_key(made) -> None:
    out, report, _ = made
    for key in ("verdict", "full", "pruned", "fields", "techniques", "compression", "report"):
        assert key in report
    assert {"outcome", "metric", "tolerance", "difference", "ci"} <= set(report["verdict"])
    for which in ("full", "pruned"):
        assert set(report[which]["metrics"]) >= METRICS
        assert set(report[which]["latency_us"]) == {"1", "1000"}
        assert report[which]["bytes"] > 0
        assert report[which]["params"] > 0
    assert sorted(report["fields"]["kept"] + report["fields"]["dropped"]) == [
        "age",
        "item_id",
        "kind",
        "price",
        "user_id",
    ]
    names = {t["technique"] for t in report["techniques"]}
    assert names == {"importance ranking", "L1", "L2", "Dropout", "ReLU", "combination"}
    assert json.loads((out / "report.json").read_text()) == report
    assert [t["chosen"] for t in report["search"]["trials"]].count(True) == 1
    assert report["search"]["met"]


def test_the_report_holds_an_audit_of_membership(made) -> None:
    out, report, data = made
    found = report["membership"]
    assert found["alike"]
    for name in ("full", "pruned"):
        loss, reference = found[name]["attacks"][:2]
        assert (loss["attack"], reference["attack"]) == ("loss", "reference")
        assert loss["non_members"] == len(data.test)
        assert loss["interval"][0] < loss["auc"] < loss["interval"][1]
        assert 0.4 < reference["auc"] < 0.6  # rows were dealt at random
    change = found["change"]
    aucs = [found[name]["attacks"][0]["auc"] for name in ("pruned", "full")]
    assert change["difference"] == pytest.approx(aucs[0] - aucs[1])
    assert "Can training rows be told from others?" in (out / "report.html").read_text("utf-8")


def test_the_report_holds_the_findings_of_recprune_check(made) -> None:
    out, report, data = made
    assert report["findings"] == [f.to_json() for f in check_dataset(data)]
    age = next(f for f in report["findings"] if f["column"] == "age")
    assert age["kind"] == "sensitive_guess"
    assert age["message"] in html.unescape((out / "report.html").read_text("utf-8"))


def test_strict_refuses_before_anything_is_trained(tmp_path: Path) -> None:
    frame = planted_frame(3000, noise=1).with_columns(after=pl.col("y") * 7)
    data = Dataset.from_frame(frame, label="y").split(by="random")
    strict = QUICK.model_copy(update={"strict": True})
    with pytest.raises(DataError, match=r"1 warning.*leak_suspect of 'after'.*recprune check"):
        run(data, tmp_path / "a", strict)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"protect": ("storng0",)}, "Cannot protect 'storng0'. Did you mean 'strong0'"),
        ({"force": ("strong0",), "protect": ("strong0",)}, "in protect .* and in force"),
        ({"keep_fields": 99}, r"'count' parameter of FieldRanking.keep must be an int in \[1, "),
        ({"profile": "nowhere.json"}, "Host profile 'nowhere.json' cannot be read"),
    ],
)
def test_what_a_search_cannot_do_is_told_before_anything_is_trained(
    settings: dict, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "fitted", None)
    data = Dataset.from_frame(planted_frame(400, noise=1), label="y").split(by="random")
    with pytest.raises(InputError, match=said):
        run(data, tmp_path / "a", RunConfig.of(**settings))
    assert list(tmp_path.iterdir()) == []


def test_workers_for_rows_on_disk_are_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "fitted", None)
    planted_frame(400, noise=1).write_csv(tmp_path / "rows.csv")
    ingest(tmp_path / "rows.csv", tmp_path / "rows.rp", label="y")
    data = Dataset.read(tmp_path / "rows.rp", label="y").split(by="random")
    with pytest.raises(ParameterError, match="one worker for rows on disk"):
        run(data, tmp_path / "a", executor=Executor(2))
    assert not (tmp_path / "a").exists()


def test_the_bytes_are_those_of_the_files(made) -> None:
    out, report, _ = made
    for which, folder in (("full", out / "full"), ("pruned", out)):
        files = ("model.safetensors", "vocab.zlib", "plan.zlib")
        assert report[which]["bytes"] == sum((folder / f).stat().st_size for f in files)
    assert report["compression"] == pytest.approx(
        report["full"]["bytes"] / report["pruned"]["bytes"]
    )


def test_the_metrics_are_those_of_the_loaded_artefact(made) -> None:
    out, report, data = made
    scorer = rp.load(out)
    columns = {n: data.test.columns[n].to_list() for n in scorer.fields}
    probability = scorer.score(columns)
    from recprune.metrics import auc

    assert auc(data.test.label, probability) == pytest.approx(
        report["pruned"]["metrics"]["auc"], abs=1e-6
    )


def test_ranking_metrics_equal_a_plain_version(made) -> None:
    out, report, data = made
    scorer, users = rp.load(out), data.users
    assert users is not None
    recalls = []
    test = data.test
    ranked = report["pruned"]["metrics"]["users_ranked"]
    positive = test.label == 1
    from recprune._support import stream

    willing = np.unique(test.users[positive])
    for u in np.sort(stream(0, "ranked users").permutation(willing)[:ranked]):
        best = scorer.recommend_user(users, users.ids[u], 10, exclude_seen=data.exclude_seen)
        ids = [
            data.items["item_id"][int(i)]
            for i in np.unique(test.items[positive & (test.users == u)])
        ]
        recalls.append(len(set(best.items) & set(ids)) / len(ids))
    assert np.mean(recalls) == pytest.approx(report["pruned"]["metrics"]["recall@10"])


def test_two_runs_give_the_same_artefact(made, tmp_path: Path, no_page: None) -> None:
    out, _, data = made
    run(data, tmp_path / "again", PLAIN, name="shop")  # techniques leave the artefact as it is
    for name in (*BYTES_OF_ARTEFACT, "catalogue.safetensors"):
        for part in ("", "full/"):
            first, second = (folder / f"{part}{name}" for folder in (out, tmp_path / "again"))
            assert first.read_bytes() == second.read_bytes(), f"{part}{name}"


def test_the_users_folder_answers_known_and_unknown_users(made) -> None:
    out, _, _ = made
    scorer, users = rp.load(out), Users.load(out / "users.rp")
    known, unknown = (scorer.recommend_user(users, u, 5) for u in ("u3", "nobody"))
    assert len(known.items) == len(unknown.items) == 5
    assert (known.fallback, unknown.fallback) == (False, True)


def test_results_are_reported_by_user_attribute(made) -> None:
    _, report, _ = made
    age = next(b for b in report["recommendations"] if b["attribute"] == "age")
    assert len(age["groups"]) > 1
    assert sum(g["rows"] for g in age["groups"]) == report["dataset"]["rows"]["test"]
    assert all(0 <= g["willingness_pruned"] <= 1 for g in age["groups"])
    assert any(g["top"] for g in age["groups"])


def test_a_table_without_users_and_items_ranks_its_rows(tmp_path: Path, no_page: None) -> None:
    data = Dataset.from_frame(planted_frame(4000, noise=2), label="y").split(by="random")
    report = run(data, tmp_path / "rows", PLAIN)
    assert set(report["full"]["metrics"]) >= METRICS
    assert report["dataset"]["items"] is None
    assert not (tmp_path / "rows" / "users.rp").exists()
    assert "catalogue.safetensors" not in read_artifact(tmp_path / "rows").catalogue


def test_a_table_of_numbers_alone_has_no_rows_to_cut(tmp_path: Path, no_page: None) -> None:
    draws = np.random.default_rng(0)
    numbers = {name: draws.normal(0, 1, 900) for name in ("a", "b")}
    label = (draws.random(900) < 1 / (1 + np.exp(-2 * numbers["a"]))).astype(int)
    frame = pl.DataFrame({**numbers, "y": label})
    data = Dataset.from_frame(frame, label="y").split(by="random", seed=0)
    config = QUICK.model_copy(update={"epochs": 1, "dim": 2, "hidden": (8,)})
    report = run(data, tmp_path / "numbers", config)
    assert len(report["search"]["trials"]) > 2  # parameters were cut, too
    assert {t["technique"] for t in report["techniques"]} >= {"L1", "L2", "Dropout", "ReLU"}


def test_a_failed_run_leaves_what_it_trained_and_goes_on_from_it(
    made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out, _, data = made

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(job, "write_report", broken)
        with pytest.raises(KeyboardInterrupt):
            run(data, tmp_path / "broken", PLAIN)
    assert [p.name for p in tmp_path.iterdir()] == [".broken.checkpoint"]
    assert "the same command goes on from it" in caplog.text
    monkeypatch.setattr(job, "write_report", lambda *_: None)
    run(data, tmp_path / "broken", PLAIN)
    assert "This training is done already" in caplog.text
    assert [p.name for p in tmp_path.iterdir()] == ["broken"]
    for name in ("model.safetensors", "full/model.safetensors"):
        assert (tmp_path / "broken" / name).read_bytes() == (out / name).read_bytes()


def test_the_folder_says_how_the_full_model_was_trained(made) -> None:
    out, report, data = made
    assert RunConfig.read(out / "run.toml") == QUICK
    history = pl.read_parquet(out / "history.parquet")
    assert history["auc"].to_list() == [e["auc"] for e in report["history"]["full"]]
    told = json.loads((out / "run.json").read_text())
    assert told["data"]["rows"]["train"] == len(data.train)
    assert (out / "plots" / "learning.png").read_bytes()[:4] == b"\x89PNG"


def test_a_foreign_folder_is_left_alone(made, tmp_path: Path) -> None:
    _, _, data = made
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not a recprune folder"):
        run(data, tmp_path / "mine", QUICK)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def test_a_second_model_on_the_same_test_rows_is_counted(
    made, tmp_path: Path, no_page: None
) -> None:
    _, _, data = made
    small = PLAIN.model_copy(update={"epochs": 1, "dim": 2, "hidden": (4,), "keep_fields": 2})
    first = run(data, tmp_path / "a", small)
    again = run(data, tmp_path / "b", small)
    with pytest.warns(RecpruneWarning, match="judged 2 models"):
        other = run(data, tmp_path / "c", small.model_copy(update={"seed": 1}))
    assert [r["verdict"]["test_uses"] for r in (first, again, other)] == [1, 1, 2]
