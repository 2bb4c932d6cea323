"""A cut module on disk: equal after reading in a clean process, and refused when changed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import recprune as rp
from recprune.errors import ArtifactError, PlanError
from recprune.foreign import plan_module, storing

from .foreign_nets import CASES, Case, Mlp, Tied
from .test_foreign_constructs import made, outputs

ROOT = Path(__file__).resolve().parents[2]


def saved(case: Case, folder: Path) -> tuple[nn.Module, int]:
    net = made(case)
    plan = plan_module(net, case.inputs, case.keep)
    small = plan.apply(net)
    size = plan.save(small, folder)
    assert plan.predicted_bytes < size < plan.predicted_bytes + 4096
    return small, size


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_pruned_file_can_be_reloaded(case: Case, tmp_path: Path) -> None:
    small, size = saved(case, tmp_path / "small")
    assert (tmp_path / "small" / "model.safetensors").stat().st_size == size
    again = rp.restore(case.net(), tmp_path / "small")
    for a, b in zip(outputs(small, case.inputs), outputs(again, case.inputs), strict=True):
        assert torch.equal(a, b)
    assert [type(m) for m in again.modules()] == [type(m) for m in small.modules()]
    assert repr(again) == repr(small)


CLEAN = """
import builtins, sys, torch
from safetensors.torch import load_file, save_file
import pickle
def refuse(*a, **k): raise AssertionError("a pickle was read")
pickle.load = pickle.loads = pickle.Unpickler = torch.load = refuse
import recprune as rp
from tests.pruning.foreign_nets import CASES
from recprune.foreign.tracing import call
case = CASES[sys.argv[1]]
net = rp.restore(case.net(), sys.argv[2]).eval()
with torch.no_grad():
    save_file({"out": call(net, case.inputs)["y_pred"].contiguous()}, sys.argv[3])
assert "polars" not in sys.modules
"""


def test_a_clean_process_gives_the_same_outputs_without_pickle(tmp_path: Path) -> None:
    name = "attention, shared table, padding"
    small, _ = saved(CASES[name], tmp_path / "small")
    out = tmp_path / "out.safetensors"
    run = subprocess.run(
        [sys.executable, "-c", CLEAN, name, str(tmp_path / "small"), str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    (want,) = outputs(small, CASES[name].inputs)
    assert torch.equal(load_file(out)["out"], want)


@pytest.mark.parametrize("file", ["plan.json", "plan.safetensors", "model.safetensors"])
def test_a_changed_or_missing_file_is_refused(file: str, tmp_path: Path) -> None:
    case = CASES["batch norm, dropout, PReLU"]
    folder = tmp_path / "small"
    saved(case, folder)
    data = bytearray((folder / file).read_bytes())
    for spot in (0, len(data) // 2, len(data) - 2):
        broken = bytearray(data)
        broken[spot] ^= 1
        (folder / file).write_bytes(broken)
        with pytest.raises(ArtifactError):
            rp.restore(Mlp(), folder)
    (folder / file).write_bytes(data[: len(data) // 2])
    with pytest.raises(ArtifactError):
        rp.restore(Mlp(), folder)
    (folder / file).unlink()
    with pytest.raises(ArtifactError, match="is not a saved module"):
        rp.restore(Mlp(), folder)


def test_weights_of_another_size_are_refused_by_their_hash(tmp_path: Path) -> None:
    case = CASES["batch norm, dropout, PReLU"]
    folder = tmp_path / "small"
    saved(case, folder)
    state = load_file(folder / "model.safetensors")
    save_file({k: v + 1 for k, v in state.items()}, folder / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"changed after saving: model\.safetensors"):
        rp.restore(Mlp(), folder)


@pytest.mark.parametrize(
    "key, value", [("kept.0", [0, 99]), ("kept.0", [2, 1]), ("units.0.0", [0, 1]), ("kept.0", [-1])]
)
def test_a_sound_hash_over_unsound_units_is_refused(
    key: str, value: list[int], tmp_path: Path
) -> None:
    folder = tmp_path / "small"
    saved(CASES["batch norm, dropout, PReLU"], folder)
    units = load_file(folder / storing.UNITS)
    save_file({**units, key: torch.tensor(value, dtype=torch.int32)}, folder / storing.UNITS)
    hashed_anew(folder)
    with pytest.raises(ArtifactError, match=r"not a sound module: (kept units of )?axis"):
        rp.restore(Mlp(), folder)


def hashed_anew(folder: Path, **changed: object) -> None:
    """Write the plan with hashes of what the folder holds now."""
    about = {**json.loads((folder / storing.PLAN).read_text()), **changed}
    hashes = {n: h for n, h in about["sha256"].items() if n != storing.PLAN}
    hashes[storing.UNITS] = hashlib.sha256((folder / storing.UNITS).read_bytes()).hexdigest()
    own = storing._own_hash({**about, "sha256": hashes})
    about["sha256"] = {**hashes, storing.PLAN: own}
    (folder / storing.PLAN).write_text(json.dumps(about))


@pytest.mark.parametrize("aliases", [{"a": "no such tensor"}, {"a": ["b"]}, ["a"]])
def test_shared_names_that_lead_nowhere_are_refused(aliases: object, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    saved(CASES["batch norm, dropout, PReLU"], folder)
    hashed_anew(folder, aliases=aliases)
    with pytest.raises(ArtifactError, match="do not fit their plan"):
        rp.restore(Mlp(), folder)


def test_a_newer_protocol_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    saved(CASES["batch norm, dropout, PReLU"], folder)
    about = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**about, "protocol": 2}))
    with pytest.raises(ArtifactError, match="recprune-module 2"):
        rp.restore(Mlp(), folder)


def test_another_module_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    saved(CASES["batch norm, dropout, PReLU"], tmp_path / "small")
    with pytest.raises(PlanError, match="holds a Mlp with a tensor"):
        rp.restore(Tied(), tmp_path / "small")


def test_only_what_the_plan_made_is_saved_under_it(tmp_path: Path) -> None:
    case = CASES["batch norm, dropout, PReLU"]
    net = made(case)
    plan = plan_module(net, case.inputs, case.keep)
    with pytest.raises(PlanError, match=r"not what the plan makes.*Save what plan\.apply"):
        plan.save(net, tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_a_folder_is_replaced_whole_and_foreign_ones_are_left(tmp_path: Path) -> None:
    case = CASES["batch norm, dropout, PReLU"]
    folder = tmp_path / "small"
    saved(case, folder)
    saved(case, folder)
    rp.restore(Mlp(), folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "plan.json").write_text("{}")
    with pytest.raises(rp.RecpruneError, match="is not a recprune folder"):
        saved(case, tmp_path / "other")


def test_two_saves_are_the_same_bytes(tmp_path: Path) -> None:
    case = CASES["FM sums, stack and flatten, sparse"]
    for name in ("a", "b"):
        saved(case, tmp_path / name)
    for file in ("plan.json", "plan.safetensors", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_rounds_of_cuts_are_restored_one_after_the_other(tmp_path: Path) -> None:
    case = CASES["ModuleDict, concatenation"]
    net = made(case)
    for name in ("first", "second"):
        plan = plan_module(net, case.inputs, case.keep)
        net = plan.apply(net)
        plan.save(net, tmp_path / name)
    again = rp.restore(rp.restore(case.net(), tmp_path / "first"), tmp_path / "second")
    assert torch.equal(outputs(again, case.inputs)[0], outputs(net, case.inputs)[0])
