"""Answer requests with a pruned model: NumPy and safetensors only, no torch."""

from recprune.runtime.answers import Recommendation
from recprune.runtime.choice import Places
from recprune.runtime.recall import FirstStageRecall
from recprune.runtime.scorer import Scorer, load

__all__ = ["FirstStageRecall", "Places", "Recommendation", "Scorer", "load"]
