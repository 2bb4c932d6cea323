"""Rankers over field embeddings, their layers and their training."""

from recprune.models.objective import CrossEntropy, Objective, Target
from recprune.models.optimiser import LazyAdam, Penalty
from recprune.models.ranker import FM, LR, DeepFM, Ranker, ranker_of
from recprune.models.trainer import Epoch, Training, predict_logits, train

__all__ = [
    "FM",
    "LR",
    "CrossEntropy",
    "DeepFM",
    "Epoch",
    "LazyAdam",
    "Objective",
    "Penalty",
    "Ranker",
    "Target",
    "Training",
    "predict_logits",
    "ranker_of",
    "train",
]
