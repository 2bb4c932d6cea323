"""What pages presuppose: files in the working folder, and names of their Python blocks.

One function a page (or a kind of pages), in ``GIVEN`` by the page's path. It is called in the
page's own process and Python, in the page's empty folder, before the first block; what it returns
is defined for the blocks. Small tables: seconds, not minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["GIVEN"]

GIVEN: dict[str, Callable[[], dict[str, Any] | None]] = {}
