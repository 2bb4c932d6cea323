"""Tables whose rows lie over several processes: trained, kept, and brought together again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recprune.artifact import read_artifact
from recprune.errors import ParameterError, RunError
from recprune.layout import state_hash
from recprune.models import CrossEntropy, Penalty, Target
from recprune.models.guard import Guard
from recprune.models.network import DRAWN, FieldNet
from recprune.models.parallel import Group, RowSharded, joined, merged
from recprune.models.parallel.shards import Shards
from recprune.models.step import Updates
from tests.models.parallel.test_data import stopping
from tests.models.parallel.world import difference, in_processes, ranker, table

NAMES = ("LR", "DeepFM", "DCNv2")
#: Rows of tables of which some of three processes hold none.
FEW = (1, 4, 5, 7)


def train_sharded(shared: Any, rank: int, draws: object) -> dict[str, Any]:
    """What one process sees of several trainings, one after the other."""
    size, where, folder = shared
    data, out = table(), {}
    with joined(rank, size, where) as group:
        together = RowSharded(group)
        for name in NAMES:
            penalty = Penalty(l2=1e-2, l1=1e-3) if name == "LR" else Penalty()
            model = ranker(name, penalty=penalty).fit(data.train, together=together)
            whole = merged(model)
            out[name] = whole and whole.state
        with pytest.raises(RunError, match=r"holds \d+ of the table's \d+ rows.*merged"):
            _ = model.state
        out["sizes"] = sizes_of_training(model, together)
        normed = ranker("DeepFM").like(hidden=(8,))
        normed.hidden = type(normed.hidden)((8,), batch_norm=True)
        with pytest.raises(ParameterError, match="batch_norm"):
            normed.fit(data.train, together=together)
        kept = {"together": together, "checkpoint": folder / "whole"}
        model = ranker("DeepFM", epochs=4).fit(data.train, data.tune, **kept)
        out["history"] = model.history
        whole = merged(model)
        if whole is not None:
            whole.save(folder / "model")
        kept["checkpoint"] = folder / "stopped"
        with pytest.raises(InterruptedError):
            ranker("DeepFM", epochs=4).fit(data.train, data.tune, **kept, watch=stopping)
    return out


def sizes_of_training(model: Any, together: RowSharded) -> tuple[int, dict[str, int]]:
    """Return the whole table's rows, and how many of each tensor by rows are in this process."""
    net, rows = model.net, table().train.rows
    prior = together.prior(net, rows, (50.0, 5, True))
    guard = Guard(CrossEntropy(Target(table().train.label)), 1, 1e-3)
    step = together.step(net, prior, guard, Updates(1e-3, Penalty(), 10))
    state = {"table": net.table, "chance": prior.unknown, "group": prior.group, **step.state()}
    by_row = ("table", "chance", "group", "table.first", "table.second", "mean.rows.mean")
    return net.n_rows, {name: len(state[name]) for name in by_row}


def go_on(shared: Any, rank: int, draws: object) -> Any:
    """Load what others have kept; train the one that was stopped to its end."""
    size, where, folder = shared
    data, out = table(), {}
    with joined(rank, size, where) as group:
        for name in ("whole", "stopped"):
            model = ranker("DeepFM", epochs=4)
            model.fit(data.train, data.tune, together=RowSharded(group), checkpoint=folder / name)
            whole = merged(model)
            out[name] = whole and whole.state
            out[f"{name} rows"] = len(model.net.table)
        out["lookups"] = lookups(group)
    return out


