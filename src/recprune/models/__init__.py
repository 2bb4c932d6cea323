"""Rankers and retrievers over field embeddings, their layers and their training."""

from recprune.models.layers import Hidden
from recprune.models.loading import RANKERS, ranker_of
from recprune.models.objective import CrossEntropy, Objective, Target
from recprune.models.optimiser import LazyAdam, Penalty
from recprune.models.privacy import PrivacyBudget, PrivacySpent
from recprune.models.ranker import Ranker
from recprune.models.rankers import (
    DLRM,
    DNN,
    FM,
    LR,
    DCNv2,
    DeepFM,
    FinalMLP,
    FwFM,
    SharedBottom,
    WideDeep,
)
from recprune.models.retrieval import ALS, MF, TwoTower
from recprune.models.schedule import Schedule
from recprune.models.trainer import predict_logits, train
from recprune.models.training import Epoch, Training

__all__ = [
    "ALS",
    "DLRM",
    "DNN",
    "FM",
    "LR",
    "MF",
    "RANKERS",
    "CrossEntropy",
    "DCNv2",
    "DeepFM",
    "Epoch",
    "FinalMLP",
    "FwFM",
    "Hidden",
    "LazyAdam",
    "Objective",
    "Penalty",
    "PrivacyBudget",
    "PrivacySpent",
    "Ranker",
    "Schedule",
    "SharedBottom",
    "Target",
    "Training",
    "TwoTower",
    "WideDeep",
    "predict_logits",
    "ranker_of",
    "train",
]
