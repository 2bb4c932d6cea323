"""recprune doctor --engine ray: what is wrong, and what to do about it."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from recprune.cli import _doctor_ray as doctor_ray
from recprune.cli.main import main

pytest.importorskip("ray")

Usage = namedtuple("Usage", "total used free")


def doctor(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["recprune", "doctor", "--engine", "ray", "--json", *options])
        with pytest.raises(SystemExit) as caught:
            main()
    code, out = caught.value.code, capsys.readouterr().out
    return int(code or 0), json.loads(out)


def test_what_is_so_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    _, told = doctor(capsys)
    assert told["ray"]["version"].split(".")[0] == "2"
    assert set(told["ray"]) >= {"python", "shared_memory_gb", "temporary_folder", "token"}


def test_little_shared_memory_and_a_full_temporary_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shutil.disk_usage

    def usage(path: Path) -> Usage:
        little = Usage(1 << 26, 0, 1 << 26)
        return little if str(path).startswith(("/dev/shm", "/tmp")) else Usage(*whole(path))

    monkeypatch.setattr(doctor_ray.shutil, "disk_usage", usage)
    code, told = doctor(capsys)
    assert code == 1
    shared, full = (p for p in told["problems"] if "/dev/shm" in p or "0.07 GB are free in" in p)
    assert "--shm-size" in shared
    assert "TMPDIR" in full


def test_an_address_where_nobody_is(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = doctor(capsys, "--address", "127.0.0.1:9")
    assert code == 1
    assert any("No Ray cluster answers at '127.0.0.1:9'" in p for p in told["problems"])


def test_a_cluster_elsewhere_without_a_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    code, told = doctor(capsys, "--address", "192.0.2.9:6379")
    assert code == 1
    assert any("no token is set for the cluster at 192.0.2.9:6379" in p for p in told["problems"])


@pytest.mark.parametrize(
    "options, text",
    [
        (("--engine", "ray", "--address", "auto"), "'address' parameter"),
        (("--address", "local"), "--address goes with --engine ray"),
        (("--engine", "dask"), "processes or ray"),
    ],
)
def test_bad_usage_is_told(
    options: tuple[str, ...],
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["recprune", "doctor", *options])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert text in " ".join(capsys.readouterr().err.split())
