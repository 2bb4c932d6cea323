"""Is the model still as good as it was, and do the columns that it was told to drop still not matter?"""

from __future__ import annotations

from recprune.streaming.watching.alarms import Alarm, Watching
from recprune.streaming.watching.calibration import CalibrationDrift
from recprune.streaming.watching.importance import RollingImportance
from recprune.streaming.watching.inputs import InputDrift
from recprune.streaming.watching.prequential import Prequential
from recprune.streaming.watching.shadows import Shadows
from recprune.streaming.watching.watch import Watch

__all__ = [
    "Alarm",
    "CalibrationDrift",
    "InputDrift",
    "Prequential",
    "RollingImportance",
    "Shadows",
    "Watch",
    "Watching",
]
