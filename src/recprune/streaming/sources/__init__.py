"""Where events come from: logs that are read on from a position, and never written to."""

from recprune.streaming.sources.base import Read, Source
from recprune.streaming.sources.opening import open_source

__all__ = ["Read", "Source", "open_source"]
