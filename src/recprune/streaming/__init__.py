"""Learning from events as they come: read, score, learn, watch, publish; every event counts once.

Each name is imported when it is first used: who forgets a user in a stream's state needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recprune.streaming.figures import write_metrics
    from recprune.streaming.opening import Learning, People, StreamSettings, open_stream
    from recprune.streaming.publishing import Publication, Publishing
    from recprune.streaming.running import Flow, Running, Summary
    from recprune.streaming.taking import Pace
    from recprune.streaming.watching import Alarm, Watching

__all__ = [
    "Alarm",
    "Flow",
    "Learning",
    "Pace",
    "People",
    "Publication",
    "Publishing",
    "Running",
    "StreamSettings",
    "Summary",
    "Watching",
    "open_stream",
    "write_metrics",
]

_HOME = {
    "figures": ("write_metrics",),
    "opening": ("Learning", "People", "StreamSettings", "open_stream"),
    "publishing": ("Publication", "Publishing"),
    "running": ("Flow", "Running", "Summary"),
    "taking": ("Pace",),
    "watching": ("Alarm", "Watching"),
}
_MODULES = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a name of the surface when it is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
