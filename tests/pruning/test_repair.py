"""What a repair writes, against the same sums written out: folded means, refits, pooled rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.linear_model import Ridge

from recprune.data import Dataset
from recprune.importance.statistics import use_counts
from recprune.layout import Plan
from recprune.lookups import UNKNOWN
from recprune.models import DNN, FM, LR, DCNv2, DeepFM, FwFM, Hidden, Ranker, Training
from recprune.pruning import repair, rotate
from recprune.pruning.repair import MAX_ROWS, RIDGE
from tests.planted import small_data

TRAINED = Training(epochs=1, batch_size=128, learning_rate=0.02, device="cpu")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_data(900)


def plan_of(model: Ranker, **keep: list[int]) -> Plan:
    named = {name.replace("__", "."): np.array(units, np.int32) for name, units in keep.items()}
    return Plan(model.layout.hash, named)


def values(model: Ranker, data: Dataset) -> np.ndarray:
    """Return the fields' values in the schema's order, shape (n_rows, n_fields, width)."""
    net = model.net
    with torch.no_grad():
        return net.embed(data.train.rows)[:, torch.argsort(net.order)].double().numpy()


def repaired(model: Ranker, data: Dataset, plan: Plan) -> np.ndarray:
    small = model.apply(plan, repair(model, data.train, plan))
    return small.logits(small.aligned(data.train).rows)


# ---- fields, dims and pairs


@pytest.mark.parametrize("kind", [FM, FwFM])
@pytest.mark.parametrize(
    "keep",
    [
        {"fields": [1, 2, 3]},
        {"fields": [0, 3]},
        {"dims__colour": [0, 1], "dims__size": [1, 2]},
        {"fields": [0, 1, 3], "dims__shape": [2], "dims__noise": [0, 2, 3]},
        {"dims__colour": [3], "dims__shape": [3], "dims__size": [3], "dims__noise": [3]},
    ],
)
def test_what_goes_counts_with_its_mean_and_products_to_first_order(
    kind: Callable[..., Ranker], keep: dict[str, list[int]], data: Dataset
) -> None:
    model = kind(4, training=TRAINED).fit(data.train)
    names, value = model.encoder.schema.names, values(model, data)
    lost = np.isin(np.arange(4), keep.get("fields", [0, 1, 2, 3]), invert=True)
    gone = np.zeros((4, 4), bool)
    for i, name in enumerate(names):
        gone[i] = np.isin(np.arange(4), keep.get(f"dims__{name}", [0, 1, 2, 3]), invert=True)
    value[:, lost] = value[:, lost].mean(axis=0)
    first, embedding = value[..., :1].sum(axis=(1, 2)), value[..., 1:]
    mean = embedding.mean(axis=0)
    weights = np.ones((4, 4))
    if kind is FwFM:
        (_, left), (_, right) = model.layout.axes["pairs"].members
        weights[left, right] = model.state["pairs.weight"]
    expected = float(model.state["bias"][0]) + first
    for i in range(4):
        for j in range(i + 1, 4):
            a, b = embedding[:, i], embedding[:, j]
            product = a * b
            for d in range(4):
                cut = (gone[i, d] and not lost[i], gone[j, d] and not lost[j])
                if lost[i] or lost[j] or cut == (False, False):
                    continue
                if cut == (True, True):
                    ends = a[:, d] * mean[j, d] + mean[i, d] * b[:, d]
                    product[:, d] = ends - mean[i, d] * mean[j, d]
                else:
                    product[:, d] = mean[i, d] * b[:, d] if cut[0] else a[:, d] * mean[j, d]
            expected = expected + weights[i, j] * product.sum(axis=1)
    found = repaired(model, data, plan_of(model, **keep))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("fields", [[0, 1, 2, 3], [0, 1, 3]])
def test_a_pair_that_goes_alone_counts_with_the_mean_of_its_product(
    fields: list[int], data: Dataset
) -> None:
    model = FwFM(4, training=TRAINED).fit(data.train)
    value, weight = values(model, data), model.state["pairs.weight"]
    (_, left), (_, right) = model.layout.axes["pairs"].members
    lost = np.isin(np.arange(4), fields, invert=True)
    value[:, lost] = value[:, lost].mean(axis=0)
    expected = float(model.state["bias"][0]) + value[..., 0].sum(axis=1)
    kept = [1, 4, 5]
    for n, (i, j) in enumerate(zip(left, right, strict=True)):
        product = (value[:, i, 1:] * value[:, j, 1:]).sum(axis=1)
        whole = n in kept or lost[i] or lost[j]
        expected = expected + weight[n] * (product if whole else product.mean())
    found = repaired(model, data, plan_of(model, fields=fields, pairs=kept))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("layers", [(8,), Hidden((8, 5), batch_norm=True)])
def test_a_layer_reads_the_means_of_the_inputs_that_go(layers: object, data: Dataset) -> None:
    model = DNN(3, layers, training=TRAINED).fit(data.train)  # type: ignore[arg-type]
    keep = {"fields": [0, 1, 2], "dims__colour": [0, 2], "dims__shape": [1]}
    plan, net = plan_of(model, **keep), model.net
    with torch.no_grad():
        value = net.embed(data.train.rows)
        order, first = net.order.tolist(), int(net.shape.wide)
        for place, i in enumerate(order):
            name = model.encoder.schema.names[i]
            stay = [] if i == 3 else keep.get(f"dims__{name}", [0, 1, 2])
            for d in range(3):
                if d not in stay:
                    value[:, place, first + d] = value[:, place, first + d].mean()
        expected = net.head(value).numpy()
    np.testing.assert_allclose(repaired(model, data, plan), expected, atol=1e-5)


def test_a_networks_order_of_fields_is_its_own(data: Dataset) -> None:
    """Numbers stand between categories in the table, and elsewhere in the network."""
    raw = data.train.columns.select("size", "colour", "noise", "shape")
    frame = raw.with_columns(pl.Series("y", data.train.label).cast(pl.Int64))
    mixed = Dataset.from_frame(frame, label="y").split(by="random", seed=0)
    model = DNN(3, (8,), training=TRAINED).fit(mixed.train)
    net, names = model.net, model.encoder.schema.names
    assert net.order.tolist() != list(range(4))
    plan = plan_of(model, fields=[0, 1, 3], dims__size=[1], dims__shape=[0, 2])
    keep = {"size": [1], "shape": [0, 2], "noise": list[int](), "colour": [0, 1, 2]}
    with torch.no_grad():
        value = net.embed(mixed.train.rows)
        for place, i in enumerate(net.order.tolist()):
            for d in set(range(3)) - set(keep[names[i]]):
                value[:, place, int(net.shape.wide) + d] = value[
                    :, place, int(net.shape.wide) + d
                ].mean()
        expected = net.head(value).numpy()
    np.testing.assert_allclose(repaired(model, mixed, plan), expected, atol=1e-5)
    linear = FM(3, TRAINED).fit(mixed.train)
    cut = linear.apply(
        plan_of(linear, fields=[1, 2]), repair(linear, mixed.train, plan_of(linear, fields=[1, 2]))
    )
    seen = values(linear, mixed)
    seen[:, [0, 3]] = seen[:, [0, 3]].mean(axis=0)
    total = seen[..., 1:].sum(axis=1)
    pairs = (total**2 - (seen[..., 1:] ** 2).sum(axis=1)).sum(axis=1) / 2
    expected = float(linear.state["bias"][0]) + seen[..., 0].sum(axis=1) + pairs
    found = cut.logits(cut.aligned(mixed.train).rows)
    np.testing.assert_allclose(found, expected, atol=1e-5)


# ---- neurons


def ridge(inputs: np.ndarray, target: np.ndarray) -> Ridge:
    centred = inputs - inputs.mean(axis=0)
    strength = RIDGE * (centred**2).sum() / inputs.shape[1]
    return Ridge(alpha=strength, solver="cholesky").fit(inputs, target)


def test_layers_after_a_cut_one_are_fitted_again(data: Dataset) -> None:
    hidden = Hidden((8, 6), batch_norm=True)
    model = DeepFM(3, hidden, training=TRAINED).fit(data.train)
    state = {n: a.astype(np.float64) for n, a in model.state.items()}
    kept = [0, 2, 3, 6], [1, 4, 5]
    plan = plan_of(model, neurons__0=kept[0], neurons__1=kept[1])
    patch = repair(model, data.train, plan)
    net = model.net
    value = net.embed(data.train.rows).detach()[..., int(net.shape.wide) :]
    inputs = value[:, torch.argsort(net.order)].reshape(len(value), -1).double().numpy()

    def activated(
        number: int, given: np.ndarray, weight: np.ndarray, bias: np.ndarray
    ) -> np.ndarray:
        norm = {n: state[f"mlp.{number}.norm.{n}"] for n in ("weight", "bias", "mean", "var")}
        out = given @ weight.T + bias
        eps = float(net.parts.get_submodule(f"mlp.{number}").norm.epsilon)
        out = (out - norm["mean"]) / np.sqrt(norm["var"] + eps) * norm["weight"] + norm["bias"]
        return np.maximum(out, 0)

    one = activated(0, inputs, state["mlp.0.weight"], state["mlp.0.bias"])
    two = activated(1, one, state["mlp.1.weight"], state["mlp.1.bias"])
    # The second layer gives what it gave from what is left of the first.
    target, own = one @ state["mlp.1.weight"].T, state["mlp.1.weight"][:, kept[0]]
    fit = ridge(one[:, kept[0]], target - one[:, kept[0]] @ own.T)
    weight = own + fit.coef_
    np.testing.assert_allclose(patch.tensors["mlp.1.weight"][:, kept[0]], weight, atol=1e-5)
    gone = np.setdiff1d(np.arange(8), kept[0])
    assert not patch.tensors["mlp.1.weight"][:, gone].any()
    bias = state["mlp.1.bias"] + fit.intercept_
    np.testing.assert_allclose(patch.tensors["mlp.1.bias"], bias, atol=1e-5)
    # And the output from what the second gives now.
    now = activated(1, one[:, kept[0]], weight, bias)[:, kept[1]]
    target, own = two @ state["mlp.out.weight"].T, state["mlp.out.weight"][:, kept[1]]
    fit = ridge(now, target - now @ own.T)
    out = patch.tensors["mlp.out.weight"][:, kept[1]]
    np.testing.assert_allclose(out, own + fit.coef_, atol=1e-5)
    constant = patch.tensors["bias"] - state["bias"]
    np.testing.assert_allclose(constant, np.ravel(fit.intercept_), atol=1e-5)
    assert set(patch.tensors) == {"mlp.1.weight", "mlp.1.bias", "mlp.out.weight", "bias"}


def test_layers_that_lose_nothing_are_left_alone(data: Dataset) -> None:
    model = DNN(3, (8, 6), training=TRAINED).fit(data.train)
    whole = plan_of(model, neurons__0=list(range(8)), neurons__1=list(range(6)))
    assert not repair(model, data.train, whole).tensors
    second = repair(model, data.train, plan_of(model, neurons__1=[0, 2, 3]))
    assert set(second.tensors) <= {"mlp.1.weight", "mlp.1.bias", "mlp.out.weight", "bias"}
    np.testing.assert_allclose(
        second.tensors.get("mlp.1.weight", model.state["mlp.1.weight"]),
        model.state["mlp.1.weight"],
        atol=1e-6,
    )


def test_a_neuron_that_says_what_others_say_goes_without_a_trace(data: Dataset) -> None:
    model = DNN(3, (6,), training=TRAINED).fit(data.train)
    state = {n: a.copy() for n, a in model.state.items()}
    for n in ("mlp.0.weight", "mlp.0.bias"):
        state[n][4] = state[n][1]
    twin = model.with_state(state)
    expected = twin.logits(data.train.rows)
    found = repaired(twin, data, plan_of(twin, neurons__0=[0, 1, 2, 3, 5]))
    assert np.abs(found - expected).max() < 0.05 * expected.std()
    raw = twin.apply(plan_of(twin, neurons__0=[0, 1, 2, 3, 5])).logits(data.train.rows)
    assert np.abs(found - expected).mean() < 0.2 * np.abs(raw - expected).mean()


# ---- rows


def test_the_unknown_row_is_the_mean_of_the_rows_that_read_as_it(data: Dataset) -> None:
    model = LR(TRAINED).fit(data.train)
    kept = [0, 1, *range(5, 20)]
    patch = repair(model, data.train, plan_of(model, rows__shape=kept))
    assert set(patch.tensors) == {"table.shape"}
    table, changed = model.state["table.shape"], patch.tensors["table.shape"]
    at = model.encoder.schema.names.index("shape")
    count = np.bincount(data.train.rows.codes[:, at], minlength=len(table)).astype(float)
    count[kept] = 0
    count[UNKNOWN] = 1  # the unknown row is one of them, and counts as one use
    mean = np.average(table, axis=0, weights=count)
    np.testing.assert_allclose(changed[UNKNOWN], mean, rtol=1e-5)
    others = np.arange(len(table)) != UNKNOWN
    np.testing.assert_array_equal(changed[others], table[others])
    assert not repair(model, data.train, plan_of(model, rows__shape=list(range(32)))).tensors
    gone = repair(model, data.train, plan_of(model, fields=[0, 2, 3], rows__shape=kept))
    assert "table.shape" not in gone.tensors


def test_rows_to_look_at_are_drawn_by_the_seed(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = DNN(3, (6,), training=TRAINED).fit(data.train)
    plan = plan_of(model, neurons__0=[0, 1, 2])
    all_rows = repair(model, data.train, plan).tensors["mlp.out.weight"]
    np.testing.assert_array_equal(
        repair(model, data.train, plan, seed=1).tensors["mlp.out.weight"], all_rows
    )
    assert MAX_ROWS == 20_000
    module = import_module("recprune.pruning.repair")  # its function has the same name
    monkeypatch.setattr(module, "MAX_ROWS", 100)
    zero, again, one = (
        repair(model, data.train, plan, seed).tensors["mlp.out.weight"] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(zero, again)
    assert not np.array_equal(zero, one)
    assert not np.array_equal(zero, all_rows)
    np.testing.assert_array_equal(zero, repair(model, data.train, plan).tensors["mlp.out.weight"])


# ---- the shared rotation


@pytest.mark.parametrize(
    "make", [lambda: FM(4, TRAINED), lambda: FwFM(4, TRAINED), lambda: DNN(4, (6,), TRAINED)]
)
def test_a_rotation_puts_the_largest_variance_first(
    make: Callable[[], Ranker], data: Dataset
) -> None:
    model = make().fit(data.train)
    turned = rotate(model, data.train)
    rows = data.test.rows
    np.testing.assert_allclose(turned.logits(rows), model.logits(rows), atol=1e-5)
    first, scatters = int(model.wide), np.zeros((2, 4, 4))
    for name in model.encoder.schema.names:
        axis, tables = model.layout.axes[f"rows.{name}"], []
        count = use_counts(model, data.train, axis)
        for scatter, each in zip(scatters, (model, turned), strict=True):
            tables.append(each.state[f"table.{name}"][:, first:].astype(float))
            centred = tables[-1] - np.average(tables[-1], axis=0, weights=count)
            scatter += (centred * count[:, None]).T @ centred
        old, new = tables
        np.testing.assert_allclose(new @ new.T, old @ old.T, atol=1e-5)  # lengths and angles stay
        basis = np.linalg.lstsq(old, new, rcond=None)[0]
        # Of each new dim the largest part is positive, so that equal inputs give equal bytes.
        assert (basis[np.abs(basis).argmax(axis=0), np.arange(4)] > 0).all()
        np.testing.assert_array_equal(
            turned.state[f"table.{name}"][:, :first], model.state[f"table.{name}"][:, :first]
        )
    before, after = scatters
    np.testing.assert_allclose(after, np.diag(np.linalg.eigvalsh(before)[::-1]), atol=1e-4)


def test_models_that_cannot_turn_come_back_as_they_are(data: Dataset) -> None:
    for model in (LR(TRAINED), DCNv2(4, (6,), 1, training=TRAINED)):
        fitted = model.fit(data.train)
        assert rotate(fitted, data.train) is fitted
    fitted = FM(4, TRAINED).fit(data.train)
    unequal = fitted.apply(plan_of(fitted, dims__colour=[0, 1]))
    assert rotate(unequal, data.train) is unequal
    fewer = fitted.apply(
        plan_of(fitted, **{f"dims__{n}": [0, 2] for n in fitted.encoder.schema.names})
    )
    turned = rotate(fewer, data.train)
    assert turned is not fewer
    rows = fewer.aligned(data.test).rows
    np.testing.assert_allclose(turned.logits(rows), fewer.logits(rows), atol=1e-5)


@pytest.mark.parametrize(
    ("model", "keep"),
    [
        (DeepFM(3, (8, 6), training=TRAINED), {"neurons__0": [0, 2, 3], "neurons__1": [1, 4]}),
        (DeepFM(3, (8, 6), training=TRAINED), {"fields": [0, 2], "dims__colour": [0, 1]}),
        (FwFM(3, training=TRAINED), {"fields": [0, 1, 3], "pairs": [1, 4, 5]}),
    ],
)
def test_a_weight_counts_as_so_many_rows(
    data: Dataset, model: Ranker, keep: dict[str, list[int]]
) -> None:
    model = model.fit(data.train)
    times = np.random.default_rng(0).integers(0, 4, len(data.train))
    weight = (times / times.mean()).astype(np.float32)
    weighted = replace(data.train, extras=replace(data.train.extras, weight=weight))
    repeated = data.train.take(np.repeat(np.arange(len(times)), times))
    plan = plan_of(model, **keep)
    found, expected = repair(model, weighted, plan), repair(model, repeated, plan)
    assert set(found.tensors) == set(expected.tensors)
    for name, tensor in found.tensors.items():
        np.testing.assert_allclose(tensor, expected.tensors[name], atol=2e-5, err_msg=name)
    alike = repair(model, data.train, plan).tensors
    assert any(np.abs(alike[n] - t).max() > 1e-4 for n, t in found.tensors.items())