def lookups(group: Group) -> list[Any]:
    """Rows of tables of few rows: some processes hold none."""
    out = []
    for rows in FEW:
        shards = Shards(group, rows)
        whole = torch.arange(rows * 2.0).reshape(rows, 2)
        asked = shards.union(torch.tensor([min(group.rank * 2, rows - 1)] * 3))
        found = shards.look_up(whole[shards.held], asked)
        together = [b.copy() for _, b in shards.blocks(whole[shards.held])]
        out.append((asked.tolist(), found.tolist(), together))
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def done(folder: Path) -> list[Any]:
    return in_processes(train_sharded, 2, folder, folder)


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_one_processs(done: list[Any], name: str) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        penalty = Penalty(l2=1e-2, l1=1e-3) if name == "LR" else Penalty()
        alone = ranker(name, penalty=penalty).fit(table().train)
    finally:
        torch.set_num_threads(before)
    assert difference(done[0][name], alone.state) < 1e-6
    assert [each[name] is None for each in done] == [False, True]


def test_each_holds_its_share_of_all_that_has_rows(done: list[Any]) -> None:
    rows = done[0]["sizes"][0]
    for total, sizes in (each["sizes"] for each in done):
        assert total == rows
        assert max(sizes.values()) <= -(-rows // 2)
    for name in done[0]["sizes"][1]:
        assert sum(each["sizes"][1][name] for each in done) == rows, name


def test_a_sharded_model_becomes_an_ordinary_artefact(done: list[Any], folder: Path) -> None:
    alone = ranker("DeepFM", epochs=4).fit(table().train, table().tune)
    artifact = read_artifact(folder / "model")
    assert difference(artifact.state, alone.state) < 1e-6
    assert artifact.layout.hash == alone.layout.hash
    scores = [e.score for e in done[0]["history"]]
    assert scores == pytest.approx([e.score for e in alone.history], abs=1e-4)


@pytest.mark.parametrize("size", [1, 3])
def test_what_two_kept_any_number_loads(done: list[Any], folder: Path, size: int) -> None:
    copy = folder.with_name(f"{folder.name}-for-{size}")
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        to = copy / path.relative_to(folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())
    found = in_processes(go_on, size, copy, copy)
    expected = read_artifact(folder / "model").state
    assert state_hash(found[0]["whole"]) == state_hash(expected)
    assert difference(found[0]["stopped"], expected) < 1e-6
    rows = [each["whole rows"] for each in found]
    assert max(rows) == -(-sum(rows) // size)
    for each in found:
        for few, (asked, read, _) in zip(FEW, each["lookups"], strict=True):
            whole = np.arange(few * 2.0).reshape(few, 2)
            assert asked == sorted({min(2 * rank, few - 1) for rank in range(size)})
            np.testing.assert_array_equal(read, whole[asked])
    for few, (_, _, blocks) in zip(FEW, found[0]["lookups"], strict=True):
        np.testing.assert_array_equal(np.concatenate(blocks).ravel(), np.arange(few * 2.0))


def test_what_is_kept_is_safetensors_and_json(done: list[Any], folder: Path) -> None:
    files = {p.relative_to(folder / "whole") for p in (folder / "whole").rglob("*") if p.is_file()}
    assert {f.suffix for f in files} == {".safetensors", ".json"}
    assert len([f for f in files if f.suffix == ".safetensors"]) == 2
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["model", "stopped", "whole"]


@pytest.mark.parametrize("sizes", [(3, 5), (DRAWN + 7, 9), (3 * DRAWN - 1, 12)])
def test_first_weights_are_drawn_alike_wherever_they_lie(sizes: tuple[int, int]) -> None:
    def drawn(held: slice | None) -> tuple[torch.Tensor, float]:
        net = SimpleNamespace(
            shape=SimpleNamespace(sizes=sizes, width=3, wide=True), n_rows=sum(sizes), ragged=False
        )
        net.fresh_rows = lambda field, draws: FieldNet.fresh_rows(net, field, draws)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(1)
        rows = FieldNet._first_rows(net, held, generator)  # type: ignore[arg-type]
        return rows, float(torch.rand(1, generator=generator))

    whole, after = drawn(None)
    middle = sum(sizes) // 2
    for held in (slice(0, middle), slice(middle, sum(sizes)), slice(2, 2)):
        rows, next_draw = drawn(held)
        assert torch.equal(rows, whole[held])
        assert next_draw == after
