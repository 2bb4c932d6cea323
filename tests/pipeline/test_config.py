"""Settings: written and read as TOML, any ranker by name, errors that name what is wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import ParameterError
from recprune.models import RANKERS, DCNv2, Hidden, Schedule, Training
from recprune.pipeline import RunConfig


@given(
    label=st.text() | st.none(),
    drop=st.lists(st.text()).map(tuple),
    rate=st.floats(1e-300, 0.99),
    weights=st.none() | st.just("balanced") | st.tuples(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9)),
    warm_up=st.integers(0, 10**9) | st.floats(0, 0.99),
)
def test_toml_reads_back_what_was_written(
    label: str, drop: tuple[str, ...], rate: float, weights: object, warm_up: float
) -> None:
    config = RunConfig.of(
        label=label, drop=drop, learning_rate=rate, class_weight=weights, warm_up=warm_up
    )
    again = RunConfig.of(**tomllib.loads(config.to_toml()))
    assert again == config
    assert type(again.warm_up) is type(config.warm_up)


def test_options_of_a_class_go_through_toml(tmp_path: Path) -> None:
    options = {"crosses": 2, "structure": "stacked"}
    config = RunConfig(model="dcnv2", options=options, batch_norm=True, dropout=0.3, hidden=(9,))
    (tmp_path / "run.toml").write_text(config.to_toml(), "utf-8")
    ranker = RunConfig.read(tmp_path / "run.toml").ranker()
    assert isinstance(ranker, DCNv2)
    assert (ranker.crosses, ranker.structure) == (2, "stacked")
    assert ranker.hidden == Hidden((9,), True, 0.3)


@pytest.mark.parametrize("name", sorted(RANKERS))
def test_every_ranker_can_be_named(name: str) -> None:
    config = RunConfig(
        model=name.lower(), seed=3, decay="cosine", warm_up=5, metric="gauc", patience=4
    )
    ranker = config.ranker()
    assert type(ranker) is RANKERS[name]
    assert (config.model, ranker.seed) == (name, 3)
    assert ranker.training.schedule == Schedule(5, "cosine")
    assert (ranker.training.metric, ranker.training.patience) == ("gauc", 4)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"model": "DeepFMM"}, r"no model 'DeepFMM'. Did you mean 'DeepFM'"),
        ({"model": "dcnv2", "options": {"cross": 2}}, r"no option 'cross'. Did you mean 'crosses'"),
        ({"model": "dcnv2", "options": {"crosses": 0}}, r"'crosses' parameter of DCNv2"),
        ({"class_weight": "balance"}, r"'class_weight' setting is wrong: .*'balanced', or .*tuple"),
        ({"hidden": [8, 0]}, r"'hidden' setting is wrong: .*greater than.* Got \[8, 0\]"),
        ({"metric": "acu"}, r"Did you mean 'auc'"),
        ({"warm_up": 2.5}, r"'warm_up' parameter of Schedule"),
        ({"decya": "linear"}, r"no setting 'decya'. Did you mean 'decay'"),
        ({"importance": "permutaton"}, r"no way 'permutaton' to rank.*Did you mean 'permutation'"),
        ({"importance": "svd"}, r"no way 'svd' to rank fields"),
        ({"keep_fields": 0}, r"'keep_fields' setting is wrong"),
        ({"keep_fields": 1.5}, r"'keep_fields' setting is wrong"),
        ({"keep_fields": float("nan")}, r"'keep_fields' setting is wrong"),
        ({"tolerance": "low", "budget": "max_drop.auc=0.01"}, r"0\.01 and the tolerance low"),
        ({"budget": {"max_drop": "low", "max_drop.auc": 0.01}}, r"'max_drop' parameter of Budget"),
        ({"budget": {"latency_rows": 1000.0}}, r"'latency_rows' parameter of Budget"),
    ],
)
def test_bad_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        RunConfig.of(**settings)


@pytest.mark.parametrize("amount", [1, 3, 0.5, 1.0])
def test_fields_to_keep_are_a_count_or_a_share(amount: float) -> None:
    kept = RunConfig.of(keep_fields=amount).keep_fields
    assert (kept, type(kept)) == (amount, type(amount))


def test_one_layer_needs_no_list() -> None:
    assert RunConfig.of(hidden=16) == RunConfig.of(hidden=(16,))


def test_epochs_and_patience_are_the_class_s_own_where_nothing_is_said() -> None:
    ranker, retriever = RunConfig().training(), RunConfig(model="TwoTower").training()
    assert (ranker.epochs, ranker.patience) == (Training().epochs, Training().patience)
    own = RANKERS["TwoTower"]().training
    assert (retriever.epochs, retriever.patience) == (own.epochs, own.patience)
    assert retriever.epochs > ranker.epochs
    assert RunConfig(model="TwoTower", epochs=3).training().epochs == 3
