"""What every retriever must do, and what each kind promises."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from recprune.artifact import read_artifact
from recprune.data import Dataset, Negatives
from recprune.errors import DataError, MissingExtra, ParameterError, RunError, TrainingError
from recprune.importance import importance
from recprune.models import Epoch, Training, ranker_of
from recprune.models.retrieval import ALS, MF, Retriever, TwoTower
from recprune.models.retrieval.lists import Exam, best_items
from recprune.models.retrieval.positives import Positives
from recprune.pipeline.saving import save_model
from recprune.pruning import prune
from recprune.runtime import load

K, GROUP = 10, 16
TRAINING = Training(epochs=12, batch_size=64, learning_rate=3e-3, patience=4)


def taste(n_users: int = 120, each: int = 11, seed: int = 0) -> pl.DataFrame:
    """Two groups of users, each of which takes its own group's items alone; columns that tell."""
    draws = np.random.default_rng(seed)
    rows = [
        (f"u{user:03}", f"i{2 * item + user % 2:02}", user % 2)
        for user in range(n_users)
        for item in draws.permutation(GROUP)[:each]
    ]
    frame = pl.DataFrame(rows, schema=["user", "item", "group"], orient="row")
    group = frame["group"].to_numpy()
    return frame.drop("group").with_columns(
        pl.Series("club", [["ann", "bob"][g] for g in group]),
        pl.Series("price", 3.0 * group + draws.normal(0, 0.1, len(group)).round(3)),
    )


def dataset(frame: pl.DataFrame, **options: object) -> Dataset:
    stated = {"fields": {"club": {"source": "user"}, "price": {"source": "item"}}}
    known = {"fields": {n: v for n, v in stated["fields"].items() if n in frame.columns}}
    made = Dataset.from_frame(
        frame, user="user", item="item", negatives=Negatives(1), schema=known, **options
    )
    return made.split(by="random", seed=0)


MAKE: dict[str, Callable[[], Retriever]] = {
    "mf": lambda: MF(8, training=TRAINING),
    "two-tower": lambda: TwoTower(8, (16,), 8, training=TRAINING),
    "als": lambda: ALS(8, training=Training(epochs=10)),
}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return dataset(taste())


@pytest.fixture(scope="module", params=MAKE)
def fitted(request: pytest.FixtureRequest, data: Dataset) -> Retriever:
    if request.param == "als":
        pytest.importorskip("implicit", reason="needs the extra 'als'")
    model = MAKE[request.param]().fit(data.train, data.tune)
    assert isinstance(model, Retriever)
    return model


def recall(model: Retriever, data: Dataset) -> float:
    """Recall@10 on the test rows over the whole catalogue, without what was taken in training."""
    exam = Exam.of(Positives.of(model.aligned(data.train)).window, model.aligned(data.test))
    items = [model.item_vectors(model.aligned(s).rows) for s in (exam.known.items, exam.new)]
    users = model.user_vectors(exam.queries.rows)
    lists = best_items(users, np.concatenate(items), K, exam.seen)
    found = [np.isin(own, best).mean() for own, best in zip(exam.relevant, lists, strict=True)]
    return float(np.mean(found))


def test_the_planted_groups_are_found(fitted: Retriever, data: Dataset) -> None:
    # At most 16 items of the own group are left, about 8 of them untaken: they fit ten places.
    assert recall(fitted, data) > 0.93
    blind = fitted.with_state(fitted.state)
    draws = np.random.default_rng(0)
    blind.net.table.data.copy_(blind.net.table.data[draws.permutation(blind.net.n_rows)])
    assert 0.2 < recall(blind, data) < 0.65  # k / items left is 0.4


def test_scores_are_the_vectors_inner_products(fitted: Retriever, data: Dataset) -> None:
    test = fitted.aligned(data.test)
    product = (fitted.user_vectors(test.rows) * fitted.item_vectors(test.rows)).sum(axis=1)
    apart = fitted.logits(test.rows) - product
    # One number a user is free: it orders nothing.
    assert test.users is not None
    for user in np.unique(test.users)[:20]:
        np.testing.assert_allclose(np.ptp(apart[test.users == user]), 0, atol=1e-4)


