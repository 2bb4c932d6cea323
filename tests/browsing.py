"""A headless Chromium for the tests of pages."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Start the system's Chromium, or the one that playwright has fetched."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        found = next(filter(None, map(shutil.which, NAMES)), None)
        if found is None and not Path(driver.chromium.executable_path).exists():
            why = "no Chromium here: apt-get install chromium, or playwright install chromium"
            if os.environ.get("CI"):
                pytest.fail(why)
            pytest.skip(why)
        started = driver.chromium.launch(executable_path=found, args=FLAGS)
        yield started
        started.close()
