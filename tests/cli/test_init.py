"""``recprune init``: a config from a table, which ``run`` reads as it is."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.cli.init import _options_of_run
from recprune.data import Dataset, ingest
from recprune.data.bad_rows import BadRows
from recprune.data.opening import Opened
from recprune.data.spec import Spec
from recprune.errors import ParameterError
from recprune.pipeline import RunConfig, config_text, describe
from tests.cli.inside import inside

N = 400


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("init") / "events.csv"
    age = rng.integers(18, 70, N // 4).repeat(4)
    columns = {
        "user_id": np.arange(N) // 4,
        "age": age,
        "price": rng.gamma(2, size=N).round(2),
        "e_mail": [f"u{i // 4}@example.org" for i in range(N)],
        "country": ["NL"] * N,
        "colour": rng.choice(["red", "blue", "green"], N),
        "clicked": (rng.random(N) < np.where(age > 40, 0.7, 0.2)).astype(int),
    }
    pl.DataFrame(columns).write_csv(path)
    return path


def init(*arguments: object) -> dict[str, Any]:
    done = inside("init", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_what_a_table_comes_to(events: Path, tmp_path: Path) -> None:
    out = tmp_path / "shop.toml"
    found = init(events, "-o", out)
    assert found["config"] == str(out)
    assert found["next"] == f"recprune run {events} --config {out}"
    assert {r: g["column"] for r, g in found["guesses"].items()} == {
        "label": "clicked",
        "user": "user_id",
        "item": None,
        "time": None,
    }
    assert {c["name"]: c["kind"] for c in found["columns"]}["colour"] == "categorical"
    text = out.read_text("utf-8")
    assert tomllib.loads(text) == {"label": "clicked", "user": "user_id", "drop": ["e_mail"]}
    assert "'e_mail' holds e-mail addresses" in text
    assert "'country' has one value in all rows" in text
    assert "Taken as personal attributes: 'age'" in text
    assert re.search(r'# "colour" +field +categorical +0 +3\n', text)


def test_the_screen_says_why(events: Path, tmp_path: Path) -> None:
    done = inside("init", events, "-o", tmp_path / "a.toml")
    assert done.returncode == 0
    for word in ("clicked", "its name", "not sure", "categorical", "Next: recprune run"):
        assert word in done.stdout


@pytest.mark.parametrize("setting", RunConfig.model_fields)
def test_every_setting_is_explained_and_has_its_default(
    events: Path, tmp_path: Path, setting: str
) -> None:
    text = _text_of(pl.read_csv(events, infer_schema=False))
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if re.match(rf"(# )?{setting} =", line))
    start = max(i for i in range(at) if not lines[i]) + 1
    meaning = " ".join(line.removeprefix("# ") for line in lines[start:at])
    helps, _ = _options_of_run(RunConfig.model_fields)
    said = helps.get(setting) or RunConfig.model_fields[setting].description
    assert said
    assert meaning.startswith(" ".join(said.replace("``", "").split())[:60])
    given = lines[at].startswith("# ")
    value = lines[at].removeprefix("# ").partition(" =")[2].strip()
    if given and value:
        read = RunConfig.of(**tomllib.loads(f"{setting} = {value}"))
        assert getattr(read, setting) == RunConfig.model_fields[setting].default
    elif given:
        assert RunConfig.model_fields[setting].default is None


def test_every_option_of_run_is_there(events: Path) -> None:
    helps, elsewhere = _options_of_run(RunConfig.model_fields)
    text = _text_of(pl.read_csv(events, infer_schema=False))
    shown = inside("run", "--help").stdout
    for option in re.findall(r"--[a-z-]+(?=[ \n│])", shown):
        setting = option.removeprefix("--").replace("-", "_")
        setting = {"schema": "schema_file"}.get(setting, setting)
        told = setting in helps or any(option in names for names in elsewhere)
        assert told or option == "--help", option
    assert all(f"# {names}: " in text for names in elsewhere)
    assert "# --workers: Parts at once" in text


def test_run_takes_it_as_options_by_hand(events: Path, tmp_path: Path) -> None:
    out = tmp_path / "recprune.toml"
    init(events, "-o", out)
    quick = ["--model", "LR", "--set", "epochs=1"]
    by_hand = ["--label", "clicked", "--user", "user_id", "--drop", "e_mail"]
    done = inside("train", events, "--config", out, *quick, "-o", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    again = inside("train", events, *by_hand, *quick, "-o", tmp_path / "b")
    assert again.returncode == 0, again.stderr
    for name in ("model.safetensors", "run.toml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert RunConfig.read(tmp_path / "a" / "run.toml").drop == ("e_mail",)


@pytest.mark.slow
def test_a_whole_run_from_it(events: Path, tmp_path: Path) -> None:
    out = tmp_path / "recprune.toml"
    init(events, "-o", out)
    quick = [f"--set={s}" for s in ("epochs=1", "noise_seeds=0", "techniques=false")]
    quick += [f"--set={s}" for s in ("baselines=false", "bring_back=false", "dim=2", "hidden=[4]")]
    done = inside("run", events, "--config", out, *quick, "--json", "-o", tmp_path / "a")
    assert done.returncode in (0, 3), done.stderr
    by_hand = ["--label", "clicked", "--user", "user_id", "--drop", "e_mail"]
    again = inside("run", events, *by_hand, *quick, "--json", "-o", tmp_path / "b")
    assert again.returncode == done.returncode
    one, other = json.loads(done.stdout), json.loads(again.stdout)
    assert one["verdict"] == other["verdict"]
    model = [(tmp_path / run / "model.safetensors").read_bytes() for run in "ab"]
    assert model[0] == model[1]


def test_options_win_over_the_file(events: Path, tmp_path: Path) -> None:
    out = tmp_path / "recprune.toml"
    init(events, "-o", out)
    file = ["--config", out, "--model", "LR", "--set", "epochs=1", "--seed", "5"]
    done = inside("train", events, *file, "--drop", "e_mail", "--drop", "age", "-o", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    used = RunConfig.read(tmp_path / "a" / "run.toml")
    assert (used.seed, used.drop, used.label) == (5, ("e_mail", "age"), "clicked")


def test_a_wrong_key_is_told_from_the_nearest(events: Path, tmp_path: Path) -> None:
    out = tmp_path / "recprune.toml"
    init(events, "-o", out)
    out.write_text(out.read_text("utf-8") + "\ntolerence = 0.01\n", "utf-8")
    done = inside("run", events, "--config", out, "-o", tmp_path / "a")
    assert done.returncode == 2
    assert "There is no setting 'tolerence'. Did you mean 'tolerance'" in done.stderr
    with pytest.raises(ParameterError, match="Did you mean 'label'"):
        RunConfig.of(lable="y")


def test_a_file_is_not_written_over(events: Path, tmp_path: Path) -> None:
    out = tmp_path / "recprune.toml"
    out.write_text("mine", "utf-8")
    done = inside("init", events, "-o", out)
    assert (done.returncode, out.read_text("utf-8")) == (2, "mine")
    assert "--force" in done.stderr
    init(events, "-o", out, "--force")
    assert "label" in tomllib.loads(out.read_text("utf-8"))


def test_the_default_output(events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert init(events)["config"] == "recprune.toml"
    assert RunConfig.read("recprune.toml").label == "clicked"


def test_what_is_stated_is_taken(events: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.toml"
    stated = ["--label", "price", "--label-threshold", "2", "--drop", "clicked", "--split", "user"]
    found = init(events, *stated, "--seed", "7", "-o", out)
    assert found["guesses"]["label"]["stated"]
    assert tomllib.loads(out.read_text("utf-8")) == {
        "label": "price",
        "label_threshold": 2.0,
        "user": "user_id",
        "drop": ["clicked", "e_mail"],
        "seed": 7,
        "split": "user",
    }


def test_a_leak_is_a_suspect_and_not_dropped(events: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "leak.csv", tmp_path / "a.toml"
    leaking = pl.col("clicked") * 9 + pl.col("price") / 100
    pl.read_csv(events).with_columns(revenue_eur=leaking).write_csv(path)
    init(path, "-o", out)
    text = out.read_text("utf-8")
    assert "'revenue_eur' may be known only after the label" in " ".join(text.split("\n# "))
    assert tomllib.loads(text)["drop"] == ["e_mail"]


def test_an_ingested_folder_keeps_its_roles(events: Path, tmp_path: Path) -> None:
    folder = ingest(events, tmp_path / "data.rp", user="age", drop=("e_mail",))
    found = init(folder, "-o", tmp_path / "a.toml")
    assert (found["guesses"]["user"]["column"], found["guesses"]["user"]["stated"]) == ("age", True)
    assert found["guesses"]["label"]["column"] == "clicked"


@pytest.mark.parametrize(
    "table, options, message",
    [
        (None, (), "does not exist|No such|not there|no file"),
        ({"a": [1] * 3, "y": [0, 1, 0]}, (), "3 rows; at least 30"),
        ({"a": [1, 2, 3] * 20, "y": [1, 1, 1] * 20}, ("--label", "y"), "one class only"),
        ({"a": [1, 2, 3] * 20, "y": [1, 1, 1] * 20}, ("--label", "x"), "no label column 'x'"),
        ({"a": [1, 1, 1] * 20, "y": [1, 0, 1] * 20}, (), "No usable field"),
        ({"a": []}, (), "no rows"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, table: dict[str, Any] | None, options: tuple[str, ...], message: str
) -> None:
    path, out = tmp_path / "rows.parquet", tmp_path / "a.toml"
    if table is not None:
        pl.DataFrame(table).write_parquet(path)
    done = inside("init", path, *options, "-o", out)
    assert done.returncode == 2
    assert re.search(message, done.stderr), done.stderr
    assert not out.exists()


def test_neither_table_nor_query() -> None:
    done = inside("init")
    assert done.returncode == 2
    assert "Name a table" in done.stderr


@settings(max_examples=25)
@given(
    names=st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=5, unique=True),
    table=st.text(max_size=20),
)
def test_any_names_give_a_file_that_reads_back(names: list[str], table: str) -> None:
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(0, 5, 120) for name in names[1:]} | {
        names[0]: rng.integers(0, 2, 120)
    }
    text = _text_of(pl.DataFrame(columns), table, label=names[0])
    config = RunConfig.of(**tomllib.loads(text))
    assert config.label == names[0]
    roles = {role: getattr(config, role) for role in ("label", "user", "item", "time")}
    Dataset.from_frame(pl.DataFrame(columns), **roles, drop=config.drop).split()


def _text_of(frame: pl.DataFrame, name: str = "rows.csv", label: str | None = None) -> str:
    spec = Spec().with_roles((), label=label)
    from_text = frame.schema[frame.columns[0]] == pl.String
    opened = Opened(frame, spec, from_text, {})
    described = describe(opened, name, {"label": label}, BadRows.of("error"))
    return config_text(described, *_options_of_run(RunConfig.model_fields), f"recprune run {name}")
