"""A user's row out of models, however they are stored, and out of what else an artefact says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recprune.artifact import as_stored, read_artifact, write_artifact
from recprune.erasure import Names, forget, traces
from recprune.erasure.artefacts import rows_of, without_rows
from recprune.folders import folder_written_whole
from recprune.layout import Plan, composed, shrink
from recprune.lookups import UNKNOWN
from recprune.runtime import load
from tests.erasure.conftest import GONE, log
from tests.erasure.keys import KEY

STORED: list[Any] = [
    "fp32", "fp16", "int8", "int8_row", "int4_row", ((0, "fp16"), (5, "int8"), (9, "int4_row")),
]  # fmt: skip


def stored_as(model: Path, folder: Path, encoding: Any, cut: bool) -> Path:
    """The same model, its tables stored so, and a third of the users' rows cut."""
    whole = read_artifact(model)
    tables = [name for name in whole.state if name.startswith("table.")]
    plan = Plan(whole.layout.hash, {}, {"table.user_id": encoding})
    if isinstance(encoding, str):
        plan = Plan(whole.layout.hash, {}, dict.fromkeys(tables, encoding))
    artifact = whole
    if cut:
        units = whole.layout.axis("rows.user_id").units
        plan = Plan(plan.layout_hash, {"rows.user_id": units[: len(units) * 2 // 3]}, plan.encoding)
    state, layout = shrink(whole.state, whole.layout, plan)
    kept = np.searchsorted(
        whole.layout.axis("rows.user_id").units, layout.axis("rows.user_id").units
    )
    encoder = whole.encoder.take(whole.encoder.schema.names, {"user_id": kept})
    both = composed(whole.plan, plan, whole.layout, layout)
    artifact = type(whole)(
        whole.model, state, layout, both, encoder, whole.catalogue, dict(whole.meta)
    )
    with folder_written_whole(folder) as partial:
        write_artifact(partial, artifact, "0")
    return folder


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("encoding", STORED, ids=str)
def test_the_others_weights_and_scores_stay_to_the_bit(
    shop: Path, tmp_path: Path, encoding: Any, cut: bool
) -> None:
    model = stored_as(shop / "model", tmp_path / "m", encoding, cut)
    before, columns = read_artifact(model), {n: log()[n].to_list() for n in ("product", "city")}
    # Whoever sets the scale of a column goes, too: it is the hardest to take out.
    table = before.state["table.user_id"]
    users = [v for v in before.encoder.parts["user_id"].values if v is not None]  # type: ignore[attr-defined]
    peaks = {users[r - 2] for r in np.abs(table[2:]).argmax(axis=0) + 2}
    columns["user_id"] = log()["user_id"].to_list()
    scores = load(model).score(columns)
    for user in sorted(peaks | {GONE}):
        forget(user, [model], key=KEY)
    gone = peaks | {GONE}
    after = read_artifact(model)
    left = [i for i, user in enumerate(users) if user not in gone]
    assert after.encoder.parts["user_id"].values == tuple(users[i] for i in left)  # type: ignore[attr-defined]
    wanted = table[[0, 1, *(i + 2 for i in left)]]
    np.testing.assert_array_equal(after.state["table.user_id"], wanted)
    for name in set(before.state) - {"table.user_id"}:
        np.testing.assert_array_equal(after.state[name], before.state[name])
    others = [i for i, user in enumerate(columns["user_id"]) if user not in gone]
    np.testing.assert_array_equal(load(model).score(columns)[others], scores[others])
    assert not traces([model], gone)
    again = as_stored(after.state, after.encodings)
    np.testing.assert_array_equal(again["table.user_id"], after.state["table.user_id"])


def test_a_row_that_is_cut_reads_as_unknown_in_the_catalogue_too(shop: Path) -> None:
    whole = read_artifact(shop / "model")
    field = whole.encoder.parts["product"]
    (row,) = field.encode("product", ["p3"])[0][0]
    less = without_rows(whole, {"product": [int(row)]})
    before, after = (a.catalogue["codes.product"].ravel() for a in (whole, less))
    for old, new in zip(before.tolist(), after.tolist(), strict=True):
        assert new == (UNKNOWN if old == row else old - (old > row))
    assert rows_of(less.encoder, Names.of("p3", columns=["product"])) == {}


def test_the_user_may_be_a_value_of_items_too(shop: Path, tmp_path: Path) -> None:
    """A seller who is also a buyer, by a telling id; an item's own id is left and told of."""
    whole = read_artifact(shop / "model")
    assert rows_of(whole.encoder, Names.of("c1")) == {}
    assert set(rows_of(whole.encoder, Names.of("c1", everywhere=True))) == {"category"}
    done = forget(Names.of("c1", everywhere=True), [shop / "model"], key=KEY)
    said = {r.what: r.count for r in done.removed if r.path == str(shop / "model")}
    assert said == {
        "vocabulary entries and table rows of 'category'": 1,
        "values of the catalogue": 1,
    }
    assert done.left == ()
    best = load(shop / "model").recommend({"city": "town 1"}, 20)
    assert len(best.items) == 20
