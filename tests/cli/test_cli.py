"""The program as a user runs it: exit codes, one JSON object, errors in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from safetensors.numpy import load_file

from recprune import artifact
from tests.cli.inside import inside
from tests.host import with_profile
from tests.pipeline.test_run import shop
from tests.planted import planted_frame

SMALL = ("--set", "epochs=2", "--set", "hidden=[8,4]", "--set", "dim=4")
ALONE = ("techniques=false", "baselines=false", "noise_seeds=0", "bring_back=false")
FAST = (*SMALL, *(word for setting in ALONE for word in ("--set", setting)))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {**os.environ, "XDG_STATE_HOME": with_profile(tmp_path_factory.mktemp("state"))}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "rows.csv"
    planted_frame(3000, noise=2).write_csv(path)
    return path


def recprune(*arguments: object, environment: dict[str, str], **options: object):
    return subprocess.run(
        [sys.executable, "-m", "recprune", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        **options,
    )


def test_run_prints_one_object_and_nothing_else(table: Path, tmp_path: Path, environment) -> None:
    done = recprune(
        "run",
        table,
        "--label",
        "y",
        "-o",
        tmp_path / "run",
        "--json",
        *FAST,
        *("--set", "keep_fields=2"),  # too few, so that the search ends there
        environment=environment,
    )
    assert done.returncode in (0, 3), done.stderr
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "run" / "report.json").read_text())
    assert (report["verdict"]["outcome"] == "PASS") == (done.returncode == 0)
    assert "Traceback" not in done.stderr


def test_the_verbs_work_one_after_another(tmp_path: Path) -> None:
    csv = tmp_path / "shop.csv"
    shop().write_csv(csv)
    full, small = tmp_path / "full", tmp_path / "small"

    def ok(*arguments: object, codes: tuple[int, ...] = (0,)) -> dict:
        done = inside(*arguments, "--json")
        assert done.returncode in codes, done.stderr
        return json.loads(done.stdout)

    columns = ("--label", "bought", "--user", "user_id", "--item", "item_id")
    trained = ok("train", csv, *columns, "-o", full, *SMALL)
    assert trained["auc_tune"] > 0.5
    ranked = ok("rank", full, csv)
    assert {r["field"] for r in ranked["fields"]} == set(trained["fields"])
    planned = ok("prune", full, csv, "--keep", "neurons=0.5", "--dry-run")
    assert [p["axis"] for p in planned["plan"]] == ["neurons.0", "neurons.1"]
    keep = ("--keep", "neurons=0.5", "--keep", "rows=0.5", "--keep", "dims=0.5")
    pruned = ok("prune", full, csv, *keep, "--method", "dims=sseds", "-o", small)
    assert pruned["bytes"]["after"] < pruned["bytes"]["before"]
    fewer = ok("prune", full, csv, *keep, "--bits", "mixed", "-o", tmp_path / "mixed")
    assert fewer["bytes"]["after"] < pruned["bytes"]["after"]
    assert ok("inspect", tmp_path / "mixed")["encoding"]["mlp.0.weight"] == "int8_row"
    mixed = ok("prune", full, csv, *keep, "--bits", "mixed", "--dry-run")
    stored = load_file(tmp_path / "mixed" / "model.safetensors")
    assert mixed["tensor_bytes"] == sum(array.nbytes for array in stored.values())
    cut = {axis["axis"]: axis["encoding"] for axis in mixed["plan"]}
    assert cut["neurons.0"]["mlp.0.weight"] == "int8_row"
    done = inside("prune", full, csv, *keep, "--bits", "int4")
    assert done.returncode == 2
    assert "one of fp32, fp16, int8, int8_row, int4_row, mixed" in " ".join(done.stderr.split())
    assert 0 < ok("evaluate", small, csv)["metrics"]["auc"] < 1
    compared = ok("compare", full, small, csv, codes=(0, 3))
    assert compared["pruned"][0]["compression"] > 1
    best = ok("recommend", small, "--users", full / "users.rp", "--user", "u1", "-k", 3)
    assert len(best["items"]) == 3
    assert not best["fallback"]
    assert ok("recommend", small, "--users", full / "users.rp", "--user", "new", "-k", 3)[
        "fallback"
    ]
    some = ("recommend", small, "--users", full / "users.rp", "--user", "u1", "-k", 999)
    kinds = {row["item_id"]: (row["kind"], row["price"]) for row in shop().to_dicts()}
    chosen = ("--include-seen", "--filter", "kind=tool", "--filter", "price=2..5.5")
    got = {row["item"] for row in ok(*some, *chosen)["items"]}
    assert got == {i for i, (kind, price) in kinds.items() if kind == "tool" and 2 <= price <= 5.5}
    for wrong in ("prices=1", "price=low", "price"):
        done = inside(*some, "--filter", wrong)
        assert done.returncode == 2
        assert "price" in done.stderr
        assert "Traceback" not in done.stderr
    assert ok("inspect", small)["neurons"] == [4, 2]
    assert ok("doctor", codes=(0, 1))["versions"]["numpy"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("run", "absent.csv", "--label", "y"), "absent.csv"),
        (("run", "{table}", "--label", "yy"), "Did you mean 'y'"),
        (("run", "{table}", "--label", "y", "--item", "strong"), "Did you mean 'strong"),
        (("run", "{table}", "--label", "y", "--set", "tolerence=1"), "Did you mean 'tolerance'"),
        (("run", "{table}", "--label", "y", "--set", "tolerance=-1"), "'tolerance' setting"),
        (("run", "{table}", "--label", "y", "--split", "tiem"), "split"),
        (("run", "{table}"), "--label"),
        (("runn", "{table}"), "run"),
        (("inspect", "."), "no recprune artefact"),
        (("train", "{table}", "--label", "y", "--model", "deepfmm"), "Did you mean 'DeepFM'"),
    ],
)
def test_bad_usage_is_one_clear_line(
    arguments, message, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = inside(*(a.replace("{table}", str(table)) for a in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_said_before_training(table: Path, environment) -> None:
    done = recprune(
        "run", table, "--label", "y", "-o", "/proc/nowhere/run", environment=environment
    )
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_debug_shows_the_traceback(environment) -> None:
    done = recprune("run", "absent.csv", "--label", "y", "--debug", environment=environment)
    assert "Traceback" in done.stderr


def test_an_interruption_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(artifact, "read_artifact", interrupted)
    done = inside("inspect", ".")
    assert done.returncode == 130
    assert done.stderr == "recprune: Interrupted; nothing half-written was left.\n"


def test_help_names_every_verb(environment) -> None:
    done = recprune("--help", environment=environment)
    assert done.returncode == 0
    for verb in ("demo", "run", "train", "rank", "prune", "evaluate", "compare", "recommend"):
        assert verb in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "sent, after", [(signal.SIGKILL, 3.0), (signal.SIGKILL, 6.0), (signal.SIGINT, 4.0)]
)
def test_a_killed_run_leaves_no_artefact(sent, after, tmp_path: Path, environment) -> None:
    csv, out = tmp_path / "rows.csv", tmp_path / "runs" / "x"
    planted_frame(60_000).write_csv(csv)
    command = [sys.executable, "-m", "recprune", "run", str(csv), "--label", "y", "-o", str(out)]
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    time.sleep(after)
    running.send_signal(sent)
    _, said = running.communicate(timeout=60)
    assert running.returncode != 0
    assert not out.exists()
    if sent == signal.SIGINT:
        assert "Traceback" not in said
        assert list((tmp_path / "runs").iterdir()) == [] if (tmp_path / "runs").exists() else True


def real_table(folder: Path) -> Path:
    return next(iter(sorted(folder.glob("*.csv.gz"))))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, options, least",
    [
        ("online_shoppers", ("--label", "Revenue"), 0.91),
        ("bank_marketing", ("--label", "y", "--drop", "duration"), 0.77),
    ],
)
def test_real_tables_reach_their_auc(
    name, options, least, shared_data: Path, tmp_path: Path, environment
) -> None:
    table, model = real_table(shared_data / name), tmp_path / "model"
    done = recprune("train", table, *options, "-o", model, environment=environment)
    assert done.returncode == 0, done.stderr
    done = recprune("evaluate", model, table, "--json", environment=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["auc"] >= least


@pytest.mark.slow
def test_a_whole_run_of_a_real_table(shared_data: Path, tmp_path: Path, environment) -> None:
    table = real_table(shared_data / "vehicle_coupon")
    done = recprune(
        "run", table, "--label", "Y", "-o", tmp_path / "run", "--json", environment=environment
    )
    assert done.returncode in (0, 3), done.stderr
    report = json.loads(done.stdout)
    assert report["full"]["metrics"]["auc"] >= 0.77
    assert report["compression"] > 1


def test_a_table_with_one_row_is_refused(tmp_path: Path, environment) -> None:
    pl.DataFrame({"a": [1.0], "y": [1]}).write_csv(tmp_path / "one.csv")
    done = recprune(
        "run", tmp_path / "one.csv", "--label", "y", environment=environment, cwd=tmp_path
    )
    assert done.returncode == 2
    assert [p.name for p in tmp_path.iterdir()] == ["one.csv"]


def test_an_ingested_table_stands_in_for_its_file(table: Path, tmp_path: Path) -> None:
    def ok(*arguments: object) -> dict:
        done = inside(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    made = ok("ingest", table, "--label", "y", "-o", tmp_path / "data.rp")
    assert (made["rows"], made["roles"]) == (3000, {"label": "y"})
    models = []
    for source, options in ((table, ("--label", "y")), (tmp_path / "data.rp", ())):
        folder = tmp_path / f"lr{len(models)}"
        ok("train", source, *options, "--model", "lr", "--set", "epochs=1", "-o", folder)
        models.append((folder / "model.safetensors").read_bytes())
    assert models[0] == models[1]


def test_check_reports_and_strict_refuses(
    table: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    clean = recprune("check", table, "--label", "y", "--strict", "--json", environment=environment)
    found = json.loads(clean.stdout)
    assert (found["rows"], clean.returncode) == (3000, 0 if not found["findings"] else 2)
    leaky = tmp_path / "leaky.csv"
    pl.read_csv(table).with_columns((pl.col("y") * 7).alias("after")).write_csv(leaky)
    for options, code in (((), 0), (("--strict",), 2)):
        done = recprune("check", leaky, "--label", "y", "--json", *options, environment=environment)
        assert done.returncode == code, done.stderr
        kinds = {
            (f["kind"], f["column"], f["severity"]) for f in json.loads(done.stdout)["findings"]
        }
        assert ("leak_suspect", "after", "warning") in kinds
    shown = recprune("check", leaky, "--label", "y", environment=environment)
    assert "leak_suspect" in shown.stdout


@pytest.mark.slow
def test_an_ingest_killed_and_started_again_ends_in_the_same_bytes(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    csv, folder = tmp_path / "rows.csv", tmp_path / "data.rp"
    pl.concat([planted_frame(20_000)] * 30).write_csv(csv)
    command = [sys.executable, "-m", "recprune", "ingest", str(csv), "-o", str(folder)]
    running = subprocess.Popen(command, env=environment)
    while running.poll() is None and not list(tmp_path.glob(".data.rp.*.partial/3.bin")):
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert not folder.exists()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    again = tmp_path / "again.rp"
    subprocess.run([*command[:-1], str(again)], env=environment, check=True, capture_output=True)
    assert sorted(p.name for p in tmp_path.glob(".*")) == []
    for file in folder.iterdir():
        assert file.read_bytes() == (again / file.name).read_bytes()