def test_the_same_seed_gives_the_same_bytes(fitted: Retriever, data: Dataset) -> None:
    kind = {MF: "mf", TwoTower: "two-tower", ALS: "als"}[type(fitted)]
    again = MAKE[kind]().fit(data.train, data.tune)
    for name, tensor in fitted.state.items():
        np.testing.assert_array_equal(again.state[name], tensor)


def test_a_saved_retriever_comes_back_whole(
    fitted: Retriever, data: Dataset, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "model")
    back = ranker_of(read_artifact(tmp_path / "model"))
    assert type(back) is type(fitted)
    assert back.options() == fitted.options()
    rows = fitted.aligned(data.test).rows
    np.testing.assert_array_equal(back.logits(rows), fitted.logits(rows))
    assert isinstance(back, Retriever)
    with pytest.raises(RunError, match=r"keeps no training rows.*recommend_user"):
        back.recommend(["u001"])


def test_every_unit_is_declared(fitted: Retriever) -> None:
    covered = {(use.tensor, use.dim) for axis in fitted.layout.axes.values() for use in axis.uses}
    for name, shape in fitted.layout.shapes.items():
        dims = [d for d in range(len(shape)) if (name, d) not in covered and name != "bias"]
        assert dims in ([], [1]), f"{name} cannot shrink in {dims}"
        if dims == [1]:
            assert name.startswith("table."), f"{name} cannot shrink in 1"


def test_rows_and_dims_are_pruned_and_fine_tuned(fitted: Retriever, data: Dataset) -> None:
    keep: dict[str, float] = {"rows": 0.9, "dims": 0.5}
    if isinstance(fitted, TwoTower):
        keep["neurons"] = 0.5
    small = prune(fitted, data, keep, {"rows": "norm_count", "dims": "l2"}, epochs=3)
    assert isinstance(small, Retriever)
    assert small.params < 0.65 * fitted.params
    assert recall(small, data) > 0.8
    assert [len(n) for n in small.recommend(["u001", "u002"], 5)] == [5, 5]


def test_lists_leave_out_what_was_taken(fitted: Retriever, data: Dataset) -> None:
    train = data.train
    taken = {
        (u, i)
        for u, i, y in zip(train.columns["user"], train.columns["item"], train.label, strict=True)
        if y == 1
    }
    users = sorted({u for u, _ in taken})[:30]
    lists = fitted.recommend(users, K)
    assert not any((u, i) in taken for u, one in zip(users, lists, strict=True) for i in one)
    assert all(len(set(one)) == K for one in lists)
    again = fitted.recommend(users, K, exclude_seen=False)
    assert any((u, i) in taken for u, one in zip(users, again, strict=True) for i in one)
    (stranger,) = fitted.recommend(["nobody"], K)
    assert len(stranger) == K


def test_the_scorer_gives_the_same_lists(fitted: Retriever, data: Dataset, tmp_path: Path) -> None:
    save_model(fitted, data, tmp_path / "model")
    scorer = load(tmp_path / "model")
    assert data.users is not None
    assert data.items is not None
    columns = {
        n: data.items[n].to_list()
        for n in data.items.columns
        if n in fitted.layout.axes["fields"].labels
    }
    absent = {n: [None] * len(data.items) for n in fitted.encoder.schema.names}
    vectors = fitted.item_vectors(fitted.encoder.encode(absent | columns))
    for user in data.users.ids[:5]:
        record = data.users.record(user)
        assert record is not None
        raw = {n: [record.get(n)] for n in fitted.encoder.schema.names}
        own = fitted.user_vectors(fitted.encoder.encode(raw)) @ vectors.T
        served = scorer.catalogue_logits(data.users, user)
        np.testing.assert_allclose(np.ptp(served - own[0]), 0, atol=1e-4)


def test_each_is_a_first_stage(fitted: Retriever, data: Dataset, tmp_path: Path) -> None:
    """Its five candidates are the five best by its own scores, of as many as the ranker asks."""
    save_model(fitted, data, tmp_path / "model")
    exact = load(tmp_path / "model")
    staged = load(tmp_path / "model", first_stage=tmp_path / "model", first_stage_k=5)
    assert data.users is not None
    for user in (*data.users.ids[:20], "nobody"):
        for k in (3, 5, 12):
            wanted = exact.recommend_user(data.users, user, k, exclude_seen=False).items
            assert staged.recommend_user(data.users, user, k, exclude_seen=False).items == wanted
    assert staged.first_stage_recall(data.users, 5).mean == 1


