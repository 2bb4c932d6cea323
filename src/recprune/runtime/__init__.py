"""Answer requests with a pruned model: NumPy and safetensors only, no torch."""

from recprune.runtime.scorer import Recommendation, Scorer, load

__all__ = ["Recommendation", "Scorer", "load"]
