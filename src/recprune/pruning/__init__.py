"""Make a ranker smaller: plan, repair, apply, fine-tune, encode."""

from recprune.pruning import weights
from recprune.pruning.dead import alive
from recprune.pruning.encode import BITS, MIXED, Tiers, encode, encoded_size, encoding_plan
from recprune.pruning.in_training import in_training
from recprune.pruning.planning import Keep, Wanted, plan
from recprune.pruning.repair import repair
from recprune.pruning.rotation import rotate
from recprune.pruning.rounds import FineTuning, cut, fine_tune, prune, retrain
from recprune.pruning.schedules import gradual, rewind

__all__ = [
    "BITS",
    "MIXED",
    "FineTuning",
    "Keep",
    "Tiers",
    "Wanted",
    "alive",
    "cut",
    "encode",
    "encoded_size",
    "encoding_plan",
    "fine_tune",
    "gradual",
    "in_training",
    "plan",
    "prune",
    "repair",
    "retrain",
    "rewind",
    "rotate",
    "weights",
]
