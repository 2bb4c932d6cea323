"""The host profile: prices of work, measured once; a cut never costs more."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.artifact import Artifact
from recprune.errors import InputError, ParameterError
from recprune.layout import Plan, shrink
from recprune.models import Ranker, ranker_of
from recprune.pipeline import host_profile
from recprune.pipeline.host_profile import HostProfile
from recprune.pipeline.synthetic_models import KINDS, synthetic_models
from recprune.pipeline.work import MANY, ONE, Work


@cache
def models() -> list[Artifact]:
    """Return two models of every kind, some with dims of their own in each field."""
    return list(synthetic_models(2 * len(KINDS), seed=3))


@cache
def measured() -> HostProfile:
    return HostProfile.measure(seed=1, models=len(KINDS))


def counts(artifact: Artifact, compiled: bool = True) -> dict[str, float]:
    state, parts = artifact.state, artifact.model["parts"]
    left = [p for p in parts if p == "fm" or any(n.startswith(f"{p}.") for n in state)]
    facts = artifact.layout, artifact.encoder, left, artifact.model["wide"]
    work = Work(*facts, compiled=compiled)
    many = {f"{n} of many": c for n, c in work.of_many().items()}
    return {**work.of_one(), **many}


def randomly_cut(artifact: Artifact, draws: np.random.Generator) -> Artifact:
    """Cut some units of some axes."""
    keep = {}
    for name, axis in artifact.layout.axes.items():
        if draws.random() < 0.5:
            least = min(max(axis.pinned, axis.min_keep), axis.size)
            size = int(draws.integers(least, axis.size + 1))
            chosen = np.sort(draws.permutation(axis.size)[:size])
            keep[name] = axis.units[np.union1d(np.arange(axis.pinned), chosen).astype(int)]
    state, layout = shrink(artifact.state, artifact.layout, Plan(artifact.layout.hash, keep))
    names = tuple(n for n in artifact.encoder.schema.names if f"rows.{n}" in layout.axes)
    rows = {
        n: np.searchsorted(artifact.layout.axes[f"rows.{n}"].units, layout.axes[f"rows.{n}"].units)
        for n in names
    }
    encoder = artifact.encoder.take(names, rows)
    return Artifact(artifact.model, state, layout, artifact.plan, encoder)


@given(st.integers(0, 2 * len(KINDS) - 1), st.integers(0, 2**32 - 1), st.booleans())
def test_no_cut_adds_work(number: int, seed: int, compiled: bool) -> None:
    draws, model = np.random.default_rng(seed), models()[number]
    for _ in range(3):
        smaller = randomly_cut(model, draws)
        before, after = counts(model, compiled), counts(smaller, compiled)
        assert {n: (before[n], after[n]) for n in before if after[n] > before[n] + 1e-6} == {}
        model = smaller


def test_a_cut_is_never_slower_and_most_are_faster() -> None:
    profile, draws = measured(), np.random.default_rng(0)
    for artifact in models()[:6]:
        whole, small = ranker_of(artifact), ranker_of(randomly_cut(artifact, draws))
        for rows in (1, 40, 1000, 3000):
            assert profile.latency_us(small, rows) <= profile.latency_us(whole, rows) * (1 + 1e-9)
    whole = ranker_of(models()[0])
    half = {n: a.units[: a.size // 2] for n, a in whole.layout.axes.items() if a.unit == "neuron"}
    small = whole.apply(Plan(whole.layout.hash, half))
    assert profile.latency_us(small, 1000) < profile.latency_us(whole, 1000)


def test_what_is_measured_is_positive_and_fits_what_it_was_fitted_to() -> None:
    profile = measured()
    assert set(profile.errors) == {"1", "1000"}
    assert all(0 <= cost < math.inf for cost in (*profile.one.values(), *profile.many.values()))
    for artifact in models():
        one, many = (profile.latency_us(ranker_of(artifact), rows) for rows in (1, 1000))
        assert 0 < one < math.inf
        assert 0 < many < math.inf


def test_predictions_are_the_same_again_and_after_reading(tmp_path: Path) -> None:
    profile, path = measured(), tmp_path / "deep" / "host.json"
    profile.save(path)
    again = HostProfile.read(path)
    assert again == profile
    assert HostProfile.from_json(json.loads(json.dumps(profile.to_json()))) == profile
    for artifact in models()[:4]:
        model = ranker_of(artifact)
        for rows in (1, 10, 1000):
            assert again.latency_us(model, rows) == profile.latency_us(model, rows)


def priced(**one: float) -> HostProfile:
    """Return a profile of which nothing but these counts costs anything."""
    zero, many = dict.fromkeys(ONE, 0.0), dict.fromkeys(MANY, 0.0)
    return HostProfile("cpu", "0", True, {**zero, **one}, {**many, "row": 5.0}, {"1": 0, "1000": 0})


def test_rows_between_are_interpolated() -> None:
    model, profile = ranker_of(models()[0]), priced(call=2.0)
    assert profile.latency_us(model) == 2
    assert profile.latency_us(model, 1000) == 5  # nanoseconds a row
    assert profile.latency_us(model, 334) == pytest.approx(3)
    assert profile.latency_us(model, 10_000) == 50


def test_hidden_multiplications_are_those_of_the_layers() -> None:
    artifact = models()[0]
    shapes = artifact.layout.shapes
    later = sum(math.prod(s) for n, s in shapes.items() if n.startswith("mlp.") and len(s) == 2)
    later -= math.prod(shapes["mlp.0.weight"])
    zero = HostProfile("cpu", "0", True, dict.fromkeys(ONE, 0.0), dict.fromkeys(MANY, 0.0), {})
    profile = HostProfile(
        "cpu", "0", True, zero.one, {**zero.many, "later products": 1.0}, {"1": 0, "1000": 0}
    )
    assert profile.latency_us(ranker_of(artifact), 1000) == later


@pytest.mark.parametrize("rows", [0, -1, 1.5, True, "1"])
def test_rows_must_be_a_count(rows: Any) -> None:
    with pytest.raises(ParameterError, match="rows"):
        priced().latency_us(ranker_of(models()[0]), rows)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[1]", "no host profile"),
        (b'{"format": "recprune host profile", "version": 99}', "version 99"),
        (b'{"format": "recprune host profile"}', "version None"),
        (b'{"format": "recprune host profile", "version": 1}', "'cpu'.*'one'"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "host.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        HostProfile.read(path)
    with pytest.raises(InputError, match="cannot be read"):
        HostProfile.read(tmp_path / "absent.json")


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, "1", None, True])
def test_a_price_that_is_none_is_refused(value: Any) -> None:
    data = priced().to_json()
    data["one"]["call"] = value
    with pytest.raises(InputError, match="'one'"):
        HostProfile.from_json(data)
    del data["one"]["call"]
    with pytest.raises(InputError, match="'one'"):
        HostProfile.from_json(data)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Measure nothing; note each time that something would have been."""
    called: list[int] = []
    monkeypatch.setattr(HostProfile, "measure", lambda: (called.append(1), priced(call=3.0))[1])
    monkeypatch.setattr(host_profile, "_measured_here", {})
    return called


def test_this_host_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: list[int]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = HostProfile.of_this_host()
    assert HostProfile.place().is_relative_to(tmp_path / "recprune" / "host_profiles")
    assert HostProfile.read(HostProfile.place()) == first
    monkeypatch.setattr(host_profile, "_measured_here", {})
    assert HostProfile.of_this_host() == first
    assert quick == [1]
    HostProfile.place().write_text("{")
    monkeypatch.setattr(host_profile, "_measured_here", {})
    assert HostProfile.of_this_host() == first
    assert quick == [1, 1]
    assert HostProfile.read(HostProfile.place()) == first


def test_where_nothing_can_be_written_it_lasts_as_long_as_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: list[int], recwarn: Any
) -> None:
    blocked = tmp_path / "a file"  # not even the administrator can write below a file
    blocked.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(blocked))
    assert HostProfile.of_this_host() == HostProfile.of_this_host() == priced(call=3.0)
    assert quick == [1]
    assert not recwarn.list


def test_a_model_that_is_not_fitted_has_no_latency() -> None:
    with pytest.raises(RuntimeError, match="not fitted"):
        priced().latency_us(Ranker())
