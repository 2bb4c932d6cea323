"""Fields that tell the same: found, scored as one, one of them kept."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from recprune.data import Dataset
from recprune.errors import ParameterError, SchemaError
from recprune.importance import rank_fields
from recprune.importance.association import association, found_groups
from recprune.models import DeepFM, Ranker, Training
from recprune.pruning import cut

N = 6000


def table() -> pl.DataFrame:
    """A colour under two names and once coarser, a size in two units, and columns of their own."""
    draws = np.random.default_rng(0)
    colour, size = draws.integers(0, 12, N), draws.normal(0, 1, N)
    shape, weak = draws.integers(0, 6, N), draws.normal(0, 1, N)
    effect = draws.normal(0, 1.2, 12)[colour] + 0.8 * size + 0.25 * weak
    label = draws.random(N) < 1 / (1 + np.exp(-effect))
    return pl.DataFrame(
        {
            "colour": [f"c{v}" for v in colour],
            "farbe": [f"f{v}" for v in 11 - colour],
            "warm": [f"w{v}" for v in colour // 4],
            "cm": size,
            "inch": np.exp(size / 2.54),
            "shape": [f"s{v}" for v in shape],
            "number": [f"n{v}" for v in draws.permutation(N) // 2],
            "weak": weak,
            "y": label.astype(int),
        }
    )


SCHEMA = {"fields": {"number": {"kind": "categorical"}, "cm": {"cost": 3}, "inch": {"cost": 1}}}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.from_frame(table(), label="y", schema=SCHEMA).split(by="random")


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ranker:
    training = Training(epochs=8, batch_size=256, learning_rate=3e-3)
    return DeepFM(4, (16,), training=training).fit(data.train, data.tune)


def test_copies_are_found_and_nothing_else(data: Dataset) -> None:
    names = data.schema.names
    found = {frozenset(group) for group in found_groups(data.train, names)}
    assert found == {frozenset(("colour", "farbe")), frozenset(("cm", "inch"))}
    # The columns' order does not matter.
    assert {frozenset(g) for g in found_groups(data.train, names[::-1])} == found


def test_association_is_adjusted_mutual_information(data: Dataset) -> None:
    names = ("colour", "warm", "shape")
    near = association(data.train, names)
    code = {n: data.train.rows.codes[:, data.schema.names.index(n)] for n in names}
    for i, a in enumerate(names):
        for j, b in enumerate(names[:i]):
            exact = adjusted_mutual_info_score(code[a], code[b], average_method="max")
            assert near[i, j] == pytest.approx(max(exact, 0), abs=0.01)
    np.testing.assert_array_equal(near, near.T)


def test_an_id_is_not_taken_for_what_it_happens_to_tell(data: Dataset) -> None:
    """Every value of ``number`` occurs twice: it all but tells each row's colour, by chance."""
    near = association(data.train, ("number", "colour", "cm"))
    assert near[0, 1:].max() < 0.1


def test_a_group_is_worth_what_all_its_copies_are(model: Ranker, data: Dataset) -> None:
    """Each copy alone hides the other: together they fall by more than both one by one."""
    alone = rank_fields(model, data.tune, groups=None)
    joint = rank_fields(model, data.tune, groups="auto")
    score = dict(zip(joint.fields, joint.scores.tolist(), strict=True))
    single = dict(zip(alone.fields, alone.scores.tolist(), strict=True))
    assert score["colour"] == score["farbe"] > 1.2 * max(single["colour"], single["farbe"])
    assert score["weak"] == single["weak"]
    assert len({*joint.keep(count=2)} & {"colour", "farbe"}) == 1
    assert len({*joint.keep(count=2)} & {"cm", "inch"}) == 1
    assert joint.to_frame()["group"].n_unique() == len(data.schema.names) - 2


@pytest.mark.parametrize("method", ["mutual_information", "l1_logistic"])
def test_filters_score_groups_by_their_representatives(method: str, data: Dataset) -> None:
    ranked = rank_fields(None, data, method, groups={"size": ["cm", "inch"]})
    assert len(ranked.groups) == 1
    places = sorted(ranked.fields.index(name) for name in ("cm", "inch"))
    assert places[1] == places[0] + 1
    without = rank_fields(None, data.drop_fields([ranked.groups[0][1]]), method)
    assert ranked.keep(ratio=1.0) == without.fields
    assert ranked.to_frame().filter(pl.col("field").is_in(["cm", "inch"]))["group"].n_unique() == 1


