"""The command line: one thin file a verb."""

from __future__ import annotations

from recprune.cli.main import app, main

__all__ = ["app", "main"]
