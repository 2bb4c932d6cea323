"""Make a ranker smaller: plan, repair, apply, fine-tune, encode."""

from recprune.pruning.encode import encode, encoded_size
from recprune.pruning.planning import Keep, Wanted, plan
from recprune.pruning.repair import repair
from recprune.pruning.rotation import rotate
from recprune.pruning.rounds import FineTuning, cut, fine_tune, prune

__all__ = [
    "FineTuning",
    "Keep",
    "Wanted",
    "cut",
    "encode",
    "encoded_size",
    "fine_tune",
    "plan",
    "prune",
    "repair",
    "rotate",
]