def test_of_exact_copies_the_cheaper_stands() -> None:
    frame = table().with_columns(inch=pl.col("cm") * 1.0000001)
    data = Dataset.from_frame(frame, label="y", schema=SCHEMA).split(by="random")
    ranked = rank_fields(None, data, "mutual_information", groups="auto")
    assert ("inch", "cm") in ranked.groups


def test_groups_are_named_in_the_schema() -> None:
    fields = {"colour": {"group": "hue"}, "warm": {"group": "hue"}, "shape": {"group": "lonely"}}
    data = Dataset.from_frame(table(), label="y", schema={"fields": fields}).split(by="random")
    ranked = rank_fields(None, data, "mutual_information")
    assert ranked.groups == (("colour", "warm"),)
    assert data.schema.to_json()["fields"][0]["group"] == "hue"
    assert "group" not in data.schema.to_json()["fields"][1]
    assert type(data.schema).from_json(data.schema.to_json()) == data.schema
    with pytest.raises(SchemaError, match=r"'group' must be a name\. Got 3"):
        Dataset.from_frame(table(), label="y", schema={"fields": {"shape": {"group": 3}}})


@pytest.mark.parametrize(
    "groups, method, message",
    [
        ({"g": ["cm", "inches"]}, "permutation", "Group 'g' names 'inches', which is no field."),
        ({"g": ["cm"], "h": ["cm"]}, "permutation", "'cm' is in the groups 'g' and 'h'"),
        ("some", "permutation", "The 'groups' parameter of rank_fields must be 'schema', 'auto'"),
        ({"g": ["cm", "inch"]}, "shark", "'shark' scores fields one by one"),
    ],
)
def test_bad_groups_are_refused(
    groups: object, method: str, message: str, model: Ranker, data: Dataset
) -> None:
    with pytest.raises(ParameterError, match=message):
        rank_fields(model, data, method, groups=groups)  # type: ignore[arg-type]


def test_a_filter_scores_the_groups_of_a_pruned_model(model: Ranker, data: Dataset) -> None:
    """The data set has fields and values that the model has lost: its own are scored."""
    small = cut(model, data.train, {"fields": ["colour", "farbe", "cm", "number"], "rows": 0.5})
    groups = {"hue": ["colour", "farbe"]}
    ranked = rank_fields(small, data, "mutual_information", groups=groups)
    assert set(ranked.fields) == {"colour", "farbe", "cm", "number"}
    alone = rank_fields(small, data, "mutual_information", groups=None)
    single = dict(zip(alone.fields, alone.scores.tolist(), strict=True))
    score = dict(zip(ranked.fields, ranked.scores.tolist(), strict=True))
    assert score["cm"] == single["cm"]
    assert score["colour"] == score["farbe"] == single[ranked.groups[0][0]]


def test_groups_are_scored_on_as_many_rows_as_are_asked_for(model: Ranker, data: Dataset) -> None:
    groups = {"hue": ["colour", "farbe"]}
    few = rank_fields(model, data.train, groups=groups, max_rows=300)
    more = rank_fields(model, data.train, groups=groups)
    place = few.fields.index("colour")
    assert few.std[place] > 2 * more.std[more.fields.index("colour")]


def test_numbers_that_are_rarely_known_together_do_not_tell_the_same() -> None:
    """In the few rows where both are known their ranks happen to agree."""
    draws = np.random.default_rng(0)
    a, b, c = draws.normal(size=(3, 2000))
    a[:1000], b[1040:] = np.nan, np.nan
    a[1000:1040] = b[1000:1040]
    c[:] = np.where(np.isnan(a), np.nan, a)  # a copy, missing where the first is
    frame = pl.DataFrame({"a": a, "b": b, "c": c, "y": draws.integers(0, 2, 2000)})
    frame = frame.with_columns(pl.col("a", "b", "c").fill_nan(None))
    rows = Dataset.from_frame(frame, label="y").split(by="random", seed=1).train
    near = association(rows, ("a", "b", "c"))
    assert near[0, 1] < 0.05
    assert near[0, 2] == pytest.approx(1)
