"""``recprune serve``: from options to settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recprune.serving import ServeSettings
from tests.cli.inside import inside


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServeSettings]:
    """What would be served."""
    found: list[ServeSettings] = []

    def serve(settings: ServeSettings, ready: Any) -> None:
        del ready
        found.append(settings)

    monkeypatch.setattr("recprune.serving.serve", serve)
    return found


def test_a_password_of_the_store_comes_by_the_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: list[ServeSettings]
) -> None:
    with_password = "redis://me:s3cret@localhost"
    run = inside("serve", tmp_path, "--rate-store", with_password)
    assert run.returncode == 2
    assert "RECPRUNE_RATE_STORE" in run.stderr
    assert "s3cret" not in run.stderr
    assert inside("serve", tmp_path, "--rate-store", "redis://localhost").returncode == 0
    monkeypatch.setenv("RECPRUNE_RATE_STORE", with_password)
    assert inside("serve", tmp_path).returncode == 0
    assert [each.guards.store for each in served] == ["redis://localhost", with_password]


def test_without_keys_it_serves_on_loopback_alone(
    tmp_path: Path, served: list[ServeSettings]
) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        run = inside("serve", tmp_path, "--insecure", "--host", host)
        assert (run.returncode, "loopback" in run.stderr) == (2, True), host
    for host in ("127.0.0.1", "::1", "localhost"):
        assert inside("serve", tmp_path, "--insecure", "--host", host).returncode == 0, host
    assert [each.callers.insecure for each in served] == [True] * 3
