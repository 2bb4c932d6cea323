"""Rankers over field embeddings, their layers and their training."""

from recprune.models.objective import CrossEntropy, Objective, Target
from recprune.models.optimiser import LazyAdam, Penalty
from recprune.models.ranker import FM, LR, DeepFM, Ranker, ranker_of
from recprune.models.schedule import Schedule
from recprune.models.trainer import predict_logits, train
from recprune.models.training import Epoch, Training

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
    "Schedule",
    "Target",
    "Training",
    "predict_logits",
    "ranker_of",
    "train",
]
