"""Forgetting a user: out of data, users, artefacts and what else recprune wrote."""

from recprune.erasure.forgetting import forget
from recprune.erasure.names import Names
from recprune.erasure.records import Forgotten, Removed, Trace
from recprune.erasure.scan import traces

__all__ = ["Forgotten", "Names", "Removed", "Trace", "forget", "traces"]
