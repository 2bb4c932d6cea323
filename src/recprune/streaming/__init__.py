"""Learning from events as they come: read, score, learn, watch, publish; every event counts once."""

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