def test_early_stopping_keeps_the_best_epoch(fitted: Retriever, data: Dataset) -> None:
    scores = [e.score for e in fitted.history]
    best = fitted.held_out(fitted.aligned(data.tune))()
    assert best == pytest.approx(max(s for s in scores if s is not None))


def test_a_slow_start_does_not_end_training(data: Dataset) -> None:
    # Eight steps an epoch: lists are random for more epochs than the patience of 2.
    model = MF(16, training=Training()).fit(data.train, data.tune)
    assert recall(model, data) > 0.9


def test_without_held_out_rows_all_epochs_run(data: Dataset) -> None:
    model = MF(8, training=replace(TRAINING, epochs=2)).fit(data.train)
    assert [e.score for e in model.history] == [None, None]


def test_what_a_user_took_last_time_can_be_shown_where_items_are_taken_again() -> None:
    once = taste(40)
    again = pl.concat([once, once, once])
    window = Positives.of(dataset(again).train).window
    assert window.repeated
    assert not Positives.of(dataset(once).train).window.repeated
    data = dataset(again)
    exam = Exam.of(window, data.tune)
    assert all(len(s) == 0 for s in exam.seen)


def test_a_user_who_took_everything_and_a_single_positive() -> None:
    frame = pl.DataFrame(
        {
            "user": [*["all"] * 8, *[f"u{i // 2}" for i in range(40)]],
            "item": [*[f"i{i}" for i in range(8)], *[f"i{i % 8}" for i in range(40)]],
        }
    )
    data = dataset(frame)
    model = MF(4, training=replace(TRAINING, epochs=1)).fit(data.train)
    window = Positives.of(data.train).window
    everything = len(window.taken_by(int(data.train.users[data.train.columns["user"] == "all"][0])))
    (left,) = model.recommend(["all"], 8)
    assert len(left) == window.n_items - everything
    one = data.train.take(np.flatnonzero(data.train.label == 1)[:1])
    both = data.train.take(
        np.append(
            np.flatnonzero(data.train.label == 1)[:1], np.flatnonzero(data.train.label == 0)[:5]
        )
    )
    assert MF(4, training=replace(TRAINING, epochs=1)).fit(both).history[0].loss > 0
    with pytest.raises(DataError, match="Every user took all of the 1 items"):
        MF(4).fit(one)


def test_held_out_rows_without_positives_are_refused(data: Dataset) -> None:
    zeros = data.tune.take(data.tune.label == 0)
    with pytest.raises(DataError, match=r"None of the \d+ held-out rows"):
        MF(4, training=TRAINING).fit(data.train, zeros)


def test_als_solves_its_equations(data: Dataset) -> None:
    pytest.importorskip("implicit", reason="needs the extra 'als'")
    model = ALS(4, alpha=5.0, l2=0.3, training=Training(epochs=60)).fit(data.train)
    positives = Positives.of(model.aligned(data.train))
    items = model.item_vectors(positives.window.items.rows)[:, :4].astype(float)
    people = positives.window.people
    assert people is not None
    assert people.users is not None
    users = model.user_vectors(people.rows)[:, :4]
    for row, user in list(enumerate(people.users))[:10]:
        own = items[positives.window.taken_by(int(user))]
        gram = items.T @ items + 5.0 * own.T @ own + 0.3 * np.eye(4)
        solved = np.linalg.solve(gram, 6.0 * own.sum(axis=0))
        np.testing.assert_allclose(users[row], solved, rtol=0.02, atol=0.01)
    unknown = model.user_vectors(model.encoder.encode({"user": ["nobody"], "item": ["nothing"]}))
    np.testing.assert_allclose(unknown[0, :4], users.mean(axis=0), atol=1e-5)


def test_als_says_which_extra_it_needs(monkeypatch: pytest.MonkeyPatch, data: Dataset) -> None:
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    with pytest.raises(MissingExtra, match=r"'implicit' is needed.*recprune\[als\]"):
        ALS().fit(data.train)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: MF(0), "'dim' parameter of MF"),
        (lambda: MF(8, per_positive=0), "'per_positive' parameter"),
        (lambda: MF(8, alpha=-1.0), "'alpha' parameter"),
        (lambda: TwoTower(8, ()), "'hidden' parameter of TwoTower must be at least one layer"),
        (lambda: TwoTower(8, (4,), 0), "'vector' parameter of TwoTower"),
        (lambda: TwoTower(8, (4,), 4, 0.0), "'temperature' parameter of TwoTower"),
        (lambda: ALS(8, alpha=0.0), "'alpha' parameter of ALS"),
        (lambda: ALS(8, l2=-1.0), "'l2' parameter of ALS"),
        (lambda: MF(8).recommend("u001"), "'users' parameter of MF.recommend must be several"),
    ],
)
def test_bad_parameters_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make()


def test_fields_that_make_no_retriever_are_refused(data: Dataset) -> None:
    with pytest.raises(DataError, match="MF needs the item's id as a categorical field; it is no"):
        MF(4).fit(data.drop_fields("item").train)
    with pytest.raises(DataError, match="The item's tower has no field"):
        TwoTower(4, (4,)).fit(data.only(["user", "club"]).train)


@pytest.mark.parametrize("options", [{"metric": "logloss"}, {"class_weight": "balanced"}])
def test_a_training_for_labels_is_refused(options: dict[str, str], data: Dataset) -> None:
    training = Training(epochs=1, **options)  # type: ignore[arg-type]
    with pytest.raises(
        ParameterError, match=rf"'{next(iter(options))}' parameter of MF must be left"
    ):
        MF(4, training=training).fit(data.train, data.tune)


def test_a_loss_that_is_no_number_names_the_rows(data: Dataset) -> None:
    model = TwoTower(8, (16,), 8, training=replace(TRAINING, epochs=1)).fit(data.train)
    code = data.train.rows.codes[np.flatnonzero(data.train.label == 1)[7]]
    at = data.encoder.schema.names.index("user")
    own = (data.train.rows.codes[:, at] == code[at]) & (data.train.label == 1)
    table = model.net.table.data
    table[int(model.net.offsets[at]) + int(code[at])] = float("nan")
    with pytest.raises(TrainingError, match="Only the positive rows are counted") as caught:
        model.train_on(data.train)
    assert caught.value.rows
    assert set(caught.value.rows) <= set(np.flatnonzero(own).tolist())


@pytest.mark.parametrize("kind", ["mf", "two-tower"])
def test_a_training_that_was_interrupted_ends_in_the_same_bytes(
    kind: str, data: Dataset, tmp_path: Path
) -> None:
    whole = MAKE[kind]().fit(data.train, data.tune)

    class Killed(Exception):
        pass

    def kill(epoch: Epoch) -> None:
        if epoch.epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        MAKE[kind]().fit(data.train, data.tune, checkpoint=tmp_path / "kept", watch=kill)
    again = MAKE[kind]().fit(data.train, data.tune, checkpoint=tmp_path / "kept")
    for name, tensor in whole.state.items():
        np.testing.assert_array_equal(again.state[name], tensor)


def test_a_retriever_of_one_side_is_trained_further(fitted: Retriever, data: Dataset) -> None:
    small = prune(fitted, data, {"fields": ["item"]}, epochs=2)
    logits = small.logits(small.aligned(data.test).rows)
    assert np.isfinite(logits).all()


def test_als_refuses_a_checkpoint_and_takes_taps(data: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("implicit", reason="needs the extra 'als'")
    with pytest.raises(ParameterError, match=r"'checkpoint' parameter of ALS\.train_on"):
        ALS(4).fit(data.train, checkpoint=tmp_path / "kept")
    model = ALS(4, training=Training(epochs=4)).fit(data.train)
    scores = importance(model, data.train, "rows.item", "dropout").score
    assert scores.shape == (len(model.state["table.item"]),)
    assert np.ptp(scores) > 0


def test_als_tells_of_each_sweep_once(data: Dataset) -> None:
    pytest.importorskip("implicit", reason="needs the extra 'als'")
    told: list[Epoch] = []
    ALS(4, training=Training(epochs=2)).fit(data.train, watch=told.append)
    assert [epoch.epoch for epoch in told] == [1, 2]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("kind", ["mf", "two-tower"])
def test_cuda_finds_the_planted_groups_too(kind: str, data: Dataset) -> None:
    model = MAKE[kind]()
    model.training = replace(TRAINING, device="cuda")
    model.fit(data.train, data.tune)
    assert recall(model, data) > 0.93
